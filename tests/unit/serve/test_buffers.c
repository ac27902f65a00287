/* Clients that take every buffer that they can get leave some to the volume, and wait for more as
 * long as the configuration says. */
#include <errno.h>

#include "rig.h"

static struct sf_serve *serve;
static struct sf_serve_client client;
static struct sf_tio_buffer *held[1024];
static struct sf_config_buffers buffers;
static unsigned n;

static int
begin(void **state) {
  const struct sf_config config = {.threads = 64};
  buffers = sf_config_buffers(&config);
  const struct sf_tio_client_params params = {.buffers_small = buffers.small,
                                              .small_bytes = SERVE_SMALL_BYTES,
                                              .buffers_large = buffers.large,
                                              .large_bytes = SERVE_LARGE_BYTES,
                                              .spare_small = buffers.spare_small,
                                              .spare_large = buffers.spare_large};

  serve = serve_with(&params);
  client = (struct sf_serve_client){.serve = serve};
  n = 0;
  return 0;
}

static int
end(void **state) {
  serve_end(serve);
  return 0;
}

static void
take_all(size_t length) {
  int r;

  while ((r = sf_tio_buffer_get(serve->client, length, 0, &held[n])) == 0)
    n++;
  assert_int_equal(r, -EAGAIN);
}

static void
put_all(void) {
  while (n > 0)
    sf_tio_buffer_put(serve->client, held[--n]);
}

static void
the_volume_has_some(size_t length, unsigned wanted) {
  struct sf_tio_buffer *own[128];

  for (unsigned i = 0; i < wanted; i++)
    assert_int_equal(sf_tio_buffer_get_spare(serve->client, length, &own[i]), 0);
  for (unsigned i = 0; i < wanted; i++)
    sf_tio_buffer_put(serve->client, own[i]);
}

static void
clients_do_not_take_all(void **state) {
  take_all(SERVE_LARGE_BYTES);
  the_volume_has_some(SERVE_LARGE_BYTES, buffers.spare_large);
  put_all();
  take_all(4096);
  the_volume_has_some(SF_PAGE_BYTES, buffers.spare_small);
  the_volume_has_some(SERVE_LARGE_BYTES, buffers.spare_large);
  put_all();
  take_all(SERVE_LARGE_BYTES); /* buffers that were put can be taken again */
  assert_true(n > 0);
  put_all();
}

static void *
get_one(void *arg) {
  struct sf_call call = {.client = &client};
  int *r = arg;
  struct sf_tio_buffer *buffer;

  *r = sf_serve_buffer_get(&call, SERVE_LARGE_BYTES, &buffer);
  if (*r == 0)
    sf_tio_buffer_put(serve->client, buffer);
  return NULL;
}

static void
who_may_fail_waits_for_a_time(void **state) {
  struct sf_call call = {.client = &client};
  struct sf_tio_buffer *buffer;

  take_all(SERVE_LARGE_BYTES);
  assert_int_equal(sf_serve_buffer_get(&call, SERVE_LARGE_BYTES, &buffer), -ENOMEM);
  put_all();
}

static bool asked_once; /* whether to go on, after the time was up */

static bool
hangup(void *ctx) {
  asked_once = true;
  put_all();
  return false;
}

/* on_too_few = suspend: the buffers come when the legs do. */
static void
who_is_suspended_waits_without_end(void **state) {
  pthread_t thread;
  int r = -1;

  atomic_store(&serve->suspends, true);
  serve->options.hangup = hangup;
  take_all(SERVE_LARGE_BYTES);
  assert_int_equal(pthread_create(&thread, NULL, get_one, &r), 0);
  pthread_join(thread, NULL);
  assert_true(asked_once);
  assert_int_equal(r, 0);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(clients_do_not_take_all, begin, end),
      cmocka_unit_test_setup_teardown(who_may_fail_waits_for_a_time, begin, end),
      cmocka_unit_test_setup_teardown(who_is_suspended_waits_without_end, begin, end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

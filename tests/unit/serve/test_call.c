/* A client that is gone takes no buffer any more, and no wait of a client is without an end that
 * may not be. */
#include <errno.h>

#include "rig.h"

static struct sf_serve *serve;
static struct sf_serve_client client;
static struct sf_tio_buffer *all[3];
static bool gone;

static bool
is_gone(void *ctx) {
  return gone;
}

/* Two buffers of each size, and a large one that is not for clients. */
static int
begin(void **state) {
  const struct sf_tio_client_params params = {.buffers_small = 2,
                                              .small_bytes = SERVE_SMALL_BYTES,
                                              .buffers_large = 2,
                                              .large_bytes = SERVE_LARGE_BYTES,
                                              .spare_large = 1};

  serve = serve_with(&params);
  client = (struct sf_serve_client){.serve = serve};
  gone = false;
  serve->options.hangup = is_gone;
  return 0;
}

static int
end(void **state) {
  serve_end(serve);
  return 0;
}

static void
take_all(void) {
  for (unsigned i = 0; i < 3; i++)
    assert_int_equal(sf_tio_buffer_get(serve->client, 4096, 0, &all[i]), 0);
}

static void
put_all(void) {
  for (unsigned i = 0; i < 3; i++)
    sf_tio_buffer_put(serve->client, all[i]);
}

static void
what_a_client_does_not_get_is_there_for_the_volume(void **state) {
  struct sf_tio_buffer *one_more;

  take_all(); /* two small ones, and a large one in the third's place */
  assert_int_equal(sf_tio_buffer_get(serve->client, 4096, 0, &one_more), -EAGAIN);
  assert_int_equal(sf_tio_buffer_get(serve->client, SERVE_LARGE_BYTES, 0, &one_more), -EAGAIN);
  assert_int_equal(sf_tio_buffer_get_spare(serve->client, SERVE_LARGE_BYTES, &one_more), 0);
  sf_tio_buffer_put(serve->client, one_more);
  put_all();
}

/* The first time that it is asked there come buffers; then it is gone. */
static bool
leaves_when_buffers_come(void *ctx) {
  bool was = gone;

  if (!gone)
    put_all();
  gone = true;
  return was;
}

static void
who_is_gone_takes_no_buffer(void **state) {
  struct sf_call call = {.client = &client};
  struct sf_tio_buffer *buffer;

  atomic_store(&serve->suspends, true);
  serve->options.hangup = leaves_when_buffers_come;
  take_all();
  assert_int_equal(sf_serve_buffer_get(&call, 4096, &buffer), -ESHUTDOWN);
  assert_true(gone);
  take_all(); /* none was kept */
  put_all();
}

/* One wait after the other; what one took longer than it was to is not the legs' fault. */
static void
waits_add_up_without_our_own_delay(void **state) {
  struct sf_call call = {.client = &client};

  sf_serve_call_waited(&call, sf_tio_now() - 20 * MS, 40 * MS);
  sf_serve_call_waited(&call, sf_tio_now() - 1000 * MS, 20 * MS);
  assert_false(sf_serve_call_is_over(&call));
  sf_serve_call_waited(&call, sf_tio_now() - 20 * MS, 40 * MS);
  assert_true(sf_serve_call_is_over(&call));
  atomic_store(&serve->suspends, true);
  assert_false(sf_serve_call_is_over(&call));
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(what_a_client_does_not_get_is_there_for_the_volume, begin,
                                      end),
      cmocka_unit_test_setup_teardown(who_is_gone_takes_no_buffer, begin, end),
      cmocka_unit_test_setup_teardown(waits_add_up_without_our_own_delay, begin, end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

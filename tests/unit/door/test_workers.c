/* Threads that cannot be had are not the client's error: the first one is there before a connection
 * is taken, and without more of them requests wait. */
#include "door_rig.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/thread.h"

enum { SIZE = 1 << 20, ZERO = 6, MANY = 16 };

static atomic_bool no_worker;
static atomic_uint workers;

int __wrap_sf_thread_start(pthread_t *thread, const char *name, void *(*main)(void *), void *arg);
int __real_sf_thread_start(pthread_t *thread, const char *name, void *(*main)(void *), void *arg);

void
__wrap_sf_volume_submit(struct sf_volume *v, struct sf_request *request, uint64_t now_ns) {
  usleep(1000);
  request->error = 0;
  request->done(request);
}

int
__wrap_sf_thread_start(pthread_t *thread, const char *name, void *(*main)(void *), void *arg) {
  if (name != NULL && strcmp(name, "surefoot-work") == 0) {
    if (atomic_load(&no_worker))
      return -EAGAIN;
    atomic_fetch_add(&workers, 1);
  }
  return __real_sf_thread_start(thread, name, main, arg);
}

static int
begin(void **state) {
  atomic_store(&no_worker, false);
  atomic_store(&workers, 0);
  door_rig_init(SIZE, &(struct sf_tio_client_params){.buffers_small = 4, .buffers_large = 4});
  door_rig_open();
  return 0;
}

static void
ask_zero(int fd) {
  send_request(fd, ZERO, 0, 2 * BLOCK, ZERO);
}

/* ---- proofs ---- */

/* Proves that zeros, which a thread beside the connection's writes, are written where no thread can
 * be had after the client has connected, as many as it likes. */
static void
none_after_the_first(void **state) {
  int fd = connect_client();

  atomic_store(&no_worker, true);
  for (unsigned i = 0; i < MANY; i++)
    ask_zero(fd);
  for (unsigned i = 0; i < MANY; i++)
    assert_int_equal(hear_well(fd), ZERO);
  close(fd);
}

/* Proves that one request at a time has one thread. */
static void
one_at_a_time(void **state) {
  int fd = connect_client();

  ask_zero(fd);
  assert_int_equal(hear_well(fd), ZERO);
  assert_int_equal(atomic_load(&workers), 1);
  close(fd);
}

/* Proves that a client which could not be served is not greeted, that the log says why, and that
 * the next one is served when it can be. */
static void
none_at_all(void **state) {
  struct pollfd news = {.events = POLLIN};
  char byte;

  atomic_store(&no_worker, true);
  news.fd = connect_ungreeted();
  assert_int_equal(poll(&news, 1, PATIENCE_MS), 1);
  assert_int_equal(read(news.fd, &byte, 1), 0);
  close(news.fd);
  pthread_mutex_lock(&serve->lock);
  assert_int_equal(serve->log_count, 1);
  assert_string_equal(serve->log[serve->log_first],
                      "fast socket: a connection is refused: Resource temporarily unavailable");
  pthread_mutex_unlock(&serve->lock);
  atomic_store(&no_worker, false);
  one_at_a_time(state);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(none_after_the_first, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(one_at_a_time, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(none_at_all, begin, door_rig_end),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* News that come while a thread of the library is between two looks: each is heard.  How: the thread is
 * held at its first unlock, at its second and so on, until it would sleep, and the news come then. */
#include "unit/timed_io/support.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "timed_io/internal.h"
#include "unit/timed_io/hold.h"

/* A thread that does not end is a failure. */
static void
join(pthread_t thread) {
  struct timespec limit;

  clock_gettime(CLOCK_REALTIME, &limit);
  limit.tv_sec += (time_t) (PATIENCE_NS / 1000000000u);
  assert_int_equal(pthread_timedjoin_np(thread, NULL, &limit), 0);
}

static bool
is_set(struct sf_tio_client *client, const bool *flag) {
  bool set;

  pthread_mutex_lock(&client->lock);
  set = *flag;
  pthread_mutex_unlock(&client->lock);
  return set;
}

/* ---- a stop ---- */

static void *
destroy(void *client) {
  assert_int_equal(sf_tio_client_destroy(client), 0);
  return NULL;
}

/* Proves: the service thread hears that it is to stop, whenever that is said. */
static void
service_hears_a_stop(void **state) {
  bool held = true;
  unsigned n;

  for (n = 1; held; n++) {
    struct sf_tio_client *client;
    pthread_t thread;

    hold_begin(NULL, NULL, n);
    client = client_new(4, 4, 1);
    assert_true(EVENTUALLY(hold_has_one() || atomic_load(&client->service.queue->waiting)));
    held = hold_has_one();
    pthread_create(&thread, NULL, destroy, client);
    if (held)
      assert_true(EVENTUALLY(is_set(client, &client->service.stop)));
    hold_end();
    join(thread);
  }
  assert_true(n > 3);
}

static void *
remove_device(void *device) {
  assert_int_equal(sf_tio_device_remove(device), 0);
  return NULL;
}

/* Proves: the same for the executor of a device that is taken away. */
static void
executor_hears_a_stop(void **state) {
  struct sf_tio_client *client = client_new(4, 4, 1);
  int fd = open_plain();
  bool held = true;
  unsigned n;

  assert_true(EVENTUALLY(atomic_load(&client->service.queue->waiting)));
  for (n = 1; held; n++) {
    struct sf_tio_device *device;
    pthread_t thread;

    hold_begin(NULL, NULL, n);
    device = device_new(client, fd);
    assert_true(EVENTUALLY(hold_has_one() || atomic_load(&device->exec.waiting)));
    held = hold_has_one();
    pthread_create(&thread, NULL, remove_device, device);
    if (held)
      assert_true(EVENTUALLY(is_set(client, &device->exec.stop)));
    hold_end();
    join(thread);
  }
  assert_true(n > 3);
  client_end(client);
  close(fd);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(service_hears_a_stop),
      cmocka_unit_test(executor_hears_a_stop),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

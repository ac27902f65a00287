/* What comes while a thread in the library is between two looks: news are heard, and what it looks
 * at stays.  How: the thread is held at its first unlock, at its second and so on, and they come
 * then. */
#include "unit/timed_io/rig.h"

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

/* Proves: the background thread hears that it is to stop, whenever that is said. */
static void
background_thread_hears_a_stop(void **state) {
  bool held = true;
  unsigned n;

  for (n = 1; held; n++) {
    struct sf_tio_client *client;
    pthread_t thread;

    hold_begin(NULL, NULL, n);
    client = client_new(4, 4, 1);
    assert_true(EVENTUALLY(hold_has_one() || atomic_load(&client->background.queue->waiting)));
    held = hold_has_one();
    pthread_create(&thread, NULL, destroy, client);
    if (held)
      assert_true(EVENTUALLY(is_set(client, &client->background.stop)));
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

/* Proves: the same for the device thread of a device that is taken away. */
static void
device_thread_hears_a_stop(void **state) {
  struct sf_tio_client *client = client_new(4, 4, 1);
  int fd = open_plain();
  bool held = true;
  unsigned n;

  assert_true(EVENTUALLY(atomic_load(&client->background.queue->waiting)));
  for (n = 1; held; n++) {
    struct sf_tio_device *device;
    pthread_t thread;

    hold_begin(NULL, NULL, n);
    device = device_new(client, fd);
    assert_true(EVENTUALLY(hold_has_one() || atomic_load(&device->device_thread.waiting)));
    held = hold_has_one();
    pthread_create(&thread, NULL, remove_device, device);
    if (held)
      assert_true(EVENTUALLY(is_set(client, &device->device_thread.stop)));
    hold_end();
    join(thread);
  }
  assert_true(n > 3);
  client_end(client);
  close(fd);
}

/* ---- a deadline that is left behind ---- */

struct place {
  struct stall_rig *rig;
  struct sf_tio_client *client;
  struct sf_tio_device *frozen, *quick;
};

struct errand {
  struct place *place;
  struct sf_tio_device *device;
  uint64_t timeout_ns;
};

static void
start_write(struct place *place, struct sf_tio_device *device, uint64_t timeout_ns) {
  char data[4096] = "w";
  struct sf_tio_control control = {
      .op = SF_TIO_WRITE, .data = data, .notify = log_event, .timeout_ns = timeout_ns};
  struct sf_tio_region region = region_at(device, 0, 4096);

  assert_int_equal(sf_tio(place->client, &control, &region, 1, NULL, NULL), 0);
}

static void *
run_errand(void *arg) {
  struct errand *errand = arg;

  start_write(errand->place, errand->device, errand->timeout_ns);
  return NULL;
}

/* By a thread that does not attend. */
static void
write_by_the_background_thread(struct place *place, struct sf_tio_device *device,
                               uint64_t timeout_ns) {
  struct errand errand = {place, device, timeout_ns};
  pthread_t thread;

  pthread_create(&thread, NULL, run_errand, &errand);
  join(thread);
}

static bool
timeout_told(void *arg) {
  return log_count(SF_TIO_TIMEOUT, false) > 0;
}

/* Until when it sleeps; 0: it is at work. */
static uint64_t
asleep_until(struct place *place) {
  uint64_t until_ns = atomic_load(&place->client->background.until_ns);

  return atomic_load(&place->client->background.queue->waiting) ? until_ns : 0;
}

static bool
sleeps_for_a_while(struct place *place) {
  uint64_t until_ns = asleep_until(place);

  return until_ns && until_ns != SF_TIO_NEVER && until_ns > sf_tio_now();
}

/* Makes the background thread wake for a deadline, at which it finds nothing to tell: its region
 * has ended, and another one has not. */
static void
wake_for_nothing(struct place *place, unsigned n) {
  do {
    hold_end();
    log_clear();
    write_by_the_background_thread(place, place->quick, 100 * MS);
    log_wait(SF_TIO_OK, false, 1);
    assert_true(EVENTUALLY(asleep_until(place)));
    hold_begin(&place->client->background.thread, &place->client->lock, n);
  } while (!sleeps_for_a_while(place));
}

/* Proves: the deadline of a region that its thread leaves behind is kept by the background thread,
 * though that knows of the thread's queue already and is at work.  How: the queue has an overdue
 * region, so it is watched; the background thread wakes for another deadline, and meanwhile the
 * thread leaves the next one. */
static void
deadline_is_left_to_a_busy_background_thread(void **state) {
  struct place place = {.rig = stall_rig_start(&(struct stall_rig_params){.loop = true}),
                        .client = client_new(0, 0, 0)};
  int loop_fd = stall_rig_open_loop(place.rig), quick_fd = open_plain();
  struct sf_tio_queue *queue;
  unsigned left = 0;
  bool held = true;

  place.frozen = device_new(place.client, loop_fd);
  place.quick = device_new(place.client, quick_fd);
  assert_int_equal(sf_tio_attend(place.client, &queue), 0);
  stall_rig_freeze(place.rig);
  start_write(&place, place.frozen, MS);
  assert_int_equal(sf_tio_drive(queue, sf_tio_now() + PATIENCE_NS, timeout_told, NULL), 0);
  assert_true(EVENTUALLY(is_set(place.client, &queue->watched)));
  write_by_the_background_thread(&place, place.frozen, 0);
  for (unsigned n = 1; held; n++) {
    wake_for_nothing(&place, n);
    assert_true(EVENTUALLY(hold_has_one() || asleep_until(&place) == SF_TIO_NEVER));
    held = hold_has_one();
    /* Not while the background thread has our queue: there we would only wait. */
    if (held && pthread_mutex_trylock(&queue->owner) == 0) {
      pthread_mutex_unlock(&queue->owner);
      log_clear();
      start_write(&place, place.frozen, 100 * MS);
      assert_int_equal(sf_tio_drive(queue, sf_tio_now() + MS, NULL, NULL), -ETIME);
      hold_end();
      log_wait(SF_TIO_TIMEOUT, false, 1);
      left++;
    }
  }
  hold_end();
  assert_true(left > 3);
  stall_rig_thaw(place.rig);
  device_end(place.frozen);
  device_end(place.quick);
  client_end(place.client);
  close(loop_fd);
  close(quick_fd);
  stall_rig_stop(place.rig);
}

/* ---- a device that is taken away ---- */

static void *
cancel_all(void *device) {
  assert_int_equal(sf_tio_cancel_by_device(device).detached, 0);
  return NULL;
}

static void *
remove_in_vain(void *device) {
  assert_int_equal(sf_tio_device_remove(device), -EBUSY);
  return NULL;
}

/* Proves: a device stays for as long as a cancel is at it, though nothing runs there. */
static void
cancel_keeps_its_device(void **state) {
  struct sf_tio_client *client = client_new(4, 4, 1);
  int fd = open_plain();
  struct sf_tio_device *device = device_new(client, fd);

  assert_true(EVENTUALLY(atomic_load(&client->background.queue->waiting)));
  assert_true(EVENTUALLY(atomic_load(&device->device_thread.waiting)));
  for (unsigned n = 1; n <= 2; n++) {
    pthread_t canceller, remover;

    hold_begin(NULL, &client->lock, n);
    pthread_create(&canceller, NULL, cancel_all, device);
    assert_true(EVENTUALLY(hold_has_one()));
    pthread_create(&remover, NULL, remove_in_vain, device);
    join(remover);
    hold_end();
    join(canceller);
  }
  device_end(device);
  client_end(client);
  close(fd);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(background_thread_hears_a_stop),
      cmocka_unit_test(device_thread_hears_a_stop),
      cmocka_unit_test(deadline_is_left_to_a_busy_background_thread),
      cmocka_unit_test(cancel_keeps_its_device),
  };

  need_rig(true);
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Threads: which thread reports what, what one system call means, and what becomes of the requests
 * of a thread that goes away or does something else. */
#include "unit/timed_io/rig.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct place {
  struct stall_rig *rig;
  int fuse_fd, loop_fd, quick_fd;
  struct sf_tio_client *client;
  struct sf_tio_device *fuse, *loop, *quick;
  struct sf_tio_device *victim; /* a helper thread writes to it */
  int pipe[2];
};

static int
setup(void **state) {
  struct place *place = calloc(1, sizeof *place);

  place->rig = stall_rig_start(&(struct stall_rig_params){.loop = true});
  place->fuse_fd = stall_rig_open(place->rig);
  place->loop_fd = stall_rig_open_loop(place->rig);
  place->quick_fd = open_plain();
  place->client = client_new(0, 0, 0);
  place->fuse = device_new(place->client, place->fuse_fd);
  place->loop = device_new(place->client, place->loop_fd);
  place->quick = device_new(place->client, place->quick_fd);
  assert_int_equal(pipe(place->pipe), 0);
  *state = place;
  return 0;
}

static int
teardown(void **state) {
  struct place *place = *state;

  stall_rig_thaw(place->rig);
  client_idle(place->client);
  device_end(place->fuse);
  device_end(place->loop);
  device_end(place->quick);
  client_end(place->client);
  close(place->fuse_fd);
  close(place->loop_fd);
  close(place->quick_fd);
  close(place->pipe[0]);
  close(place->pipe[1]);
  stall_rig_stop(place->rig);
  free(place);
  return 0;
}

static uint64_t
start_write(struct place *place, struct sf_tio_device *device, uint64_t timeout_ns) {
  char data[4096] = "t";
  struct sf_tio_control control = {
      .op = SF_TIO_WRITE, .data = data, .notify = log_event, .timeout_ns = timeout_ns};
  struct sf_tio_region region = region_at(device, 0, 4096);
  uint64_t handle;

  assert_int_equal(sf_tio(place->client, &control, &region, 1, &handle, NULL), 0);
  return handle;
}

/* Proves: a healthy request of an attending thread is one system call, whatever the number of
 * devices.  How: three plain files, 500 requests, the client's own count.  (A completion that comes
 * later than a few milliseconds may cost more; a few of those are allowed.) */
static void
one_call_per_request(void **state) {
  struct sf_tio_client *client = client_new(0, 0, 0);
  struct sf_tio_client_stats stats;
  struct sf_tio_device *devices[3];
  struct sf_tio_region regions[3];
  struct sf_tio_queue *queue;
  int fds[3];
  char data[4096] = "1";
  struct sf_tio_control control = {
      .op = SF_TIO_WRITE, .data = data, .notify = log_event, .timeout_ns = 10000 * MS};

  for (unsigned i = 0; i < 3; i++) {
    fds[i] = open_plain();
    devices[i] = device_new(client, fds[i]);
    regions[i] = region_at(devices[i], 8192, 4096);
  }
  assert_int_equal(sf_tio_attend(client, &queue), 0);
  for (unsigned i = 0; i < 500; i++) {
    assert_int_equal(sf_tio(client, &control, regions, 3, NULL, NULL), 0);
    drive_until_told(queue, 3);
    log_clear();
  }
  sf_tio_client_stats(client, &stats);
  /* Below two each: on a busy machine a wait may end before the last region has. */
  assert_in_range(stats.enters, 500, 999);
  for (unsigned i = 0; i < 3; i++) {
    device_end(devices[i]);
    close(fds[i]);
  }
  client_end(client);
}

/* Proves: attending is idempotent; without it requests run by themselves and the background thread
 * reports, also for a thread that has made a SYNC call before. */
static void
background_thread_reports(void **state) {
  struct place *place = *state;
  char data[4096] = "s";
  struct sf_tio_control control = {.op = SF_TIO_WRITE, .flags = SF_TIO_SYNC, .data = data};
  struct sf_tio_region region = region_at(place->quick, 0, 4096);
  struct sf_tio_queue *queue, *again;

  assert_int_equal(sf_tio(place->client, &control, &region, 1, NULL, NULL), 0);
  start_write(place, place->quick, 0);
  log_wait(SF_TIO_OK, false, 1);
  assert_false(pthread_equal(told.thread[0], pthread_self()));
  assert_int_equal(sf_tio_attend(place->client, &queue), 0);
  assert_int_equal(sf_tio_attend(place->client, &again), 0);
  assert_ptr_equal(queue, again);
  start_write(place, place->quick, 0);
  drive_until_told(queue, 2);
  assert_true(pthread_equal(told.thread[1], pthread_self()));
}

static bool
never(void *arg) {
  ++*(unsigned *) arg;
  return false;
}

/* Proves: drive ends at until_ns with -ETIME, on time, and asks stop before it waits. */
static void
drive_until(void **state) {
  struct place *place = *state;
  struct sf_tio_queue *queue;
  unsigned asked = 0;
  uint64_t begin = sf_tio_now();

  assert_int_equal(sf_tio_attend(place->client, &queue), 0);
  assert_int_equal(sf_tio_drive(queue, begin + 30 * MS, never, &asked), -ETIME);
  assert_in_range(sf_tio_now() - begin, 30 * MS, 300 * MS);
  assert_true(asked >= 1);
  assert_int_equal(sf_tio_drive(queue, 1, never, &asked), -ETIME);
}

struct woken {
  struct place *place;
  struct sf_tio_queue *queue;
  atomic_bool driving, stop;
};

static bool
stop_now(void *arg) {
  struct woken *woken = arg;

  atomic_store(&woken->driving, true);
  return atomic_load(&woken->stop);
}

static void *
wake_it(void *arg) {
  struct woken *woken = arg;

  for (unsigned i = 0; i < 200; i++) {
    while (!atomic_load(&woken->driving))
      ;
    atomic_store(&woken->stop, true);
    sf_tio_wake(woken->queue);
    assert_true(EVENTUALLY(!atomic_load(&woken->stop)));
  }
  return NULL;
}

/* Proves: a wake is never lost, whether it comes before or during the wait.  How: 200 times at
 * uncontrolled moments, with nothing pending and nothing that would end the wait otherwise. */
static void
wake(void **state) {
  struct place *place = *state;
  struct woken woken = {.place = place};
  pthread_t waker;

  assert_int_equal(sf_tio_attend(place->client, &woken.queue), 0);
  pthread_create(&waker, NULL, wake_it, &woken);
  for (unsigned i = 0; i < 200; i++) {
    uint64_t limit = sf_tio_now() + PATIENCE_NS;

    assert_int_equal(sf_tio_drive(woken.queue, limit, stop_now, &woken), 0);
    atomic_store(&woken.driving, false);
    atomic_store(&woken.stop, false);
  }
  pthread_join(waker, NULL);
}

static bool
has_entered(struct sf_tio_client *client) {
  struct sf_tio_client_stats stats;

  sf_tio_client_stats(client, &stats);
  return stats.enters > 0;
}

/* Proves: a thread that waits for several regions together hears a cancel from elsewhere, though
 * none of them completes.  How: two frozen regions without timeouts, cancelled by another
 * thread. */
static void *
cancel_both(void *arg) {
  struct place *place = arg;

  assert_true(EVENTUALLY(has_entered(place->client)));
  assert_int_equal(sf_tio_cancel_by_device(place->loop).detached, 2);
  return NULL;
}

static void
cancel_ends_a_wait(void **state) {
  struct place *place = *state;
  struct sf_tio_control control = {.op = SF_TIO_WRITE, .flags = SF_TIO_SYNC};
  struct sf_tio_region regions[2] = {region_at(place->loop, 0, 4096),
                                     region_at(place->loop, 8192, 4096)};
  char data[4096] = "c";
  pthread_t other;

  control.data = data;
  stall_rig_freeze(place->rig);
  pthread_create(&other, NULL, cancel_both, place);
  assert_int_equal(sf_tio(place->client, &control, regions, 2, NULL, NULL), -ECANCELED);
  pthread_join(other, NULL);
}

/* ---- threads that leave their requests behind ---- */

static bool
timeout_told(void *arg) {
  return log_count(SF_TIO_TIMEOUT, false) > 0;
}

/* Drives until its region is cancelled, then ends, or waits in read(2) without driving. */
static void *
leave_detached(void *arg) {
  struct place *place = arg;
  struct sf_tio_queue *queue;
  uint64_t handle;
  char byte;

  assert_int_equal(sf_tio_attend(place->client, &queue), 0);
  handle = start_write(place, place->victim, 20 * MS);
  assert_int_equal(sf_tio_drive(queue, sf_tio_now() + PATIENCE_NS, timeout_told, NULL), 0);
  assert_int_equal(sf_tio_cancel_by_handle(place->client, handle).detached, 1);
  drive_until_told(queue, 1);
  if (place->pipe[0] >= 0)
    assert_int_equal(read(place->pipe[0], &byte, 1), 1);
  return NULL;
}

static void
late_after(struct place *place, struct sf_tio_device *device, bool thread_ends) {
  int read_end = place->pipe[0];
  pthread_t thread;

  if (thread_ends)
    place->pipe[0] = -1;
  place->victim = device;
  stall_rig_freeze(place->rig);
  pthread_create(&thread, NULL, leave_detached, place);
  if (thread_ends)
    pthread_join(thread, NULL);
  else
    log_wait(SF_TIO_CANCELED, false, 1);
  assert_int_equal(sf_tio_device_running(device), 1);
  stall_rig_thaw(place->rig);
  log_wait(-1, true, 1);
  assert_int_equal(log_get(-1, true, 0).error, 0);
  if (!thread_ends) {
    assert_int_equal(write(place->pipe[1], "x", 1), 1);
    pthread_join(thread, NULL);
  }
  place->pipe[0] = read_end;
}

/* Proves: the late completion of a region on the ring of a thread that has ended is still seen.
 * How: a loop device, which that thread entered itself; the thread is joined before the thaw. */
static void
late_after_thread_end(void **state) {
  struct place *place = *state;

  late_after(place, place->loop, true);
}

/* The same where the region is with the device's thread. */
static void
late_after_thread_end_device_thread(void **state) {
  struct place *place = *state;

  late_after(place, place->fuse, true);
}

/* Proves: the same while the thread lives and sleeps in read(2), not in the library. */
static void
late_while_thread_sleeps(void **state) {
  struct place *place = *state;

  late_after(place, place->loop, false);
}

static void *
leave_running(void *arg) {
  struct place *place = arg;
  struct sf_tio_queue *queue;

  assert_int_equal(sf_tio_attend(place->client, &queue), 0);
  start_write(place, place->victim, 50 * MS);
  sf_tio_drive(queue, sf_tio_now() + MS, NULL, NULL);
  return NULL;
}

static void *
leave_pending(void *arg) {
  struct place *place = arg;
  struct sf_tio_queue *queue;

  assert_int_equal(sf_tio_attend(place->client, &queue), 0);
  start_write(place, place->victim, 50 * MS);
  return NULL;
}

/* Proves: deadlines and completions of a thread that has ended are the background thread's: TIMEOUT
 * comes, and OK after the thaw; also for a request that the thread never drove. */
static void
left_behind(void **state) {
  void *(*const ways[])(void *) = {leave_running, leave_pending};
  struct place *place = *state;
  struct sf_tio_device *devices[2] = {place->loop, place->fuse};

  for (unsigned i = 0; i < 4; i++) {
    pthread_t thread;

    log_clear();
    place->victim = devices[i / 2];
    stall_rig_freeze(place->rig);
    pthread_create(&thread, NULL, ways[i % 2], place);
    pthread_join(thread, NULL);
    log_wait(SF_TIO_TIMEOUT, false, 1);
    stall_rig_thaw(place->rig);
    log_wait(SF_TIO_OK, false, 1);
    client_idle(place->client);
    assert_int_equal(log_total(), 2);
  }
}

/* Proves: a thread that goes on attending, and only drives now and then, misses nothing: what
 * completes in between is reported by the background thread. */
static void
between_drives(void **state) {
  struct place *place = *state;
  struct sf_tio_queue *queue;

  assert_int_equal(sf_tio_attend(place->client, &queue), 0);
  for (unsigned i = 0; i < 20; i++) {
    log_clear();
    stall_rig_freeze(place->rig);
    start_write(place, i % 2 ? place->loop : place->fuse, 0);
    assert_int_equal(sf_tio_drive(queue, sf_tio_now() + 2 * MS, NULL, NULL), -ETIME);
    assert_int_equal(log_total(), 0);
    stall_rig_thaw(place->rig);
    if (i % 4 < 2)
      log_wait(SF_TIO_OK, false, 1);
    else
      drive_until_told(queue, 1);
  }
}

static void *
attend_and_write(void *arg) {
  struct place *place = arg;
  struct sf_tio_queue *queue;

  assert_int_equal(sf_tio_attend(place->client, &queue), 0);
  start_write(place, place->quick, 0);
  drive_until_told(queue, 1);
  sf_tio_wake(queue);
  sf_tio_drive(queue, sf_tio_now() + MS, NULL, NULL);
  return queue;
}

/* Proves: the ring of a thread that ended is used again, and works.  How: 20 threads, one after the
 * other: all get the same. */
static void
rings_are_used_again(void **state) {
  struct place *place = *state;
  void *first = NULL;

  for (unsigned i = 0; i < 20; i++) {
    pthread_t thread;
    void *got;

    log_clear();
    pthread_create(&thread, NULL, attend_and_write, place);
    pthread_join(thread, &got);
    if (first)
      assert_ptr_equal(got, first);
    first = got;
  }
}

struct meeting {
  struct place *place;
  pthread_barrier_t all_attend;
};

static void *
attend_with_others(void *arg) {
  struct meeting *meeting = arg;
  struct sf_tio_queue *queue;

  assert_int_equal(sf_tio_attend(meeting->place->client, &queue), 0);
  pthread_barrier_wait(&meeting->all_attend);
  return queue;
}

/* Proves: no two threads that attend have one queue, though a late completion was reported after
 * its queue had become free.  How: a region with the device thread is given up, its thread is
 * joined, the region ends; then three threads attend at once. */
static void
a_queue_is_given_once(void **state) {
  enum { THREADS = 3 };
  struct meeting meeting = {.place = *state};
  pthread_t threads[THREADS];
  void *got[THREADS];

  late_after(meeting.place, meeting.place->fuse, true);
  pthread_barrier_init(&meeting.all_attend, NULL, THREADS);
  for (unsigned i = 0; i < THREADS; i++)
    pthread_create(&threads[i], NULL, attend_with_others, &meeting);
  for (unsigned i = 0; i < THREADS; i++)
    pthread_join(threads[i], &got[i]);
  pthread_barrier_destroy(&meeting.all_attend);
  assert_ptr_not_equal(got[0], got[1]);
  assert_ptr_not_equal(got[0], got[2]);
  assert_ptr_not_equal(got[1], got[2]);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_call_per_request),
      cmocka_unit_test_setup_teardown(background_thread_reports, setup, teardown),
      cmocka_unit_test_setup_teardown(drive_until, setup, teardown),
      cmocka_unit_test_setup_teardown(wake, setup, teardown),
      cmocka_unit_test_setup_teardown(cancel_ends_a_wait, setup, teardown),
      cmocka_unit_test_setup_teardown(late_after_thread_end, setup, teardown),
      cmocka_unit_test_setup_teardown(late_after_thread_end_device_thread, setup, teardown),
      cmocka_unit_test_setup_teardown(late_while_thread_sleeps, setup, teardown),
      cmocka_unit_test_setup_teardown(left_behind, setup, teardown),
      cmocka_unit_test_setup_teardown(between_drives, setup, teardown),
      cmocka_unit_test_setup_teardown(rings_are_used_again, setup, teardown),
      cmocka_unit_test_setup_teardown(a_queue_is_given_once, setup, teardown),
  };

  need_rig(true);
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Cancels: what REAL and DETACHED promise, which regions they cover, and which events come when. */
#include "unit/timed_io/rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "timed_io/internal.h"

enum { MANY = 200 };

struct place {
  struct stall_rig *rig;
  int fuse_fd, loop_fd;
  struct sf_tio_client *client;
  struct sf_tio_device *fuse, *loop; /* through a device thread; from the submitting thread */
};

static int
setup(void **state) {
  struct place *place = calloc(1, sizeof *place);

  place->rig = stall_rig_start(&(struct stall_rig_params){.loop = true});
  place->fuse_fd = stall_rig_open(place->rig);
  place->loop_fd = stall_rig_open_loop(place->rig);
  place->client = client_new(512, 512, 0);
  place->fuse = device_new(place->client, place->fuse_fd);
  place->loop = device_new(place->client, place->loop_fd);
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
  client_end(place->client);
  close(place->fuse_fd);
  close(place->loop_fd);
  stall_rig_stop(place->rig);
  free(place);
  return 0;
}

/* A write of one block full of `byte`; nothing waits for it. */
static uint64_t
write_block(struct sf_tio_client *client, struct sf_tio_device *device, uint64_t block, int byte,
            uint64_t timeout_ns) {
  char data[4096];
  struct sf_tio_control control = {.op = SF_TIO_WRITE,
                                   .data = data,
                                   .notify = log_event,
                                   .context = (void *) (uintptr_t) block,
                                   .timeout_ns = timeout_ns};
  struct sf_tio_region region = region_at(device, block * 4096, 4096);
  uint64_t handle = 0;

  memset(data, byte, sizeof data);
  assert_int_equal(sf_tio(client, &control, &region, 1, &handle, NULL), 0);
  return handle;
}

/* What became of the write of each block, after everything is over: a REAL one left the old bytes,
 * a DETACHED one was told late, once, and left the new. */
static void
check_outcomes(int fd, int old, int new, unsigned real, unsigned detached) {
  bool late[MANY] = {false};
  unsigned lates = 0;

  for (unsigned i = 0; i < told.n; i++)
    if (told.event[i].late) {
      unsigned block = (unsigned) (uintptr_t) told.event[i].context;

      assert_int_equal(told.event[i].kind, SF_TIO_DETACHED);
      assert_false(late[block]);
      late[block] = told.event[i].error == 0;
      lates++;
    }
  assert_int_equal(lates, detached);
  assert_int_equal(log_count(SF_TIO_CANCELED, false), real + detached);
  for (unsigned i = 0; i < told.n; i++) {
    const struct sf_tio_event *event = &told.event[i];
    uint64_t block = (uint64_t) (uintptr_t) event->context;

    if (event->late || event->state != SF_TIO_CANCELED)
      continue;
    assert_int_equal(block_byte(fd, block * 4096),
                     event->kind == SF_TIO_DETACHED && late[block] ? new : old);
  }
}

/* Proves: on a stuck device cancel_by_device covers all; a region that the kernel or the library
 * had queued really does not run, a region that ran is told late.  How: 200 writes on a frozen
 * file; afterwards the bytes of every block are compared with its events. */
static void
by_device_queued_and_running(void **state) {
  struct place *place = *state;
  struct sf_tio_client_stats stats;
  struct sf_tio_canceled canceled;

  stall_rig_freeze(place->rig);
  for (unsigned i = 0; i < MANY; i++)
    write_block(place->client, place->fuse, i, 'n', 0);
  assert_true(EVENTUALLY(sf_tio_device_running(place->fuse) == MANY));
  canceled = sf_tio_cancel_by_device(place->fuse);
  assert_int_equal(canceled.real + canceled.detached, MANY);
  assert_int_equal(canceled.done, 0);
  assert_true(canceled.real >= MANY - 64);
  assert_true(sf_tio_device_running(place->fuse) <= canceled.detached);
  log_wait(SF_TIO_CANCELED, false, MANY);
  stall_rig_thaw(place->rig);
  client_idle(place->client);
  log_wait(-1, true, canceled.detached);
  check_outcomes(place->fuse_fd, 0, 'n', canceled.real, canceled.detached);
  sf_tio_client_stats(place->client, &stats);
  assert_true(stats.cancels_submitted <= 64);
}

static unsigned
late_but_not_run(void) {
  unsigned n = 0;

  for (unsigned i = 0; i < told.n; i++)
    n += told.event[i].late && told.event[i].error == -ECANCELED;
  return n;
}

/* Whether so many regions are with the kernel: off the device thread's list, and out of the ring,
 * which a submitter process empties in its own time. */
static bool
handed_over(struct sf_tio_device *device, unsigned n) {
  struct sf_tio_device_thread *device_thread = &device->device_thread;
  bool all;

  pthread_mutex_lock(&device_thread->ring_lock);
  pthread_mutex_lock(&device->client->lock);
  all = device_thread->in_kernel == n;
  pthread_mutex_unlock(&device->client->lock);
  all = all && io_uring_sq_ready(&device_thread->ring->uring) == 0;
  pthread_mutex_unlock(&device_thread->ring_lock);
  return all;
}

/* Proves: with the writes surely inside the kernel, its own queue is cancelled too, not only what
 * the library had left in its list.  How: as before, after the device thread has handed over all.
 * (What a worker has just taken is answered with -EALREADY and cancelled a little later: then
 * `late` says -ECANCELED.) */
static void
by_device_reaches_the_kernels_queue(void **state) {
  struct place *place = *state;
  struct sf_tio_client_stats stats;
  struct sf_tio_canceled canceled;

  stall_rig_freeze(place->rig);
  for (unsigned i = 0; i < 60; i++)
    write_block(place->client, place->fuse, i, 'n', 0);
  assert_true(EVENTUALLY(handed_over(place->fuse, 60)));
  canceled = sf_tio_cancel_by_device(place->fuse);
  assert_int_equal(canceled.real + canceled.detached, 60);
  sf_tio_client_stats(place->client, &stats);
  assert_int_equal(stats.cancels_submitted, 60);
  stall_rig_thaw(place->rig);
  client_idle(place->client);
  log_wait(SF_TIO_CANCELED, false, 60);
  log_wait(-1, true, canceled.detached);
  printf("real %u, detached %u, of these not run %u\n", canceled.real, canceled.detached,
         late_but_not_run());
  assert_true(canceled.real + late_but_not_run() > 0);
  check_outcomes(place->fuse_fd, 0, 'n', canceled.real, canceled.detached);
}

/* Proves: on a block device, where submitting threads enter the kernel themselves, regions at the
 * device are detached and told late.  How: a frozen loop device. */
static void
by_device_at_the_device(void **state) {
  struct place *place = *state;
  struct sf_tio_canceled canceled;

  stall_rig_freeze(place->rig);
  write_block(place->client, place->loop, 7, 'n', 50 * MS);
  log_wait(SF_TIO_TIMEOUT, false, 1);
  canceled = sf_tio_cancel_by_device(place->loop);
  assert_int_equal(canceled.detached, 1);
  assert_int_equal(canceled.real, 0);
  log_wait(SF_TIO_CANCELED, false, 1);
  stall_rig_thaw(place->rig);
  log_wait(-1, true, 1);
  assert_int_equal(log_get(-1, true, 0).error, 0);
  assert_int_equal(block_byte(place->loop_fd, 7 * 4096), 'n');
}

/* Proves: what an attending thread has not handed over yet is dropped, REAL, and never runs; its
 * notify comes when the thread drives.  How: cancel between sf_tio() and sf_tio_drive(). */
static void
by_handle_not_handed_over(void **state) {
  struct place *place = *state;
  struct sf_tio_canceled canceled;
  struct sf_tio_queue *queue;
  uint64_t handle;

  assert_int_equal(sf_tio_attend(place->client, &queue), 0);
  handle = write_block(place->client, place->loop, 3, 'n', 0);
  canceled = sf_tio_cancel_by_handle(place->client, handle);
  assert_int_equal(canceled.real, 1);
  assert_int_equal(sf_tio_device_running(place->loop), 0);
  drive_until_told(queue, 1);
  assert_int_equal(log_get(SF_TIO_CANCELED, false, 0).kind, SF_TIO_REAL);
  client_idle(place->client);
  assert_int_equal(block_byte(place->loop_fd, 3 * 4096), 0);
}

/* Proves: cancelling a finished request is "done", not an error; so is an unknown handle; handles
 * are not used again.  How: one slot only, so that every request uses the same. */
static void
by_handle_finished(void **state) {
  struct sf_tio_client *client = client_new(1, 0, 0);
  struct place *place = *state;
  struct sf_tio_device *device = device_new(client, place->loop_fd);
  uint64_t seen[20];

  for (unsigned i = 0; i < 20; i++) {
    seen[i] = write_block(client, device, 1, 'h', 0);
    log_wait(SF_TIO_OK, false, i + 1);
    client_idle(client);
    for (unsigned j = 0; j <= i; j++) {
      struct sf_tio_canceled canceled = sf_tio_cancel_by_handle(client, seen[j]);

      assert_int_equal(canceled.done, 1);
      assert_int_equal(canceled.real + canceled.detached, 0);
      assert_true(j == i || seen[j] != seen[i]);
    }
  }
  assert_int_equal(sf_tio_cancel_by_handle(client, 0).done, 1);
  assert_int_equal(sf_tio_cancel_by_handle(client, UINT64_MAX).done, 1);
  device_end(device);
  client_end(client);
}

/* Proves: cancel_by_handle takes the regions of that request only; a second one finds them done.
 * How: two requests on both devices, one of them cancelled. */
static void
by_handle_only_that(void **state) {
  struct place *place = *state;
  char data[4096] = "x";
  struct sf_tio_control control = {.op = SF_TIO_WRITE, .data = data, .notify = log_event};
  struct sf_tio_region regions[3] = {region_at(place->fuse, 0, 4096),
                                     region_at(place->loop, 4096, 4096),
                                     region_at(place->fuse, 8192, 4096)};
  struct sf_tio_canceled canceled;
  uint64_t first, second;

  stall_rig_freeze(place->rig);
  assert_int_equal(sf_tio(place->client, &control, regions, 3, &first, NULL), 0);
  assert_int_equal(sf_tio(place->client, &control, regions, 3, &second, NULL), 0);
  canceled = sf_tio_cancel_by_handle(place->client, first);
  assert_int_equal(canceled.real + canceled.detached, 3);
  assert_int_equal(sf_tio_cancel_by_handle(place->client, first).real, 0);
  log_wait(SF_TIO_CANCELED, false, 3);
  stall_rig_thaw(place->rig);
  log_wait(SF_TIO_OK, false, 3);
  client_idle(place->client);
  for (unsigned i = 0; i < 3; i++)
    assert_int_equal(log_get(SF_TIO_OK, false, i).handle, second);
}

/* Proves: cancel_by_device covers this client's regions only, and does not refuse new ones.
 * How: two clients on the same frozen file. */
static void
by_device_only_this_client(void **state) {
  struct place *place = *state;
  struct sf_tio_client *other = client_new(0, 0, 0);
  struct sf_tio_device *same = device_new(other, place->fuse_fd);
  struct sf_tio_canceled canceled;

  stall_rig_freeze(place->rig);
  write_block(other, same, 1, 'o', 0);
  write_block(place->client, place->fuse, 2, 'c', 0);
  canceled = sf_tio_cancel_by_device(place->fuse);
  assert_int_equal(canceled.real + canceled.detached, 1);
  assert_int_equal(sf_tio_device_running(same), 1);
  write_block(place->client, place->fuse, 3, 'n', 0);
  stall_rig_thaw(place->rig);
  log_wait(SF_TIO_OK, false, 2);
  client_idle(place->client);
  device_end(same);
  client_end(other);
}

static _Thread_local bool inside_call;
static unsigned told_inside;

static void
notify_elsewhere(const struct sf_tio_event *event) {
  told_inside += inside_call;
  log_event(event);
}

/* Proves: notify is never called from inside sf_tio() or a cancel.  How: a mark of the thread that
 * is set during the calls; submit and cancel many times, with quick and stuck devices. */
static void
never_inside(void **state) {
  struct place *place = *state;
  struct sf_tio_queue *queue;
  char data[4096] = "x";
  struct sf_tio_control control = {
      .op = SF_TIO_WRITE, .data = data, .notify = notify_elsewhere, .timeout_ns = MS};
  struct sf_tio_region regions[2] = {region_at(place->fuse, 0, 4096),
                                     region_at(place->loop, 4096, 4096)};
  unsigned done = 0;

  assert_int_equal(sf_tio_attend(place->client, &queue), 0);
  for (unsigned i = 0; i < 30; i++) {
    uint64_t handle;

    if (i == 20)
      stall_rig_freeze(place->rig);
    inside_call = true;
    assert_int_equal(sf_tio(place->client, &control, regions, 2, &handle, NULL), 0);
    if (i % 3 == 0)
      sf_tio_cancel_by_handle(place->client, handle);
    inside_call = false;
    sf_tio_drive(queue, sf_tio_now() + 2 * MS, NULL, NULL);
    inside_call = true;
    sf_tio_cancel_by_device(place->fuse);
    sf_tio_cancel_by_device(place->loop);
    inside_call = false;
    done += 2;
    drive_until_told(queue, done);
  }
  assert_int_equal(told_inside, 0);
}

static void
use_everything(const struct sf_tio_event *event) {
  struct place *place = event->context;
  struct sf_tio_client_stats stats;
  struct sf_tio_buffer *buffer;

  if (!event->late) {
    sf_tio_client_stats(place->client, &stats);
    assert_int_equal(sf_tio_buffer_get(place->client, 4096, 0, &buffer), 0);
    sf_tio_buffer_put(place->client, buffer);
    assert_int_equal(sf_tio_client_destroy(place->client), -EDEADLK);
    sf_tio_cancel_by_handle(place->client, event->handle);
    sf_tio_cancel_by_device(place->fuse);
    sf_tio_cancel_by_device(place->loop);
    sf_tio_device_running(event->device);
  }
  log_event(event);
}

/* Proves: no lock is held in a notify: every function may be called, as the contract says.
 * How: do it, in the driving thread and in the background thread. */
static void
no_lock_held(void **state) {
  struct place *place = *state;
  char data[4096] = "x";
  struct sf_tio_control control = {.op = SF_TIO_WRITE,
                                   .data = data,
                                   .notify = use_everything,
                                   .context = place,
                                   .timeout_ns = 20 * MS};
  struct sf_tio_region regions[2] = {region_at(place->fuse, 0, 4096),
                                     region_at(place->loop, 4096, 4096)};

  stall_rig_freeze(place->rig);
  assert_int_equal(sf_tio(place->client, &control, regions, 2, NULL, NULL), 0);
  log_wait(SF_TIO_CANCELED, false, 2);
  control.flags = SF_TIO_SYNC;
  assert_int_equal(sf_tio(place->client, &control, regions, 2, NULL, NULL), -ECANCELED);
}

/* ---- regions sent back because they would have had to wait ---- */

enum { TAGS = 4, WRITES = 40 };

/* False: this kernel does not let it. */
static bool
set_queue(int fd, const char *setting, const char *value) {
  char path[128];
  struct stat st;
  FILE *file;
  bool done;

  assert_int_equal(fstat(fd, &st), 0);
  snprintf(path, sizeof path, "/sys/dev/block/%u:%u/queue/%s", major(st.st_rdev), minor(st.st_rdev),
           setting);
  file = fopen(path, "we");
  if (!file)
    return false;
  done = fputs(value, file) >= 0;
  return fclose(file) == 0 && done;
}

/* Regions that the kernel has through the device thread: those in the ring only do not count. */
static unsigned
in_device_thread(struct sf_tio_device *device) {
  struct sf_tio_device_thread *device_thread = &device->device_thread;
  unsigned n;

  pthread_mutex_lock(&device_thread->ring_lock);
  pthread_mutex_lock(&device->client->lock);
  n = device_thread->in_kernel;
  pthread_mutex_unlock(&device->client->lock);
  n -= io_uring_sq_ready(&device_thread->ring->uring);
  pthread_mutex_unlock(&device_thread->ring_lock);
  return n;
}

/* Proves: a write that its device has sent back once may have run in part, as the devices below it
 * see it, and is never called REAL, though the kernel could be made to forget it.  How: a stuck
 * device with few places in its queue; the writes that find none come back, and wait for one in the
 * device thread's workers and, the most of them, in front of these. */
static void
sent_back_is_not_real(void **state) {
  struct place *place = *state;
  struct sf_tio_canceled canceled;
  struct sf_tio_queue *queue;
  unsigned forgotten = 0;

  if (!set_queue(place->loop_fd, "scheduler", "none") ||
      !set_queue(place->loop_fd, "nr_requests", "4"))
    skip();
  assert_int_equal(sf_tio_attend(place->client, &queue), 0);
  stall_rig_freeze(place->rig);
  for (unsigned i = 0; i < WRITES; i++)
    write_block(place->client, place->loop, 2 * i, 'n', 0); /* not to be merged */
  assert_int_equal(sf_tio_drive(queue, sf_tio_now() + MS, NULL, NULL), -ETIME);
  assert_true(EVENTUALLY(in_device_thread(place->loop) == WRITES - TAGS));
  canceled = sf_tio_cancel_by_device(place->loop);
  assert_int_equal(canceled.real, 0);
  assert_int_equal(canceled.detached, WRITES);
  stall_rig_thaw(place->rig);
  log_wait(-1, true, WRITES);
  log_wait(SF_TIO_CANCELED, false, WRITES);
  for (unsigned i = 0; i < told.n; i++) {
    forgotten += told.event[i].late && told.event[i].error == -EINTR;
    assert_int_not_equal(told.event[i].error, -ECANCELED);
  }
  assert_true(forgotten >= WRITES - TAGS - SF_TIO_IOWQ_WORKERS);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(by_device_queued_and_running, setup, teardown),
      cmocka_unit_test_setup_teardown(by_device_reaches_the_kernels_queue, setup, teardown),
      cmocka_unit_test_setup_teardown(by_device_at_the_device, setup, teardown),
      cmocka_unit_test_setup_teardown(by_handle_not_handed_over, setup, teardown),
      cmocka_unit_test_setup_teardown(by_handle_finished, setup, teardown),
      cmocka_unit_test_setup_teardown(by_handle_only_that, setup, teardown),
      cmocka_unit_test_setup_teardown(by_device_only_this_client, setup, teardown),
      cmocka_unit_test_setup_teardown(never_inside, setup, teardown),
      cmocka_unit_test_setup_teardown(no_lock_held, setup, teardown),
      cmocka_unit_test_setup_teardown(sent_back_is_not_real, setup, teardown),
  };

  need_rig(true);
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The SYNC table: every row of it, on a device that answers and on a frozen one. */
#include "unit/timed_io/rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct place {
  struct stall_rig *rig;
  int quick_fd, stuck_fd;
  struct sf_tio_client *client;
  struct sf_tio_device *quick, *stuck; /* a plain file; a file that can be frozen */
  char data[4096];
};

static int
setup(void **state) {
  struct place *place = calloc(1, sizeof *place);

  place->rig = stall_rig_start(&(struct stall_rig_params){0});
  place->quick_fd = open_plain();
  place->stuck_fd = stall_rig_open(place->rig);
  place->client = client_new(0, 0, 0);
  place->quick = device_new(place->client, place->quick_fd);
  place->stuck = device_new(place->client, place->stuck_fd);
  memset(place->data, 'd', sizeof place->data);
  *state = place;
  return 0;
}

static int
teardown(void **state) {
  struct place *place = *state;

  stall_rig_thaw(place->rig);
  client_idle(place->client);
  device_end(place->quick);
  device_end(place->stuck);
  client_end(place->client);
  close(place->quick_fd);
  close(place->stuck_fd);
  stall_rig_stop(place->rig);
  free(place);
  return 0;
}

/* A write of one block to both devices, the quick one first.  The timeout is the stuck one's: how
 * quick a plain file is on a busy machine is not tested. */
static int
write_both(struct place *place, unsigned flags, sf_tio_event_fn *notify, uint64_t timeout_ns,
           uint64_t *handle, struct sf_tio_result *result) {
  struct sf_tio_control control = {.op = SF_TIO_WRITE,
                                   .flags = flags,
                                   .data = place->data,
                                   .notify = notify,
                                   .context = place,
                                   .timeout_ns = timeout_ns};
  struct sf_tio_region regions[2] = {region_at(place->quick, 4096, 4096),
                                     region_at(place->stuck, 4096, 4096)};

  if (timeout_ns)
    regions[0].timeout_ns = PATIENCE_NS;
  return sf_tio(place->client, &control, regions, 2, handle, result);
}

/* Proves: not SYNC, notify, no timeout: the call returns while the stuck device still has its part;
 * one terminal notify per region and nothing else.  How: the device is thawed after the return. */
static void
async_notify(void **state) {
  struct place *place = *state;
  uint64_t handle = 0;

  stall_rig_freeze(place->rig);
  assert_int_equal(write_both(place, 0, log_event, 0, &handle, NULL), 0);
  log_wait(SF_TIO_OK, false, 1);
  assert_int_equal(log_get(SF_TIO_OK, false, 0).region, 0);
  assert_int_equal(sf_tio_device_running(place->stuck), 1);
  stall_rig_thaw(place->rig);
  log_wait(SF_TIO_OK, false, 2);
  client_idle(place->client);
  assert_int_equal(log_total(), 2);
  assert_int_equal(told.event[1].region, 1);
  assert_int_equal(told.event[1].handle, handle);
  assert_ptr_equal(told.event[1].context, place);
}

/* Proves: not SYNC, notify, timeout: a TIMEOUT notify comes first and nothing is cancelled by
 * itself.  How: the device is thawed only after TIMEOUT, and the region still ends OK. */
static void
async_notify_timeout(void **state) {
  struct place *place = *state;

  stall_rig_freeze(place->rig);
  assert_int_equal(write_both(place, 0, log_event, 50 * MS, NULL, NULL), 0);
  log_wait(SF_TIO_TIMEOUT, false, 1);
  assert_true(log_get(SF_TIO_TIMEOUT, false, 0).latency_ns >= 50 * MS);
  assert_int_equal(sf_tio_device_running(place->stuck), 1);
  stall_rig_thaw(place->rig);
  log_wait(SF_TIO_OK, false, 2);
  client_idle(place->client);
  assert_int_equal(log_total(), 3);
  assert_int_equal(log_count(SF_TIO_CANCELED, false), 0);
}

static void *
thaw_after_timeout(void *arg) {
  log_wait(SF_TIO_TIMEOUT, false, 1);
  stall_rig_thaw(arg);
  return NULL;
}

static void *
thaw_after_one(void *arg) {
  log_wait(SF_TIO_OK, false, 1);
  stall_rig_thaw(arg);
  return NULL;
}

/* Proves: SYNC, notify, no timeout: returns when all are terminal, and the notifies ran in the
 * calling thread.  How: the thaw waits for the first notify, so it came during the call. */
static void
sync_notify(void **state) {
  struct place *place = *state;
  struct sf_tio_result result = {0};
  pthread_t thawer;

  stall_rig_freeze(place->rig);
  pthread_create(&thawer, NULL, thaw_after_one, place->rig);
  assert_int_equal(write_both(place, SF_TIO_SYNC, log_event, 0, NULL, &result), 0);
  pthread_join(thawer, NULL);
  assert_int_equal(log_total(), 2);
  assert_int_equal(result.ok, 3);
  assert_true(pthread_equal(told.thread[0], pthread_self()));
  assert_true(pthread_equal(told.thread[1], pthread_self()));
}

/* Proves: SYNC, notify, timeout: goes on waiting after TIMEOUT.  How: the thaw waits for it. */
static void
sync_notify_timeout_waits_on(void **state) {
  struct place *place = *state;
  pthread_t thawer;

  stall_rig_freeze(place->rig);
  pthread_create(&thawer, NULL, thaw_after_timeout, place->rig);
  assert_int_equal(write_both(place, SF_TIO_SYNC, log_event, 50 * MS, NULL, NULL), 0);
  pthread_join(thawer, NULL);
  assert_int_equal(log_total(), 3);
  assert_int_equal(log_get(SF_TIO_OK, false, 1).region, 1);
}

static void
cancel_at_timeout(const struct sf_tio_event *event) {
  struct place *place = event->context;

  log_event(event);
  if (event->state == SF_TIO_TIMEOUT) {
    struct sf_tio_canceled canceled = sf_tio_cancel_by_handle(place->client, event->handle);

    assert_int_equal(canceled.done, 1);
    assert_int_equal(canceled.detached, 1);
  }
}

/* Proves: SYNC, notify, timeout: a cancel from inside notify is legal and ends the wait while the
 * device is still frozen; its late completion is told once.  How: as said. */
static void
sync_notify_timeout_cancel_inside(void **state) {
  struct place *place = *state;
  struct sf_tio_result result = {0};

  stall_rig_freeze(place->rig);
  assert_int_equal(write_both(place, SF_TIO_SYNC, cancel_at_timeout, 50 * MS, NULL, &result),
                   -ECANCELED);
  assert_int_equal(result.ok, 1);
  assert_int_equal(result.canceled, 2);
  assert_int_equal(sf_tio_device_running(place->stuck), 1);
  assert_int_equal(log_get(SF_TIO_CANCELED, false, 0).kind, SF_TIO_DETACHED);
  stall_rig_thaw(place->rig);
  log_wait(-1, true, 1);
  client_idle(place->client);
  assert_int_equal(log_get(-1, true, 0).error, 0);
  assert_int_equal(log_get(-1, true, 0).region, 1);
  assert_int_equal(log_total(), 4);
}

static void *
thaw_when_running(void *arg) {
  struct place *place = arg;

  assert_true(EVENTUALLY(sf_tio_device_running(place->stuck) == 1 &&
                         sf_tio_device_running(place->quick) == 0));
  stall_rig_thaw(place->rig);
  return NULL;
}

/* Proves: SYNC, no notify, no timeout: waits for all and says whether any failed.  How: one thawed
 * during the wait; then a read behind the end of the file, which fails. */
static void
sync_alone(void **state) {
  struct place *place = *state;
  struct sf_tio_result result = {0};
  struct sf_tio_control control = {.op = SF_TIO_READ, .flags = SF_TIO_SYNC, .data = place->data};
  struct sf_tio_region beyond = region_at(place->quick, FILE_BYTES, 4096);
  pthread_t thawer;

  stall_rig_freeze(place->rig);
  pthread_create(&thawer, NULL, thaw_when_running, place);
  assert_int_equal(write_both(place, SF_TIO_SYNC, NULL, 0, NULL, &result), 0);
  pthread_join(thawer, NULL);
  assert_int_equal(result.ok, 3);
  assert_int_equal(sf_tio(place->client, &control, &beyond, 1, NULL, &result), -EIO);
  assert_int_equal(result.ok, 0);
  assert_int_equal(result.error, 1);
}

/* Proves: SYNC, no notify, timeout: at the deadline what still runs is cancelled and the call
 * returns, close to the deadline.  How: the device stays frozen until after the return. */
static void
sync_timeout(void **state) {
  struct place *place = *state;
  struct sf_tio_result result = {0};
  uint64_t begin = sf_tio_now(), took;

  stall_rig_freeze(place->rig);
  assert_int_equal(write_both(place, SF_TIO_SYNC, NULL, 50 * MS, NULL, &result), -ETIMEDOUT);
  took = sf_tio_now() - begin;
  assert_in_range(took, 50 * MS, 2000 * MS);
  assert_int_equal(result.ok, 1);
  assert_int_equal(result.canceled, 2);
  stall_rig_thaw(place->rig);
  log_wait(-1, true, 1);
}

/* Proves: not SYNC, no notify, no timeout is refused, also when only one region has none. */
static void
neither(void **state) {
  struct place *place = *state;
  struct sf_tio_control control = {.op = SF_TIO_WRITE, .data = place->data};
  struct sf_tio_region regions[2] = {region_at(place->quick, 0, 4096),
                                     region_at(place->stuck, 0, 4096)};

  assert_int_equal(write_both(place, 0, NULL, 0, NULL, NULL), -EINVAL);
  regions[0].timeout_ns = MS;
  assert_int_equal(sf_tio(place->client, &control, regions, 2, NULL, NULL), -EINVAL);
}

/* Proves: not SYNC, no notify, timeout: fire and forget, cancelled at the deadline.  How: the late
 * call says that it was given up on; the quick device has the bytes. */
static void
fire_and_forget(void **state) {
  struct place *place = *state;
  char back[4096];

  stall_rig_freeze(place->rig);
  assert_int_equal(write_both(place, 0, NULL, 50 * MS, NULL, NULL), 0);
  assert_true(EVENTUALLY(sf_tio_device_running(place->quick) == 0));
  read_back(place->quick_fd, 4096, back, sizeof back);
  assert_memory_equal(back, place->data, sizeof back);
  assert_int_equal(log_total(), 0);
  /* Deadline and cancel are invisible here, but refuse a second cancel. */
  assert_true(EVENTUALLY(sf_tio_cancel_by_device(place->stuck).detached == 0));
  stall_rig_thaw(place->rig);
  client_idle(place->client);
}

/* Proves: SYNC from inside a notify is refused; a plain request from there is not. */
static void
ask_inside(const struct sf_tio_event *event) {
  struct place *place = event->context;

  if (event->region == 0) {
    assert_int_equal(write_both(place, SF_TIO_SYNC, NULL, 0, NULL, NULL), -EDEADLK);
    assert_int_equal(write_both(place, 0, log_event, 0, NULL, NULL), 0);
  }
  log_event(event);
}

static void
from_inside_notify(void **state) {
  struct place *place = *state;

  assert_int_equal(write_both(place, 0, ask_inside, 0, NULL, NULL), 0);
  log_wait(SF_TIO_OK, false, 4);
  log_clear();
  assert_int_equal(write_both(place, SF_TIO_SYNC, ask_inside, 0, NULL, NULL), 0);
  log_wait(SF_TIO_OK, false, 4);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(async_notify, setup, teardown),
      cmocka_unit_test_setup_teardown(async_notify_timeout, setup, teardown),
      cmocka_unit_test_setup_teardown(sync_notify, setup, teardown),
      cmocka_unit_test_setup_teardown(sync_notify_timeout_waits_on, setup, teardown),
      cmocka_unit_test_setup_teardown(sync_notify_timeout_cancel_inside, setup, teardown),
      cmocka_unit_test_setup_teardown(sync_alone, setup, teardown),
      cmocka_unit_test_setup_teardown(sync_timeout, setup, teardown),
      cmocka_unit_test_setup_teardown(neither, setup, teardown),
      cmocka_unit_test_setup_teardown(fire_and_forget, setup, teardown),
      cmocka_unit_test_setup_teardown(from_inside_notify, setup, teardown),
  };

  need_rig(false);
  return cmocka_run_group_tests(tests, NULL, NULL);
}

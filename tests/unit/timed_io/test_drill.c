/* A frozen device: to its users it does not answer; to the disk nothing is different. */
#include "unit/timed_io/rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "timed_io/internal.h"

/* How regions reach the kernel: the submitting thread's ring, a copy by that thread, the device's
 * own thread. */
enum way { BY_RING, BY_COPY, BY_DEVICE_THREAD, WAYS };

struct place {
  struct sf_tio_client *client;
  int fd[WAYS];
  struct sf_tio_device *device[WAYS];
};

static int
setup(void **state) {
  struct place *place = calloc(1, sizeof *place);

  log_clear();
  place->client = client_new(256, 128, 0);
  place->fd[BY_RING] = open_plain();
  place->fd[BY_COPY] = memfd_create("drill", MFD_CLOEXEC);
  assert_int_equal(ftruncate(place->fd[BY_COPY], FILE_BYTES), 0);
  place->fd[BY_DEVICE_THREAD] = open_plain();
  for (unsigned way = 0; way < WAYS; way++)
    place->device[way] = device_new(place->client, place->fd[way]);
  assert_true(place->device[BY_COPY]->in_memory);
  place->device[BY_DEVICE_THREAD]->inline_ok = false;
  *state = place;
  return 0;
}

static int
teardown(void **state) {
  struct place *place = *state;

  for (unsigned way = 0; way < WAYS; way++)
    if (place->device[way] != NULL)
      sf_tio_device_thaw(place->device[way]);
  client_idle(place->client);
  for (unsigned way = 0; way < WAYS; way++) {
    if (place->device[way] != NULL)
      device_end(place->device[way]);
    close(place->fd[way]);
  }
  client_end(place->client);
  free(place);
  return 0;
}

static uint64_t
begin(struct place *place, enum way way, enum sf_tio_op op, uint64_t offset, void *data,
      uint64_t timeout_ns) {
  struct sf_tio_control control = {
      .op = op, .data = data, .notify = log_event, .timeout_ns = timeout_ns};
  struct sf_tio_region region =
      region_at(place->device[way], offset, op == SF_TIO_FLUSH ? 0 : 4096);
  uint64_t handle = 0;

  assert_int_equal(sf_tio(place->client, &control, &region, 1, &handle, NULL), 0);
  return handle;
}

static uint64_t
write_byte(struct place *place, enum way way, int byte, uint64_t timeout_ns) {
  char data[4096];

  memset(data, byte, sizeof data);
  return begin(place, way, SF_TIO_WRITE, 4096, data, timeout_ns);
}

/* Proves: the deadline of a write on a frozen device passes although the disk has done it, and the
 * answer comes with the thaw.  How: on each way into the kernel, the block is looked at on the disk
 * before the thaw. */
static void
answers_come_with_the_thaw(void **state) {
  struct place *place = *state;

  for (enum way way = 0; way < WAYS; way++) {
    log_clear();
    sf_tio_device_freeze(place->device[way]);
    write_byte(place, way, 'f', 30 * MS);
    log_wait(SF_TIO_TIMEOUT, false, 1);
    assert_true(EVENTUALLY(block_byte(place->fd[way], 4096) == 'f'));
    assert_int_equal(log_terminal(), 0);
    assert_int_equal(sf_tio_device_running(place->device[way]), 1);
    sf_tio_device_thaw(place->device[way]);
    log_wait(SF_TIO_OK, false, 1);
    assert_int_equal(log_total(), 2);
  }
}

/* Proves: a region given up while the device was frozen is DETACHED and told late with the thaw,
 * once, with what the kernel had said. */
static void
given_up_is_told_late(void **state) {
  struct place *place = *state;

  for (enum way way = 0; way < WAYS; way++) {
    struct sf_tio_canceled canceled;
    uint64_t handle;

    log_clear();
    sf_tio_device_freeze(place->device[way]);
    handle = write_byte(place, way, 'g', 30 * MS);
    log_wait(SF_TIO_TIMEOUT, false, 1);
    assert_true(EVENTUALLY(block_byte(place->fd[way], 4096) == 'g'));
    canceled = sf_tio_cancel_by_handle(place->client, handle);
    assert_int_equal(canceled.detached, 1);
    log_wait(SF_TIO_CANCELED, false, 1);
    assert_int_equal(log_count(-1, true), 0);
    sf_tio_device_thaw(place->device[way]);
    log_wait(SF_TIO_CANCELED, true, 1);
    assert_int_equal(log_get(SF_TIO_CANCELED, true, 0).error, 0);
  }
}

/* Proves: an error is an error after the thaw, and a read has its data. */
static void
what_was_answered_is_kept(void **state) {
  struct place *place = *state;

  for (enum way way = 0; way < WAYS; way++) {
    char data[4096] = {0};

    log_clear();
    write_byte(place, way, 'k', 0);
    log_wait(SF_TIO_OK, false, 1);
    sf_tio_device_freeze(place->device[way]);
    begin(place, way, SF_TIO_READ, 4096, data, 0);
    begin(place, way, SF_TIO_READ, FILE_BYTES, data, 0); /* past the end */
    begin(place, way, SF_TIO_FLUSH, 0, NULL, 20 * MS);
    log_wait(SF_TIO_TIMEOUT, false, 1);
    assert_int_equal(log_terminal(), 1);
    sf_tio_device_thaw(place->device[way]);
    log_wait(SF_TIO_ERROR, false, 1);
    log_wait(SF_TIO_OK, false, 3);
    assert_int_equal(log_get(SF_TIO_ERROR, false, 0).error, -EIO);
    assert_true(all_bytes(data, 'k', sizeof data));
  }
}

/* Proves: a device that is frozen holds no other one up, in the same request either. */
static void
others_answer(void **state) {
  struct place *place = *state;
  char data[4096] = {'o'};
  struct sf_tio_control control = {
      .op = SF_TIO_WRITE, .data = data, .notify = log_event, .timeout_ns = PATIENCE_NS};
  struct sf_tio_region region[WAYS];

  for (enum way frozen = 0; frozen < WAYS; frozen++) {
    log_clear();
    sf_tio_device_freeze(place->device[frozen]);
    for (enum way way = 0; way < WAYS; way++)
      region[way] = region_at(place->device[way], 8192, 4096);
    assert_int_equal(sf_tio(place->client, &control, region, WAYS, NULL, NULL), 0);
    log_wait(SF_TIO_OK, false, WAYS - 1);
    assert_int_equal(log_total(), WAYS - 1);
    sf_tio_device_thaw(place->device[frozen]);
    log_wait(SF_TIO_OK, false, WAYS);
  }
}

static unsigned
in_kernel(const struct place *place) {
  unsigned n;

  pthread_mutex_lock(&place->client->lock);
  n = place->device[BY_DEVICE_THREAD]->device_thread.in_kernel;
  pthread_mutex_unlock(&place->client->lock);
  return n;
}

/* Proves: what found no room in the kernel beside what was kept goes on with the thaw, by
 * itself. */
static void
what_waits_goes_on(void **state) {
  struct place *place = *state;
  unsigned n = SF_TIO_DEVICE_THREAD_DEPTH + 10;

  sf_tio_device_freeze(place->device[BY_DEVICE_THREAD]);
  for (unsigned i = 0; i < n; i++)
    write_byte(place, BY_DEVICE_THREAD, 'w', 0);
  assert_true(EVENTUALLY(in_kernel(place) == SF_TIO_DEVICE_THREAD_DEPTH));
  assert_true(EVENTUALLY(atomic_load(&place->device[BY_DEVICE_THREAD]->device_thread.waiting)));
  sf_tio_device_thaw(place->device[BY_DEVICE_THREAD]);
  log_wait(SF_TIO_OK, false, n);
}

/* Proves: a removed device is not frozen any more, as nothing could thaw it. */
static void
removal_thaws(void **state) {
  struct place *place = *state;

  for (enum way way = 0; way < WAYS; way++) {
    log_clear();
    sf_tio_device_freeze(place->device[way]);
    write_byte(place, way, 'r', 30 * MS);
    log_wait(SF_TIO_TIMEOUT, false, 1);
    assert_int_equal(sf_tio_device_remove(place->device[way]), 0);
    place->device[way] = NULL;
    log_wait(SF_TIO_OK, false, 1);
  }
}

enum { ROUNDS = 400, TOGGLES = 200 };

static void *
toggle(void *arg) {
  struct place *place = arg;

  for (unsigned i = 0; i < TOGGLES; i++) {
    sf_tio_device_freeze(place->device[i % WAYS]);
    usleep(100);
    sf_tio_device_thaw(place->device[i % WAYS]);
  }
  return NULL;
}

/* Proves: freezing and thawing beside requests and cancels loses no answer and tells none twice.
 * How: each request is told as terminal exactly once, and the client is idle at the end. */
static void
beside_requests(void **state) {
  struct place *place = *state;
  pthread_t thread;

  assert_int_equal(pthread_create(&thread, NULL, toggle, place), 0);
  for (unsigned i = 0; i < ROUNDS; i++) {
    uint64_t handle = write_byte(place, i % WAYS, 'b', MS);

    if (i % 3 == 0)
      sf_tio_cancel_by_handle(place->client, handle);
    if (i % 50 == 49)
      assert_true(EVENTUALLY(log_terminal() == i + 1));
  }
  pthread_join(thread, NULL);
  assert_true(EVENTUALLY(log_terminal() == ROUNDS));
  client_idle(place->client);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(answers_come_with_the_thaw, setup, teardown),
      cmocka_unit_test_setup_teardown(given_up_is_told_late, setup, teardown),
      cmocka_unit_test_setup_teardown(what_was_answered_is_kept, setup, teardown),
      cmocka_unit_test_setup_teardown(others_answer, setup, teardown),
      cmocka_unit_test_setup_teardown(what_waits_goes_on, setup, teardown),
      cmocka_unit_test_setup_teardown(removal_thaws, setup, teardown),
      cmocka_unit_test_setup_teardown(beside_requests, setup, teardown),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

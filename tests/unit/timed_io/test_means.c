/* What this machine lacks is not the device's failure: it is waited for, and no request is lost.
 *
 * The kernel's answers are changed on their way: the next ones of regions say what the test
 * wants. */
#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#include <liburing.h>

#include "unit/timed_io/rig.h"

static struct {
  atomic_int res;
  atomic_uint times; /* still to be said */
  atomic_uint said;
} answer;

unsigned __real_io_uring_peek_batch_cqe(struct io_uring *ring, struct io_uring_cqe **cqes,
                                        unsigned count);
unsigned __wrap_io_uring_peek_batch_cqe(struct io_uring *ring, struct io_uring_cqe **cqes,
                                        unsigned count);

static bool
takes_one(void) {
  unsigned times = atomic_load(&answer.times);

  while (times > 0)
    if (atomic_compare_exchange_weak(&answer.times, &times, times - 1))
      return true;
  return false;
}

unsigned
__wrap_io_uring_peek_batch_cqe(struct io_uring *ring, struct io_uring_cqe **cqes, unsigned count) {
  unsigned n = __real_io_uring_peek_batch_cqe(ring, cqes, count);

  for (unsigned i = 0; i < n; i++)
    if (cqes[i]->user_data >> 16 && takes_one()) { /* a region's */
      cqes[i]->res = atomic_load(&answer.res);
      atomic_fetch_add(&answer.said, 1);
    }
  return n;
}

static struct sf_tio_client *client;
static struct sf_tio_device *device;
static int fd;
static char data[4096] = "m";

static int
begin(void **state) {
  fd = open_plain();
  client = client_new(0, 0, 0);
  device = device_new(client, fd);
  atomic_store(&answer.times, 0);
  atomic_store(&answer.said, 0);
  return 0;
}

static int
end(void **state) {
  atomic_store(&answer.times, 0);
  device_end(device);
  client_end(client);
  close(fd);
  return 0;
}

static void
say(int res, unsigned times) {
  atomic_store(&answer.res, res);
  atomic_store(&answer.times, times);
}

static int
ask(enum sf_tio_op op, unsigned flags, uint64_t timeout_ns) {
  struct sf_tio_control control = {.op = op,
                                   .flags = flags,
                                   .data = op == SF_TIO_FLUSH || op == SF_TIO_ZERO ? NULL : data,
                                   .notify = log_event,
                                   .timeout_ns = timeout_ns};
  struct sf_tio_region region = region_at(device, 4096, 4096);

  return sf_tio(client, &control, &region, 1, NULL, NULL);
}

/* Proves: each kind of want passes, for each kind of request, without an error or a timeout. */
static void
it_passes(void **state) {
  static const int wants[] = {-ENOMEM, -EAGAIN, -ENOBUFS, -EMFILE, -ENFILE, -EINTR, -ECANCELED};
  static const enum sf_tio_op ops[] = {SF_TIO_WRITE, SF_TIO_READ, SF_TIO_ZERO};

  for (unsigned i = 0; i < sizeof wants / sizeof wants[0]; i++)
    for (unsigned j = 0; j < sizeof ops / sizeof ops[0]; j++) {
      say(wants[i], 6);
      assert_int_equal(ask(ops[j], SF_TIO_SYNC, PATIENCE_NS), 0);
      assert_int_equal(answer.times, 0);
    }
  assert_int_equal(log_count(SF_TIO_ERROR, false) + log_count(SF_TIO_TIMEOUT, false), 0);
}

/* Proves: while it lasts the region runs and its deadline passes; it is asked again with pauses,
 * and is OK when the want has passed. */
static void
it_lasts(void **state) {
  say(-ENOMEM, UINT32_MAX);
  assert_int_equal(ask(SF_TIO_WRITE, 0, 300 * MS), 0);
  log_wait(SF_TIO_TIMEOUT, false, 1);
  assert_int_equal(log_total(), 1);
  assert_int_equal(sf_tio_device_running(device), 1);
  assert_in_range(answer.said, 3, 20); /* 2 + 4 + 8 + ... ms apart */
  say(0, 0);
  log_wait(SF_TIO_OK, false, 1);
  assert_int_equal(log_total(), 2);
}

/* Proves: a region that rests can be cancelled, and then nothing of it is left. */
static void
it_is_given_up(void **state) {
  struct sf_tio_canceled canceled;

  say(-ENOMEM, UINT32_MAX);
  assert_int_equal(ask(SF_TIO_READ, 0, 300 * MS), 0);
  log_wait(SF_TIO_TIMEOUT, false, 1);
  canceled = sf_tio_cancel_by_device(device);
  assert_int_equal(canceled.real + canceled.detached, 1);
  log_wait(SF_TIO_CANCELED, false, 1);
  say(0, 0);
  assert_true(EVENTUALLY(sf_tio_device_running(device) == 0));
}

/* Proves: it is an error in the end, and the next request is not harmed. */
static void
it_never_passes(void **state) {
  say(-ENOMEM, UINT32_MAX);
  assert_int_equal(ask(SF_TIO_WRITE, SF_TIO_SYNC, 0), -EIO);
  assert_int_equal(log_get(SF_TIO_ERROR, false, 0).error, -ENOMEM);
  say(0, 0);
  assert_int_equal(ask(SF_TIO_WRITE, SF_TIO_SYNC, 0), 0);
}

/* Proves: what makes data stable is not asked twice (R9). */
static void
not_for_what_makes_stable(void **state) {
  say(-ENOMEM, 1);
  assert_int_equal(ask(SF_TIO_FLUSH, SF_TIO_SYNC, PATIENCE_NS), -EIO);
  say(-EAGAIN, 1);
  assert_int_equal(ask(SF_TIO_FLUSH, SF_TIO_SYNC, PATIENCE_NS), -EIO);
  say(-ENOMEM, 1);
  assert_int_equal(ask(SF_TIO_WRITE, SF_TIO_SYNC | SF_TIO_FUA, PATIENCE_NS), -EIO);
  assert_int_equal(log_count(SF_TIO_ERROR, false), 3);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(it_passes, begin, end),
      cmocka_unit_test_setup_teardown(it_lasts, begin, end),
      cmocka_unit_test_setup_teardown(it_is_given_up, begin, end),
      cmocka_unit_test_setup_teardown(it_never_passes, begin, end),
      cmocka_unit_test_setup_teardown(not_for_what_makes_stable, begin, end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

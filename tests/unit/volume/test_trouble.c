/* Legs that cannot be spared and fail what they are asked: what waits, what fails, and how it
 * ends. */
#include "trouble_rig.h"

#include <errno.h>
#include <string.h>

static int bad_block_error;

static int
fails_as_told_or_at_a_block(const struct rig *r, const struct rig_region *region) {
  int error = fails_as_told(r, region);

  if (error == 0 && region->op == SF_TIO_READ && region->offset == SF_DATA_OFFSET)
    error = bad_block_error;
  return error;
}

static void
init(unsigned legs, enum sf_on_too_few on_too_few) {
  trouble_rig_init(legs, on_too_few);
  bad_block_error = 0;
  rig.fails = fails_as_told_or_at_a_block;
  rig.holds = rig_takes_a_moment;
}

static int
ask(enum sf_request_kind kind, uint64_t offset) {
  struct rig_request request;
  int error;

  rig_submit(&rig, &request, kind, offset, kind == SF_REQ_FLUSH ? 0 : 4096, 1);
  rig_pass(&rig, 1000);
  error = request.done ? request.request.error : 1;
  if (!request.done)
    sf_volume_give_up(rig.volume, &request.request, rig.now_ns);
  rig_put(&request);
  return error;
}

static void
whatever_meets_errors_everywhere_is_suspended(void **state) {
  const int errors[] = {-EIO, -ENODEV, -ENOTCONN, -ENOMEM, -ETIMEDOUT};

  for (unsigned e = 0; e < sizeof errors / sizeof errors[0]; e++) {
    struct rig_request request[KINDS];

    init(2, SF_TOO_FEW_SUSPEND);
    failing = 3;
    error_of_all = errors[e];
    submit_all(request);
    rig_pass(&rig, 20000);
    for (unsigned i = 0; i < KINDS; i++)
      assert_false(request[i].done);
    failing = 0;
    rig_pass(&rig, 1000);
    for (unsigned i = 0; i < KINDS; i++) {
      assert_true(request[i].done);
      assert_int_equal(request[i].request.error, 0);
    }
    put_all(request);
    rig_free(&rig);
  }
}

static void
what_may_pass_fails_after_its_time(void **state) {
  const int errors[] = {-ENODEV, -ESTALE, -ENOTCONN, -ENOLINK, -ENOMEM, -ETIMEDOUT};

  for (unsigned e = 0; e < sizeof errors / sizeof errors[0]; e++) {
    struct rig_request request[KINDS];

    init(2, SF_TOO_FEW_ERROR);
    failing = 3;
    error_of_all = errors[e];
    submit_all(request);
    rig_pass(&rig, 2900);
    for (unsigned i = 0; i < KINDS; i++)
      assert_false(request[i].done);
    rig_pass(&rig, 300);
    for (unsigned i = 0; i < KINDS; i++) {
      assert_true(request[i].done);
      assert_int_equal(request[i].request.error, -EIO);
    }
    put_all(request);
    rig_free(&rig);
  }
}

static void
what_does_not_pass_fails_at_once(void **state) {
  init(2, SF_TOO_FEW_ERROR);
  assert_int_equal(ask(SF_REQ_WRITE, 0), 0); /* its intent is there */
  failing = 3;
  error_of_all = -EIO;
  assert_int_equal(ask(SF_REQ_READ, 65536), -EIO);
  assert_int_equal(ask(SF_REQ_WRITE, 0), -EIO);
  rig_free(&rig);
}

/* A client that goes away says nothing of the legs. */
static void
a_write_that_is_given_up_forgives_nothing(void **state) {
  static struct sf_volume_status status;

  init(2, SF_TOO_FEW_ERROR);
  assert_int_equal(ask(SF_REQ_WRITE, 0), 0);
  failing = 3;
  error_of_all = -EIO;
  assert_int_equal(ask(SF_REQ_WRITE, 0), -EIO);
  error_of_all = -ENODEV;
  assert_int_equal(ask(SF_REQ_WRITE, 0), 1);
  sf_volume_status(rig.volume, rig.now_ns, &status);
  assert_int_equal(status.state, SF_VOLUME_FAILED);
  rig_free(&rig);
}

/* The legs answer otherwise: it is the block. */
static void
a_block_that_is_bad_everywhere_does_not_wait(void **state) {
  struct rig_request read;

  init(2, SF_TOO_FEW_SUSPEND);
  bad_block_error = -EIO;
  assert_int_equal(ask(SF_REQ_READ, 0), -EIO);
  assert_int_equal(ask(SF_REQ_READ, 4096), 0);
  failing = 1; /* one leg does not answer at all: maybe it has the block */
  error_of_all = -ENODEV;
  rig_submit(&rig, &read, SF_REQ_READ, 0, 4096, 0);
  rig_pass(&rig, 500);
  if (read.done)
    assert_int_equal(read.request.error, -EIO);
  else
    sf_volume_give_up(rig.volume, &read.request, rig.now_ns);
  rig_put(&read);
  rig_free(&rig);
}

static void
disks_that_are_back_are_opened_again(void **state) {
  struct rig_request request[KINDS];
  static struct sf_volume_status status;

  init(2, SF_TOO_FEW_SUSPEND);
  failing = 3;
  error_of_all = -ENODEV;
  submit_all(request);
  rig_pass(&rig, 100);
  assert_int_equal(rig.reopening, 3);
  sf_volume_status(rig.volume, rig.now_ns, &status);
  assert_int_equal(status.leg[0].state, SF_STATE_IN_SYNC);
  assert_string_not_equal(status.leg[0].reason, "");
  failing = 0;
  assert_int_equal(rig_reopen(&rig, 0), 0);
  rig_pass(&rig, 1000);
  for (unsigned i = 0; i < KINDS; i++) {
    assert_true(request[i].done);
    assert_int_equal(request[i].request.error, 0);
  }
  put_all(request);
  rig_free(&rig);
}

static bool
hangs_at_0(const struct rig *r, const struct rig_region *region) {
  return rig_takes_a_moment(r, region) || region->offset == SF_DATA_OFFSET;
}

/* What the old device still has may land behind what goes to the new one. */
static void
none_is_taken_beside_one_that_has_something(void **state) {
  struct rig_request read, write;

  init(1, SF_TOO_FEW_SUSPEND);
  rig.holds = hangs_at_0;
  rig_submit(&rig, &read, SF_REQ_READ, 0, 4096, 1);
  rig_pass(&rig, 10);
  failing = 1;
  error_of_all = -ENODEV;
  rig_submit(&rig, &write, SF_REQ_WRITE, 65536, 4096, 1);
  rig_pass(&rig, 3000);
  assert_int_not_equal(rig.volume->leg[0].troubled_ns, 0);
  assert_int_equal(rig_reopen(&rig, 0), -EBUSY);
  rig_pass(&rig, 3000);
  assert_int_equal(rig.reopening, 0);
  rig.holds = rig_takes_a_moment;
  rig_pass(&rig, 50);
  failing = 0;
  assert_int_equal(rig_reopen(&rig, 0), 0);
  rig_pass(&rig, 1000);
  assert_true(read.done && write.done);
  rig_put(&read);
  rig_put(&write);
  rig_free(&rig);
}

/* Nothing that was made durable there may be missing, or it is another disk, or an old copy of
 * it. */
static void
a_disk_in_an_older_state_is_not_taken(void **state) {
  static uint8_t before[SF_MAPS_OFFSET];
  static struct sf_volume_status status;
  struct rig_request write;

  init(1, SF_TOO_FEW_SUSPEND);
  memcpy(before, rig.leg[0], sizeof before);
  sf_volume_stop(rig.volume, rig.now_ns);
  rig_pass(&rig, 200);
  rig_kill(&rig);
  rig.fails = fails_as_told;
  rig_start_fully(&rig);
  failing = 1;
  error_of_all = -ENODEV;
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 1);
  rig_pass(&rig, 100);
  failing = 0;
  memcpy(rig.leg[0], before, sizeof before);
  assert_int_not_equal(rig_reopen(&rig, 0), 0);
  sf_volume_status(rig.volume, rig.now_ns, &status);
  assert_non_null(strstr(status.leg[0].reason, "older"));
  rig_pass(&rig, 500);
  rig_put(&write);
  rig_free(&rig);
}

/* The disk behind the path now may have lost its cache; a path that was down and is up again has
 * not. */
static void
what_was_unflushed_when_it_went(void **state) {
  init(1, SF_TOO_FEW_SUSPEND);
  assert_int_equal(ask(SF_REQ_WRITE, 0), 0);
  failing = 1;
  error_of_all = -ENODEV;
  assert_int_equal(ask(SF_REQ_READ, 65536), 1);
  failing = 0;
  error_of_all = 0;
  assert_int_equal(rig_reopen(&rig, 0), 0);
  assert_int_equal(ask(SF_REQ_FLUSH, 0), -EIO);
  rig_free(&rig);

  init(1, SF_TOO_FEW_SUSPEND);
  assert_int_equal(ask(SF_REQ_WRITE, 0), 0);
  failing = 1;
  error_of_all = -ENOTCONN;
  assert_int_equal(ask(SF_REQ_READ, 65536), 1);
  failing = 0;
  assert_int_equal(ask(SF_REQ_FLUSH, 0), 0);
  rig_free(&rig);
}

/* What cannot even be sent is an error as well as what is answered with one. */
static void
what_cannot_be_sent_is_tried_again(void **state) {
  struct rig_request request[KINDS];

  init(2, SF_TOO_FEW_SUSPEND);
  failing = 3;
  error_of_all = -ENODEV;
  submit_all(request);
  rig_pass(&rig, 50);
  rig.refuses = -ENODEV;
  rig_pass(&rig, 1000);
  for (unsigned i = 0; i < KINDS; i++)
    assert_false(request[i].done);
  rig.refuses = failing = 0;
  rig_pass(&rig, 1000);
  for (unsigned i = 0; i < KINDS; i++) {
    assert_true(request[i].done);
    assert_int_equal(request[i].request.error, 0);
  }
  put_all(request);
  rig_free(&rig);
}

/* ---- a leg that fails, and others that may have gone with it ---- */

static unsigned events, suspensions;

static void
count_events(const struct sf_volume_event *event) {
  events += event->kind == SF_EVENT_LEG_TROUBLE;
  suspensions += event->kind == SF_EVENT_STATE && strcmp(event->to, "suspended") == 0;
}

static void
init_timed(unsigned legs, enum sf_on_too_few on_too_few) {
  trouble_rig_init(legs, on_too_few);
  events = suspensions = 0;
  rig.event = count_events;
}

/* Both fail, and the errors of one of them take longer: the other one is not thrown out by the word
 * of a leg that is dead, or it would be well again in vain. */
static void
one_that_fails_stays_where_the_other_fails_too(void **state) {
  const enum sf_request_kind kind[] = {SF_REQ_FLUSH, SF_REQ_WRITE};

  for (unsigned k = 0; k < 2; k++) {
    struct rig_request request;

    init_timed(2, SF_TOO_FEW_SUSPEND);
    assert_int_equal(ask(SF_REQ_WRITE, 0), 0);
    failing = 3;
    error_of_all = -ENODEV;
    takes_ms[0] = 300;
    takes_ms[1] = 20;
    rig_submit(&rig, &request, kind[k], 0, kind[k] == SF_REQ_FLUSH ? 0 : 4096, 2);
    rig_pass(&rig, 1500);
    assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
    failing = 1;
    takes_ms[1] = 1;
    rig_pass(&rig, 2500);
    assert_true(request.done);
    assert_int_not_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
    assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
    rig_put(&request);
    rig_free(&rig);
  }
}

/* It has all, has nothing to do and answers: asked once, it says so. */
static void
one_that_fails_alone_leaves_at_once(void **state) {
  const int errors[] = {-EIO, -ENODEV};
  const enum sf_on_too_few on_too_few[] = {SF_TOO_FEW_SUSPEND, SF_TOO_FEW_ERROR};

  for (unsigned i = 0; i < 4; i++) {
    struct rig_request write;

    init_timed(2, on_too_few[i / 2]);
    assert_int_equal(ask(SF_REQ_WRITE, 0), 0);
    failing = 2;
    error_of_all = errors[i % 2];
    takes_ms[1] = 20;
    takes_ms[0] = 5;
    rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 2);
    rig_pass(&rig, 24);
    assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
    rig_pass(&rig, 40);
    assert_true(write.done && write.request.error == 0);
    assert_int_not_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
    assert_int_equal(events, 0);
    assert_int_equal(suspensions, 0);
    rig_put(&write);
    rig_free(&rig);
  }
}

/* One leg has the write and says nothing, the other one cannot write it: fail_timeout counts. */
static void
a_write_that_a_silent_leg_has_is_not_failed_at_once(void **state) {
  struct rig_request write;

  init_timed(2, SF_TOO_FEW_ERROR);
  rig_never_late(&rig.volume->config);
  assert_int_equal(ask(SF_REQ_WRITE, 0), 0);
  failing = 2;
  error_of_all = -EIO;
  takes_ms[1] = 20;
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 2);
  rig_pass(&rig, 10);
  takes_ms[0] = 1000;
  rig_pass(&rig, 900);
  assert_false(write.done);
  rig_pass(&rig, 2000);
  assert_true(write.done && write.request.error == 0);
  assert_int_not_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_put(&write);
  rig_free(&rig);
}

static int
leg_1_writes_no_data(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && region->op == SF_TIO_WRITE && rig_is_data(r, region) ? -EIO : 0;
}

/* It answers all else, so that each error begins a new series; the other one has answered each time
 * before the error is there, and is slow. */
static void
one_that_cannot_write_a_block_leaves(void **state) {
  struct rig_request write;

  init_timed(2, SF_TOO_FEW_SUSPEND);
  rig.fails = leg_1_writes_no_data;
  takes_ms[0] = 30;
  takes_ms[1] = 40;
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 2);
  rig_pass(&rig, 400);
  assert_true(write.done && write.request.error == 0);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_FAULTY);
  rig_put(&write);
  rig_free(&rig);
}

static int
leg_1_cannot_write_and_leg_0_has_a_bad_block(const struct rig *r, const struct rig_region *region) {
  if (region->leg == 1)
    return region->op == SF_TIO_READ ? 0 : -EIO;
  return region->op == SF_TIO_READ && region->offset == SF_DATA_OFFSET + 65536 ? -EIO : 0;
}

/* A bad block is no trouble that may have been common: each read of it is an answer. */
static void
one_fails_beside_one_with_a_bad_block(void **state) {
  struct rig_request write, read;

  init_timed(2, SF_TOO_FEW_ERROR);
  rig_never_late(&rig.volume->config);
  assert_int_equal(ask(SF_REQ_WRITE, 0), 0);
  rig.fails = leg_1_cannot_write_and_leg_0_has_a_bad_block;
  takes_ms[1] = 80;
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 1);
  for (unsigned i = 0; i < 100; i++) {
    rig_submit(&rig, &read, SF_REQ_READ, 65536, 4096, 0);
    rig_pass(&rig, 100);
    rig_put(&read);
  }
  assert_true(write.done && write.request.error == 0);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  rig_put(&write);
  rig_free(&rig);
}

static void
one_that_cannot_be_made_equal_leaves(void **state) {
  struct rig_request write;

  init_timed(2, SF_TOO_FEW_SUSPEND);
  assert_int_equal(ask(SF_REQ_WRITE, 0), 0);
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 2);
  rig_kill(&rig);
  rig.leg[1][SF_DATA_OFFSET] ^= 1;
  rig.fails = leg_1_writes_no_data;
  takes_ms[0] = 30;
  takes_ms[1] = 40;
  rig_start(&rig);
  rig_pass(&rig, 2000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_FAULTY);
  rig_put(&write);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(whatever_meets_errors_everywhere_is_suspended),
      cmocka_unit_test(what_may_pass_fails_after_its_time),
      cmocka_unit_test(what_does_not_pass_fails_at_once),
      cmocka_unit_test(a_write_that_is_given_up_forgives_nothing),
      cmocka_unit_test(a_block_that_is_bad_everywhere_does_not_wait),
      cmocka_unit_test(disks_that_are_back_are_opened_again),
      cmocka_unit_test(none_is_taken_beside_one_that_has_something),
      cmocka_unit_test(a_disk_in_an_older_state_is_not_taken),
      cmocka_unit_test(what_was_unflushed_when_it_went),
      cmocka_unit_test(what_cannot_be_sent_is_tried_again),
      cmocka_unit_test(one_that_fails_stays_where_the_other_fails_too),
      cmocka_unit_test(one_that_fails_alone_leaves_at_once),
      cmocka_unit_test(a_write_that_a_silent_leg_has_is_not_failed_at_once),
      cmocka_unit_test(one_that_cannot_write_a_block_leaves),
      cmocka_unit_test(one_fails_beside_one_with_a_bad_block),
      cmocka_unit_test(one_that_cannot_be_made_equal_leaves),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

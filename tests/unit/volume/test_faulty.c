/* R14: errors and the operator make a leg faulty, and it stays so; what passes by itself does
 * not. */
#include "rig.h"

#include <errno.h>

static struct rig rig;
static int write_error;
static bool leg_2_holds, copies_hold;

static int
leg_2_fails(const struct rig *r, const struct rig_region *region) {
  return region->leg == 2 && region->op == SF_TIO_WRITE && rig_is_data(r, region) ? write_error : 0;
}

static bool
holds_leg_2(const struct rig *r, const struct rig_region *region) {
  return (leg_2_holds && region->leg == 2) ||
         (copies_hold && region->op == SF_TIO_READ && rig_is_data(r, region));
}

static void
init(void) {
  write_error = 0;
  leg_2_holds = copies_hold = false;
  rig_init(&rig, 3, 2, 65536, 64);
  rig.fails = leg_2_fails;
  rig.holds = holds_leg_2;
}

static void
write_block(void) {
  struct rig_request write;

  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 1);
  rig_pass(&rig, 400);
  assert_true(write.done);
  assert_int_equal(write.request.error, 0);
  rig_put(&write);
}

static void
stop_and_start(void) {
  leg_2_holds = copies_hold = false;
  sf_volume_stop(rig.volume, rig.now_ns);
  rig_pass(&rig, 200);
  assert_true(sf_volume_stopped(rig.volume));
  rig_kill(&rig);
  rig_start_fully(&rig);
}

/* Takes leg 2 out for want of an answer, and leads it on to the state. */
static void
bring_leg_2_to(enum sf_leg_state state) {
  leg_2_holds = true;
  write_block();
  assert_int_equal(rig_state(&rig, 2), SF_STATE_LATE);
  if (state == SF_STATE_LATE)
    return;
  leg_2_holds = false;
  copies_hold = true;
  for (unsigned i = 0; i < 3000 && rig_state(&rig, 2) != state; i++)
    rig_pass(&rig, 1);
  assert_int_equal(rig_state(&rig, 2), state);
}

static void
what_the_operator_took_out_stays_out_over_a_start(void **state) {
  const enum sf_leg_state before[] = {SF_STATE_IN_SYNC, SF_STATE_LATE, SF_STATE_PROBING,
                                      SF_STATE_CATCHING_UP};

  for (unsigned i = 0; i < sizeof before / sizeof before[0]; i++) {
    init();
    rig_start_fully(&rig);
    if (before[i] != SF_STATE_IN_SYNC)
      bring_leg_2_to(before[i]);
    assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
    rig_pass(&rig, 100);
    stop_and_start();
    rig_pass(&rig, 3000);
    assert_int_equal(rig_state(&rig, 2), SF_STATE_FAULTY);
    rig_free(&rig);
  }
}

/* It is not even there: it comes back only when the operator says so. */
static void
a_missing_leg_that_was_taken_out_stays_out(void **state) {
  init();
  rig_start_fully(&rig);
  stop_and_start();
  rig_kill(&rig);
  rig.absent[2] = true;
  rig_start_fully(&rig);
  rig_pass(&rig, 100);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 100);
  stop_and_start();
  assert_int_equal(rig_state(&rig, 2), SF_STATE_FAULTY);
  rig.opening = 0;
  rig_pass(&rig, 5000);
  assert_int_equal(rig.opening, 0);
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 100);
  rig_open(&rig, 2);
  rig_pass(&rig, 5000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

static void
what_the_operator_returned_is_not_faulty_at_the_next_start(void **state) {
  init();
  rig_start_fully(&rig);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 100);
  copies_hold = true;
  write_block();
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 100);
  assert_int_not_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  stop_and_start();
  rig_pass(&rig, 5000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

static void
an_error_while_it_catches_up_is_remembered(void **state) {
  init();
  rig_start_fully(&rig);
  bring_leg_2_to(SF_STATE_CATCHING_UP);
  write_error = -EIO;
  copies_hold = false;
  rig_pass(&rig, 1000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_FAULTY);
  write_error = 0;
  stop_and_start();
  rig_pass(&rig, 3000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_FAULTY);
  rig_free(&rig);
}

static void
an_error_that_passes_makes_no_leg_faulty(void **state) {
  const struct {
    int error;
    enum sf_leg_state state;
  } cases[] = {
      {-ENODEV, SF_STATE_MISSING},   {-ENXIO, SF_STATE_MISSING},
      {-ENOLINK, SF_STATE_MISSING},  {-EHOSTUNREACH, SF_STATE_MISSING},
      {-ENOTCONN, SF_STATE_MISSING}, {-ETIMEDOUT, SF_STATE_LATE},
      {-ENOMEM, SF_STATE_LATE},      {-EAGAIN, SF_STATE_LATE},
      {-EIO, SF_STATE_FAULTY},       {-ENOSPC, SF_STATE_LATE},
      {-EDQUOT, SF_STATE_LATE},      {-EROFS, SF_STATE_FAULTY},
      {-EREMOTEIO, SF_STATE_FAULTY},
  };

  for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct rig_request write;

    init();
    rig_start_fully(&rig);
    write_error = cases[i].error;
    rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 1);
    rig_pass(&rig, 5);
    assert_true(write.done);
    rig_put(&write);
    if (cases[i].state == SF_STATE_LATE) /* and probed at once, as nothing of it runs */
      assert_int_equal(rig_state(&rig, 2), SF_STATE_PROBING);
    else
      assert_int_equal(rig_state(&rig, 2), cases[i].state);
    assert_int_equal(!!(rig.volume->latest.faulty & 4), cases[i].state == SF_STATE_FAULTY);
    rig_free(&rig);
  }
}

/* A dead disk answers EIO, or ENOSPC: what counts is that it is gone. */
static void
a_disk_that_is_pulled_out_is_missing(void **state) {
  const int errors[] = {-EIO, -ENOSPC, -EREMOTEIO};

  for (unsigned i = 0; i < sizeof errors / sizeof errors[0]; i++) {
    struct rig_request write;

    init();
    rig_start_fully(&rig);
    write_error = errors[i];
    rig.gone = 4;
    rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 1);
    rig_pass(&rig, 5);
    assert_true(write.done && write.request.error == 0);
    rig_put(&write);
    assert_int_equal(rig_state(&rig, 2), SF_STATE_MISSING);
    assert_string_equal(rig.volume->leg[2].reason, "write at 0: No such device");
    assert_int_equal(rig.asked_with_lock, 0);
    assert_int_equal(rig.volume->latest.faulty, 0);
    write_error = 0;
    rig.gone = 0;
    rig_pass(&rig, 2500);
    rig_open(&rig, 2); /* it is plugged again */
    rig_pass(&rig, 5000);
    assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
    rig_free(&rig);
  }
}

static struct rig_request meanwhile;

static void
another_request_comes(struct rig *r) {
  r->while_asked = NULL;
  rig_submit(r, &meanwhile, SF_REQ_READ, 8192, 4096, 0);
  rig_pass(r, 5000);
  assert_true(meanwhile.done && meanwhile.request.error == 0);
}

/* The kernel may hang in the question while the disk is dying. */
static void
a_question_for_a_disk_holds_up_no_request(void **state) {
  struct rig_request write;

  init();
  rig_start_fully(&rig);
  write_error = -EIO;
  rig.gone = 4;
  rig.while_asked = another_request_comes;
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 1);
  rig_pass(&rig, 5);
  assert_null(rig.while_asked);
  assert_true(write.done && write.request.error == 0);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_MISSING);
  rig_put(&meanwhile);
  rig_put(&write);
  rig_free(&rig);
}

/* Its errors come before the kernel knows that it is gone: it is faulty until then. */
static void
a_faulty_disk_that_is_seen_to_be_gone_is_missing(void **state) {
  struct rig_request write;

  for (unsigned by_operator = 0; by_operator < 2; by_operator++) {
    init();
    rig_start_fully(&rig);
    write_error = -EIO;
    rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 1);
    rig_pass(&rig, 5);
    rig_put(&write);
    assert_int_equal(rig_state(&rig, 2), SF_STATE_FAULTY);
    if (by_operator)
      assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
    rig_pass(&rig, 5000);
    assert_int_equal(rig_state(&rig, 2), SF_STATE_FAULTY);
    rig.gone = 4;
    rig_pass(&rig, 2500);
    assert_int_equal(rig_state(&rig, 2), by_operator ? SF_STATE_FAULTY : SF_STATE_MISSING);
    assert_int_equal(rig.volume->durable.faulty, by_operator ? 4 : 0);
    rig_free(&rig);
  }
}

/* Leg 2 is faulty for a write that it failed. */
static void
fails_a_write(void) {
  struct rig_request write;

  init();
  rig_start_fully(&rig);
  write_error = -EIO;
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 1);
  rig_pass(&rig, 5);
  rig_put(&write);
  write_error = 0;
  assert_int_equal(rig_state(&rig, 2), SF_STATE_FAULTY);
}

/* The kernel is asked by somebody who may hang: the lock is free, requests are answered, and there is one who asks. */
static void
a_look_that_hangs_holds_up_nobody(void **state) {
  struct rig_request write;

  fails_a_write();
  rig.looks_hang = true;
  for (unsigned i = 0; i < 20; i++) {
    rig_pass(&rig, 1000);
    rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 1);
    rig_pass(&rig, 5);
    assert_true(write.done && write.request.error == 0);
    rig_put(&write);
  }
  assert_int_equal(rig.looks, 1);
  assert_int_equal(rig.asked_with_lock, 0);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_FAULTY);
  rig.look[2].gone = true;
  rig_looked(&rig, 2);
  rig_pass(&rig, 100);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_MISSING);
  rig_free(&rig);
}

enum meanwhile {
  RETURNED,
  FAULTY_AGAIN,
  DISCARDED,
  REMOVED,
  GIVEN_AWAY,
  BY_OPERATOR,
  STOPPED,
  MEANWHILES
};

static void
happens(enum meanwhile what) {
  struct rig_request write;
  unsigned leg;

  switch (what) {
  case RETURNED:
  case FAULTY_AGAIN:
    assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
    rig_pass(&rig, 5000);
    assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
    if (what == RETURNED)
      break;
    write_error = -EIO;
    rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 1);
    rig_pass(&rig, 5);
    rig_put(&write);
    write_error = 0;
    break;
  case DISCARDED:
    assert_int_equal(sf_volume_leg_discard(rig.volume, 2, rig.now_ns), 0);
    break;
  case REMOVED:    /* its device is given back */
  case GIVEN_AWAY: /* and another leg takes the place */
    assert_int_equal(sf_volume_leg_remove(rig.volume, 2, rig.now_ns), 0);
    rig_pass(&rig, 100);
    if (what == REMOVED)
      break;
    assert_int_equal(sf_volume_leg_add(rig.volume, "new", "/dev/new",
                                       &(const struct sf_uuid){{0x77}}, &leg, rig.now_ns),
                     0);
    assert_int_equal(leg, 2);
    break;
  case BY_OPERATOR:
    assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
    break;
  default:
    sf_volume_stop(rig.volume, rig.now_ns);
  }
  rig_pass(&rig, 100);
}

/* An answer counts for the leg and the disk that was looked at, and for none that has taken its place. */
static void
a_look_at_what_was_there_before_says_nothing(void **state) {
  for (enum meanwhile what = 0; what < MEANWHILES; what++) {
    enum sf_leg_state before;

    fails_a_write();
    rig.looks_hang = true;
    rig.gone = 4;
    rig_pass(&rig, 2500);
    assert_int_equal(rig.looks, 1);
    rig.gone = 0;
    happens(what);
    before = rig_state(&rig, 2);
    rig_looked(&rig, 2);
    assert_int_equal(rig_state(&rig, 2), before);
    rig_run(&rig);
    assert_int_equal(rig_state(&rig, 2), before);
    rig_free(&rig);
  }
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_the_operator_took_out_stays_out_over_a_start),
      cmocka_unit_test(a_missing_leg_that_was_taken_out_stays_out),
      cmocka_unit_test(what_the_operator_returned_is_not_faulty_at_the_next_start),
      cmocka_unit_test(an_error_while_it_catches_up_is_remembered),
      cmocka_unit_test(an_error_that_passes_makes_no_leg_faulty),
      cmocka_unit_test(a_disk_that_is_pulled_out_is_missing),
      cmocka_unit_test(a_question_for_a_disk_holds_up_no_request),
      cmocka_unit_test(a_faulty_disk_that_is_seen_to_be_gone_is_missing),
      cmocka_unit_test(a_look_that_hangs_holds_up_nobody),
      cmocka_unit_test(a_look_at_what_was_there_before_says_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A smaller min_legs in the file: no two sets of legs may start from what a start leaves that
 * adopts it.  And which legs count for it. */
#include "rig.h"

#include <errno.h>
#include <string.h>

static struct rig rig;
static unsigned hung;

static bool
hangs_after_the_claim(const struct rig *r, const struct rig_region *region) {
  return r->volume != NULL && r->volume->phase != PHASE_CLAIMING && (hung >> region->leg & 1);
}

static void
are_absent(unsigned legs) {
  for (unsigned i = 0; i < rig.config.legs; i++)
    rig.absent[i] = legs >> i & 1;
}

/* The number of legs, recorded with a count of three, and then another number in the file. */
static void
made_with_3(unsigned legs, unsigned min_legs) {
  rig_init(&rig, legs, 3, 65536, 64);
  rig_start_fully(&rig);
  rig_kill(&rig);
  rig.config.min_legs = min_legs;
}

static bool
starts_without(unsigned absent) {
  rig.unreadable = 0;
  rig.force = false;
  rig.holds = NULL;
  are_absent(absent);
  return rig_would_start(&rig);
}

/* c, d and e of five start, and e misses the first record. */
static void
a_smaller_set_and_count_are_two_records(void **state) {
  made_with_3(5, 2);
  are_absent(0x03);
  hung = 0x10;
  rig.holds = hangs_after_the_claim;
  rig_start(&rig);
  rig_run(&rig);
  rig_kill(&rig);
  assert_false(starts_without(0x13) && starts_without(0x0c));
  rig_free(&rig);
}

/* Hung legs are left out by the count that the others know, or not at all. */
static void
what_is_answered_stands(unsigned absent, unsigned absent_then) {
  struct rig_request write;
  bool answered;

  are_absent(absent);
  rig.holds = hangs_after_the_claim;
  rig_start(&rig);
  rig_pass(&rig, 3000);
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 7);
  rig_pass(&rig, 1000);
  answered = write.done && write.request.error == 0;
  rig_kill(&rig);
  hung = 0;
  assert_false(answered && starts_without(absent_then));
  rig_put(&write);
  rig_free(&rig);
}

/* A copy of f's superblocks cannot be read, so that f is set aside and copied whole; then c, d and
 * e hang. */
static void
a_start_that_sets_a_leg_aside(void **state) {
  made_with_3(6, 2);
  rig.unreadable = 1 << 5;
  hung = 0x1c;
  what_is_answered_stands(0, 0x23);
}

/* a, b and c are started by force, and b and c hang. */
static void
a_start_by_force(void **state) {
  made_with_3(6, 1);
  rig.force = true;
  hung = 0x06;
  what_is_answered_stands(0x38, 0x21);
}

static void
is_adopted(unsigned absent, bool force, unsigned min_legs) {
  uint64_t change;

  made_with_3(6, min_legs);
  rig.force = force;
  are_absent(absent);
  rig_start_fully(&rig);
  rig_pass(&rig, 100);
  assert_int_equal(rig.volume->min_legs, min_legs);
  assert_int_equal(rig.volume->durable.min_legs, min_legs);
  assert_false(rig.volume->durable.clean); /* or a crash would converge nothing */
  change = rig.volume->latest.change;
  rig_pass(&rig, 20000);
  assert_int_equal(rig.volume->latest.change, change);
  rig_free(&rig);
}

static void
the_number_in_the_file_is_adopted(void **state) {
  is_adopted(0, false, 1);
  is_adopted(0x30, false, 1);
  is_adopted(0x3e, true, 1);
  is_adopted(0x3c, true, 2);
}

static bool
is_write_or_of_leg_1(const struct rig *r, const struct rig_region *region) {
  return rig_is_data(r, region) && (region->leg == 1 || region->op == SF_TIO_WRITE);
}

/* R2: leg 0 answers reads, and has the write no more than leg 1 has, which answers nothing. */
static void
who_answers_something_else_is_no_evidence(void **state) {
  struct rig_request write, read;

  rig_init(&rig, 2, 1, 65536, 64);
  rig_start_fully(&rig);
  rig_touch_extents(&rig, 2, 65536);
  rig.holds = is_write_or_of_leg_1;
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 2);
  for (unsigned i = 0; i < 300; i++) {
    rig.volume->leg[1].avoid = true;
    rig_submit(&rig, &read, SF_REQ_READ, 65536, 4096, 0);
    rig_pass(&rig, 5);
    assert_true(read.done);
    rig_put(&read);
  }
  assert_false(write.done);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig.holds = NULL;
  rig_pass(&rig, 100);
  assert_true(write.done);
  assert_int_equal(write.request.error, 0);
  rig_put(&write);
  rig_free(&rig);
}

/* Legs 1 and 3 do not end the write, and leg 2 no flush, without which it cannot join. */
static bool
holds_writes_and_a_join(const struct rig *r, const struct rig_region *region) {
  return (rig_is_data(r, region) && region->op == SF_TIO_WRITE && (region->leg & 1)) ||
         (region->op == SF_TIO_FLUSH && region->leg == 2);
}

/* Reading 4: two have the write, and one of these only catches up.  So no leg can be spared yet. */
static void
a_leg_that_catches_up_does_not_count(void **state) {
  struct rig_request write;

  rig_init(&rig, 4, 2, 65536, 64);
  rig_start_fully(&rig);
  rig_touch_extents(&rig, 2, 65536);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 50);
  rig.holds = holds_writes_and_a_join;
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  for (unsigned ms = 0; rig_state(&rig, 2) != SF_STATE_CATCHING_UP; ms++) {
    assert_true(ms < 5000);
    rig_pass(&rig, 1);
  }
  rig_submit(&rig, &write, SF_REQ_WRITE, 65536, 4096, 2);
  rig_pass(&rig, 300);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_CATCHING_UP);
  assert_int_equal(rig.leg[2][rig.volume->data_offset + 65536], 2);
  assert_false(write.done);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_int_equal(rig_state(&rig, 3), SF_STATE_IN_SYNC);
  rig.holds = NULL;
  rig_pass(&rig, 1000);
  assert_true(write.done);
  assert_int_equal(write.request.error, 0);
  rig_put(&write);
  rig_free(&rig);
}

static bool
holds_flush_of_leg_1(const struct rig *r, const struct rig_region *region) {
  return region->op == SF_TIO_FLUSH && region->leg == 1;
}

/* Reading 4 again, after a start by force with less than min_legs: the write is answered when the
 * other leg is in sync, and not when it has it. */
static void
an_answer_waits_for_legs_in_sync(void **state) {
  struct rig_request write;

  rig_init(&rig, 2, 2, 65536, 64);
  rig_start_fully(&rig);
  rig_touch_extents(&rig, 2, 65536);
  rig_kill(&rig);
  rig.config.on_too_few = SF_TOO_FEW_SUSPEND;
  are_absent(0x02);
  rig.force = true;
  rig_start_fully(&rig);
  rig.force = false;
  are_absent(0);
  rig.holds = holds_flush_of_leg_1;
  rig_pass(&rig, 3000);
  rig_open(&rig, 1);
  for (unsigned ms = 0; rig_state(&rig, 1) != SF_STATE_CATCHING_UP; ms++) {
    assert_true(ms < 5000);
    rig_pass(&rig, 1);
  }
  rig_pass(&rig, 100);
  rig_submit(&rig, &write, SF_REQ_WRITE, 65536, 4096, 2);
  rig_pass(&rig, 100);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_CATCHING_UP);
  assert_int_equal(rig.leg[1][rig.volume->data_offset + 65536], 2);
  assert_false(write.done);
  rig.holds = NULL;
  rig_pass(&rig, 1000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_true(write.done);
  assert_int_equal(write.request.error, 0);
  rig_put(&write);
  rig_free(&rig);
}

static uint64_t began_ns;

/* Leg 1 keeps both blocks and leg 3 the second; both answer all else.  Leg 2 is late with the
 * first, and answers nothing after. */
static bool
keeps_a_block(const struct rig *r, const struct rig_region *region) {
  uint64_t block = (region->offset - SF_DATA_OFFSET) / 65536;

  if (!rig_is_data(r, region) || (region->op == SF_TIO_READ && region->leg != 2))
    return false;
  if (region->leg == 2)
    return r->now_ns < began_ns + 110 * SF_MS || region->since_ns > began_ns + 110 * SF_MS;
  return (region->leg == 1 && block <= 1) || (region->leg == 3 && block == 1);
}

/* Legs 1 and 3 answer reads all the time. */
static void
read_from_1_and_3(unsigned times) {
  struct rig_request read;

  for (unsigned i = 0; i < times; i++) {
    for (unsigned leg = 0; leg < 4; leg++)
      rig.volume->leg[leg].avoid = leg == 0 || leg == 2 || leg == 1 + 2 * (i % 2);
    rig_submit(&rig, &read, SF_REQ_READ, 2 * 65536, 4096, 0);
    rig_pass(&rig, 4);
    assert_true(read.done);
    rig_put(&read);
  }
}

/* R2: leg 2 has answered the first write, so that legs that have that one say nothing of the
 * second. */
static void
what_it_has_answered_is_no_reason_to_leave(void **state) {
  struct rig_request write[2];

  rig_init(&rig, 4, 2, 65536, 64);
  rig_start_fully(&rig);
  rig_touch_extents(&rig, 3, 65536);
  began_ns = rig.now_ns;
  rig.holds = keeps_a_block;
  rig_submit(&rig, &write[0], SF_REQ_WRITE, 0, 4096, 2);
  read_from_1_and_3(30);
  rig_submit(&rig, &write[1], SF_REQ_WRITE, 65536, 4096, 2);
  read_from_1_and_3(100);
  for (unsigned leg = 0; leg < 4; leg++)
    assert_int_equal(rig_state(&rig, leg), SF_STATE_IN_SYNC);
  rig.holds = NULL;
  rig_pass(&rig, 100);
  for (unsigned i = 0; i < 2; i++) {
    assert_true(write[i].done);
    assert_int_equal(write[i].request.error, 0);
    rig_put(&write[i]);
  }
  rig_free(&rig);
}

static bool
holds_copies_to_b(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && region->op == SF_TIO_WRITE && rig_is_data(r, region);
}

/* R2: a larger number in the file, while too few legs are in sync for it.  No leg has said that
 * waiting is in vain, so writes and flushes wait for the leg that catches up. */
static void
raised_while_a_leg_catches_up(void **state) {
  struct rig_request write, flush;

  rig_init(&rig, 2, 1, 65536, 64);
  rig.config.on_too_few = SF_TOO_FEW_ERROR;
  rig_start_fully(&rig);
  rig_touch_extents(&rig, 64, 65536);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 1, rig.now_ns), 0);
  rig_pass(&rig, 50);
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 2);
  rig_pass(&rig, 50);
  rig_put(&write);
  assert_int_equal(sf_volume_leg_return(rig.volume, 1, rig.now_ns), 0);
  rig.holds = holds_copies_to_b;
  rig_pass(&rig, 20);
  rig_kill(&rig);
  rig.config.min_legs = 2;
  rig_start_fully(&rig);
  rig_submit(&rig, &write, SF_REQ_WRITE, 3 * 65536, 4096, 5);
  rig_submit(&rig, &flush, SF_REQ_FLUSH, 0, 0, 0);
  rig_pass(&rig, 100);
  assert_int_not_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_false(write.done || flush.done);
  rig.holds = NULL;
  rig_pass(&rig, 1000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_true(write.done && write.request.error == 0);
  assert_true(flush.done && flush.request.error == 0);
  rig_put(&write);
  rig_free(&rig);
}

/* And fail_timeout is the end of that. */
static void
raised_and_no_leg_comes(void **state) {
  struct rig_request write;

  rig_init(&rig, 2, 1, 65536, 64);
  rig.config.on_too_few = SF_TOO_FEW_ERROR;
  rig_start_fully(&rig);
  rig_touch_extents(&rig, 64, 65536);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 1, rig.now_ns), 0);
  rig_pass(&rig, 50);
  rig_kill(&rig);
  rig.config.min_legs = 2;
  rig_start_fully(&rig);
  rig_submit(&rig, &write, SF_REQ_WRITE, 3 * 65536, 4096, 5);
  rig_pass(&rig, rig.config.fail_timeout_ns / SF_MS - 100);
  assert_false(write.done);
  rig_pass(&rig, 300);
  assert_true(write.done);
  assert_int_equal(write.request.error, -EIO);
  rig_put(&write);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_smaller_set_and_count_are_two_records),
      cmocka_unit_test(a_start_that_sets_a_leg_aside),
      cmocka_unit_test(a_start_by_force),
      cmocka_unit_test(the_number_in_the_file_is_adopted),
      cmocka_unit_test(who_answers_something_else_is_no_evidence),
      cmocka_unit_test(a_leg_that_catches_up_does_not_count),
      cmocka_unit_test(an_answer_waits_for_legs_in_sync),
      cmocka_unit_test(what_it_has_answered_is_no_reason_to_leave),
      cmocka_unit_test(raised_while_a_leg_catches_up),
      cmocka_unit_test(raised_and_no_leg_comes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A leg leaves, and another one falls silent before the record of that is on it: the record counts
 * without that one's word when the leg that has left is told of it (reading 14). */
#include "rig.h"

#include "volume/ground/facts.h"
#include "volume/set/record.h"

#include <string.h>

enum { EXTENT = 65536, OTHER = 0, SILENT = 1, LEAVES = 2 };

static struct rig rig;
static struct rig_request first; /* of which a leg leaves */
static struct rig_request request;
static unsigned hung;        /* legs that end nothing: bit i */
static unsigned keeps_heads; /* the same, of superblocks */
static unsigned told;        /* the superblocks that the leg that left was given since */
static uint64_t lost_ns; /* what the leg that left got before, it ends only if that is given up */

static bool
is_head(const struct rig_region *region) {
  return rig_is_superblock(region);
}

static bool
holds(const struct rig *r, const struct rig_region *region) {
  if (is_head(region) && region->leg == LEAVES)
    told++;
  if (region->leg == LEAVES && region->since_ns < lost_ns && !region->canceled_told)
    return true;
  return (hung >> region->leg & 1) || (is_head(region) && (keeps_heads >> region->leg & 1));
}

static void
begin(unsigned legs, unsigned min_legs) {
  rig_init(&rig, legs, min_legs, EXTENT, 64);
  rig.config.on_too_few = SF_TOO_FEW_SUSPEND;
  for (unsigned kind = 0; kind < SF_KINDS; kind++)
    rig.config.deadline_ns[kind] = 100 * SF_MS;
  lost_ns = hung = keeps_heads = 0;
  rig.holds = holds;
  rig_start_fully(&rig);
  rig_touch_extents(&rig, 4, EXTENT);
}

/* All but those that freeze have the record; none that freezes has. */
static void
two_freeze(unsigned leave) {
  hung = leave;
  keeps_heads = 1 << SILENT;
  rig_submit(&rig, &first, SF_REQ_WRITE, EXTENT, 4096, 4);
  for (unsigned ms = 0; rig.volume->latest.in_sync & leave; ms++) {
    assert_true(ms < 1000);
    rig_pass(&rig, 1);
  }
  hung |= 1 << SILENT;
  rig_submit(&rig, &request, SF_REQ_WRITE, 0, 4096, 5);
  rig_pass(&rig, 100);
  assert_false(sf_record_is_durable(rig.volume));
  assert_int_equal(rig_state(&rig, SILENT), SF_STATE_IN_SYNC);
  assert_int_equal(sf_record_left_out(rig.volume), leave);
  assert_false(first.done);
  keeps_heads = told = 0;
}

static void
assert_answered(void) {
  assert_true(first.done);
  assert_int_equal(first.request.error, 0);
  rig_put(&first);
  assert_true(request.done);
  assert_int_equal(request.request.error, 0);
  rig_put(&request);
}

static void
assert_all_are_alike(void) {
  hung = 0;
  rig_pass(&rig, 40000);
  for (unsigned i = 0; i < rig.config.legs; i++) {
    assert_int_equal(rig_state(&rig, i), SF_STATE_IN_SYNC);
    assert_int_equal(rig.leg[i][SF_DATA_OFFSET], 5);
    assert_memory_equal(rig.leg[0] + SF_DATA_OFFSET, rig.leg[i] + SF_DATA_OFFSET, 64 * EXTENT);
  }
  rig_free(&rig);
}

static void
the_one_that_thaws_takes_the_place_of_the_other(void **state) {
  begin(3, 2);
  two_freeze(1 << LEAVES);
  hung = 1 << SILENT;
  rig_pass(&rig, 20000);
  assert_int_equal(rig_state(&rig, SILENT), SF_STATE_LATE);
  assert_int_equal(rig_state(&rig, LEAVES), SF_STATE_IN_SYNC);
  assert_answered();
  assert_int_equal(rig.leg[LEAVES][SF_DATA_OFFSET], 5);
  assert_all_are_alike();
}

static bool
starts(unsigned absent, unsigned unreadable) {
  for (unsigned i = 0; i < rig.config.legs; i++)
    rig.absent[i] = absent >> i & 1;
  rig.unreadable = unreadable;
  return rig_would_start(&rig);
}

static void
until_it_is_durable(void) {
  for (unsigned ms = 0; !sf_record_is_durable(rig.volume); ms++) {
    assert_true(ms < 10000);
    rig_pass(&rig, 1);
  }
}

/* The silent one still has the record that names them both. */
static void
no_start_trusts_the_leg_that_left(void **state) {
  struct sf_superblock sb;

  begin(3, 2);
  two_freeze(1 << LEAVES);
  hung = 1 << SILENT;
  until_it_is_durable();
  rig_read_superblock(&rig, SILENT, &sb);
  assert_int_equal(sb.record.in_sync, 7);
  rig_kill(&rig);
  hung = 0;
  assert_false(starts(1, 0));
  assert_false(starts(1, 1 << LEAVES));
  assert_false(starts(1 << SILENT, 0));
  assert_false(starts(1 << SILENT, 1));
  assert_true(starts(1 << LEAVES, 0));
  rig_put(&first);
  rig_put(&request);
  rig_free(&rig);
}

/* Of three legs that are named, the silent one and one that was never told lack it.  Were it in one copy on
 * the others and that one lost, the legs that show a record of before could be enough. */
static void
it_counts_in_both_copies(void **state) {
  begin(4, 3);
  two_freeze(1 << LEAVES);
  hung = 1 << SILENT | 1 << LEAVES;
  until_it_is_durable();
  rig_kill(&rig);
  hung = 0;
  assert_false(starts(1 << 3, 1 << OTHER));
  assert_true(starts(1 << LEAVES, 0));
  rig_put(&first);
  rig_put(&request);
  rig_free(&rig);
}

/* Until then it may: an answer needs all of them. */
static void
it_counts_when_it_is_on_the_leg_that_left(void **state) {
  begin(3, 2);
  two_freeze(1 << LEAVES);
  keeps_heads = 1 << LEAVES;
  hung = 1 << SILENT;
  rig_pass(&rig, 20000);
  assert_true(told > 0);
  assert_false(sf_record_is_durable(rig.volume));
  assert_false(request.done);
  assert_int_equal(rig.volume->ack_legs, 7);
  assert_int_equal(rig_state(&rig, LEAVES), SF_STATE_LATE);
  keeps_heads = 0;
  rig_pass(&rig, 20000);
  assert_answered();
  assert_all_are_alike();
}

/* R5. */
static void
it_is_told_when_it_has_ended_all_that_it_held(void **state) {
  begin(3, 2);
  two_freeze(1 << LEAVES);
  rig_pass(&rig, 20000);
  assert_int_equal(rig.volume->exchange.unasked, 1 << SILENT);
  assert_int_equal(told, 0);
  assert_false(request.done);
  hung = 1 << SILENT;
  rig_pass(&rig, 20000);
  assert_answered();
  assert_all_are_alike();
}

static bool
tells_the_one_that_left(const struct rig *r, const struct rig_region *region) {
  return region->leg == LEAVES && is_head(region) && !region->canceled;
}

/* It answers what it is asked from now on.  What it was asked before is given up, so that it ends; what
 * it is told is not, however long it takes. */
static void
what_it_has_lost_does_not_keep_it_from_being_told(void **state) {
  begin(3, 2);
  two_freeze(1 << LEAVES);
  lost_ns = rig.now_ns;
  hung = 1 << SILENT;
  keeps_heads = 1 << LEAVES;
  rig_pass(&rig, 8000);
  assert_int_equal(rig_count(&rig, tells_the_one_that_left), 1);
  assert_false(sf_record_is_durable(rig.volume));
  keeps_heads = 0;
  rig_pass(&rig, 20000);
  assert_int_equal(rig_state(&rig, LEAVES), SF_STATE_IN_SYNC);
  assert_answered();
  assert_all_are_alike();
}

static void
the_silent_one_may_answer_first(void **state) {
  struct sf_superblock sb;

  begin(3, 2);
  two_freeze(1 << LEAVES);
  rig_pass(&rig, 10000);
  hung = 1 << LEAVES;
  rig_pass(&rig, 1000);
  assert_true(sf_record_is_durable(rig.volume));
  assert_answered();
  rig_read_superblock(&rig, SILENT, &sb);
  assert_int_equal(sf_record_compare(&sb.record, &rig.volume->durable), 0);
  assert_all_are_alike();
}

/* As long as the record is only late it is waited for as ever. */
static void
a_moment_is_not_enough(void **state) {
  begin(3, 2);
  two_freeze(1 << LEAVES);
  hung = 1 << SILENT;
  rig_pass(&rig, 4000);
  assert_int_equal(told, 0);
  hung = 0;
  rig_pass(&rig, 500);
  assert_answered();
  assert_int_equal(rig.volume->exchange.unasked, 0);
  assert_all_are_alike();
}

/* Of five, two leave and one falls silent.  A start needs three, so one of the two is enough. */
static void
of_those_that_left_enough_are_told(void **state) {
  begin(5, 3);
  two_freeze(1 << LEAVES | 1 << 3);
  rig_pass(&rig, 20000);
  assert_false(sf_record_is_durable(rig.volume));
  assert_false(request.done);
  hung = 1 << SILENT | 1 << 3;
  rig_pass(&rig, 20000);
  assert_int_equal(rig_state(&rig, SILENT), SF_STATE_LATE);
  assert_int_equal(rig_state(&rig, LEAVES), SF_STATE_IN_SYNC);
  assert_int_equal(rig_state(&rig, 3), SF_STATE_LATE);
  assert_answered();
  assert_all_are_alike();
}

/* It could start alone, from the record that it was sent and may have. */
static void
one_that_needs_no_other_is_waited_for(void **state) {
  begin(2, 1);
  two_freeze(1 << OTHER);
  hung = 1 << SILENT;
  rig_pass(&rig, 20000);
  assert_int_equal(rig.volume->exchange.unasked, 0);
  assert_int_equal(rig_state(&rig, OTHER), SF_STATE_LATE);
  assert_false(request.done);
  hung = 0;
  rig_pass(&rig, 1000);
  assert_answered();
  assert_all_are_alike();
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_one_that_thaws_takes_the_place_of_the_other),
      cmocka_unit_test(no_start_trusts_the_leg_that_left),
      cmocka_unit_test(it_counts_in_both_copies),
      cmocka_unit_test(it_counts_when_it_is_on_the_leg_that_left),
      cmocka_unit_test(it_is_told_when_it_has_ended_all_that_it_held),
      cmocka_unit_test(what_it_has_lost_does_not_keep_it_from_being_told),
      cmocka_unit_test(the_silent_one_may_answer_first),
      cmocka_unit_test(a_moment_is_not_enough),
      cmocka_unit_test(of_those_that_left_enough_are_told),
      cmocka_unit_test(one_that_needs_no_other_is_waited_for),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

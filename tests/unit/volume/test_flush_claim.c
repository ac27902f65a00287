/* R9 and R12: a flush that fails in a claim, of a leg that the start goes on without: until the first
 * record of the term is durable the next start takes that leg for whole, and must know what it lost. */
#include "flush_rig.h"

#include <string.h>

static unsigned silent; /* legs that answer nothing; bit i */

/* The first record of the term reaches no leg, and so the one before it stays in force. */
static bool
holds_records_and_silent_legs(const struct rig *r, const struct rig_region *region) {
  struct sf_superblock sb;

  if (silent >> region->leg & 1)
    return true;
  return region->op == SF_TIO_WRITE && region->offset < SF_MAPS_OFFSET &&
         sf_superblock_decode(region->buffer->data, &sb) == 0 && sb.record.term == sb.claim;
}

/* All legs have the block and the intent for it; nothing is flushed, and the server is killed.  The
 * next one starts, and the claim fails on these legs, which drop the block. */
static void
start_where_the_claim_fails(unsigned legs, unsigned min_legs, unsigned fails_on) {
  flush_rig_init(legs, min_legs, SF_TOO_FEW_SUSPEND);
  assert_int_equal(write_at(0, 7), 0);
  rig_kill(&rig);
  rig.fails = next_flush_fails;
  rig.holds = holds_records_and_silent_legs;
  fault.legs = fails_on;
  fault.drops = true;
  rig_start(&rig);
}

static void
check_is_named_lost(unsigned legs, unsigned lost) {
  struct sf_superblock sb;

  for (unsigned leg = 0; legs >> leg != 0; leg++) {
    if (!(legs >> leg & 1))
      continue;
    rig_read_superblock(&rig, leg, &sb);
    assert_true(sb.record.term < sb.claim);
    assert_int_equal(sb.lost, lost);
  }
}

static void
next_start_has_the_block_on(unsigned legs) {
  rig_kill(&rig);
  silent = 0;
  rig_start_fully(&rig);
  rig_pass(&rig, 1000);
  for (unsigned leg = 0; legs >> leg != 0; leg++)
    if (legs >> leg & 1)
      assert_int_equal(*block_on(leg, 0), 7);
  assert_int_equal(read_at(0), 7);
  rig_free(&rig);
}

static void
a_leg_that_the_start_did_without_is_no_source_of_the_next(void **state) {
  start_where_the_claim_fails(3, 2, 1);
  rig_pass(&rig, 50);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_FAULTY);
  assert_int_equal(rig.volume->phase, PHASE_RECORDING);
  check_is_named_lost(6, 1);
  rig.absent[2] = true;
  next_start_has_the_block_on(3);
}

/* The claim is written once more, for the second leg: it must not forget the first. */
static void
two_legs_that_the_start_did_without_are_no_source_of_the_next(void **state) {
  silent = 1 << 4;
  start_where_the_claim_fails(5, 3, 1);
  rig_pass(&rig, 20);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_FAULTY);
  assert_int_equal(rig.volume->phase, PHASE_CLAIMING);
  check_is_named_lost(0xe, 1);
  fault.legs = silent;
  silent = 0;
  rig_pass(&rig, 20);
  assert_int_equal(rig_state(&rig, 4), SF_STATE_FAULTY);
  assert_int_equal(rig.volume->phase, PHASE_RECORDING);
  check_is_named_lost(0xe, 0x11);
  next_start_has_the_block_on(0xe);
}

/* It was late, and its answer comes while the start waits for another host to see the claim. */
static void
a_leg_that_fails_after_the_start_went_on_is_no_source_of_the_next(void **state) {
  flush_rig_init(3, 2, SF_TOO_FEW_SUSPEND);
  assert_int_equal(write_at(0, 7), 0);
  rig_kill(&rig);
  rig.holds = holds_records_and_silent_legs;
  silent = 1;
  rig.takes = true;
  rig_start(&rig);
  rig_pass(&rig, 500);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_LATE);
  rig.fails = next_flush_fails;
  fault.legs = silent;
  fault.drops = true;
  silent = 0;
  rig_pass(&rig, 100);
  assert_int_equal(fault.legs, 0);
  assert_int_equal(rig.volume->phase, PHASE_CLAIMING);
  check_is_named_lost(6, 1);
  rig.takes = false;
  rig.absent[2] = true;
  next_start_has_the_block_on(3);
}

/* It was absent when the start began, and the record in force names it: a probe that fails would be
 * the only word of what it has dropped. */
static void
a_leg_that_comes_during_the_claim_is_not_probed_before_the_record(void **state) {
  flush_rig_init(3, 2, SF_TOO_FEW_SUSPEND);
  assert_int_equal(write_at(0, 7), 0);
  rig_kill(&rig);
  rig.absent[2] = true;
  rig.holds = holds_records_and_silent_legs;
  rig_start(&rig);
  rig_pass(&rig, 3000);
  rig.absent[2] = false;
  rig_open(&rig, 2);
  rig.fails = next_flush_fails;
  fault.legs = 4;
  fault.drops = true;
  rig_pass(&rig, 1000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_PROBING);
  assert_int_equal(rig.volume->phase, PHASE_RECORDING);
  assert_int_equal(fault.legs, 4);
  rig.holds = NULL;
  fault.legs = 0;
  rig_pass(&rig, 6000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_leg_that_the_start_did_without_is_no_source_of_the_next),
      cmocka_unit_test(two_legs_that_the_start_did_without_are_no_source_of_the_next),
      cmocka_unit_test(a_leg_that_fails_after_the_start_went_on_is_no_source_of_the_next),
      cmocka_unit_test(a_leg_that_comes_during_the_claim_is_not_probed_before_the_record),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

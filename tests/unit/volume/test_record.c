/* What stands on the legs outlives a copy that went bad, and what a repair left behind. */
#include "rig.h"

#include <errno.h>
#include <string.h>

#include "volume/ground/facts.h"

static struct rig rig;

/* The copy with the higher number rots; what the leg says stays what it said. */
static void
both_copies_of_the_superblock_hold_the_record(void **state) {
  struct sf_superblock newest, other;

  rig_init(&rig, 3, 1, 65536, 64);
  rig_start_fully(&rig);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 4000);
  for (unsigned leg = 0; leg < 2; leg++) {
    rig_read_superblock(&rig, leg, &newest);
    assert_int_equal(newest.record.in_sync, 3);
    rig.leg[leg][SF_SUPERBLOCK_OFFSET(newest.serial % SF_SUPERBLOCK_COPIES) + 200] ^= 1;
    rig_read_superblock(&rig, leg, &other);
    assert_int_equal(other.serial, newest.serial - 1);
    assert_int_equal(sf_record_compare(&other.record, &newest.record), 0);
    assert_int_equal(other.record.in_sync, 3);
  }
  rig_free(&rig);
}

static unsigned superblock_writes;

static bool
counts_superblocks(const struct rig *r, const struct rig_region *region) {
  superblock_writes += rig_is_superblock(region);
  return false;
}

static void
a_record_that_stands_is_not_written_again_and_again(void **state) {
  superblock_writes = 0;
  rig_init(&rig, 2, 1, 65536, 64);
  rig.holds = counts_superblocks;
  rig_start_fully(&rig);
  assert_int_equal(superblock_writes, 2 * 2); /* the claim and the record, on each leg, */
  rig_pass(&rig, 4000);
  assert_int_equal(superblock_writes, 2 * 3); /* and the record's second copy */
  rig_pass(&rig, 130 * 1000);
  assert_int_equal(superblock_writes, 2 * 3);
  rig_free(&rig);
}

static bool
holds_superblocks(const struct rig *r, const struct rig_region *region) {
  return rig_is_superblock(region);
}

/* ---- a repair ---- */

static int
leg_0_has_a_bad_block(const struct rig *r, const struct rig_region *region) {
  return region->leg == 0 && region->op == SF_TIO_READ && rig_is_data(r, region) ? -EIO : 0;
}

static bool
holds_repairs(const struct rig *r, const struct rig_region *region) {
  return region->leg == 0 && region->op == SF_TIO_WRITE && rig_is_data(r, region);
}

/* The leg leaves for a repair that it does not answer.  The extent may be torn there, and no intent
 * says so to the next start. */
static void
an_unanswered_repair_is_stale_on_disk(void **state) {
  struct rig_request read, flush[4];

  rig_init(&rig, 3, 1, 65536, 64);
  rig_start_fully(&rig);
  rig.fails = leg_0_has_a_bad_block;
  rig.holds = holds_repairs;
  rig.volume->leg[1].avoid = rig.volume->leg[2].avoid = true;
  rig_submit(&rig, &read, SF_REQ_READ, 5 * 65536, 4096, 0);
  rig_run(&rig);
  assert_true(read.done);
  rig_put(&read);
  for (unsigned i = 0; i < 4; i++) { /* the others are heard, so it is this leg's fault */
    rig_pass(&rig, 50);
    rig_submit(&rig, &flush[i], SF_REQ_FLUSH, 0, 0, 0);
    rig_run(&rig);
  }
  rig_pass(&rig, 400);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_LATE);
  assert_true(sf_map_test(&rig.volume->leg[0].stale, 5));
  rig_kill(&rig);
  rig_start_fully(&rig);
  assert_int_not_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  assert_true(sf_map_test(&rig.volume->leg[0].stale, 5));
  rig_free(&rig);
}

/* A volume with nothing to do is left alone for a second, and one that waits for a leg is not. */
static void
ticks_are_rare_when_all_is_quiet(void **state) {
  rig_init(&rig, 3, 2, 65536, 64);
  rig_start_fully(&rig);
  rig_pass(&rig, 5000);
  assert_in_range(rig.tick_ns - rig.now_ns, 1, SF_S);
  rig_pass(&rig, (rig.tick_ns - rig.now_ns) / SF_MS);
  assert_in_range(rig.tick_ns - rig.now_ns, SF_S - SF_MS, SF_S);
  rig.holds = holds_superblocks;
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 1000);
  assert_false(sf_record_is_durable(rig.volume));
  assert_in_range(rig.tick_ns - rig.now_ns, 1, 20 * SF_MS);
  rig.holds = NULL;
  rig_pass(&rig, 100);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(both_copies_of_the_superblock_hold_the_record),
      cmocka_unit_test(a_record_that_stands_is_not_written_again_and_again),
      cmocka_unit_test(an_unanswered_repair_is_stale_on_disk),
      cmocka_unit_test(ticks_are_rare_when_all_is_quiet),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

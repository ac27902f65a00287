/* R9: what becomes of what a failed flush lost: it is made whole from a leg that has it, written
 * anew even where it reads alike, and what no leg has stays lost until the operator has taken
 * note. */
#include "flush_rig.h"

#include <errno.h>
#include <string.h>

#include "volume/ground/fault.h"
#include "volume/ground/flush_lost.h"
#include "volume/set/flush_failure.h"

/* ---- where no leg may make it good ---- */

static int
loses_block_9(const struct rig *r, const struct rig_region *region) {
  int error = next_flush_fails(r, region);

  if (error != 0)
    memset(block_on(0, 9 * EXTENT), 1, BLOCK);
  return error;
}

/* The operator takes note while leg 1 still makes leg 0 whole: leg 1's good copy must not be
 * overwritten by what leg 0 has instead. */
static void
taking_note_does_not_make_the_loser_a_source(void **state) {
  struct rig_request write;

  flush_rig_init(2, 2, SF_TOO_FEW_SUSPEND);
  rig.volume->config.resync_min_rate = rig.volume->config.resync_max_rate = 1 << 20;
  for (uint64_t i = 0; i < 10; i++)
    assert_int_equal(write_at(i * EXTENT, 7), 0);
  rig.fails = loses_block_9;
  fault.carrier = MAP_PAGE;
  fault.legs = 1;
  rig_submit(&rig, &write, SF_REQ_WRITE, 15 * EXTENT, BLOCK, 3);
  rig_pass(&rig, 50);
  assert_int_equal(sf_flush_failure_legs(rig.volume), 1);
  assert_int_equal(*block_on(0, 9 * EXTENT), 1); /* it is not whole yet */
  assert_int_equal(sf_volume_leg_return(rig.volume, 0, rig.now_ns), 0);
  rig_pass(&rig, 2000);
  assert_int_equal(rig.volume->unconverged.set, 0);
  assert_int_equal(*block_on(0, 9 * EXTENT), 7);
  assert_int_equal(*block_on(1, 9 * EXTENT), 7);
  assert_int_equal(flush(), 0);
  assert_int_equal(read_at(9 * EXTENT), 7);
  assert_true(write.done);
  assert_int_equal(write.request.error, 0);
  rig_put(&write);
  rig_free(&rig);
}

/* Else a loss would be gone with the leg's joining, and flushes would say that lost data are
 * stable. */
static void
a_leg_that_joins_takes_over_the_loss(void **state) {
  flush_rig_init(2, 1, SF_TOO_FEW_SUSPEND);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 1, rig.now_ns), 0);
  rig_pass(&rig, 100);
  assert_int_equal(write_at(0, 7), 0);
  fault.carrier = MAP_PAGE;
  fault.drops = true;
  fault.legs = 1;
  assert_int_equal(write_at(5 * EXTENT, 3), 0);
  assert_int_equal(fault.legs, 0);
  assert_int_equal(flush(), -EIO);
  assert_int_equal(sf_volume_leg_return(rig.volume, 1, rig.now_ns), 0);
  rig_pass(&rig, 10000);
  assert_int_equal(flush(), -EIO);
  assert_int_equal(flush(), -EIO);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_int_equal(*block_on(1, 0), 1);
  assert_int_equal(sf_volume_leg_return(rig.volume, 0, rig.now_ns), 0);
  rig_pass(&rig, 100);
  assert_int_equal(flush(), 0);
  rig_free(&rig);
}

/* Without intent nothing can be lost, whatever a superblock says of the legs; and on one leg alone
 * nothing would ever make it good. */
static void
without_intent_a_start_has_lost_nothing(void **state) {
  struct sf_superblock sb;

  for (unsigned legs = 1; legs <= 2; legs++) {
    flush_rig_init(legs, 1, SF_TOO_FEW_ERROR);
    sf_volume_stop(rig.volume, rig.now_ns);
    rig_pass(&rig, 1000);
    assert_true(sf_volume_stopped(rig.volume));
    rig_kill(&rig);
    for (unsigned leg = 0; leg < legs; leg++) {
      rig_read_superblock(&rig, leg, &sb);
      sb.serial++;
      sb.lost = (uint16_t) ((1u << legs) - 1);
      sf_superblock_encode(&sb, rig.leg[leg] + SF_SUPERBLOCK_OFFSET(sb.serial % 2));
    }
    rig_start_fully(&rig);
    rig.holds = rig_takes_a_moment;
    assert_int_equal(rig.volume->maps.intent.set, 0);
    assert_int_equal(flush(), 0);
    assert_int_equal(rig.volume->identity.lost, 0);
    rig_free(&rig);
  }
}

/* What all legs may have lost is on disk as such, or the next start would flush it well. */
static void
what_may_be_lost_everywhere_is_known_to_a_start(void **state) {
  struct sf_superblock sb;

  flush_rig_init(2, 1, SF_TOO_FEW_ERROR);
  assert_int_equal(write_at(0, 7), 0);
  sf_flush_failure_spread(rig.volume, 0);
  memset(block_on(1, 0), 9, BLOCK); /* the disk has dropped it there, */
  sf_volume_tick(rig.volume, rig.now_ns);
  rig_pass(&rig, 100);
  for (unsigned leg = 0; leg < 2; leg++) {
    rig_read_superblock(&rig, leg, &sb);
    assert_int_equal(sb.lost, 3);
  }
  rig_pass(&rig, 1000);
  assert_int_equal(*block_on(0, 0), *block_on(1, 0)); /* and reads must not tell the legs apart */
  rig_kill(&rig);
  rig_start_fully(&rig);
  rig.holds = rig_takes_a_moment;
  rig_pass(&rig, 1000);
  assert_int_equal(flush(), -EIO);
  rig_free(&rig);
}

static bool
holds_leg_1(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1;
}

/* Each lost what the other one lost, so none is needed for it: else a hang would stop all writes
 * until the operator has taken note of something else. */
static void
a_leg_that_lost_as_much_may_leave(void **state) {
  struct rig_request write;

  flush_rig_init(2, 1, SF_TOO_FEW_SUSPEND);
  assert_int_equal(write_at(0, 7), 0);
  fault.carrier = FLUSH_COMMAND;
  fault.legs = 3;
  assert_int_equal(flush(), -EIO);
  rig_pass(&rig, 3000);
  assert_int_equal(sf_flush_failure_legs(rig.volume), 3);
  rig.holds = holds_leg_1;
  rig_submit(&rig, &write, SF_REQ_WRITE, 9 * EXTENT, BLOCK, 3);
  rig_pass(&rig, 20000);
  assert_true(write.done);
  assert_int_equal(write.request.error, 0);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_LATE);
  assert_int_equal(flush(), -EIO);
  rig_put(&write);
  rig_free(&rig);
}

/* ---- where a cache still shows it ---- */

static bool on_disk; /* what the cache of leg 0 shows of block 0 */

/* The disk dropped the block from what it is to write, not from what it shows. */
static int
shows_what_it_lost(const struct rig *r, const struct rig_region *region) {
  int error = next_flush_fails(r, region);

  if (error != 0)
    on_disk = false;
  else if (region->leg == 0 && region->op == SF_TIO_WRITE && region->offset == SF_DATA_OFFSET)
    on_disk = true;
  return error;
}

/* Both legs read alike, and leg 0 would have the older block after the next loss of power. */
static void
what_two_legs_show_alike_is_written_anew(void **state) {
  flush_rig_init(2, 2, SF_TOO_FEW_ERROR);
  assert_int_equal(write_at(0, 1), 0);
  assert_int_equal(flush(), 0);
  rig.fails = shows_what_it_lost;
  fault.carrier = FUA_DATA;
  fault.legs = 1;
  memset(block_on(0, 0), 2, BLOCK); /* the cache shows the write that fails */
  assert_int_equal(ask_fua(0, 2), -EIO);
  assert_int_equal(fault.legs, 0);
  rig_pass(&rig, 1000);
  assert_int_equal(read_at(0), 2);
  assert_int_equal(flush(), 0);
  assert_true(on_disk);
  assert_int_equal(*block_on(1, 0), 2);
  rig_free(&rig);
}

/* From the operator's note on the leg's content is taken for right: it must stay as it is read. */
static void
what_a_single_leg_shows_is_written_anew(void **state) {
  flush_rig_init(1, 1, SF_TOO_FEW_SUSPEND);
  assert_int_equal(write_at(0, 7), 0);
  rig.fails = shows_what_it_lost;
  fault.carrier = MAP_PAGE;
  fault.legs = 1;
  assert_int_equal(write_at(5 * EXTENT, 3), 0);
  assert_int_equal(flush(), -EIO);
  assert_false(on_disk);
  assert_int_equal(sf_volume_leg_return(rig.volume, 0, rig.now_ns), 0);
  rig_pass(&rig, 1000);
  assert_int_equal(flush(), 0);
  assert_true(on_disk);
  assert_int_equal(read_at(0), 7);
  rig_free(&rig);
}

static bool
leg_0_keeps_the_block(const struct rig *r, const struct rig_region *region) {
  return holding && region->leg == 0 && region->op == SF_TIO_WRITE &&
         region->offset == SF_DATA_OFFSET;
}

static bool
flushes_wait(const struct rig *r, const struct rig_region *region) {
  return region->op == SF_TIO_FLUSH;
}

/* A write that failed to its client ends on leg 0 long after: it is in the cache there like any
 * other, and the flush that fails then may take it along. */
static void
what_landed_late_is_written_anew(void **state) {
  struct rig_request write;

  flush_rig_init(2, 2, SF_TOO_FEW_ERROR);
  assert_int_equal(write_at(0, 1), 0);
  assert_int_equal(flush(), 0);
  rig.fails = shows_what_it_lost;
  rig.holds = leg_0_keeps_the_block;
  holding = true;
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, BLOCK, 2);
  rig_pass(&rig, rig.config.fail_timeout_ns / SF_MS + 1000);
  assert_true(write.done);
  assert_int_equal(write.request.error, -EIO);
  fault.carrier = FLUSH_COMMAND;
  fault.legs = 1;
  holding = false;
  rig_pass(&rig, 2000);
  assert_int_equal(fault.legs, 0);
  assert_int_equal(rig.volume->unconverged.set, 0);
  assert_true(on_disk);
  assert_int_equal(*block_on(0, 0), *block_on(1, 0));
  assert_int_equal(flush(), -EIO); /* the convergence may have been from what leg 0 had dropped */
  assert_int_equal(sf_volume_leg_return(rig.volume, 0, rig.now_ns), 0);
  rig_pass(&rig, 1000);
  assert_int_equal(flush(), 0);
  rig_put(&write);
  rig_free(&rig);
}

/* The same block is converged, as both legs read alike, and before that is flushed leg 0 leaves: it
 * has the block in a cache, and comes back without. */
static void
what_landed_late_is_stale_on_a_leg_that_leaves(void **state) {
  struct rig_request write;

  flush_rig_init(3, 2, SF_TOO_FEW_ERROR);
  rig.holds = leg_0_keeps_the_block;
  holding = true;
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, BLOCK, 2);
  rig_run(&rig);
  sf_volume_give_up(rig.volume, &write.request, rig.now_ns);
  rig_run(&rig);
  assert_true(write.done);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  holding = false;
  rig.holds = flushes_wait;
  rig_run(&rig);
  assert_true(rig.volume->leg[0].unflushed.set + rig.volume->leg[0].flushing.set > 0);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 0, rig.now_ns), 0);
  rig_run(&rig);
  assert_true(sf_map_test(&rig.volume->leg[0].stale, 0));
  rig.holds = NULL;
  rig_pass(&rig, 1000);
  rig_put(&write);
  rig_free(&rig);
}

/* ---- both, one after the other ---- */

static bool
holds_reads_of_block_0(const struct rig *r, const struct rig_region *region) {
  return rig_takes_a_moment(r, region) ||
         (region->op == SF_TIO_READ && region->offset == SF_DATA_OFFSET);
}

/* Leg 0 is to be made whole from leg 1, and leg 1 loses the same before that has come about. */
static void
what_the_source_loses_too_is_not_made_good(void **state) {
  flush_rig_init(2, 2, SF_TOO_FEW_ERROR);
  assert_int_equal(write_at(0, 7), 0);
  rig.holds = holds_reads_of_block_0;
  fault.carrier = FUA_DATA;
  fault.legs = 1;
  ask_fua(5 * EXTENT, 3);
  assert_int_equal(fault.legs, 0);
  rig_pass(&rig, 50);
  assert_true(rig.volume->leg[0].heals);
  fault.legs = 2;
  ask_fua(6 * EXTENT, 3);
  assert_int_equal(fault.legs, 0);
  rig.holds = rig_takes_a_moment;
  rig_pass(&rig, 2000);
  assert_int_equal(rig.volume->unconverged.set, 0);
  assert_int_equal(flush(), -EIO);
  assert_true(sf_map_test(&rig.volume->leg[0].lost, 0));
  rig_free(&rig);
}

static bool
holds_write_of_leg_1(const struct rig *r, const struct rig_region *region) {
  return rig_takes_a_moment(r, region) ||
         (region->leg == 1 && region->op == SF_TIO_WRITE && rig_is_data(r, region));
}

/* It carried a flush, and ends well long after it was given up on: nothing has failed. */
static void
a_late_end_is_no_failure(void **state) {
  struct rig_request write;

  flush_rig_init(2, 2, SF_TOO_FEW_ERROR);
  assert_int_equal(write_at(0, 7), 0);
  rig.holds = holds_write_of_leg_1;
  rig.fua = true;
  rig_submit(&rig, &write, SF_REQ_WRITE, 5 * EXTENT, BLOCK, 3);
  rig.fua = false;
  rig_pass(&rig, 20);
  sf_volume_give_up(rig.volume, &write.request, rig.now_ns);
  rig_pass(&rig, 20);
  assert_true(write.done);
  rig.holds = rig_takes_a_moment;
  rig_pass(&rig, 1000);
  assert_int_equal(rig.volume->leg[1].flush_failed_ns, 0);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_int_equal(flush(), 0);
  rig_put(&write);
  rig_free(&rig);
}

static int
leg_0_cannot_read_block_0(const struct rig *r, const struct rig_region *region) {
  bool hit = region->leg == 0 && region->op == SF_TIO_READ && region->offset <= SF_DATA_OFFSET &&
             SF_DATA_OFFSET < region->offset + region->length;

  if (hit)
    return -EIO;
  if (next_flush_fails(r, region) == 0)
    return 0;
  memset(block_on(1, 8 * BLOCK), 1, BLOCK);
  return -EIO;
}

/* Leg 1 lost what it had not flushed, and leg 0 cannot read a block of that: of this block leg 1 has the only
 * copy, lost or not, and all else of the extent is leg 0's. */
static void
the_other_leg_has_a_bad_block_there(void **state) {
  flush_rig_init(2, 2, SF_TOO_FEW_ERROR);
  assert_int_equal(write_at(0, 7), 0);
  assert_int_equal(write_at(8 * BLOCK, 7), 0);
  fault.carrier = FUA_DATA;
  fault.legs = 2;
  rig.fails = leg_0_cannot_read_block_0;
  ask_fua(5 * EXTENT, 3);
  assert_int_equal(fault.legs, 0);
  rig_pass(&rig, 5000);
  assert_int_equal(rig.volume->unconverged.set, 0);
  assert_int_equal(*block_on(1, 8 * BLOCK), 7);
  assert_int_equal(*block_on(0, 0), 7);
  assert_int_equal(flush(), -EIO);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(taking_note_does_not_make_the_loser_a_source),
      cmocka_unit_test(a_leg_that_joins_takes_over_the_loss),
      cmocka_unit_test(without_intent_a_start_has_lost_nothing),
      cmocka_unit_test(what_may_be_lost_everywhere_is_known_to_a_start),
      cmocka_unit_test(a_leg_that_lost_as_much_may_leave),
      cmocka_unit_test(what_two_legs_show_alike_is_written_anew),
      cmocka_unit_test(what_a_single_leg_shows_is_written_anew),
      cmocka_unit_test(what_landed_late_is_written_anew),
      cmocka_unit_test(what_landed_late_is_stale_on_a_leg_that_leaves),
      cmocka_unit_test(what_the_source_loses_too_is_not_made_good),
      cmocka_unit_test(a_late_end_is_no_failure),
      cmocka_unit_test(the_other_leg_has_a_bad_block_there),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

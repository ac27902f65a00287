/* R9, R2: requests that run, or hang, beside a flush or a request that fails: the first answer may
 * not be the true one, and a request stuck on one leg keeps none from being tried again on
 * another. */
#include "flush_rig.h"

#include <errno.h>
#include <string.h>

#include "volume/ground/fault.h"

/* ---- beside a write with FUA ---- */

/* The disk has failed the write and dropped earlier ones, so the flush behind it has nothing to do
 * and goes well; the thread that is to hear of the write has no CPU. */
static void
flush_beside_a_failure_not_heard_of(struct rig_request *flushing) {
  struct rig_request fua;

  assert_int_equal(write_at(6 * EXTENT, 3), 0);
  assert_int_equal(write_at(0, 1), 0);
  assert_int_equal(flush(), 0);
  assert_int_equal(write_at(0, 7), 0);
  submit_fua_held(&fua, 6 * EXTENT, 4);
  memset(block_on(0, 0), 1, BLOCK);
  rig_submit(&rig, flushing, SF_REQ_FLUSH, 0, 0, 0);
  rig_run(&rig);
  assert_false(flushing->done);
  fault.carrier = FUA_DATA;
  fault.legs = 1;
  holding = false;
  rig_run(&rig);
  assert_int_equal(fault.legs, 0);
  rig_pass(&rig, 100);
  assert_true(flushing->done && fua.done);
  assert_int_equal(fua.request.error, 0); /* elsewhere, or sent again */
  rig_put(&fua);
}

/* Else the flush answers for a block that the disk no longer has. */
static void
a_flush_waits_for_a_write_with_fua_that_may_have_failed(void **state) {
  struct rig_request flushing;

  flush_rig_init(1, 1, SF_TOO_FEW_SUSPEND);
  flush_beside_a_failure_not_heard_of(&flushing);
  assert_int_equal(flushing.request.error, -EIO);
  assert_int_equal(flush(), -EIO);
  rig_free(&rig);
}

/* Else the block counts as stable on a leg that lacks it, and the leg comes back without it. */
static void
a_leg_leaves_without_what_it_dropped_beside_a_flush(void **state) {
  struct rig_request flushing;

  flush_rig_init(2, 1, SF_TOO_FEW_SUSPEND);
  flush_beside_a_failure_not_heard_of(&flushing);
  assert_int_equal(flushing.request.error, 0); /* leg 1 has it all */
  assert_int_equal(rig_state(&rig, 0), SF_STATE_FAULTY);
  assert_true(sf_map_test(&rig.volume->leg[0].stale, 0));
  assert_int_equal(sf_volume_leg_return(rig.volume, 0, rig.now_ns), 0);
  rig_pass(&rig, 5000);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  assert_int_equal(*block_on(0, 0), 7);
  assert_int_equal(*block_on(1, 0), 7);
  rig_free(&rig);
}

/* Its own flush found an empty cache: acknowledged, the write would be nowhere. */
static void
a_write_with_fua_across_a_failed_flush_is_sent_again(void **state) {
  struct rig_request write, flushing;

  flush_rig_init(1, 1, SF_TOO_FEW_SUSPEND);
  assert_int_equal(write_at(0, 7), 0);
  holding = true;
  rig.holds = holds_fua_of_leg_0;
  fault.carrier = FLUSH_COMMAND;
  fault.legs = 1;
  rig.fua = true;
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, BLOCK, 8);
  rig.fua = false;
  rig_submit(&rig, &flushing, SF_REQ_FLUSH, 0, 0, 0);
  rig_run(&rig);
  assert_int_equal(fault.legs, 0);
  holding = false;
  rig_run(&rig);
  assert_false(write.done);
  memset(block_on(0, 0), 1, BLOCK); /* left by the first try */
  rig_pass(&rig, 400);
  assert_true(write.done && flushing.done);
  assert_int_equal(write.request.error, 0);
  assert_int_equal(*block_on(0, 0), 8);
  assert_int_equal(flushing.request.error, -EIO);
  rig_put(&write);
  rig_free(&rig);
}

/* ---- a write with FUA beside a flush ---- */

static bool
holds_flush(const struct rig *r, const struct rig_region *region) {
  return holding && region->leg == 0 && region->op == SF_TIO_FLUSH;
}

/* The flush has failed and dropped what the write had put there, so that the write's own had
 * nothing to do and went well; which of them is heard first is chance.  Else the leg leaves for the
 * flush, and comes back without the write. */
static void
a_write_with_fua_beside_a_failure_not_heard_of_is_lost_with_it(void **state) {
  struct rig_request flushing;

  flush_rig_init(2, 1, SF_TOO_FEW_SUSPEND);
  assert_int_equal(write_at(0, 1), 0);
  assert_int_equal(flush(), 0);
  assert_int_equal(write_at(9 * EXTENT, 5), 0);
  holding = true;
  rig.holds = holds_flush;
  rig_submit(&rig, &flushing, SF_REQ_FLUSH, 0, 0, 0);
  assert_int_equal(ask_fua(0, 7), 0);
  memset(block_on(0, 0), 1, BLOCK);
  fault.carrier = FLUSH_COMMAND;
  fault.legs = 1;
  holding = false;
  rig_pass(&rig, 100);
  assert_int_equal(fault.legs, 0);
  assert_true(flushing.done);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_FAULTY);
  assert_true(sf_map_test(&rig.volume->leg[0].stale, 0));
  assert_int_equal(sf_volume_leg_return(rig.volume, 0, rig.now_ns), 0);
  rig_pass(&rig, 5000);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  assert_int_equal(*block_on(0, 0), 7);
  rig_put(&flushing);
  rig_free(&rig);
}

/* ---- beside the leaving of a leg ---- */

static bool
holds_leg_0_or_records(const struct rig *r, const struct rig_region *region) {
  bool is_record = region->op == SF_TIO_WRITE && region->offset < SF_MAPS_OFFSET;

  return is_record ||
         (holding && region->leg == 0 && region->op == SF_TIO_FLUSH && fault.legs == 0);
}

/* The failure takes the leg out, and until that is durable a start may still trust it.  Its next
 * flush finds an empty cache and goes well: else that answers for what the disk has dropped. */
static void
a_flush_is_not_answered_by_a_leg_on_its_way_out(void **state) {
  struct rig_request given_up, flushing, write;

  flush_rig_init(3, 1, SF_TOO_FEW_SUSPEND);
  assert_int_equal(write_at(0, 1), 0);
  assert_int_equal(flush(), 0);
  assert_int_equal(write_at(0, 7), 0);
  holding = true;
  rig.holds = holds_leg_0_or_records;
  rig_submit(&rig, &given_up, SF_REQ_FLUSH, 0, 0, 0);
  rig_run(&rig);
  sf_volume_give_up(rig.volume, &given_up.request, rig.now_ns);
  assert_int_equal(rig.volume->errors, 0);
  rig_submit(&rig, &flushing, SF_REQ_FLUSH, 0, 0, 0);
  rig_run(&rig);
  fault.carrier = FLUSH_COMMAND;
  fault.legs = 1;
  fault.drops = true;
  rig_run(&rig);
  assert_int_equal(fault.legs, 0);
  rig_pass(&rig, 1);
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, BLOCK, 8); /* legs 1 and 2 are heard */
  rig_pass(&rig, 30);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_FAULTY);
  holding = false;
  rig_run(&rig);
  assert_false(flushing.done);
  rig.holds = NULL;
  rig_run(&rig);
  assert_true(flushing.done);
  assert_int_equal(flushing.request.error, 0);
  rig_put(&given_up);
  rig_put(&flushing);
  rig_put(&write);
  rig_free(&rig);
}

/* ---- at a start ---- */

/* Else the loss is forgotten with the process, and the next start may make leg 1 what leg 0 is. */
static void
a_claim_that_fails_is_known_to_the_next_start(void **state) {
  struct sf_superblock sb;

  flush_rig_init(2, 2, SF_TOO_FEW_SUSPEND);
  assert_int_equal(write_at(0, 7), 0);
  rig_kill(&rig);
  rig.fails = next_flush_fails;
  fault.legs = 1;
  fault.drops = true;
  rig_start(&rig);
  rig_pass(&rig, 50);
  assert_int_equal(fault.legs, 0);
  assert_int_equal(rig.volume->phase, PHASE_CLAIMING);
  rig_read_superblock(&rig, 1, &sb);
  assert_int_equal(sb.lost, 1);
  rig_kill(&rig);
  rig_start_fully(&rig);
  rig_pass(&rig, 1000);
  assert_int_equal(*block_on(0, 0), 7);
  assert_int_equal(*block_on(1, 0), 7);
  assert_int_equal(flush(), 0);
  rig_free(&rig);
}

static int
superblock_fails_once(const struct rig *r, const struct rig_region *region) {
  if (!(fault.legs >> region->leg & 1) || region->op != SF_TIO_WRITE ||
      region->offset >= SF_MAPS_OFFSET)
    return 0;
  fault.legs &= ~(1u << region->leg);
  return -EIO;
}

/* Else it could never be in sync again: what it lost is stale there, and is copied anew. */
static void
a_leg_that_a_start_did_without_comes_back_whole(void **state) {
  struct sf_superblock sb;

  flush_rig_init(3, 2, SF_TOO_FEW_SUSPEND);
  assert_int_equal(write_at(0, 7), 0);
  rig_kill(&rig);
  rig.fails = superblock_fails_once;
  fault.legs = 1;
  rig_start(&rig);
  rig_pass(&rig, 1000);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_FAULTY);
  memset(block_on(0, 0), 1, BLOCK); /* what it dropped */
  assert_int_equal(sf_volume_leg_return(rig.volume, 0, rig.now_ns), 0);
  rig_pass(&rig, 6000);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  assert_int_equal(*block_on(0, 0), 7);
  rig_read_superblock(&rig, 0, &sb);
  assert_int_equal(sb.lost, 0);
  assert_int_equal(flush(), 0);
  rig_free(&rig);
}

static unsigned flushes;
static bool
    path_is_down; /* for so many flushes at most that a volume which sends them at once ends */

static int
flushes_find_no_path(const struct rig *r, const struct rig_region *region) {
  if (region->op != SF_TIO_FLUSH)
    return 0;
  flushes++;
  return path_is_down && flushes < 1000 ? -ENOLINK : 0;
}

/* Else the process spends its time on flushes that fail as soon as they are sent. */
static void
a_single_leg_without_a_path_is_flushed_at_intervals(void **state) {
  flush_rig_init(1, 1, SF_TOO_FEW_SUSPEND);
  assert_int_equal(write_at(0, 7), 0);
  rig_kill(&rig);
  rig.fails = flushes_find_no_path;
  flushes = 0;
  path_is_down = true;
  rig_start_fully(&rig);
  assert_int_equal(flushes, 1);
  rig_pass(&rig, 1000);
  assert_in_range(flushes, 2, 20);
  assert_int_not_equal(rig.volume->unconverged.set, 0);
  path_is_down = false;
  rig_pass(&rig, 1000);
  assert_int_equal(rig.volume->unconverged.set, 0);
  assert_int_equal(read_at(0), 7);
  rig_free(&rig);
}

/* ---- beside a hang ---- */

static bool
leg_0_hangs(const struct rig *r, const struct rig_region *region) {
  return holding && region->leg == 0 && (rig_is_data(r, region) || region->op == SF_TIO_FLUSH);
}

/* Leg 1 is on its way into the set, its maps being written, and leg 0 does not end a write to
 * extent 3. */
static bool
holds_write_and_maps(const struct rig *r, const struct rig_region *region) {
  if (region->leg == 1)
    return holding && rig_is_map(region);
  return holding && region->op == SF_TIO_WRITE &&
         region->offset == SF_DATA_OFFSET + (uint64_t) 3 * EXTENT;
}

/* Else leg 1 joins with what leg 0 may still change.  And the join is put off once: put off each
 * time that the volume looks at it, it would begin anew for ever, and the call would not return. */
static void
a_write_given_up_on_is_not_stable_before_it_ends(void **state) {
  struct rig_request write;

  flush_rig_init(2, 1, SF_TOO_FEW_SUSPEND);
  rig.volume->config.resync_min_rate = rig.volume->config.resync_max_rate = 4 << 20;
  assert_int_equal(write_at(3 * EXTENT, 1), 0);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 1, rig.now_ns), 0);
  rig_pass(&rig, 100);
  for (unsigned i = 0; i < 20; i++)
    assert_int_equal(write_at((uint64_t) (8 + i) * EXTENT, 2), 0);
  assert_int_equal(sf_volume_leg_return(rig.volume, 1, rig.now_ns), 0);
  for (unsigned i = 0; i < 200000 && (rig_state(&rig, 1) != SF_STATE_CATCHING_UP ||
                                      rig.volume->leg[1].stale.set > 1);
       i++)
    rig_pass(&rig, 1);
  holding = true;
  rig.holds = holds_write_and_maps;
  for (unsigned i = 0; i < 1000 && rig.volume->leg[1].stale.set > 0; i++)
    rig_pass(&rig, 1);
  rig_submit(&rig, &write, SF_REQ_WRITE, 3 * EXTENT, BLOCK, 9);
  rig_run(&rig);
  assert_false(write.done);
  assert_int_equal(rig.volume->joining, 1);
  sf_volume_give_up(rig.volume, &write.request, rig.now_ns);
  rig_pass(&rig, 100);
  assert_true(sf_map_test(&rig.volume->unconverged, 3));
  holding = false;
  rig_pass(&rig, 5000);
  assert_false(sf_map_test(&rig.volume->unconverged, 3));
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_memory_equal(block_on(0, 3 * EXTENT), block_on(1, 3 * EXTENT), BLOCK);
  rig_put(&write);
  rig_free(&rig);
}

static unsigned leg_1_fails;

static int
leg_1_has_no_path(const struct rig *r, const struct rig_region *region) {
  if (region->leg != 1 || leg_1_fails == 0 ||
      !(rig_is_data(r, region) || region->op == SF_TIO_FLUSH))
    return 0;
  leg_1_fails--;
  return -ENOLINK;
}

/* Else one error of a path that is well again makes the request wait for a leg that may never
 * answer. */
static void
an_error_that_passes_beside_a_hang_is_asked_again(void **state) {
  const enum sf_request_kind kinds[] = {SF_REQ_READ, SF_REQ_WRITE, SF_REQ_FLUSH};

  for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    struct rig_request request;

    flush_rig_init(2, 1, SF_TOO_FEW_SUSPEND);
    assert_int_equal(write_at(0, 7), 0);
    rig.volume->leg[0].avoid = kinds[i] == SF_REQ_READ; /* it goes to leg 1 first */
    holding = true;
    rig.holds = leg_0_hangs;
    rig.fails = leg_1_has_no_path;
    leg_1_fails = 1;
    rig_submit(&rig, &request, kinds[i], 0, kinds[i] == SF_REQ_FLUSH ? 0 : BLOCK, 8);
    rig_pass(&rig, 20000);
    assert_int_equal(leg_1_fails, 0);
    assert_true(request.done);
    assert_int_equal(request.request.error, 0);
    assert_int_equal(*block_on(1, 0), kinds[i] == SF_REQ_WRITE ? 8 : 7);
    if (kinds[i] == SF_REQ_READ)
      assert_int_equal(((uint8_t *) request.request.buffer->data)[0], 7);
    assert_int_equal(rig_state(&rig, 0), SF_STATE_LATE);
    assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
    rig_put(&request);
    rig_free(&rig);
  }
}

/* Else a read is never answered, though the one leg that is left has what it asks for. */
static void
a_read_goes_on_beside_a_try_that_hangs_for_ever(void **state) {
  struct rig_request read;

  flush_rig_init(2, 1, SF_TOO_FEW_SUSPEND);
  assert_int_equal(write_at(0, 7), 0);
  rig.volume->leg[1].avoid = true; /* it goes to leg 0 first */
  holding = true;
  rig.holds = leg_0_hangs;
  rig.fails = leg_1_has_no_path;
  leg_1_fails = 1000000;
  rig_submit(&rig, &read, SF_REQ_READ, 0, BLOCK, 0);
  rig_pass(&rig, 50);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 0, rig.now_ns), 0);
  rig_pass(&rig, 4000);
  assert_false(read.done);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_FAULTY);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  leg_1_fails = 0;
  rig_pass(&rig, 1000);
  assert_true(read.done);
  assert_int_equal(read.request.error, 0);
  assert_int_equal(((uint8_t *) read.request.buffer->data)[0], 7);
  rig_put(&read);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_flush_waits_for_a_write_with_fua_that_may_have_failed),
      cmocka_unit_test(a_leg_leaves_without_what_it_dropped_beside_a_flush),
      cmocka_unit_test(a_write_with_fua_across_a_failed_flush_is_sent_again),
      cmocka_unit_test(a_write_with_fua_beside_a_failure_not_heard_of_is_lost_with_it),
      cmocka_unit_test(a_flush_is_not_answered_by_a_leg_on_its_way_out),
      cmocka_unit_test(a_claim_that_fails_is_known_to_the_next_start),
      cmocka_unit_test(a_leg_that_a_start_did_without_comes_back_whole),
      cmocka_unit_test(a_single_leg_without_a_path_is_flushed_at_intervals),
      cmocka_unit_test(a_write_given_up_on_is_not_stable_before_it_ends),
      cmocka_unit_test(an_error_that_passes_beside_a_hang_is_asked_again),
      cmocka_unit_test(a_read_goes_on_beside_a_try_that_hangs_for_ever),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

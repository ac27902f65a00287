/* R9, R15: copies from a leg that has dropped unflushed writes.  When a thread hears of it late, or
 * the leg leaves before, the leg that was given the copy must not keep an older block. */
#include "flush_rig.h"

#include <errno.h>
#include <string.h>

#include "volume/ground/copying.h"
#include "volume/ground/fault.h"
#include "volume/ground/flush_lost.h"

static bool
holds_flush_of_leg_0(const struct rig *r, const struct rig_region *region) {
  return holding && region->leg == 0 && region->op == SF_TIO_FLUSH;
}

/* Leg 0 has dropped the block in a flush with an answer still under way, and leg 2 is given the
 * older block of leg 0.  Then leg 0 leaves, for any reason, and its unflushed writes are forgotten
 * with it. */
static void
a_copy_of_what_a_leg_left_unflushed_is_made_again(void **state) {
  struct rig_request flushing;

  flush_rig_init(3, 1, SF_TOO_FEW_SUSPEND);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  assert_int_equal(write_at(0, 1), 0);
  assert_int_equal(flush(), 0);
  assert_int_equal(write_at(0, 7), 0);
  holding = true;
  rig.holds = holds_flush_of_leg_0;
  rig_submit(&rig, &flushing, SF_REQ_FLUSH, 0, 0, 0);
  rig_run(&rig);
  memset(block_on(0, 0), 1, BLOCK);
  rig.volume->leg[1].avoid = true; /* leg 0 is silent, and was chosen all the same */
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  for (unsigned i = 0; i < 900 && *block_on(2, 0) == 0; i++)
    rig_pass(&rig, 1);
  assert_int_equal(*block_on(2, 0), 1); /* the volume cannot know better yet */
  assert_int_equal(rig_state(&rig, 2), SF_STATE_CATCHING_UP);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 0, rig.now_ns), 0);
  rig_pass(&rig, 2000);
  assert_true(flushing.done);
  assert_int_equal(flushing.request.error, 0); /* leg 1 has it */
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  assert_int_equal(*block_on(1, 0), 7);
  assert_int_equal(*block_on(2, 0), 7);
  holding = false;
  rig_put(&flushing);
  rig_free(&rig);
}

/* Leg 2 has flushed its copy of what leg 0 has dropped beside a write with FUA, and is out again when
 * that is heard of, or when leg 0 leaves before. */
static void
a_leg_that_is_out_again_lacks_it_too(bool is_heard) {
  struct rig_request fua;

  flush_rig_init(3, 1, SF_TOO_FEW_SUSPEND);
  rig_never_late(&rig.volume->config);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  assert_int_equal(write_at(0, 1), 0);
  assert_int_equal(write_at(5 * EXTENT, 3), 0);
  assert_int_equal(flush(), 0);
  assert_int_equal(write_at(0, 7), 0);
  submit_fua_held(&fua, 5 * EXTENT, 4);
  rig_run(&rig);
  memset(block_on(0, 0), 1, BLOCK);
  rig.volume->leg[1].avoid = true;
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 3000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_CATCHING_UP);
  assert_int_equal(*block_on(2, 0), 1);
  assert_false(sf_map_test(&rig.volume->leg[2].unflushed, 0));
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);

  if (is_heard) {
    fault.carrier = FUA_DATA;
    fault.legs = 1;
    holding = false;
    rig_pass(&rig, 100);
    assert_int_equal(rig_state(&rig, 0), SF_STATE_FAULTY);
  } else {
    assert_int_equal(sf_volume_leg_fail(rig.volume, 0, rig.now_ns), 0);
  }
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 5000);
  assert_true(fua.done);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  assert_int_equal(*block_on(1, 0), 7);
  assert_int_equal(*block_on(2, 0), 7);
  holding = false;
  rig_put(&fua);
  rig_free(&rig);
}

static void
a_flushed_copy_is_doubted_when_its_source_leaves(void **state) {
  a_leg_that_is_out_again_lacks_it_too(false);
}

static void
a_flushed_copy_is_doubted_when_its_source_fails_a_flush(void **state) {
  a_leg_that_is_out_again_lacks_it_too(true);
}

static bool
holds_write_of_leg_1_or_flush(const struct rig *r, const struct rig_region *region) {
  return holding && ((region->leg == 1 && rig_is_data(r, region) && region->op == SF_TIO_WRITE &&
                      region->offset == SF_DATA_OFFSET + BLOCK) ||
                     (region->leg < 2 && region->op == SF_TIO_FLUSH));
}

/* Nothing is copied of a leg that catches up, so that what it drops is its own loss only.  Else
 * flushes would fail until the operator has taken note of what no leg in sync has lost. */
static void
what_a_leg_drops_that_catches_up_is_no_loss_of_others(void **state) {
  struct rig_request failing, fua;

  flush_rig_init(3, 2, SF_TOO_FEW_SUSPEND);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  for (uint64_t i = 0; i < 40; i++)
    assert_int_equal(write_at(i * EXTENT, 7), 0);
  assert_int_equal(flush(), 0);
  rig.volume->config.resync_min_rate = rig.volume->config.resync_max_rate = 1 << 20;
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  for (unsigned i = 0; i < 2000 && *block_on(2, 2 * EXTENT) == 0; i++)
    rig_pass(&rig, 1);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_CATCHING_UP);
  rig_pass(&rig, 100);

  holding = true;
  rig.holds = holds_write_of_leg_1_or_flush;
  rig_submit(&rig, &failing, SF_REQ_WRITE, BLOCK, BLOCK, 8);
  rig_pass(&rig, 5);
  sf_volume_give_up(rig.volume, &failing.request, rig.now_ns);
  rig_run(&rig);
  assert_true(failing.done);
  for (unsigned i = 0; i < RIG_REGIONS; i++) /* it lands behind its cancel */
    if (rig.region[i].used && rig.region[i].leg == 1 && rig.region[i].op == SF_TIO_WRITE)
      rig.region[i].offset += 8 * BLOCK;
  rig_pass(&rig, 100);
  assert_true(sf_copier_has_converged(rig.volume, 0));
  assert_true(sf_map_test(&rig.volume->leg[2].unflushed, 0));

  fault.carrier = FUA_DATA;
  fault.legs = 4;
  rig.fua = true;
  rig_submit(&rig, &fua, SF_REQ_WRITE, EXTENT, BLOCK, 9);
  rig.fua = false;
  rig_pass(&rig, 20);
  assert_int_equal(fault.legs, 0);
  assert_true(fua.done);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_FAULTY);
  assert_int_equal(sf_flush_failure_legs(rig.volume), 0);
  holding = false;
  rig_pass(&rig, 500);
  assert_int_equal(flush(), 0);
  rig_put(&failing);
  rig_put(&fua);
  rig_free(&rig);
}

/* A page of the maps that was given to leg 0 beside that flush, and dropped with it.  Else the next
 * start does not know that leg 1 lacks the block. */
static void
a_page_beside_a_failure_not_heard_of_is_written_again(void **state) {
  struct rig_request flushing;
  uint8_t page[SF_PAGE_BYTES];

  flush_rig_init(2, 1, SF_TOO_FEW_SUSPEND);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 1, rig.now_ns), 0);
  rig_pass(&rig, 100);
  assert_int_equal(write_at(9 * EXTENT, 5), 0);
  memcpy(page, rig.leg[0] + SF_MAP_PAGE_OFFSET(0), sizeof page);
  holding = true;
  rig.holds = holds_flush_of_leg_0;
  rig_submit(&rig, &flushing, SF_REQ_FLUSH, 0, 0, 0);
  rig_run(&rig);
  assert_int_equal(write_at(0, 7), 0);
  assert_int_equal(*block_on(0, 0), 7);
  memcpy(rig.leg[0] + SF_MAP_PAGE_OFFSET(0), page, sizeof page);
  fault.carrier = FLUSH_COMMAND;
  fault.legs = 1;
  holding = false;
  rig_pass(&rig, 300);
  assert_int_equal(fault.legs, 0);
  assert_int_not_equal(sf_flush_failure_legs(rig.volume), 0);
  rig_put(&flushing);
  rig_kill(&rig);
  rig_start_fully(&rig);
  assert_true(sf_map_test(&rig.volume->leg[1].stale, 9));
  assert_true(sf_map_test(&rig.volume->leg[1].stale, 0));
  rig_free(&rig);
}

static unsigned keeps_reads; /* legs that do not end reads of block 0 now; bit i */

static bool
keeps_reads_of_block_0(const struct rig *r, const struct rig_region *region) {
  return region->op == SF_TIO_READ && region->offset == SF_DATA_OFFSET &&
         (keeps_reads >> region->leg & 1);
}

/* Leg 1 hangs with a read, and what leg 0 answers in its place does not count, as it has lost that
 * by then.  The read waits for the convergence, and leg 1 may read into a buffer without an
 * owner. */
static void
a_read_that_counts_nowhere_waits_in_another_buffer(void **state) {
  struct rig_request read;
  const struct sf_tio_buffer *first;

  flush_rig_init(2, 2, SF_TOO_FEW_SUSPEND);
  assert_int_equal(write_at(0, 7), 0);
  rig.volume->leg[0].avoid = true;
  keeps_reads = 3;
  rig.holds = keeps_reads_of_block_0;
  rig_submit(&rig, &read, SF_REQ_READ, 0, BLOCK, 0);
  first = read.request.buffer;
  rig_pass(&rig, 105);
  fault.legs = 1;
  fault.drops = true;
  assert_int_equal(ask_fua(5 * EXTENT, 3), 0);
  assert_int_equal(*block_on(0, 0), 1);
  assert_int_equal(sf_flush_failure_legs(rig.volume), 1);
  keeps_reads = 2;
  rig_run(&rig);
  assert_false(read.done);
  assert_non_null(rig.volume->parked);
  assert_ptr_not_equal(read.request.buffer, first);
  keeps_reads = 0;
  rig_pass(&rig, 1000);
  assert_true(read.done);
  assert_int_equal(read.request.error, 0);
  assert_int_equal(*(uint8_t *) read.request.buffer->data, 7);
  assert_int_equal(*block_on(0, 0), 7);
  rig_put(&read);
  rig_free(&rig);
}

static bool
holds_superblocks(const struct rig *r, const struct rig_region *region) {
  return rig_is_superblock(region);
}

/* What leg 2 was given may be what leg 0 has dropped: its promotion, which is on its way, is undone, also where
 * the legs are known to have lost something before. */
static void
a_promotion_is_undone_by_a_failed_flush(void **state) {
  uint64_t version;

  flush_rig_init(3, 2, SF_TOO_FEW_SUSPEND);
  rig_never_late(&rig.volume->config);
  assert_int_equal(write_at(5 * EXTENT, 3), 0);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  assert_int_equal(write_at(0, 7), 0);
  fault.carrier = FUA_DATA;
  fault.legs = 3;
  ask_fua(5 * EXTENT, 3);
  rig_pass(&rig, 1000);
  assert_int_equal(sf_flush_failure_legs(rig.volume), 3);
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  for (unsigned i = 0; i < 5000 && rig.volume->promoting < 0; i++) {
    if (rig_state(&rig, 2) == SF_STATE_CATCHING_UP)
      rig.holds = holds_superblocks;
    rig_pass(&rig, 1);
  }
  assert_int_equal(rig.volume->promoting, 2);
  write_at(5 * EXTENT, 4);
  version = rig.volume->version;
  fault.legs = 1;
  ask_fua(5 * EXTENT, 5);
  assert_int_equal(fault.legs, 0);
  assert_true(rig.volume->version > version);
  assert_int_equal(rig.volume->promoting, -1);
  rig.holds = rig_takes_a_moment;
  rig_pass(&rig, 10000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_copy_of_what_a_leg_left_unflushed_is_made_again),
      cmocka_unit_test(a_flushed_copy_is_doubted_when_its_source_leaves),
      cmocka_unit_test(a_flushed_copy_is_doubted_when_its_source_fails_a_flush),
      cmocka_unit_test(what_a_leg_drops_that_catches_up_is_no_loss_of_others),
      cmocka_unit_test(a_page_beside_a_failure_not_heard_of_is_written_again),
      cmocka_unit_test(a_read_that_counts_nowhere_waits_in_another_buffer),
      cmocka_unit_test(a_promotion_is_undone_by_a_failed_flush),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

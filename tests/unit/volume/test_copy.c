/* Copies that end badly in the middle: what they leave running must not stand in the way of
 * others. */
#include "rig.h"

#include <errno.h>
#include <string.h>

enum { EXTENT = 65536, EXTENTS = 16, MIB = 1 << 20 };

static struct rig rig;
static bool fails_now;

/* Each piece is read from two legs: of all that it reads this one is late with a quarter. */
static bool
a_quarter_is_late(const struct rig *r, const struct rig_region *region) {
  uint64_t takes_ns = region->handle / 2 % 4 == 0 ? 150 * SF_MS : 5 * SF_MS;

  return region->leg == 0 && region->op == SF_TIO_READ && rig_is_data(r, region) &&
         r->now_ns - region->since_ns < takes_ns;
}

static bool
is_copy(const struct rig *r, const struct rig_region *region) {
  return region->op == SF_TIO_WRITE && rig_is_data(r, region);
}

static int
fails_on_leg_1(const struct rig *r, const struct rig_region *region) {
  return fails_now && region->leg == 1 && is_copy(r, region) ? -EIO : 0;
}

/* Leg 1 ends it first, then leg 3, and leg 2 never does. */
static bool
leg_2_hangs(const struct rig *r, const struct rig_region *region) {
  uint64_t age_ns = r->now_ns - region->since_ns;

  if (!is_copy(r, region))
    return false;
  return region->leg == 2 || (region->leg == 3 && age_ns < 20 * SF_MS);
}

/* The next start has the first extent to converge. */
static void
killed_after_a_write(void) {
  struct rig_request write;

  rig.config.intent_delay_ns = 600 * SF_S;
  rig_start_fully(&rig);
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 1);
  rig_run(&rig);
  assert_true(write.done);
  rig_put(&write);
  rig_kill(&rig);
}

/* One leg fails a convergence, which ends it, while another one hangs in it.  That one has to
 * leave, though no request waits for this copy any more, or there could be no other. */
static void
a_leg_that_hangs_in_a_copy_that_failed_leaves(void **state) {
  struct rig_request read;

  rig_init(&rig, 4, 2, EXTENT, EXTENTS);
  killed_after_a_write();
  for (unsigned leg = 1; leg < 4; leg++)
    memset(rig.leg[leg] + SF_DATA_OFFSET, 0x10 + (int) leg, 4096);
  fails_now = true;
  rig.fails = fails_on_leg_1;
  rig.holds = leg_2_hangs;
  rig_start(&rig);
  rig_pass(&rig, 10);
  assert_int_equal(rig.volume->unconverged.set, 1);
  rig_submit(&rig, &read, SF_REQ_READ, 0, 4096, 0);
  rig_pass(&rig, 1000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_FAULTY);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_LATE);
  rig_pass(&rig, 1000);
  assert_true(read.done);
  assert_int_equal(read.request.error, 0);
  assert_memory_equal(rig.leg[0] + SF_DATA_OFFSET, rig.leg[3] + SF_DATA_OFFSET, EXTENT);
  rig_put(&read);
  rig_free(&rig);
}

static bool
copies_to_leg_1_hang(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && is_copy(r, region);
}

/* Only the copy shows that a leg hangs: a leg that catches up, and a leg that a convergence writes
 * to. */
static void
a_leg_that_hangs_in_a_copy_leaves(void **state) {
  for (unsigned turn = 0; turn < 2; turn++) {
    struct rig_request write;

    rig_init(&rig, 3, 1, EXTENT, EXTENTS);
    rig.config.intent_delay_ns = 600 * SF_S;
    rig_start_fully(&rig);
    if (turn == 0)
      assert_int_equal(sf_volume_leg_fail(rig.volume, 1, rig.now_ns), 0);
    rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 1);
    rig_run(&rig);
    assert_true(write.done);
    rig_put(&write);
    if (turn == 0) {
      rig.holds = copies_to_leg_1_hang;
      assert_int_equal(sf_volume_leg_return(rig.volume, 1, rig.now_ns), 0);
      for (unsigned i = 0; i < 5000 && rig_state(&rig, 1) != SF_STATE_CATCHING_UP; i++)
        rig_pass(&rig, 1);
      assert_int_equal(rig_state(&rig, 1), SF_STATE_CATCHING_UP);
    } else {
      rig_kill(&rig);
      memset(rig.leg[1] + SF_DATA_OFFSET, 0x11, 4096);
      rig.holds = copies_to_leg_1_hang;
      rig_start(&rig);
      rig_pass(&rig, 10);
      assert_int_equal(rig.volume->unconverged.set, 1);
    }
    rig_pass(&rig, 500);
    assert_int_equal(rig_state(&rig, 1), SF_STATE_LATE);
    rig.holds = NULL;
    rig_pass(&rig, 10000);
    assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
    assert_memory_equal(rig.leg[0] + SF_DATA_OFFSET, rig.leg[1] + SF_DATA_OFFSET, EXTENT);
    rig_free(&rig);
  }
}

static unsigned reads_that_end;

static bool
holds_reads(const struct rig *r, const struct rig_region *region) {
  if (region->op != SF_TIO_READ || !rig_is_data(r, region))
    return false;
  if (reads_that_end == 0)
    return true;
  reads_that_end--;
  return false;
}

/* Of the copy that is under way there; -1: none is. */
static int
use_of_copy_at(uint64_t extent) {
  for (unsigned i = 0; i < SF_COPY_SLOTS; i++) {
    const struct sf_op *op = rig.volume->copier.slot[i].op;

    if (op != NULL && op->ios > 0 && op->offset == extent * EXTENT)
      return op->io[0].part[0].use;
  }
  return -1;
}

/* R15: a convergence takes no room from clients, but for a read that waits for it. */
static void
a_convergence_takes_the_room_of_who_waits_for_it(void **state) {
  struct rig_request write[EXTENTS], read;

  rig_init(&rig, 2, 1, EXTENT, EXTENTS);
  rig.config.intent_delay_ns = 600 * SF_S;
  rig_start_fully(&rig);
  for (unsigned i = 0; i < EXTENTS; i++) {
    rig_submit(&rig, &write[i], SF_REQ_WRITE, (uint64_t) i * EXTENT, 4096, 1);
    rig_run(&rig);
    rig_put(&write[i]);
  }
  rig_kill(&rig);
  reads_that_end = 0;
  rig.holds = holds_reads;
  rig_start(&rig);
  rig_pass(&rig, 10);
  assert_int_equal(rig.volume->unconverged.set, EXTENTS);
  assert_int_equal(use_of_copy_at(0), WINDOW_COPIES);
  assert_int_equal(use_of_copy_at(EXTENTS - 1), -1);
  rig_submit(&rig, &read, SF_REQ_READ, (uint64_t) (EXTENTS - 1) * EXTENT, 4096, 0);
  reads_that_end = 2;
  rig_pass(&rig, 10);
  assert_int_equal(use_of_copy_at(EXTENTS - 1), WINDOW_CLIENTS);
  assert_false(read.done);
  rig.holds = NULL;
  rig_pass(&rig, 1000);
  assert_true(read.done);
  rig_put(&read);
  rig_free(&rig);
}

/* Proves that a convergence ends beside reads that are late again and again on a leg that answers all
 * others: those pieces are read again, and not the whole extent. */
static void
a_piece_that_is_late_is_read_again_alone(void **state) {
  struct rig_request read;

  rig_init(&rig, 2, 2, 4 * MIB, 4);
  killed_after_a_write();
  memset(rig.leg[1] + SF_DATA_OFFSET, 0x10, 4096);
  rig.holds = a_quarter_is_late;
  rig_start_fully(&rig);
  assert_int_equal(rig.volume->unconverged.set, 1);
  rig_submit(&rig, &read, SF_REQ_READ, 0, 4096, 0);
  rig_pass(&rig, 5000);
  assert_int_equal(rig.volume->unconverged.set, 0);
  assert_true(read.done);
  assert_int_equal(read.request.error, 0);
  rig_put(&read);
  for (unsigned leg = 0; leg < 2; leg++)
    assert_int_equal(rig_state(&rig, leg), SF_STATE_IN_SYNC);
  assert_memory_equal(rig.leg[0] + SF_DATA_OFFSET, rig.leg[1] + SF_DATA_OFFSET, 4 * MIB);
  rig_free(&rig);
}

static bool
leg_0_keeps_reads_of_four_extents(const struct rig *r, const struct rig_region *region) {
  return region->leg == 0 && region->op == SF_TIO_READ && rig_is_data(r, region) &&
         region->offset < SF_DATA_OFFSET + 4 * EXTENT;
}

/* Proves that extents with such pieces, for which no client waits, leave their places to one for which a
 * client does. */
static void
extents_that_cannot_be_read_give_their_places_up(void **state) {
  struct rig_request read;

  rig_init(&rig, 2, 2, EXTENT, EXTENTS);
  rig.config.intent_delay_ns = 600 * SF_S;
  rig_start_fully(&rig);
  rig_touch_extents(&rig, 8, EXTENT);
  rig_kill(&rig);
  rig.holds = leg_0_keeps_reads_of_four_extents;
  rig_start_fully(&rig);
  rig_pass(&rig, 50);
  rig_submit(&rig, &read, SF_REQ_READ, 6 * EXTENT, 4096, 0);
  rig_pass(&rig, 1000);
  assert_true(read.done);
  assert_int_equal(read.request.error, 0);
  rig_put(&read);
  rig.holds = NULL;
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_leg_that_hangs_in_a_copy_that_failed_leaves),
      cmocka_unit_test(a_leg_that_hangs_in_a_copy_leaves),
      cmocka_unit_test(a_convergence_takes_the_room_of_who_waits_for_it),
      cmocka_unit_test(a_piece_that_is_late_is_read_again_alone),
      cmocka_unit_test(extents_that_cannot_be_read_give_their_places_up),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

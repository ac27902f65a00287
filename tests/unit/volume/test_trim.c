/* R16: a trim is done on every leg or on none, and never as written zeros where a leg cannot give
 * space back; zeros on the source of a catch-up take no space on the leg that catches up. */
#include "rig.h"

#include <errno.h>
#include <string.h>

enum { EXTENT = 65536, EXTENTS = 64 };

static struct rig rig;
static uint8_t zeros[EXTENT];

static bool
zeroes(const struct rig *r, const struct rig_region *region) {
  return region->op == SF_TIO_ZERO;
}

static bool
holds_the_zero_of_b(const struct rig *r, const struct rig_region *region) {
  return region->op == SF_TIO_ZERO && region->leg == 1;
}

static bool
holds_b(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1;
}

static unsigned zeroed_on[RIG_LEGS], written_on[RIG_LEGS];

static int
counts(const struct rig *r, const struct rig_region *region) {
  if (region->op == SF_TIO_ZERO)
    zeroed_on[region->leg]++;
  else if (region->op == SF_TIO_WRITE && rig_is_data(r, region))
    written_on[region->leg]++;
  return 0;
}

static void
serves(unsigned legs) {
  rig_init(&rig, legs, 1, EXTENT, EXTENTS);
  rig.fails = counts;
  memset(zeroed_on, 0, sizeof zeroed_on);
  memset(written_on, 0, sizeof written_on);
  rig_start_fully(&rig);
}

static void
write_extent(uint64_t extent, uint8_t fill) {
  struct rig_request w;

  rig_submit(&rig, &w, SF_REQ_WRITE, extent * EXTENT, EXTENT, fill);
  rig_pass(&rig, 200);
  assert_true(w.done && w.request.error == 0);
  rig_put(&w);
}

static void
trim(struct rig_request *t, uint64_t extent, bool is_trim) {
  rig.unmap = true;
  rig.trim = is_trim;
  rig_submit(&rig, t, SF_REQ_ZERO, extent * EXTENT, EXTENT, 0);
  rig.unmap = rig.trim = false;
}

static const uint8_t *
on(unsigned leg, uint64_t extent) {
  return rig.leg[leg] + SF_DATA_OFFSET + extent * EXTENT;
}

/* Proves: with one leg that cannot punch, a trim is answered and leaves all legs as they were; a
 * zeroing that may unmap is done all the same. */
static void
one_cannot(void **state) {
  struct rig_request t;

  serves(2);
  rig.cannot_punch = 2;
  write_extent(3, 7);
  trim(&t, 3, true);
  rig_pass(&rig, 200);
  assert_true(t.done && t.request.error == 0 && t.request.undone);
  assert_int_equal(zeroed_on[0] + zeroed_on[1], 0);
  assert_memory_equal(on(0, 3), on(1, 3), EXTENT);
  assert_int_equal(on(0, 3)[0], 7);
  trim(&t, 3, false);
  rig_pass(&rig, 200);
  assert_true(t.done && t.request.error == 0 && !t.request.undone);
  assert_memory_equal(on(0, 3), zeros, EXTENT);
  assert_memory_equal(on(1, 3), zeros, EXTENT);
  rig_free(&rig);
}

/* Proves: where all can, it is done on all. */
static void
all_can(void **state) {
  struct rig_request t;

  serves(2);
  write_extent(3, 7);
  trim(&t, 3, true);
  rig_pass(&rig, 200);
  assert_true(t.done && t.request.error == 0 && !t.request.undone);
  assert_memory_equal(on(0, 3), zeros, EXTENT);
  assert_memory_equal(on(1, 3), zeros, EXTENT);
  rig_free(&rig);
}

/* Proves: a trim that was sent is brought to its end, also when a leg turns out meanwhile not to
 * punch. */
static void
one_turns_out_not_to(void **state) {
  struct rig_request t;

  serves(2);
  write_extent(3, 7);
  rig.holds = holds_the_zero_of_b;
  trim(&t, 3, true);
  rig_run(&rig);
  assert_false(t.done);
  rig.cannot_punch = 2;
  rig.holds = NULL;
  rig_pass(&rig, 200);
  assert_true(t.done && t.request.error == 0 && !t.request.undone);
  assert_memory_equal(on(0, 3), zeros, EXTENT);
  assert_memory_equal(on(1, 3), zeros, EXTENT);
  rig_free(&rig);
}

/* Proves: a trim that waits behind a write is left undone in its turn, and answered. */
static void
behind_a_write(void **state) {
  struct rig_request w, t;

  serves(2);
  rig.cannot_punch = 1;
  rig.holds = holds_b;
  rig_submit(&rig, &w, SF_REQ_WRITE, 0, EXTENT, 5);
  trim(&t, 0, true);
  rig_run(&rig);
  assert_false(w.done || t.done);
  rig.holds = NULL;
  rig_pass(&rig, 200);
  assert_true(w.done && t.done && t.request.error == 0 && t.request.undone);
  assert_int_equal(on(0, 0)[0], 5);
  assert_int_equal(on(1, 0)[EXTENT - 1], 5);
  rig_put(&w);
  rig_free(&rig);
}

/* b misses a write of data and one of zeros, and comes back. */
static void
misses_zeros(unsigned cannot_punch) {
  struct rig_request t;

  serves(2);
  write_extent(3, 7);
  write_extent(4, 7);
  rig.holds = holds_b;
  write_extent(4, 8);
  trim(&t, 3, false);
  rig_pass(&rig, 200);
  assert_true(t.done && t.request.error == 0);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_LATE);
  rig.cannot_punch = cannot_punch;
  rig.holds = NULL;
  memset(zeroed_on, 0, sizeof zeroed_on);
  memset(written_on, 0, sizeof written_on);
  rig_pass(&rig, 3000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_memory_equal(on(1, 3), zeros, EXTENT);
  assert_memory_equal(on(0, 4), on(1, 4), EXTENT);
}

/* Proves: zeros of the source are punched on a leg that catches up, all else is written; and all is
 * written on a leg that cannot punch. */
static void
catches_up(void **state) {
  misses_zeros(0);
  assert_int_equal(zeroed_on[1], 1);
  assert_int_equal(written_on[1], 2); /* the write that was held back, and its copy */
  rig_free(&rig);
  misses_zeros(2);
  assert_int_equal(zeroed_on[1], 0);
  assert_int_equal(written_on[1], 3);
  assert_int_equal(rig_count(&rig, zeroes), 0);
  rig_free(&rig);
}

static int
b_is_gone(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 ? -ENODEV : 0;
}

/* Proves: no read waits for a trim that is left, where that lies behind a write that is suspended. */
static void
left_behind_a_suspended_write(void **state) {
  struct rig_request write, t, read;

  rig_init_unwritten(&rig, 2, EXTENT, EXTENTS);
  rig.config.resync_max_rate = 1;
  rig.config.min_legs = 2;
  rig.config.on_too_few = SF_TOO_FEW_SUSPEND;
  rig.cannot_punch = 3;
  rig_start_fully(&rig);
  for (unsigned extent = 8; extent < 10; extent++) {
    rig_submit(&rig, &write, SF_REQ_WRITE, extent * EXTENT, 4096, 1);
    rig_pass(&rig, 50);
    assert_true(write.done && write.request.error == 0);
    rig_put(&write);
  }
  rig.fails = b_is_gone;
  rig_submit(&rig, &write, SF_REQ_WRITE, 8 * EXTENT, 4096, 2);
  rig_pass(&rig, 50);
  rig.unmap = rig.trim = true;
  rig_submit(&rig, &t, SF_REQ_ZERO, 8 * EXTENT, 4 * EXTENT, 0);
  rig.unmap = rig.trim = false;
  rig_submit(&rig, &read, SF_REQ_READ, 9 * EXTENT, 4096, 0);
  rig_pass(&rig, 1000);
  assert_false(write.done);
  assert_true(read.done && read.request.error == 0);
  rig.fails = NULL;
  rig_pass(&rig, 1000);
  assert_true(write.done && t.done);
  rig_put(&write);
  rig_put(&t);
  rig_put(&read);
  rig_free(&rig);
}

/* Proves: a trim that is left lies in extents that were never written without making them written
 * (R17): it would fill the legs that it was to empty. */
static void
left_beside_what_was_never_written(void **state) {
  struct rig_request write, t;
  unsigned long unwritten;

  rig_init_unwritten(&rig, 2, EXTENT, EXTENTS);
  rig.config.resync_max_rate = 1; /* nothing is zeroed by the way */
  rig.cannot_punch = 3;
  rig_start_fully(&rig);
  rig_submit(&rig, &write, SF_REQ_WRITE, 8 * EXTENT, 4096, 1);
  rig_pass(&rig, 50);
  assert_true(write.done && write.request.error == 0);
  rig_put(&write);
  unwritten = rig.volume->unwritten.set;
  rig.unmap = rig.trim = true;
  rig_submit(&rig, &t, SF_REQ_ZERO, 8 * EXTENT, 4 * EXTENT, 0);
  rig.unmap = rig.trim = false;
  rig_pass(&rig, 100);
  assert_true(t.done && t.request.error == 0 && t.request.undone);
  assert_int_equal(rig.volume->unwritten.set, unwritten);
  assert_int_equal(on(0, 8)[0], 1);
  rig_put(&t);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_cannot),
      cmocka_unit_test(all_can),
      cmocka_unit_test(one_turns_out_not_to),
      cmocka_unit_test(behind_a_write),
      cmocka_unit_test(catches_up),
      cmocka_unit_test(left_beside_what_was_never_written),
      cmocka_unit_test(left_behind_a_suspended_write),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Legs that come back: which of them may be caught up, and how much of them has to be copied. */
#include "rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct rig rig;

/* A second `leg return` must not take what the first look refused: the leg's own writes are in no
 * stale map of ours. */
static void
a_refused_leg_is_looked_at_anew(void **state) {
  struct sf_superblock sb;

  rig_init(&rig, 3, 2, 65536, 64);
  rig.absent[2] = true;
  rig_read_superblock(&rig, 2, &sb);
  sb.claim = 99;
  sb.serial++;
  sf_superblock_encode(&sb, rig.leg[2] + SF_SUPERBLOCK_OFFSET(sb.serial % 2));
  rig_start_fully(&rig);
  rig_pass(&rig, 100);
  rig_open(&rig, 2);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_FAULTY);
  for (unsigned i = 0; i < 3; i++) {
    assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
    assert_int_equal(rig_state(&rig, 2), SF_STATE_MISSING);
    rig_pass(&rig, 100);
    rig_open(&rig, 2);
    assert_int_equal(rig_state(&rig, 2), SF_STATE_FAULTY);
  }
  rig_free(&rig);
}

/* The operator takes a leg out while it is being opened: the volume does not use the result of that
 * opening, so it is opened again before it may come back. */
static void
a_leg_failed_while_it_is_opened_is_looked_at_anew(void **state) {
  struct sf_superblock sb;

  rig_init(&rig, 3, 2, 65536, 64);
  rig.absent[2] = true;
  rig_read_superblock(&rig, 2, &sb);
  sb.claim = 99;
  sb.serial++;
  sf_superblock_encode(&sb, rig.leg[2] + SF_SUPERBLOCK_OFFSET(sb.serial % 2));
  rig_start_fully(&rig);
  rig_pass(&rig, 100);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  rig_open(&rig, 2);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_FAULTY);
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_MISSING);
  rig_free(&rig);
}

/* ---- a leg that was put back from an older copy ---- */

static int
leg_2_is_gone(const struct rig *r, const struct rig_region *region) {
  return region->leg == 2 ? -ENODEV : 0;
}

static bool
holds_reads_of_leg_2(const struct rig *r, const struct rig_region *region) {
  return region->leg == 2 && region->op == SF_TIO_READ;
}

/* We saw that the leg is older than we left it, and copy all of it.  A process that dies meanwhile
 * must not take that knowledge along. */
static void
an_older_copy_of_a_leg_is_copied_whole_after_a_restart_too(void **state) {
  struct rig_request w;
  uint8_t *backup;

  rig_init(&rig, 3, 2, 4096, 4 * SF_MAP_EXTENTS);
  backup = malloc(rig.leg_bytes);
  memcpy(backup, rig.leg[2], rig.leg_bytes);
  rig_start_fully(&rig);
  for (unsigned i = 0; i < 8; i++) {
    rig_submit(&rig, &w, SF_REQ_WRITE, i * 4096, 4096, 1);
    rig_run(&rig);
    assert_true(w.done && w.request.error == 0);
    rig_put(&w);
  }
  rig.fails = leg_2_is_gone;
  rig_submit(&rig, &w, SF_REQ_WRITE, 0, 4096, 2);
  rig_run(&rig);
  assert_true(w.done && w.request.error == 0);
  rig_put(&w);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_MISSING);
  memcpy(rig.leg[2], backup, rig.leg_bytes);
  free(backup);
  rig.fails = NULL;
  rig_pass(&rig, 100);
  rig.holds = holds_reads_of_leg_2; /* so that it goes no further */
  rig_open(&rig, 2);
  rig_pass(&rig, 50);
  assert_int_equal(rig.volume->leg[2].stale.set, rig.volume->extents);
  rig_kill(&rig);
  rig_start_fully(&rig);
  assert_int_equal(rig.volume->leg[2].stale.set, rig.volume->extents);
  rig_free(&rig);
}

static bool
holds_superblocks(const struct rig *r, const struct rig_region *region) {
  return rig_is_superblock(region);
}

/* Legs that differ by a record that reached one of them only: each must have the copy of the newest
 * that comes with the claim, or the other one starts alone later and lacks the writes since. */
static void
a_claimant_cannot_be_taken_out(void **state) {
  rig_init(&rig, 2, 1, 65536, 64);
  rig.holds = holds_superblocks;
  rig_start(&rig);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 0, rig.now_ns), -EBUSY);
  rig.holds = NULL;
  rig_pass(&rig, 100);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 0, rig.now_ns), 0);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_FAULTY);
  rig_free(&rig);
}

/* The host had no thread for it: that is no answer, and it is asked again. */
static void
an_opening_that_could_not_be_tried_is_tried_again(void **state) {
  rig_init(&rig, 3, 2, 65536, 64);
  rig.absent[2] = true;
  rig.cannot_open = true;
  rig_start_fully(&rig);
  rig_pass(&rig, 100);
  rig.cannot_open = false;
  rig_pass(&rig, 3000);
  rig_open(&rig, 2);
  rig_pass(&rig, 3000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

/* What its path leads to is looked at every two seconds, and not at every turn. */
static void
a_missing_leg_is_looked_for_now_and_then(void **state) {
  unsigned looks = 0;

  rig_init(&rig, 3, 2, 65536, 64);
  rig.absent[1] = true;
  rig_start_fully(&rig);
  for (unsigned ms = 0; ms < 10000; ms++) {
    rig_pass(&rig, 1);
    if (rig.opening == 0)
      continue;
    rig_cannot_open(&rig, 1, -ENOENT, "not there");
    looks++;
  }
  assert_in_range(looks, 4, 6);
  rig.absent[1] = false;
  rig_pass(&rig, 2100);
  rig_open(&rig, 1);
  rig_pass(&rig, 10000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_refused_leg_is_looked_at_anew),
      cmocka_unit_test(a_leg_failed_while_it_is_opened_is_looked_at_anew),
      cmocka_unit_test(a_claimant_cannot_be_taken_out),
      cmocka_unit_test(an_opening_that_could_not_be_tried_is_tried_again),
      cmocka_unit_test(an_older_copy_of_a_leg_is_copied_whole_after_a_restart_too),

      cmocka_unit_test(a_missing_leg_is_looked_for_now_and_then),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

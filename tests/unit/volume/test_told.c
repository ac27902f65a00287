/* A leg that comes back is told that it is out before it gets anything: copied to in part it is of
 * two times, and no start may take it for whole. */
#include "told_rig.h"

#include <errno.h>

static uint64_t told_serial;

static bool
probes_leg_2(const struct rig *r, const struct rig_region *region) {
  return region->leg == 2 && is_probe(region);
}

static bool
goes_to_leg_2(const struct rig *r, const struct rig_region *region) {
  return region->leg == 2 && rig_is_data(r, region);
}

static bool
leg_2_is_told_nothing(void) {
  return rig.volume->leg[2].sb.serial == told_serial;
}

/* ---- what starts trust ---- */

static void
copied_to_in_part_it_is_not_started_from(void **state) {
  begin(1, 1 << 1 | 1 << 2);
  assert_true(leg_2_names_itself());
  hung = 1 << 1;
  rig_pass(&rig, 10000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_CATCHING_UP);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_LATE);
  start_by_force_without(1 << 0);
  assert_true(rig.refused);
  /* Leg 1 has what it had when it left, and nothing else. */
  start_by_force_without(1 << 0 | 1 << 2);
  assert_false(rig.refused);
  rig_free(&rig);
}

/* A start finds the other one. */
static void
it_is_told_in_both_copies(void **state) {
  begin(1, 1 << 1 | 1 << 2);
  hung = 1 << 1;
  rig_pass(&rig, 10000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_CATCHING_UP);
  rig.unreadable = 1 << 2;
  start_by_force_without(1 << 0);
  assert_true(rig.refused);
  rig_free(&rig);
}

static void
it_gets_nothing_before_it_is_told(void **state) {
  begin(2, 1 << 2);
  keep_superblocks = 1 << 2;
  hung = 0;
  for (unsigned i = 0; i < 200; i++) {
    rig_pass(&rig, 50);
    assert_int_not_equal(rig_state(&rig, 2), SF_STATE_CATCHING_UP);
    assert_int_equal(rig_count(&rig, goes_to_leg_2), 0);
  }
  assert_true(leg_2_names_itself());
  assert_int_equal(rig_state(&rig, 2), SF_STATE_LATE); /* like any other request that is late */
  keep_superblocks = 0;
  rate(0);
  pass_until(SF_STATE_IN_SYNC);
  rig_free(&rig);
}

/* That record names it, and so will not do for what comes behind. */
static void
when_its_promotion_is_undone_it_is_told_anew(void **state) {
  uint64_t remembered_ns;

  begin(1, 1 << 2);
  hung = 0;
  pass_until(SF_STATE_CATCHING_UP);
  keep_superblocks = 1 << 1;
  rate(0);
  until_leg_2_names_itself();
  assert_int_equal(rig_state(&rig, 2), SF_STATE_CATCHING_UP);
  remembered_ns = rig.volume->leg[2].penalty.remembered_ns;
  keep_superblocks = 1 << 0 | 1 << 1;
  rig_never_late(&rig.config);
  rate(0);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 1, rig.now_ns), 0);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_LATE);
  rig_pass(&rig, 3000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_LATE);
  keep_flushes = 1 << 2;
  keep_superblocks = 0;
  pass_until(SF_STATE_CATCHING_UP);
  assert_true(rig.volume->leg[2].penalty.remembered_ns <= remembered_ns); /* it was well */
  assert_false(leg_2_names_itself());
  keep_flushes = 0;
  pass_until(SF_STATE_IN_SYNC);
  rig_free(&rig);
}

/* Else a start that cannot read the newest superblock of the other leg would take the record of the
 * promotion for the last one, and the set is too small to have gone on without the newcomer. */
static void
a_promotion_of_too_few_is_undone_in_both_copies(void **state) {
  begin(2, 1 << 2);
  start_by_force_without(1 << 1 | 1 << 2);
  assert_false(rig.refused);
  rig_pass(&rig, 1000);
  rig.holds = hangs;
  rig.absent[2] = false;
  rig_open(&rig, 2);
  pass_until(SF_STATE_CATCHING_UP);
  keep_superblocks = 1 << 0;
  rate(0);
  until_leg_2_names_itself();
  assert_int_equal(sf_volume_leg_fail(rig.volume, 1, rig.now_ns), 0);
  keep_superblocks = 0;
  rig_run(&rig);
  assert_int_equal(rig.volume->durable_version, rig.volume->version);
  assert_int_equal(rig.volume->durable.in_sync, 1 << 0);
  assert_int_equal(rig.volume->leg[0].meta.copies, SF_SUPERBLOCK_COPIES);
  rig_free(&rig);
}

static int
flushes_of_leg_2_fail(const struct rig *r, const struct rig_region *region) {
  return region->leg == 2 && region->op == SF_TIO_FLUSH ? -EIO : 0;
}

/* A flush that fails takes along what runs beside it: it counts as not done, and stands there. */
static void
a_promotion_that_was_taken_along_may_stand_there(void **state) {
  struct rig_request flush;

  begin(2, 1 << 2);
  hung = 0;
  pass_until(SF_STATE_CATCHING_UP);
  keep_superblocks = 1 << 2;
  rate(0);
  for (unsigned i = 0; i < 40000 && rig_count(&rig, tells_leg_2) == 0; i++)
    rig_pass(&rig, 1);
  assert_int_equal(rig_count(&rig, tells_leg_2), 1);
  keep_superblocks |= 1 << 0 | 1 << 1; /* so that it is not cancelled yet */
  rig.fails = flushes_of_leg_2_fail;
  rig_submit(&rig, &flush, SF_REQ_FLUSH, 0, 0, 0);
  rig_run(&rig);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_FAULTY);
  rig.fails = NULL;
  keep_superblocks = 1 << 0 | 1 << 1;
  rig_run(&rig);
  keep_superblocks = 0;
  rig_pass(&rig, 1000);
  assert_true(flush.done);
  assert_true(leg_2_names_itself());
  rate(EXTENT / 4);
  write_well(0, 9);
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  pass_until(SF_STATE_CATCHING_UP);
  assert_false(leg_2_names_itself());
  rig_put(&flush);
  rig_free(&rig);
}

/* ---- where it cannot be told ---- */

static int
superblocks_of_leg_2_fail(const struct rig *r, const struct rig_region *region) {
  return region->leg == 2 && rig_is_superblock(region) ? -EIO : 0;
}

static void
an_error_makes_it_faulty(void **state) {
  begin(2, 1 << 2);
  rig.fails = superblocks_of_leg_2_fail;
  hung = 0;
  rig_pass(&rig, 20000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_FAULTY);
  rig_free(&rig);
}

/* Else it would be probed, and be late, for ever (R14). */
static void
so_does_an_error_that_comes_late(void **state) {
  begin(2, 1 << 2);
  keep_superblocks = 1 << 2;
  hung = 0;
  rig_pass(&rig, 10000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_LATE);
  rig.fails = superblocks_of_leg_2_fail;
  keep_superblocks = 0;
  rig_pass(&rig, 100);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_FAULTY);
  rig_free(&rig);
}

/* The record that takes note of the return waits for the very leg whose place it is to take. */
static void
a_silent_leg_of_the_set_is_no_reason_to_wait(void **state) {
  struct rig_request w;

  told_rig_init(3, 2);
  rig_start_fully(&rig);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 1000);
  write_well(1, 1);
  hung = 1 << 1;
  rig_submit(&rig, &w, SF_REQ_WRITE, 0, 4096, 2);
  rig_pass(&rig, 1000);
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 60000);
  assert_true(w.done);
  assert_int_equal(w.request.error, 0);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_LATE);
  rig_put(&w);
  rig_free(&rig);
}

/* ---- while the record waits, it is probed ---- */

static void
the_record_waits(uint64_t rate_after) {
  told_rig_init(3, 2);
  rig_start_fully(&rig);
  rig_never_late(&rig.config);
  rate(rate_after);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 100);
  write_eight(0);
  keep_superblocks = 1 << 1;
  told_serial = rig.volume->leg[2].sb.serial;
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 3000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_PROBING);
  keep_probes = 1 << 2;
  rig_pass(&rig, 300);
  assert_int_equal(rig_count(&rig, probes_leg_2), 1);
}

static int
probes_of_leg_2_fail(const struct rig *r, const struct rig_region *region) {
  return probes_leg_2(r, region) ? -EIO : 0;
}

/* It may take along what tells the leg (R9). */
static void
a_probe_that_fails_is_heard_first(void **state) {
  the_record_waits(EXTENT / 4);
  keep_superblocks = 0;
  rig_pass(&rig, 100);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_PROBING);
  assert_int_equal(rig_count(&rig, tells_leg_2), 0);
  rig.fails = probes_of_leg_2_fail;
  keep_probes = 0;
  rig_pass(&rig, 100);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_FAULTY);
  rig_free(&rig);
}

/* A leg that is slow again while the record waits is to be seen well anew. */
static void
one_that_is_slow_meanwhile_is_not_told(void **state) {
  the_record_waits(EXTENT / 4);
  rig.volume->leg[2].pace.limit_ns = 10 * SF_MS;
  keep_probes = 0;
  rig_run(&rig);
  keep_superblocks = 0;
  rig_run(&rig);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_PROBING);
  assert_int_equal(rig.volume->leg[2].probes_ok, 0);
  assert_true(leg_2_is_told_nothing());
  rig_free(&rig);
}

/* A probe that is too slow begins them anew: and what tells the leg must not hang unseen beside. */
static void
a_probe_that_is_slow_leaves_nothing_behind(void **state) {
  the_record_waits(0);
  for (unsigned kind = 0; kind < SF_KINDS; kind++)
    rig.config.deadline_ns[kind] = rig_deadline(100 * SF_MS);
  rig.volume->leg[2].pace.limit_ns = 10 * SF_MS;
  sf_volume_configure(rig.volume, &rig.config, rig.now_ns);
  keep_superblocks = 1 << 2;
  rig_pass(&rig, 30);
  keep_probes = 0;
  rig_pass(&rig, 20000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_LATE);
  keep_superblocks = 0;
  pass_until(SF_STATE_IN_SYNC);
  rig_free(&rig);
}

static bool
hangs_or_is_the_second_copy(const struct rig *r, const struct rig_region *region) {
  return hangs(r, region) || (tells_leg_2(r, region) && !leg_2_names_itself());
}

/* A start knows the newest copy alone. */
static void
what_the_other_copy_says_is_not_known(void **state) {
  begin(1, 1 << 1 | 1 << 2);
  hung = 1 << 1;
  rig.holds = hangs_or_is_the_second_copy;
  for (unsigned i = 0; i < 20000 && leg_2_names_itself(); i++)
    rig_pass(&rig, 1);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_PROBING);
  assert_false(leg_2_names_itself());
  rig_kill(&rig);
  rig.holds = NULL;
  rig.absent[1] = true;
  rig.config.resync_min_rate = rig.config.resync_max_rate = EXTENT / 4;
  rig_start_fully(&rig);
  pass_until(SF_STATE_CATCHING_UP);
  rig.unreadable = 1 << 2;
  start_by_force_without(1 << 0);
  assert_true(rig.refused);
  rig_free(&rig);
}

/* The claim of that start names legs that it leaves out, in the line before: shown alone, it would have
 * the leg that went on left out in its turn. */
static void
a_start_by_force_counts_in_both_copies(void **state) {
  begin(1, 0);
  hung = 1 << 0;
  write_well(1, 0x55);
  rig_pass(&rig, 2000);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_LATE);
  start_by_force_without(1 << 1 | 1 << 2);
  assert_false(rig.refused);
  rig_pass(&rig, 20);
  assert_int_equal(rig.volume->phase, PHASE_SERVING);
  write_well(0, 0x77);
  rig_kill(&rig);
  rig.absent[1] = rig.absent[2] = false;
  rig.force = false;
  rig.unreadable = 1 << 0;
  rig_start(&rig);
  assert_false(rig.refused);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  rig.unreadable = 0;
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(copied_to_in_part_it_is_not_started_from),
      cmocka_unit_test(it_is_told_in_both_copies),
      cmocka_unit_test(it_gets_nothing_before_it_is_told),
      cmocka_unit_test(when_its_promotion_is_undone_it_is_told_anew),
      cmocka_unit_test(a_promotion_of_too_few_is_undone_in_both_copies),
      cmocka_unit_test(a_promotion_that_was_taken_along_may_stand_there),
      cmocka_unit_test(an_error_makes_it_faulty),
      cmocka_unit_test(so_does_an_error_that_comes_late),
      cmocka_unit_test(a_silent_leg_of_the_set_is_no_reason_to_wait),
      cmocka_unit_test(a_probe_that_fails_is_heard_first),
      cmocka_unit_test(one_that_is_slow_meanwhile_is_not_told),
      cmocka_unit_test(a_probe_that_is_slow_leaves_nothing_behind),
      cmocka_unit_test(what_the_other_copy_says_is_not_known),
      cmocka_unit_test(a_start_by_force_counts_in_both_copies),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The last steps of a catch-up, with clients at work (join.c). */
#include "rig.h"

#include <errno.h>

static struct rig rig;

/* Each page of the maps takes a while on it. */
static bool
leg_1_writes_maps_slowly(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && rig_is_map(region) && r->now_ns - region->since_ns < 3 * SF_MS;
}

/* Clients that write to ever new extents change the pages all the time.  A leg that waits for a
 * moment without a page under way would wait as long as they work. */
static void
a_leg_joins_while_new_extents_are_written(void **state) {
  struct rig_request w;
  unsigned ms = 0;

  rig_init(&rig, 2, 1, 4096, 8 * SF_MAP_EXTENTS);
  rig_start_fully(&rig);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 1, rig.now_ns), 0);
  rig_pass(&rig, 50);
  assert_int_equal(sf_volume_leg_return(rig.volume, 1, rig.now_ns), 0);
  rig.holds = leg_1_writes_maps_slowly;
  while (rig_state(&rig, 1) != SF_STATE_IN_SYNC) {
    assert_true(++ms < 5000);
    rig_submit(&rig, &w, SF_REQ_WRITE, ms * 4096, 4096, 1);
    for (unsigned waited = 0; !w.done; waited++) {
      assert_true(waited < 20);
      rig_pass(&rig, 1);
    }
    assert_int_equal(w.request.error, 0);
    rig_put(&w);
  }
  rig_free(&rig);
}

static bool
holds_flush_of_leg_2(const struct rig *r, const struct rig_region *region) {
  return region->leg == 2 && region->op == SF_TIO_FLUSH;
}

static bool
holds_data_of_leg_0_and_flush_of_leg_2(const struct rig *r, const struct rig_region *region) {
  return (region->leg == 0 && region->op == SF_TIO_WRITE && rig_is_data(r, region)) ||
         holds_flush_of_leg_2(r, region);
}

/* An answer needs a leg that is about to join, and a write that fails meanwhile makes its extent
 * one to converge, where the newcomer's copy is not good any more.  No client's write may fail for
 * that. */
static void
a_convergence_while_a_leg_joins_fails_nobody(void **state) {
  struct rig_request given_up, w;

  rig_init(&rig, 3, 2, 65536, 64);
  rig_start_fully(&rig);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 50);
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  rig.holds = holds_flush_of_leg_2;
  for (unsigned ms = 0; rig.volume->join_step != JOIN_FLUSH; ms++) {
    assert_true(ms < 3000);
    rig_pass(&rig, 1);
  }
  rig.holds = holds_data_of_leg_0_and_flush_of_leg_2;
  rig_submit(&rig, &given_up, SF_REQ_WRITE, 5 * 65536, 4096, 1);
  rig_run(&rig);
  sf_volume_give_up(rig.volume, &given_up.request, rig.now_ns);
  assert_true(given_up.done);
  rig_put(&given_up);
  rig.holds = holds_flush_of_leg_2;
  rig_pass(&rig, 1);
  rig_submit(&rig, &w, SF_REQ_WRITE, 5 * 65536, 4096, 2);
  rig_pass(&rig, 10);
  rig.holds = NULL;
  rig_pass(&rig, 3000);
  assert_true(w.done);
  assert_int_equal(w.request.error, 0);
  rig_put(&w);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  for (unsigned leg = 0; leg < 3; leg++)
    assert_int_equal(rig.leg[leg][SF_DATA_OFFSET + 5 * 65536], 2);
  rig_free(&rig);
}

static bool
holds_superblocks(const struct rig *r, const struct rig_region *region) {
  return rig_is_superblock(region);
}

static bool
holds_data_and_superblocks(const struct rig *r, const struct rig_region *region) {
  return holds_superblocks(r, region) || (region->op == SF_TIO_WRITE && rig_is_data(r, region));
}

/* A leg whose promotion is on its way is neither in sync nor to be called stale: nothing is converged until
 * that is durable.  The first leg is one like the others. */
static void
nothing_is_converged_during_a_promotion(void **state) {
  for (unsigned leg = 0; leg < 2; leg++) {
    struct rig_request given_up;

    rig_init(&rig, 3, 1, 65536, 64);
    rig_never_late(&rig.config);
    rig_start_fully(&rig);
    rig_touch_extents(&rig, 6, 65536);
    assert_int_equal(sf_volume_leg_fail(rig.volume, leg, rig.now_ns), 0);
    rig_pass(&rig, 50);
    assert_int_equal(sf_volume_leg_return(rig.volume, leg, rig.now_ns), 0);
    for (unsigned ms = 0; rig.volume->promoting != (int) leg; ms++) {
      assert_true(ms < 3000);
      rig.holds = rig.volume->join_step == JOIN_FLUSH ? holds_superblocks : NULL;
      if (rig_state(&rig, leg) == SF_STATE_CATCHING_UP)
        rig.holds = holds_superblocks;
      rig_pass(&rig, 1);
    }
    rig.holds = holds_data_and_superblocks;
    rig_submit(&rig, &given_up, SF_REQ_WRITE, 5 * 65536, 4096, 1);
    rig_run(&rig);
    sf_volume_give_up(rig.volume, &given_up.request, rig.now_ns);
    assert_true(given_up.done);
    rig_put(&given_up);
    rig.holds = holds_superblocks;
    rig_pass(&rig, 500);
    assert_int_equal(rig.volume->promoting, leg);
    assert_int_equal(rig.volume->unconverged.set, 1);
    assert_int_equal(rig.volume->leg[leg].stale.set, 0);
    rig.holds = NULL;
    rig_pass(&rig, 3000);
    assert_int_equal(rig_state(&rig, leg), SF_STATE_IN_SYNC);
    assert_int_equal(rig.volume->unconverged.set, 0);
    rig_free(&rig);
  }
}

/* The legs of the set stall when the record of the promotion is sent; the newcomer, which ends one
 * request and has no other, does not. */
static bool
holds_records_of_the_set(const struct rig *r, const struct rig_region *region) {
  return region->leg != 2 && holds_superblocks(r, region);
}

/* Reading 4 of the rules: the newcomer is no evidence before it is of the set.  Its word would take
 * out a leg for a stall that all legs of the set have together. */
static void
its_having_the_record_is_no_evidence_against_a_leg_of_the_set(void **state) {
  rig_init(&rig, 3, 1, 65536, 64);
  rig_start_fully(&rig);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 50);
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  for (unsigned ms = 0; rig.volume->promoting != 2; ms++) {
    assert_true(ms < 3000);
    rig.holds = rig.volume->join_step == JOIN_FLUSH ? holds_records_of_the_set : rig_takes_a_moment;
    rig_pass(&rig, 1);
  }
  rig_pass(&rig, 400);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_int_equal(rig.volume->leg[2].meta.done, rig.volume->version);
  assert_int_equal(rig.volume->promoting, 2);
  rig.holds = NULL;
  rig_pass(&rig, 50);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

static int
leg_1_fails_joins(const struct rig *r, const struct rig_region *region) {
  bool fails = region->leg == 1 && region->op == SF_TIO_FLUSH && r->volume->join_step == JOIN_FLUSH;

  return fails ? -EIO : 0;
}

static uint64_t
until_it_tries_again_ms(void) {
  return rig_until_joining_ms(&rig, 2, false) + rig_until_joining_ms(&rig, 2, true);
}

/* It may be the one that goes well: the newcomer is what lets the leg that fails now and then leave. */
static void
a_join_that_fails_is_tried_again_soon(void **state) {
  rig_init(&rig, 3, 2, 65536, 64);
  rig_start_fully(&rig);
  rig.holds = rig_takes_a_moment;
  rig.fails = leg_1_fails_joins;
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 50);
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  rig_until_joining_ms(&rig, 2, true);
  for (unsigned i = 0; i < 20; i++)
    assert_in_range(until_it_tries_again_ms(), 100, 150);
  rig.fails = NULL;
  rig_pass(&rig, 200);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_leg_joins_while_new_extents_are_written),
      cmocka_unit_test(a_convergence_while_a_leg_joins_fails_nobody),
      cmocka_unit_test(nothing_is_converged_during_a_promotion),
      cmocka_unit_test(its_having_the_record_is_no_evidence_against_a_leg_of_the_set),
      cmocka_unit_test(a_join_that_fails_is_tried_again_soon),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What a flush that failed leaves behind (R9). */
#include "rig.h"

#include <errno.h>

static struct rig rig;

static int
leg_2_cannot_flush(const struct rig *r, const struct rig_region *region) {
  return region->leg == 2 && region->op == SF_TIO_FLUSH ? -EIO : 0;
}

static bool
holds_flush_of_leg_1(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && region->op == SF_TIO_FLUSH;
}

/* The failure counts until the leg has left the set.  Then all that it had not flushed is stale
 * there, and after it was returned and caught up nothing is left of it. */
static void
a_leg_that_left_for_a_failed_flush_may_come_back(void **state) {
  struct rig_request flush, write;

  rig_init(&rig, 3, 2, 65536, 64);
  rig_start_fully(&rig);
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 1);
  rig_run(&rig);
  assert_true(write.done);
  rig_put(&write);
  rig.fails = leg_2_cannot_flush;
  rig.holds = holds_flush_of_leg_1;
  rig_submit(&rig, &flush, SF_REQ_FLUSH, 0, 0, 0);
  rig_run(&rig);
  assert_false(flush.done);
  sf_volume_give_up(rig.volume, &flush.request, rig.now_ns);
  assert_true(flush.done);
  rig.holds = NULL;
  rig.fails = NULL;
  rig_run(&rig);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  rig_submit(&rig, &flush, SF_REQ_FLUSH, 0, 0, 0);
  rig_pass(&rig, 100);
  assert_true(flush.done);
  assert_int_equal(flush.request.error, 0);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_FAULTY);
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 5000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

static bool
holds_data_and_flushes(const struct rig *r, const struct rig_region *region) {
  return region->op == SF_TIO_FLUSH || rig_is_data(r, region);
}

/* The volume flushes for itself too, and those flushes wait for the same legs as the clients do. */
static void
what_waits_for_legs_is_told_beside_a_flush_of_our_own(void **state) {
  static struct sf_volume_status status;
  struct rig_request before, stuck;

  rig_init(&rig, 2, 2, 65536, 64);
  rig.config.on_too_few = SF_TOO_FEW_SUSPEND;
  rig_start_fully(&rig);
  rig_submit(&rig, &before, SF_REQ_WRITE, 0, 4096, 1);
  rig_run(&rig);
  assert_true(before.done);
  rig.holds = holds_data_and_flushes;
  rig_submit(&rig, &stuck, SF_REQ_WRITE, 65536, 4096, 2);
  rig_pass(&rig, 2 * rig.config.intent_delay_ns / SF_MS + 2000);
  assert_non_null(rig.volume->flush_leader); /* it is under way */
  assert_false(stuck.done);
  sf_volume_status(rig.volume, rig.now_ns, &status);
  assert_int_equal(status.state, SF_VOLUME_SUSPENDED);
  rig.holds = NULL;
  rig_pass(&rig, 100);
  assert_true(stuck.done);
  rig_put(&before);
  rig_put(&stuck);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_leg_that_left_for_a_failed_flush_may_come_back),
      cmocka_unit_test(what_waits_for_legs_is_told_beside_a_flush_of_our_own),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

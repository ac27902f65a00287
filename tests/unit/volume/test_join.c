/* The last steps of a catch-up, with clients at work (join.c). */
#include "rig.h"

static struct rig rig;

/* Each page of the maps takes a while on it. */
static bool
leg_1_writes_maps_slowly(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && rig_is_map(region) && r->now_ns - region->since_ns < 3 * SF_MS;
}

/* Clients that write to ever new extents change the pages all the time.  A leg that waits for a moment
 * without a page under way would wait as long as they work. */
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

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_leg_joins_while_new_extents_are_written),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

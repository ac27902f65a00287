/* R9, R15: what was copied of a leg that has dropped what it had not flushed.  A thread that hears late, and a leg that
 * leaves before anybody has heard, must not leave an older block on the leg that was given the copy. */
#include "flush_rig.h"

#include <errno.h>
#include <string.h>

static bool holding;

static bool
holds_flush_of_leg_0(const struct rig *r, const struct rig_region *region) {
  return holding && region->leg == 0 && region->op == SF_TIO_FLUSH;
}

/* Leg 0 has dropped the block in a flush that nobody has heard of, and leg 2 is given what it has instead.  Then leg 0
 * leaves, for whatever reason, and what it had not flushed is forgotten with it. */
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
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  for (unsigned i = 0; i < 900 && *block_on(2, 0) == 0; i++)
    rig_pass(&rig, 1);
  assert_int_equal(*block_on(2, 0), 1); /* nobody can know better yet */
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

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_copy_of_what_a_leg_left_unflushed_is_made_again),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

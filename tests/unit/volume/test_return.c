/* Legs that come back: which of them may be caught up, and how much of them has to be copied. */
#include "rig.h"

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

/* The operator takes a leg out while it is being opened: what was found there is not looked at then,
 * so it is opened again before it may come back. */
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

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_refused_leg_is_looked_at_anew),
      cmocka_unit_test(a_leg_failed_while_it_is_opened_is_looked_at_anew),

  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

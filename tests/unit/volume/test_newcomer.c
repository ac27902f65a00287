/* A disk that lacks everything: when the maps know it, its copy outlives a start. */
#include "rig.h"

#include <string.h>

#include "assembly/blank.h"

enum { EXTENT = 65536, EXTENTS = 64 };

static struct rig rig;

/* As `leg discard` and `leg replace` leave it. */
static void
empty_leg_2(void) {
  struct sf_superblock sb;

  rig_read_superblock(&rig, 2, &sb);
  rig_empty_leg(&rig, 2, &sb);
}

static bool
leg_2_says_it_is_empty(void) {
  struct sf_superblock sb;

  rig_read_superblock(&rig, 2, &sb);
  return sf_leg_is_blank(&sb);
}

static void
fill_all(void) {
  struct rig_request w;

  for (unsigned e = 0; e < EXTENTS; e++) {
    rig_submit(&rig, &w, SF_REQ_WRITE, (uint64_t) e * EXTENT, 4096, (uint8_t) (e + 1));
    rig_run(&rig);
    assert_true(w.done && w.request.error == 0);
    rig_put(&w);
  }
}

static void
begin(void) {
  rig_init(&rig, 3, 2, EXTENT, EXTENTS);
  empty_leg_2();
  rig.config.intent_delay_ns = 100 * SF_MS;
  rig_start_fully(&rig);
  fill_all();
  rig.config.resync_min_rate = rig.config.resync_max_rate = 16 * EXTENT; /* four seconds */
  sf_volume_configure(rig.volume, &rig.config, rig.now_ns);
}

static void
assert_legs_equal(void) {
  for (unsigned leg = 1; leg < 3; leg++)
    assert_memory_equal(rig.leg[0] + SF_DATA_OFFSET, rig.leg[leg] + SF_DATA_OFFSET,
                        (size_t) EXTENT * EXTENTS);
}

static void
its_copy_goes_on_after_a_start(void **state) {
  uint64_t left;

  begin();
  rig_pass(&rig, 3000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_CATCHING_UP);
  left = rig.volume->leg[2].stale.set;
  assert_in_range(left, 1, EXTENTS / 2);
  assert_false(leg_2_says_it_is_empty());
  rig_kill(&rig);
  rig_start(&rig);
  /* Extents copied and not flushed yet are copied again. */
  assert_in_range(rig.volume->leg[2].stale.set, left, left + 8);
  rig_pass(&rig, 10000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  assert_legs_equal();
  rig_free(&rig);
}

static bool
holds_maps_of_leg_0(const struct rig *r, const struct rig_region *region) {
  return region->leg == 0 && rig_is_map(region);
}

/* A start may find any leg of the set: so each must know. */
static void
it_says_that_it_is_empty_until_every_leg_knows(void **state) {
  rig_init(&rig, 3, 2, EXTENT, EXTENTS);
  empty_leg_2();
  rig.holds = holds_maps_of_leg_0;
  rig_start_fully(&rig);
  rig_run(&rig);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  assert_true(leg_2_says_it_is_empty());
  rig_kill(&rig);
  rig_start(&rig);
  assert_int_equal(rig.volume->leg[2].stale.set, EXTENTS);
  rig.holds = NULL;
  rig_pass(&rig, 10000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  assert_legs_equal();
  rig_free(&rig);
}

static bool
holds_superblocks_of_leg_2(const struct rig *r, const struct rig_region *region) {
  return region->leg == 2 && rig_is_superblock(region);
}

static bool
is_of_leg_2(const struct rig *r, const struct rig_region *region) {
  return region->leg == 2;
}

/* Like any other request that is late (R5): nothing more goes there until it has ended. */
static void
one_that_does_not_answer_is_left_alone(void **state) {
  rig_init(&rig, 3, 2, EXTENT, EXTENTS);
  empty_leg_2();
  rig.holds = holds_superblocks_of_leg_2;
  rig_start_fully(&rig);
  rig.config.resync_min_rate = rig.config.resync_max_rate = EXTENT / 4;
  sf_volume_configure(rig.volume, &rig.config, rig.now_ns);
  rig_pass(&rig, 3000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_LATE);
  assert_int_equal(rig_count(&rig, is_of_leg_2), 1);
  rig.config.resync_min_rate = rig.config.resync_max_rate = 0;
  sf_volume_configure(rig.volume, &rig.config, rig.now_ns);
  rig.holds = NULL;
  rig_pass(&rig, 10000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  assert_legs_equal();
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(its_copy_goes_on_after_a_start),
      cmocka_unit_test(it_says_that_it_is_empty_until_every_leg_knows),
      cmocka_unit_test(one_that_does_not_answer_is_left_alone),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

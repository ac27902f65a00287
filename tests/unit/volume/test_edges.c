/* The smallest and the largest that a volume may be. */
#include "rig.h"

#include <string.h>

static struct rig rig;

static bool
holds_the_last_leg(const struct rig *r, const struct rig_region *region) {
  return region->leg == r->legs - 1;
}

static void
write_all(uint64_t offset, uint64_t length, uint8_t fill) {
  struct rig_request w;

  rig_submit(&rig, &w, SF_REQ_WRITE, offset, length, fill);
  rig_pass(&rig, 200);
  assert_true(w.done);
  assert_int_equal(w.request.error, 0);
  rig_put(&w);
}

static void
legs_are_equal(void) {
  for (unsigned leg = 1; leg < rig.legs; leg++)
    assert_memory_equal(rig.leg[leg] + SF_DATA_OFFSET, rig.leg[0] + SF_DATA_OFFSET,
                        rig.leg_bytes - SF_DATA_OFFSET);
}

/* A crash in the middle of a write of which each leg has another part; then the same bytes
 * everywhere. */
static void
crash_and_converge(uint64_t offset) {
  struct rig_request read;

  write_all(offset, 4096, 1);
  rig_kill(&rig);
  for (unsigned leg = 0; leg < rig.legs; leg++)
    memset(rig.leg[leg] + SF_DATA_OFFSET + offset, (int) leg + 1, 4096);
  rig_start_fully(&rig);
  rig_submit(&rig, &read, SF_REQ_READ, offset, 4096, 0);
  rig_pass(&rig, 2000);
  assert_true(read.done);
  assert_int_equal(read.request.error, 0);
  assert_int_equal(rig.volume->unconverged.set, 0);
  legs_are_equal();
  assert_memory_equal(read.request.buffer->data, rig.leg[0] + SF_DATA_OFFSET + offset, 4096);
  rig_put(&read);
}

static void
stop_clean(void) {
  sf_volume_stop(rig.volume, rig.now_ns);
  rig_pass(&rig, 500);
  assert_true(sf_volume_stopped(rig.volume));
  assert_true(rig.volume->durable.clean);
}

static void
lives(unsigned legs, unsigned min_legs, uint64_t extent_bytes, uint64_t extents, uint64_t offset) {
  rig_init(&rig, legs, min_legs, extent_bytes, extents);
  rig_start_fully(&rig);
  crash_and_converge(offset);
  if (min_legs < legs) {
    rig.holds = holds_the_last_leg;
    write_all(offset, 8192, 3);
    assert_int_equal(rig_state(&rig, legs - 1), SF_STATE_LATE);
    rig.holds = NULL;
    rig_pass(&rig, 3000);
    assert_int_equal(rig_state(&rig, legs - 1), SF_STATE_IN_SYNC);
    legs_are_equal();
  }
  stop_clean();
  rig_kill(&rig);
  rig_start_fully(&rig);
  assert_int_equal(rig.volume->unconverged.set, 0);
  rig_free(&rig);
}

static void
one_leg(void **state) {
  lives(1, 1, 65536, 64, 5 * 65536);
}

static void
sixteen_legs(void **state) {
  lives(16, 9, 65536, 64, 5 * 65536);
}

static void
every_leg_is_needed(void **state) {
  lives(3, 3, 65536, 64, 5 * 65536);
}

static void
extents_of_32_mib(void **state) {
  lives(2, 1, UINT64_C(32) << 20, 2, (UINT64_C(33) << 20) + 4096);
}

/* Sixteen legs all of which an answer needs, and one hangs: none is demoted, the write waits. */
static void
sixteen_legs_all_needed_and_one_hangs(void **state) {
  struct rig_request w;

  rig_init(&rig, 16, 16, 65536, 64);
  rig_start_fully(&rig);
  rig.holds = holds_the_last_leg;
  rig_submit(&rig, &w, SF_REQ_WRITE, 0, 4096, 1);
  rig_pass(&rig, 1000);
  assert_false(w.done);
  assert_int_equal(rig_state(&rig, 15), SF_STATE_IN_SYNC);
  rig.holds = NULL;
  rig_pass(&rig, 50);
  assert_true(w.done);
  assert_int_equal(w.request.error, 0);
  rig_put(&w);
  rig_free(&rig);
}

/* The last extent, and the last piece of it, are shorter than the others. */
static void
the_end_of_the_volume_is_in_the_middle_of_an_extent(void **state) {
  const uint64_t size = (UINT64_C(5) << 20) + 12288;

  rig_init(&rig, 2, 1, UINT64_C(1) << 20, 6);
  for (unsigned leg = 0; leg < 2; leg++) {
    rig.format.leg_index = (uint8_t) leg;
    rig.format.data_bytes = size;
    for (rig.format.serial = 4; rig.format.serial < 6; rig.format.serial++)
      sf_superblock_encode(&rig.format, rig.leg[leg] + SF_SUPERBLOCK_OFFSET(rig.format.serial % 2));
    memset(rig.leg[leg] + SF_DATA_OFFSET + size, 0xee, 4096);
  }
  rig_start_fully(&rig);
  crash_and_converge(size - 4096);
  rig.holds = holds_the_last_leg;
  write_all(size - 8192, 8192, 3);
  rig.holds = NULL;
  rig_pass(&rig, 3000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  legs_are_equal();
  for (unsigned leg = 0; leg < 2; leg++)
    assert_int_equal(rig.leg[leg][SF_DATA_OFFSET + size], 0xee);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_leg),
      cmocka_unit_test(sixteen_legs),
      cmocka_unit_test(every_leg_is_needed),
      cmocka_unit_test(extents_of_32_mib),
      cmocka_unit_test(sixteen_legs_all_needed_and_one_hangs),
      cmocka_unit_test(the_end_of_the_volume_is_in_the_middle_of_an_extent),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

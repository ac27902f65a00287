/* Legs that lack everything and do not say so: of an older line of history, or an older state of
 * themselves.  They are blank before they get anything. */
#include "told_rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "assembly/blank.h"

static void
assert_leg_2_is_like(unsigned leg) {
  for (unsigned e = 0; e < EXTENTS; e++)
    if (memcmp(rig.leg[2] + rig.volume->data_offset + e * EXTENT,
               rig.leg[leg] + rig.volume->data_offset + e * EXTENT, 4096) != 0)
      fail_msg("extent %u differs", e);
}

/* By the record of that line it would be whole, and the other line is not seen. */
static void
of_an_older_line_it_is_called_blank(void **state) {
  struct sf_superblock sb;

  begin(2, 1 << 2);
  rig_never_late(&rig.config);
  start_by_force_without(1 << 1 | 1 << 2);
  assert_false(rig.refused);
  rig_pass(&rig, 1000);
  rig.holds = hangs;
  keep_superblocks = 1 << 2;
  keep_maps = 1 << 0;
  rig.absent[2] = false;
  rig_open(&rig, 2);
  rig_pass(&rig, 1000);
  assert_int_not_equal(rig_state(&rig, 2), SF_STATE_CATCHING_UP);
  assert_true(leg_2_names_itself());
  keep_superblocks = 0;
  pass_until(SF_STATE_CATCHING_UP);
  rig_read_superblock(&rig, 2, &sb);
  assert_true(sf_leg_is_blank(&sb));
  assert_false(leg_2_names_itself());
  rig_free(&rig);
}

/* By the record of that line it is behind there, and the maps of that line know nothing of this one. */
static void
of_an_older_line_and_behind_it_is_blank_in_both_copies(void **state) {
  told_rig_init(4, 2);
  rig_start_fully(&rig);
  rate(EXTENT / 4);
  hung = 1 << 2;
  write_eight(0);
  hung = 0;
  pass_until(SF_STATE_CATCHING_UP);
  write_eight(20);
  flush_well(10000);
  rig_kill(&rig);
  /* Another line: leg 0 alone. */
  rig.absent[1] = rig.absent[3] = rig.absent[2] = true;
  rig.force = true;
  rig.config.min_legs = 1;
  rig_start_fully(&rig);
  rig.force = false;
  for (unsigned e = 30; e < 38; e++)
    write_well(e, (uint8_t) (e + 100));
  rig_pass(&rig, 1000);
  rig.absent[2] = false;
  rate(EXTENT * 8);
  rig_pass(&rig, 3000);
  rig.holds = hangs;
  keep_maps = 1 << 0;
  rig_never_late(&rig.config);
  rate(EXTENT * 8);
  rig_open(&rig, 2);
  pass_until(SF_STATE_CATCHING_UP);
  for (unsigned i = 0; i < 20000 && rig.leg[2][rig.volume->data_offset + 30 * EXTENT] != 130; i++)
    rig_pass(&rig, 1);
  assert_int_equal(rig.leg[2][rig.volume->data_offset + 30 * EXTENT], 130);
  rig_kill(&rig);
  keep_maps = 0;
  rig.config.min_legs = 2;
  rig.absent[0] = true;
  rig.absent[1] = rig.absent[3] = false;
  rig.unreadable = 1 << 2;
  rig_start_fully(&rig);
  rate(0);
  pass_until(SF_STATE_IN_SYNC);
  assert_leg_2_is_like(1);
  rig_free(&rig);
}

static uint8_t *
image_of_leg_2(void) {
  uint8_t *image = malloc(rig.leg_bytes);

  assert_non_null(image);
  return memcpy(image, rig.leg[2], rig.leg_bytes);
}

static int
leg_2_is_gone(const struct rig *r, const struct rig_region *region) {
  return region->leg == 2 ? -ENODEV : 0;
}

/* Its path is still gone. */
static void
it_goes_and_is_put_back(uint8_t *image) {
  rig.fails = leg_2_is_gone;
  write_well(20, 9);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_MISSING);
  memcpy(rig.leg[2], image, rig.leg_bytes);
  free(image);
  rate(EXTENT / 4);
  rig_pass(&rig, 3000);
}

/* Opened twice before it is told, it is older still: the maps do not say yet what it lacks. */
static void
an_older_one_that_was_gone_once_more_is_blank(void **state) {
  struct sf_superblock sb;
  uint8_t *image;

  told_rig_init(3, 2);
  rig_never_late(&rig.config);
  image = image_of_leg_2();
  rig_start_fully(&rig);
  write_eight(0);
  it_goes_and_is_put_back(image);
  rig_open(&rig, 2);
  rig_pass(&rig, 5000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_MISSING);
  rig.fails = NULL;
  keep_maps = 1 << 0 | 1 << 1;
  rig_open(&rig, 2);
  pass_until(SF_STATE_CATCHING_UP);
  rig_read_superblock(&rig, 2, &sb);
  assert_true(sf_leg_is_blank(&sb));
  rig_free(&rig);
}

/* Of an older state in which it was out: what that says of the maps holds no more, in neither copy. */
static void
an_older_one_that_was_behind_is_blank_in_both_copies(void **state) {
  uint8_t *image;
  begin(2, 1 << 2);
  hung = 0;
  pass_until(SF_STATE_CATCHING_UP);
  image = image_of_leg_2();
  rate(0);
  pass_until(SF_STATE_IN_SYNC);
  write_eight(20);
  flush_well(120000);
  it_goes_and_is_put_back(image);
  rig.fails = NULL;
  keep_maps = 1 << 0 | 1 << 1;
  rig_open(&rig, 2);
  pass_until(SF_STATE_CATCHING_UP);
  rig_kill(&rig);
  keep_maps = 0;
  rig.unreadable = 1 << 2;
  rig_start_fully(&rig);
  rig.unreadable = 0;
  rate(0);
  pass_until(SF_STATE_IN_SYNC);
  assert_leg_2_is_like(0);
  rig_free(&rig);
}

/* Once it is told it is like any other leg that lacks all. */
static void
an_older_one_is_told_once(void **state) {
  struct sf_superblock sb, later;
  uint8_t *image;

  told_rig_init(3, 2);
  rig_never_late(&rig.config);
  image = image_of_leg_2();
  rig_start_fully(&rig);
  it_goes_and_is_put_back(image);
  rig.fails = NULL;
  rig_open(&rig, 2);
  pass_until(SF_STATE_CATCHING_UP);
  rig_pass(&rig, 20000);
  rig_read_superblock(&rig, 2, &sb);
  assert_false(sf_leg_is_blank(&sb));
  rig_pass(&rig, 20000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_CATCHING_UP);
  rig_read_superblock(&rig, 2, &later);
  assert_int_equal(later.serial, sb.serial);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(of_an_older_line_it_is_called_blank),
      cmocka_unit_test(an_older_one_that_was_gone_once_more_is_blank),
      cmocka_unit_test(an_older_one_that_was_behind_is_blank_in_both_copies),
      cmocka_unit_test(an_older_one_is_told_once),
      cmocka_unit_test(of_an_older_line_and_behind_it_is_blank_in_both_copies),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

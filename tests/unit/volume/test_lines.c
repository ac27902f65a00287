/* R12: starts that break off between their claim and their first record, where a new line of
 * history begins. */
#include "rig.h"

#include <errno.h>

enum { EXTENT = 65536 };

static struct rig rig;
static unsigned stopped_leg; /* gets its claim, and no superblock behind it */

static bool
is_stopped(const struct rig *r, const struct rig_region *region) {
  struct sf_superblock sb;

  if (region->op != SF_TIO_WRITE || region->offset >= SF_PROBE_OFFSET || region->leg != stopped_leg)
    return false;
  assert_int_equal(sf_superblock_decode(region->buffer->data, &sb), 0);
  return sb.record.term >= sb.claim;
}

static int
fails_stopped(const struct rig *r, const struct rig_region *region) {
  return is_stopped(r, region) ? -EIO : 0;
}

static void
write_extent(uint8_t fill) {
  struct rig_request write;

  rig_submit(&rig, &write, SF_REQ_WRITE, 0, EXTENT, fill);
  rig_pass(&rig, 100);
  assert_true(write.done);
  assert_int_equal(write.request.error, 0);
  rig_put(&write);
}

/* A forced start of a and b broke off: its record reached a alone.  Then b, c and d served without
 * force, and b left.  What they acknowledged is on c and d: a start from the record that names b
 * would not know it. */
static void
a_line_that_broke_off_waits_for_those_that_went_on(void **state) {
  rig_init(&rig, 4, 2, EXTENT, 64);
  rig_start_fully(&rig);
  write_extent(1);
  rig_pass(&rig, 3000);
  rig_kill(&rig);

  rig.absent[2] = rig.absent[3] = true;
  rig.force = true;
  stopped_leg = 1;
  rig.holds = is_stopped;
  rig_start(&rig);
  rig_run(&rig);
  rig_kill(&rig);

  rig.force = rig.absent[2] = rig.absent[3] = false;
  rig.absent[0] = true;
  rig.fails = fails_stopped;
  rig_start(&rig);
  rig_pass(&rig, 1000);
  assert_int_equal(rig.volume->durable.in_sync, 0xc);
  write_extent(2);
  rig_kill(&rig);

  rig.absent[0] = false;
  rig.absent[2] = rig.absent[3] = true;
  rig.may_refuse = true;
  rig_start(&rig);
  assert_true(rig.refused);
  rig_free(&rig);
}

/* The claim is written over the copy that cannot be read.  Else the doubt has gone with it, and the
 * next start takes the leg that was set aside for one in sync. */
static void
a_claim_keeps_out_what_its_start_set_aside(void **state) {
  rig_init(&rig, 2, 1, EXTENT, 64);
  rig_start_fully(&rig);
  write_extent(1);
  rig_pass(&rig, 3000);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 1, rig.now_ns), 0);
  rig_pass(&rig, 1);
  assert_int_equal(rig.volume->durable.in_sync, 1);
  write_extent(2);
  rig_kill(&rig);

  rig.unreadable = 1;
  stopped_leg = 0;
  rig.holds = is_stopped;
  rig_start(&rig);
  rig_run(&rig);
  rig_kill(&rig);

  rig.unreadable = 0;
  rig.holds = NULL;
  rig_start_fully(&rig);
  assert_int_not_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_line_that_broke_off_waits_for_those_that_went_on),
      cmocka_unit_test(a_claim_keeps_out_what_its_start_set_aside),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

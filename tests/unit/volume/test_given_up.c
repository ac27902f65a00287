/* A suspended write that is given up and still runs on a leg that hangs: nothing passes it there, whatever joins
 * meanwhile. */
#include "rig.h"

#include <errno.h>
#include <string.h>

#include "volume/ops/suspend.h"

enum { EXTENT = 65536, EXTENTS = 64, BLOCK = 4096, AT = 5 * EXTENT };

static struct rig rig;
static unsigned no_path; /* legs, bit i: writes of data fail there */
static bool hangs;       /* leg 1, in writes of data */

static bool
writes_data(const struct rig_region *region) {
  return region->op == SF_TIO_WRITE && region->offset >= SF_DATA_OFFSET;
}

static int
fails(const struct rig *r, const struct rig_region *region) {
  return writes_data(region) && (no_path >> region->leg & 1) ? -ENOLINK : 0;
}

static bool
holds(const struct rig *r, const struct rig_region *region) {
  return hangs && region->leg == 1 && writes_data(region) &&
         region->offset == SF_DATA_OFFSET + AT && region->length == BLOCK;
}

static bool
only_waits_and_runs_on_leg_1(void) {
  for (const struct sf_list *l = rig.volume->active.next; l != &rig.volume->active; l = l->next) {
    const struct sf_op *op = SF_LIST_ENTRY(l, struct sf_op, link);

    if (op->kind->writes && op->request == NULL && sf_op_only_waits(op) && op->running == 2)
      return true;
  }
  return false;
}

static uint8_t *
block_on(unsigned leg) {
  return rig.leg[leg] + SF_DATA_OFFSET + AT;
}

/* Leg 2 lacks extents; neither leg 0 nor leg 1 has a path, then leg 1 hangs, and the client goes away. */
static void
give_up_beside_a_hang(void) {
  struct rig_request write;

  no_path = 0;
  hangs = false;
  rig_init(&rig, 3, 2, EXTENT, EXTENTS);
  rig.config.on_too_few = SF_TOO_FEW_SUSPEND;
  rig.config.intent_delay_ns = 600 * SF_S;
  rig.fails = fails;
  rig.holds = holds;
  rig_start_fully(&rig);
  rig_touch_extents(&rig, EXTENTS, EXTENT);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 50);
  rig_touch_extents(&rig, EXTENTS, EXTENT);
  rig_pass(&rig, 50);
  no_path = 3;
  rig_submit(&rig, &write, SF_REQ_WRITE, AT, BLOCK, 9);
  rig_pass(&rig, 200);
  assert_int_equal(rig.volume->suspended, 1);
  hangs = true;
  no_path = 1;
  rig_pass(&rig, 1000);
  assert_false(write.done);
  sf_volume_give_up(rig.volume, &write.request, rig.now_ns);
  rig_pass(&rig, 1);
  assert_true(only_waits_and_runs_on_leg_1());
  assert_int_equal(write.request.error, -ESHUTDOWN);
  assert_int_equal(rig.volume->errors, 0);
  rig_put(&write);
  no_path = 0;
}

static void
nothing_passes_it_where_it_runs(void **state) {
  struct rig_request read;

  give_up_beside_a_hang();
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  rig_submit(&rig, &read, SF_REQ_READ, AT, BLOCK, 0);
  rig_pass(&rig, 20000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_CATCHING_UP);
  assert_true(sf_map_test(&rig.volume->unconverged, AT / EXTENT));
  assert_false(read.done);
  hangs = false;
  rig_pass(&rig, 5000);
  assert_true(read.done);
  assert_int_equal(read.request.error, 0);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  assert_memory_equal(read.request.buffer->data, block_on(0), BLOCK);
  assert_memory_equal(block_on(1), block_on(0), BLOCK);
  assert_memory_equal(block_on(2), block_on(0), BLOCK);
  rig_put(&read);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nothing_passes_it_where_it_runs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

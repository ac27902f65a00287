/* Blocks that the medium cannot read any more, until they are written: they cost themselves and nothing else. */
#include "rig.h"

#include <errno.h>
#include <string.h>

enum { EXTENT = 1 << 20, EXTENTS = 8, BLOCK = 4096, BAD_MOST = 4 };

static struct rig rig;
static uint64_t bad[RIG_LEGS][BAD_MOST]; /* offsets into the volume, plus one; 0: none */

static bool
covers(const struct rig_region *region, uint64_t offset) {
  uint64_t at = offset - 1 + SF_DATA_OFFSET;

  return offset != 0 && region->offset < at + 512 && at < region->offset + region->length;
}

static int
bad_blocks_fail(const struct rig *r, const struct rig_region *region) {
  int error = 0;

  for (unsigned i = 0; i < BAD_MOST; i++) {
    if (region->op == SF_TIO_FLUSH || !covers(region, bad[region->leg][i]))
      continue;
    if (region->op == SF_TIO_READ)
      error = -EIO;
    else
      bad[region->leg][i] = 0;
  }
  return error;
}

static void
make_bad(unsigned leg, unsigned which, uint64_t offset) {
  bad[leg][which] = offset + 1;
}

static void
init(unsigned legs, enum sf_on_too_few on_too_few) {
  memset(bad, 0, sizeof bad);
  rig_init(&rig, legs, 1, EXTENT, EXTENTS);
  rig.config.on_too_few = on_too_few;
  rig.config.intent_delay_ns = 600 * SF_S;
  rig.fails = bad_blocks_fail;
  rig_start_fully(&rig);
}

static void
write_extents(unsigned n) {
  struct rig_request write[EXTENTS];

  for (unsigned i = 0; i < n; i++)
    rig_submit(&rig, &write[i], SF_REQ_WRITE, (uint64_t) i * EXTENT, EXTENT, 7);
  rig_pass(&rig, 20);
  for (unsigned i = 0; i < n; i++) {
    assert_true(write[i].done);
    assert_int_equal(write[i].request.error, 0);
    rig_put(&write[i]);
  }
}

static void
crash_and_start(void) {
  rig_kill(&rig);
  rig.fails = bad_blocks_fail;
  rig_start_fully(&rig);
}

static int
read_block(uint64_t offset) {
  struct rig_request read;
  int error;

  rig_submit(&rig, &read, SF_REQ_READ, offset, 512, 0);
  rig_pass(&rig, 3000);
  assert_true(read.done);
  error = read.request.error;
  if (error == 0)
    assert_int_equal(((uint8_t *) read.request.buffer->data)[0], 7);
  rig_put(&read);
  return error;
}

static void
after_a_crash_each_leg_gives_what_the_other_cannot_read(void **state) {
  for (unsigned mode = 0; mode < 2; mode++) {
    init(2, mode == 0 ? SF_TOO_FEW_ERROR : SF_TOO_FEW_SUSPEND);
    write_extents(1);
    make_bad(0, 0, 5 * BLOCK);
    make_bad(1, 0, 6 * BLOCK);
    make_bad(1, 1, 5 * BLOCK + 512); /* beside the other's, in one block of 4 KiB */
    crash_and_start();
    assert_int_equal(read_block(0), 0);
    assert_int_equal(read_block(5 * BLOCK), 0);
    assert_int_equal(read_block(5 * BLOCK + 512), 0);
    assert_int_equal(read_block(6 * BLOCK), 0);
    assert_int_equal(rig.volume->unconverged.set, 0);
    assert_int_equal(memcmp(rig.leg[0] + SF_DATA_OFFSET, rig.leg[1] + SF_DATA_OFFSET, EXTENT), 0);
    rig_free(&rig);
  }
}

static void
a_block_that_no_leg_can_read_costs_itself_only(void **state) {
  for (unsigned mode = 0; mode < 2; mode++) {
    init(2, mode == 0 ? SF_TOO_FEW_ERROR : SF_TOO_FEW_SUSPEND);
    rig.holds = rig_takes_a_moment;
    write_extents(2);
    make_bad(0, 0, 5 * BLOCK);
    make_bad(1, 0, 5 * BLOCK);
    crash_and_start();
    rig.holds = rig_takes_a_moment;
    assert_int_equal(read_block(0), 0);
    assert_int_equal(read_block(EXTENT), 0);
    assert_int_equal(read_block(6 * BLOCK), 0);
    assert_int_equal(read_block(5 * BLOCK), -EIO);
    assert_int_equal(rig.volume->unconverged.set, 0);
    rig_free(&rig);
  }
}

/* There is nothing to converge with, so nothing is read for it. */
static void
one_leg_alone_answers_what_it_can_read(void **state) {
  init(1, SF_TOO_FEW_SUSPEND);
  rig.holds = rig_takes_a_moment;
  write_extents(1);
  make_bad(0, 0, 5 * BLOCK);
  crash_and_start();
  rig.holds = rig_takes_a_moment;
  assert_int_equal(read_block(0), 0);
  assert_int_equal(read_block(5 * BLOCK), -EIO);
  rig_free(&rig);
}

static void
a_resync_reads_from_the_other_source(void **state) {
  init(3, SF_TOO_FEW_ERROR);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 50);
  write_extents(4);
  make_bad(0, 0, 5 * BLOCK);
  make_bad(1, 0, EXTENT + 5 * BLOCK);
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 5000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  assert_int_equal(rig.leg[2][SF_DATA_OFFSET + 5 * BLOCK], 7);
  rig_free(&rig);
}

static bool told;

static void
listen(const struct sf_volume_event *event) {
  told = told || (event->kind == SF_EVENT_LEG_TROUBLE && strcmp(event->leg_name, "l0") == 0 &&
                  strstr(event->reason, "can be read on no leg") != NULL);
}

/* The leg may not join without the block; all else is copied, and the fault is told. */
static void
a_resync_passes_over_what_no_source_can_read(void **state) {
  init(2, SF_TOO_FEW_ERROR);
  rig.event = listen;
  told = false;
  assert_int_equal(sf_volume_leg_fail(rig.volume, 1, rig.now_ns), 0);
  rig_pass(&rig, 50);
  write_extents(EXTENTS);
  for (unsigned i = 0; i < BAD_MOST; i++)
    make_bad(0, i, (uint64_t) i * EXTENT + 5 * BLOCK);
  assert_int_equal(sf_volume_leg_return(rig.volume, 1, rig.now_ns), 0);
  rig_pass(&rig, 10000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_CATCHING_UP);
  assert_int_equal(rig.volume->leg[1].stale.set, BAD_MOST);
  assert_true(told);
  for (unsigned i = 0; i < BAD_MOST; i++) {
    struct rig_request write;

    rig_submit(&rig, &write, SF_REQ_WRITE, (uint64_t) i * EXTENT + 5 * BLOCK, BLOCK, 7);
    rig_pass(&rig, 10);
    assert_true(write.done);
    rig_put(&write);
  }
  rig_pass(&rig, 60000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(after_a_crash_each_leg_gives_what_the_other_cannot_read),
      cmocka_unit_test(a_block_that_no_leg_can_read_costs_itself_only),
      cmocka_unit_test(one_leg_alone_answers_what_it_can_read),
      cmocka_unit_test(a_resync_reads_from_the_other_source),
      cmocka_unit_test(a_resync_passes_over_what_no_source_can_read),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

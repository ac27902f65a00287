/* Blocks that the medium cannot read any more, until they are written: they cost themselves and
 * nothing else. */
#include "rig.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "volume/ground/lost.h"

enum { EXTENT = 1 << 20, EXTENTS = 8, BLOCK = 4096, BAD_MOST = 4 };

static struct rig rig;
static uint64_t bad[RIG_LEGS][BAD_MOST]; /* offsets into the volume, plus one; 0: none */

static bool
    reads_nothing_else; /* samples fail: no leg can show that it is the block and not itself */

static bool
covers(const struct rig_region *region, uint64_t offset) {
  uint64_t at = offset - 1 + SF_DATA_OFFSET;

  return offset != 0 && region->offset < at + 512 && at < region->offset + region->length;
}

static int
bad_blocks_fail(const struct rig *r, const struct rig_region *region) {
  int error = 0;

  if (reads_nothing_else && region->leg == 0 && region->op == SF_TIO_READ &&
      region->offset == SF_PROBE_OFFSET)
    return -EIO;
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
  reads_nothing_else = false;
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

static unsigned told;
static char last[SF_LEG_REASON_MAX];

static void
listen(const struct sf_volume_event *event) {
  if (event->kind != SF_EVENT_LOST_RANGE)
    return;
  told++;
  assert_string_equal(event->leg_name, "l0");
  snprintf(last, sizeof last, "%s", event->reason);
}

static void
resync_with_bad_blocks(unsigned n) {
  init(2, SF_TOO_FEW_ERROR);
  reads_nothing_else = true;
  rig.event = listen;
  told = 0;
  assert_int_equal(sf_volume_leg_fail(rig.volume, 1, rig.now_ns), 0);
  rig_pass(&rig, 50);
  write_extents(EXTENTS);
  for (unsigned i = 0; i < n; i++)
    make_bad(0, i, (uint64_t) i * EXTENT + 5 * BLOCK);
  assert_int_equal(sf_volume_leg_return(rig.volume, 1, rig.now_ns), 0);
  rig_pass(&rig, 10000);
}

static void
write_block(uint64_t offset) {
  struct rig_request write;

  rig_submit(&rig, &write, SF_REQ_WRITE, offset, BLOCK, 7);
  rig_pass(&rig, 10);
  assert_true(write.done);
  assert_int_equal(write.request.error, 0);
  rig_put(&write);
}

/* As long as it is not sure that it is the block, the leg may not join without it; all else is
 * copied, of that extent too.  Each lost block is told once, and shown until it is written: then
 * the leg joins, at once. */
static void
a_resync_passes_over_what_no_source_can_read(void **state) {
  struct sf_volume_status status;

  resync_with_bad_blocks(BAD_MOST);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_CATCHING_UP);
  assert_int_equal(rig.volume->leg[1].stale.set, BAD_MOST);
  for (uint64_t at = 0; at < (uint64_t) EXTENTS * EXTENT; at += 512)
    assert_int_equal(rig.leg[1][SF_DATA_OFFSET + at],
                     at % EXTENT == 5 * BLOCK && at / EXTENT < BAD_MOST ? 0 : 7);
  rig_pass(&rig, 200000);
  assert_int_equal(told, BAD_MOST);
  assert_non_null(strstr(last, "512 bytes at "));
  sf_volume_status(rig.volume, rig.now_ns, &status);
  assert_int_equal(status.lost_n, BAD_MOST);
  for (uint64_t i = 0; i < BAD_MOST; i++) {
    assert_int_equal(status.lost[i].begin, i * EXTENT + 5 * BLOCK);
    assert_int_equal(status.lost[i].end, i * EXTENT + 5 * BLOCK + 512);
    assert_int_equal(status.lost[i].legs, 1);
  }
  assert_non_null(strstr(status.leg[1].reason, "read on no leg"));
  assert_int_equal(status.leg[1].resync_left_ns, 0);
  assert_true(status.leg[1].resync_stalled_ns > UINT64_C(100000000000));
  for (unsigned i = 0; i < BAD_MOST; i++)
    write_block((uint64_t) i * EXTENT + 5 * BLOCK);
  rig_pass(&rig, 3000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  sf_volume_status(rig.volume, rig.now_ns, &status);
  assert_int_equal(status.lost_n, 0);
  assert_string_equal(status.leg[1].reason, "");
  assert_int_equal(told, BAD_MOST);
  assert_memory_equal(rig.leg[0] + SF_DATA_OFFSET, rig.leg[1] + SF_DATA_OFFSET,
                      (size_t) EXTENTS * EXTENT);
  rig_free(&rig);
}

static unsigned asked; /* so many times, in series */
static uint64_t asked_ns;

static int
counts_bad_reads(const struct rig *r, const struct rig_region *region) {
  int error = bad_blocks_fail(r, region);

  if (error != 0 && region->offset != SF_PROBE_OFFSET && r->now_ns - asked_ns > 5 * SF_S)
    asked++;
  if (error != 0 && region->offset != SF_PROBE_OFFSET)
    asked_ns = r->now_ns;
  return error;
}

/* A block that is not mended is asked for again with pauses that grow; if it can be read after all
 * it is copied then, and is lost no more. */
static void
a_lost_block_is_asked_for_less_and_less(void **state) {
  struct sf_volume_status status;
  unsigned before;

  resync_with_bad_blocks(1);
  rig.fails = counts_bad_reads;
  asked = 0;
  rig_pass(&rig, 3600 * 1000);
  before = asked;
  assert_in_range(before, 3, 9);
  rig_pass(&rig, 3600 * 1000);
  assert_in_range(asked - before, 1, 2);
  assert_int_equal(told, 1);
  bad[0][0] = 0;
  reads_nothing_else = false;
  rig_pass(&rig, 3700 * 1000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  sf_volume_status(rig.volume, rig.now_ns, &status);
  assert_int_equal(status.lost_n, 0);
  rig_free(&rig);
}

/* Ranges side by side are one; a write in the middle of one leaves both ends; a known range is not
 * told again; and there is a limit of ranges. */
static void
lost_ranges(void **state) {
  struct lost *lost;

  init(2, SF_TOO_FEW_ERROR);
  rig.event = listen;
  told = 0;
  lost = &rig.volume->lost;
  sf_lost_add(rig.volume, 4096, 512, 1, -EIO);
  sf_lost_add(rig.volume, 8192, 512, 1, -EIO);
  sf_lost_add(rig.volume, 4608, 3584, 1, -EIO);
  assert_int_equal(lost->n, 1);
  assert_int_equal(lost->range[0].begin, 4096);
  assert_int_equal(lost->range[0].end, 8704);
  sf_lost_tell(rig.volume);
  sf_lost_add(rig.volume, 5120, 512, 1, -EIO);
  sf_lost_tell(rig.volume);
  sf_volume_wait_told(rig.volume);
  assert_int_equal(told, 1);
  sf_lost_clear(rig.volume, 0, 4096);
  sf_lost_clear(rig.volume, 8704, 4096);
  assert_int_equal(lost->n, 1);
  sf_lost_clear(rig.volume, 5120, 512);
  assert_int_equal(lost->n, 2);
  assert_int_equal(lost->range[0].end, 5120);
  assert_int_equal(lost->range[1].begin, 5632);
  sf_lost_tell(rig.volume);
  sf_volume_wait_told(rig.volume);
  assert_int_equal(told, 1);
  sf_lost_clear(rig.volume, 0, EXTENT);
  assert_int_equal(lost->n, 0);
  for (uint64_t i = 0; i < SF_LOST_MOST + 5; i++)
    sf_lost_add(rig.volume, i * 8192, 512, 1, -EIO);
  assert_int_equal(lost->n, SF_LOST_MOST);
  assert_true(lost->more);
  sf_lost_clear(rig.volume, 0, (uint64_t) EXTENTS * EXTENT);
  assert_int_equal(lost->n, 0);
  assert_false(lost->more);
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
      cmocka_unit_test(a_lost_block_is_asked_for_less_and_less),
      cmocka_unit_test(lost_ranges),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

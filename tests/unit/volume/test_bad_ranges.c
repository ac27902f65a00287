/* Bad ranges (R15): a range that no leg could read is recorded, a leg joins without it, reads of it
 * are answered EIO whatever legs hold there, and a write makes it good; at no point of that does a
 * crash give bytes that were never written. */
#include "rig.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "volume/set/bad.h"

enum { EXTENT = 1 << 20, EXTENTS = 4, BLOCK = 512, BAD_AT = 5 * 4096, NEW = 9 };

static struct rig rig;
static uint64_t bad_at[RIG_LEGS]; /* offset into the volume, plus one; 0: none */
static bool (*also_holds)(const struct rig *rig, const struct rig_region *region);

static int
fails(const struct rig *r, const struct rig_region *region) {
  uint64_t at = bad_at[region->leg] - 1 + SF_DATA_OFFSET;

  if (bad_at[region->leg] == 0 || region->op == SF_TIO_FLUSH || region->offset >= at + BLOCK ||
      at >= region->offset + region->length)
    return 0;
  if (region->op == SF_TIO_READ)
    return -EIO;
  bad_at[region->leg] = 0;
  return 0;
}

static bool
holds(const struct rig *r, const struct rig_region *region) {
  return rig_takes_a_moment(r, region) || (also_holds != NULL && also_holds(r, region));
}

static void
start(void) {
  rig.holds = NULL;
  rig.fails = fails;
  rig_start_fully(&rig);
  rig.holds = holds;
}

static void
init(unsigned legs) {
  memset(bad_at, 0, sizeof bad_at);
  also_holds = NULL;
  rig_init(&rig, legs, 1, EXTENT, EXTENTS);
  rig.config.intent_delay_ns = 600 * SF_S;
  rig_never_late(&rig.config);
  start();
}

static void
crash_and_start(void) {
  rig_kill(&rig);
  start();
}

static int
write_at(uint64_t offset, uint64_t length, uint8_t fill) {
  struct rig_request write;
  int error;

  rig_submit(&rig, &write, SF_REQ_WRITE, offset, length, fill);
  rig_pass(&rig, 50);
  assert_true(write.done);
  error = write.request.error;
  rig_put(&write);
  return error;
}

/* The byte that is read, or -errno. */
static int
read_at(uint64_t offset, uint64_t length) {
  struct rig_request read;
  int r;

  rig_submit(&rig, &read, SF_REQ_READ, offset, length, 0);
  rig_pass(&rig, 3000);
  assert_true(read.done);
  r = read.request.error;
  if (r == 0)
    r = ((uint8_t *) read.request.buffer->data)[length - 1];
  rig_put(&read);
  return r;
}

/* All written with 7 but for what leg 1 missed: it lacks the bad block, and holds an older byte
 * there. */
static void
leg_with_a_bad_source(void) {
  init(2);
  assert_int_equal(write_at(0, EXTENT, 3), 0);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 1, rig.now_ns), 0);
  rig_pass(&rig, 50);
  for (unsigned i = 0; i < EXTENTS; i++)
    assert_int_equal(write_at((uint64_t) i * EXTENT, EXTENT, 7), 0);
  bad_at[0] = BAD_AT + 1;
  assert_int_equal(sf_volume_leg_return(rig.volume, 1, rig.now_ns), 0);
}

static void
joined(void) {
  leg_with_a_bad_source();
  rig_pass(&rig, 30000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
}

static void
assert_recorded(unsigned leg, unsigned n) {
  struct sf_superblock sb;

  rig_read_superblock(&rig, leg, &sb);
  assert_int_equal(sb.bad.n, n);
  if (n == 0)
    return;
  assert_int_equal(sb.bad.range[0].begin, BAD_AT);
  assert_int_equal(sb.bad.range[0].end, BAD_AT + BLOCK);
}

static unsigned told;

static void
listen(const struct sf_volume_event *event) {
  told += event->kind == SF_EVENT_LOST_RANGE;
}

/* The leg joins, the range is on both legs, told once, shown, and read from none of them; after it
 * is written, all is as ever. */
static void
a_leg_joins_without_what_is_bad(void **state) {
  struct sf_volume_status status;

  rig.event = listen;
  told = 0;
  leg_with_a_bad_source();
  rig.event = listen;
  rig_pass(&rig, 30000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_int_equal(rig.leg[1][SF_DATA_OFFSET + BAD_AT], 3);
  assert_int_equal(rig.leg[1][SF_DATA_OFFSET + BAD_AT - 1], 7);
  assert_int_equal(rig.leg[1][SF_DATA_OFFSET + BAD_AT + BLOCK], 7);
  assert_recorded(0, 1);
  assert_recorded(1, 1);
  assert_int_equal(told, 1);
  sf_volume_status(rig.volume, rig.now_ns, &status);
  assert_int_equal(status.lost_n, 1);
  assert_int_equal(status.lost[0].begin, BAD_AT);
  assert_true(status.lost[0].recorded);
  assert_int_equal(sf_volume_hole_source(rig.volume), -1);
  for (unsigned i = 0; i < 2; i++) {
    assert_int_equal(read_at(BAD_AT, BLOCK), -EIO);
    assert_int_equal(read_at(BAD_AT - BLOCK, 3 * BLOCK), -EIO);
    assert_int_equal(read_at(BAD_AT - BLOCK, BLOCK), 7);
    assert_int_equal(read_at(BAD_AT + BLOCK, BLOCK), 7);
    bad_at[0] = 0; /* the disk can read it again: that changes nothing */
  }
  assert_int_equal(write_at(BAD_AT, BLOCK, NEW), 0);
  assert_int_equal(read_at(BAD_AT, BLOCK), NEW);
  assert_recorded(0, 0);
  assert_recorded(1, 0);
  sf_volume_status(rig.volume, rig.now_ns, &status);
  assert_int_equal(status.lost_n, 0);
  assert_memory_equal(rig.leg[0] + SF_DATA_OFFSET, rig.leg[1] + SF_DATA_OFFSET,
                      (size_t) EXTENTS * EXTENT);
  assert_true(sf_volume_hole_source(rig.volume) >= 0);
  rig_free(&rig);
}

static bool
is_superblock(const struct rig *r, const struct rig_region *region) {
  return rig_is_superblock(region);
}

/* Neither in memory nor on disk does the leg lose the stale bit before the range is recorded: a
 * start finds one of the two. */
static void
it_is_recorded_before_it_is_relied_on(void **state) {
  leg_with_a_bad_source();
  for (unsigned i = 0; i < 20000 && rig_state(&rig, 1) != SF_STATE_CATCHING_UP; i++)
    rig_pass(&rig, 1);
  also_holds = is_superblock;
  rig_pass(&rig, 20000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_CATCHING_UP);
  assert_true(rig.volume->leg[1].stale.set > 0);
  assert_int_equal(read_at(BAD_AT, BLOCK), -EIO);
  also_holds = NULL;
  crash_and_start();
  assert_int_equal(rig.volume->bad.list.n, 0);
  assert_true(sf_map_test(&rig.volume->leg[1].stale, 0));
  assert_int_equal(sf_volume_leg_return(rig.volume, 1, rig.now_ns), 0);
  rig_pass(&rig, 30000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_int_equal(rig.volume->bad.list.n, 1);
  rig_free(&rig);
}

/* After a start it is known, told by the status, and still bad. */
static void
a_start_knows_it(void **state) {
  struct sf_volume_status status;

  joined();
  bad_at[0] = 0;
  for (unsigned turn = 0; turn < 2; turn++) {
    crash_and_start();
    rig.event = listen;
    told = 0;
    sf_volume_status(rig.volume, rig.now_ns, &status);
    assert_int_equal(status.lost_n, 1);
    assert_true(status.lost[0].recorded);
    assert_int_equal(status.lost[0].legs, 3);
    assert_int_equal(read_at(BAD_AT, BLOCK), -EIO);
    rig_pass(&rig, 5000);
    assert_int_equal(told, 0);
    assert_int_equal(rig.volume->unconverged.set, 0);
    assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
    assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  }
  assert_int_equal(write_at(BAD_AT, BLOCK, NEW), 0);
  crash_and_start();
  assert_int_equal(read_at(BAD_AT, BLOCK), NEW);
  rig_free(&rig);
}

/* A crash in each millisecond of a write to a bad block: nothing lasts a millisecond less.  An
 * answered write is read; an unanswered one is an error, or read, and alike from each leg alone. */
static void
a_crash_at_every_point_of_the_write(void **state) {
  unsigned answered = 0, refused = 0;

  for (unsigned ms = 0; ms < 12; ms++) {
    struct rig_request write;
    int first;

    joined();
    rig_submit(&rig, &write, SF_REQ_WRITE, BAD_AT, BLOCK, NEW);
    if (ms > 0)
      rig_pass(&rig, ms);
    answered += write.done;
    bad_at[0] = 0;
    rig_kill(&rig);
    start();
    first = read_at(BAD_AT, BLOCK);
    if (write.done)
      assert_int_equal(first, NEW);
    else
      assert_true(first == NEW || first == -EIO);
    refused += first == -EIO;
    if (first >= 0)
      assert_memory_equal(rig.leg[0] + SF_DATA_OFFSET + BAD_AT,
                          rig.leg[1] + SF_DATA_OFFSET + BAD_AT, BLOCK);
    crash_and_start();
    assert_int_equal(read_at(BAD_AT, BLOCK), first);
    rig_put(&write);
    rig_free(&rig);
  }
  assert_in_range(answered, 1, 10);
  assert_in_range(refused, 1, 11);
}

static unsigned sent_with_fua; /* legs: bit i */

static bool
holds_superblocks_and_sees_fua(const struct rig *r, const struct rig_region *region) {
  if (region->op == SF_TIO_WRITE && region->offset == SF_DATA_OFFSET + BAD_AT &&
      (region->flags & SF_TIO_FUA) != 0)
    sent_with_fua |= 1u << region->leg;
  return is_superblock(r, region);
}

/* It is stable on the legs before the record says that the block is good, and it is answered after
 * that. */
static void
the_write_is_stable_before_the_record(void **state) {
  struct rig_request write;

  joined();
  sent_with_fua = 0;
  also_holds = holds_superblocks_and_sees_fua;
  rig_submit(&rig, &write, SF_REQ_WRITE, BAD_AT, BLOCK, NEW);
  rig_pass(&rig, 50);
  assert_int_equal(sent_with_fua, 3);
  assert_false(write.done);
  assert_int_equal(rig.leg[0][SF_DATA_OFFSET + BAD_AT], NEW);
  assert_int_equal(rig.leg[1][SF_DATA_OFFSET + BAD_AT], NEW);
  assert_recorded(0, 1);
  also_holds = NULL;
  rig_pass(&rig, 10);
  assert_true(write.done);
  assert_int_equal(write.request.error, 0);
  rig_put(&write);
  rig_free(&rig);
}

/* Zeroes make it good as well, and a write beside it does not. */
static void
what_makes_it_good(void **state) {
  struct rig_request zero;

  joined();
  assert_int_equal(write_at(BAD_AT - 4 * BLOCK, 4 * BLOCK, NEW), 0);
  assert_int_equal(write_at(BAD_AT + BLOCK, BLOCK, NEW), 0);
  assert_int_equal(read_at(BAD_AT, BLOCK), -EIO);
  rig_submit(&rig, &zero, SF_REQ_ZERO, 0, EXTENT, 0);
  rig_pass(&rig, 50);
  assert_true(zero.done);
  assert_int_equal(zero.request.error, 0);
  assert_int_equal(read_at(BAD_AT, BLOCK), 0);
  assert_recorded(1, 0);
  rig_put(&zero);
  rig_free(&rig);
}

static bool
is_superblock_of_leg_0(const struct rig *r, const struct rig_region *region) {
  return region->leg == 0 && is_superblock(r, region);
}

/* Its record comes behind another one, and a stop is asked for in between: the write is answered
 * all the same, and the clean superblocks say that the range is good. */
static void
a_stop_waits_for_its_record(void **state) {
  struct rig_request write;

  joined();
  also_holds = is_superblock_of_leg_0;
  assert_int_equal(sf_volume_leg_fail(rig.volume, 1, rig.now_ns), 0);
  rig_submit(&rig, &write, SF_REQ_WRITE, BAD_AT, BLOCK, NEW);
  rig_pass(&rig, 50);
  assert_false(write.done);
  sf_volume_stop(rig.volume, rig.now_ns);
  rig_pass(&rig, 50);
  assert_false(sf_volume_stopped(rig.volume));
  also_holds = NULL;
  rig_pass(&rig, 500);
  assert_true(write.done);
  assert_int_equal(write.request.error, 0);
  assert_true(sf_volume_stopped(rig.volume));
  assert_recorded(0, 0);
  rig_put(&write);
  rig_free(&rig);
}

/* A list that is full: the leg does not join, and says why; with room it does. */
static void
a_full_list_keeps_the_leg_out(void **state) {
  struct sf_volume_status status;
  uint64_t change;

  leg_with_a_bad_source();
  for (unsigned i = 0; i < SF_BAD_MOST / 2; i++)
    assert_true(sf_bad_mark(rig.volume, EXTENT + i * 4096, BLOCK, &change));
  assert_false(sf_bad_mark(rig.volume, 3 * EXTENT, BLOCK, &change));
  rig_pass(&rig, 20000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_CATCHING_UP);
  assert_int_equal(rig.volume->leg[1].stale.set, 1);
  sf_volume_status(rig.volume, rig.now_ns, &status);
  assert_non_null(strstr(status.leg[1].reason, "too many"));
  assert_int_equal(status.leg[1].resync_rate, 0);
  assert_int_equal(status.leg[1].resync_left_ns, 0);
  assert_int_equal(write_at(EXTENT, EXTENT, NEW), 0);
  assert_int_equal(write_at(0, BLOCK, NEW), 0); /* its extent is tried again */
  rig_pass(&rig, 30000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_int_equal(rig.volume->bad.list.n, 1);
  assert_int_equal(read_at(BAD_AT, BLOCK), -EIO);
  assert_int_equal(read_at(EXTENT, BLOCK), NEW);
  rig_free(&rig);
}

/* There is room to write in the middle of ranges, and where there is none the write fails and the
 * range stays. */
static void
a_write_that_splits_too_much_fails(void **state) {
  uint64_t change;
  unsigned splits = 0;

  init(2);
  assert_true(sf_bad_mark(rig.volume, 0, EXTENT, &change));
  while (splits < 2 * SF_BAD_MOST && write_at(BLOCK + splits * 2 * BLOCK, BLOCK, NEW) == 0)
    splits++;
  assert_int_equal(splits, SF_BAD_MOST - 1);
  assert_int_equal(read_at(BLOCK + splits * 2 * BLOCK, BLOCK), -EIO);
  assert_int_equal(read_at(BLOCK, BLOCK), NEW);
  assert_int_equal(read_at(0, BLOCK), -EIO);
  assert_int_equal(write_at(0, EXTENT, NEW), 0);
  assert_int_equal(rig.volume->bad.list.n, 0);
  rig_free(&rig);
}

/* A convergence records it too: its legs may hold two contents there, and one may be readable
 * again. */
static void
a_convergence_records_it(void **state) {
  init(2);
  assert_int_equal(write_at(0, EXTENT, 7), 0);
  rig.leg[1][SF_DATA_OFFSET + BAD_AT + BLOCK - 1] = 8;
  bad_at[0] = bad_at[1] = BAD_AT + 1;
  crash_and_start();
  rig_pass(&rig, 7000);
  assert_int_equal(rig.volume->bad.list.n, 0);
  rig_pass(&rig, 5000);
  assert_int_equal(rig.volume->unconverged.set, 0);
  assert_recorded(0, 1);
  assert_recorded(1, 1);
  bad_at[0] = bad_at[1] = 0;
  assert_int_equal(read_at(BAD_AT, BLOCK), -EIO);
  crash_and_start();
  assert_int_equal(read_at(BAD_AT, BLOCK), -EIO);
  assert_int_equal(read_at(0, BLOCK), 7);
  rig_pass(&rig, 5000);
  assert_int_equal(rig.volume->unconverged.set, 0);
  rig_free(&rig);
}

/* Legs may differ there, so a scrub neither tells nor repairs it. */
static void
a_scrub_passes_over_it(void **state) {
  struct sf_scrub_order order = {.repair = true, .from = 0};
  struct sf_volume_status status;

  joined();
  bad_at[0] = 0;
  rig.leg[1][SF_DATA_OFFSET + BAD_AT + 2 * BLOCK] = 1; /* this it is to find */
  assert_int_equal(sf_volume_scrub(rig.volume, &order, rig.now_ns), 0);
  rig_pass(&rig, 20000);
  sf_volume_status(rig.volume, rig.now_ns, &status);
  assert_int_equal(status.scrub.state, SF_SCRUB_DONE);
  assert_int_equal(status.scrub.mismatch_bytes, BLOCK);
  assert_int_equal(status.scrub.ranges, 1);
  assert_int_equal(status.scrub.range[0].begin, BAD_AT + 2 * BLOCK);
  assert_int_equal(status.scrub.unreadable_bytes, 0);
  assert_int_equal(rig.leg[1][SF_DATA_OFFSET + BAD_AT], 3);
  assert_int_equal(rig.leg[1][SF_DATA_OFFSET + BAD_AT + 2 * BLOCK], 7);
  rig_free(&rig);
}

static bool
is_read_of_leg_0(const struct rig *r, const struct rig_region *region) {
  return region->op == SF_TIO_READ && region->leg == 0 && region->length == 2 * BLOCK;
}

/* A read that was sent before, and ends after the leg has joined, is not answered from that. */
static void
a_read_under_way_is_not_answered_from_it(void **state) {
  struct rig_request read;

  leg_with_a_bad_source();
  also_holds = is_read_of_leg_0;
  rig_submit(&rig, &read, SF_REQ_READ, BAD_AT, 2 * BLOCK, 0);
  rig_pass(&rig, 30000);
  assert_false(read.done);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  also_holds = NULL;
  rig_pass(&rig, 1000);
  assert_true(read.done);
  assert_int_equal(read.request.error, -EIO);
  rig_put(&read);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_leg_joins_without_what_is_bad),
      cmocka_unit_test(it_is_recorded_before_it_is_relied_on),
      cmocka_unit_test(a_start_knows_it),
      cmocka_unit_test(a_crash_at_every_point_of_the_write),
      cmocka_unit_test(the_write_is_stable_before_the_record),
      cmocka_unit_test(what_makes_it_good),
      cmocka_unit_test(a_stop_waits_for_its_record),
      cmocka_unit_test(a_full_list_keeps_the_leg_out),
      cmocka_unit_test(a_write_that_splits_too_much_fails),
      cmocka_unit_test(a_convergence_records_it),
      cmocka_unit_test(a_scrub_passes_over_it),
      cmocka_unit_test(a_read_under_way_is_not_answered_from_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A scrub tells what differs between legs in sync, names the wrong one where that can be known, and
 * changes nothing but what it was asked to repair. */
#include "rig.h"

#include <errno.h>
#include <string.h>

#include "volume/change/stop.h"
#include "volume/roof/delivery.h"
#include "volume/roof/turn.h"

enum { EXTENT = 1 << 20, EXTENTS = 4, BLOCK = 4096 };

static struct rig rig;
static unsigned data_writes, told;
static char last[256];
static uint64_t unreadable; /* offset on leg 1, plus one; 0: none */
static bool flush_fails;
static int repair_error;

static int
fails(const struct rig *r, const struct rig_region *region) {
  uint64_t at = unreadable - 1 + SF_DATA_OFFSET;
  bool hit = unreadable != 0 && region->leg == 1 && region->op != SF_TIO_FLUSH &&
             region->offset <= at && at < region->offset + region->length;

  if (region->op == SF_TIO_WRITE && rig_is_data(r, region))
    data_writes++;
  if (region->op == SF_TIO_FLUSH && flush_fails && region->leg == 0)
    return -EIO;
  if (hit && region->op == SF_TIO_WRITE)
    unreadable = 0;
  return hit && region->op == SF_TIO_READ ? -EIO : 0;
}

static void
on_event(const struct sf_volume_event *event) {
  if (event->kind == SF_EVENT_MISMATCH) {
    told++;
    strncpy(last, event->reason, sizeof last - 1);
  }
  if (event->kind == SF_EVENT_READ_REPAIRED)
    repair_error = event->error;
}

static void
init(unsigned legs, enum sf_on_too_few on_too_few, unsigned min_legs) {
  data_writes = told = 0;
  unreadable = 0;
  flush_fails = false;
  last[0] = '\0';
  rig_init(&rig, legs, min_legs, EXTENT, EXTENTS);
  rig.config.on_too_few = on_too_few;
  rig.fails = fails;
  rig.event = on_event;
  rig_start_fully(&rig);
}

static void
spoil(unsigned leg, uint64_t offset, uint8_t byte) {
  rig.leg[leg][SF_DATA_OFFSET + offset] = byte;
}

static uint8_t
byte_of(unsigned leg, uint64_t offset) {
  return rig.leg[leg][SF_DATA_OFFSET + offset];
}

static int
begin(bool repair, int from) {
  struct sf_scrub_order order = {.repair = repair, .from = from};

  return sf_volume_scrub(rig.volume, &order, rig.now_ns);
}

static struct sf_scrub_status
status(void) {
  static struct sf_volume_status s;

  sf_volume_status(rig.volume, rig.now_ns, &s);
  return s.scrub;
}

static struct sf_scrub_status
scrub(bool repair, int from) {
  struct sf_scrub_status s;

  assert_int_equal(begin(repair, from), 0);
  rig_pass(&rig, 3000);
  s = status();
  assert_int_equal(s.state, SF_SCRUB_DONE);
  assert_int_equal(s.done_bytes, s.total_bytes);
  return s;
}

static void
nothing_is_found_where_all_is_alike(void **state) {
  struct sf_scrub_status s;

  init(3, SF_TOO_FEW_ERROR, 2);
  s = scrub(true, -1);
  assert_int_equal(s.mismatches, 0);
  assert_int_equal(s.legs, 7);
  assert_int_equal(data_writes, 0);
  assert_int_equal(told, 0);
  rig_free(&rig);
}

static void
the_majority_names_the_wrong_copy(void **state) {
  struct sf_scrub_status s;

  init(3, SF_TOO_FEW_ERROR, 2);
  spoil(2, EXTENT + 5 * BLOCK, 9);
  s = scrub(false, -1);
  assert_int_equal(s.ranges, 1);
  assert_int_equal(s.range[0].what, SF_SCRUB_WRONG);
  assert_int_equal(s.range[0].legs, 4);
  assert_int_equal(s.range[0].begin / BLOCK, EXTENT / BLOCK + 5);
  assert_true(s.range[0].end - s.range[0].begin <= BLOCK);
  assert_false(s.range[0].repaired);
  assert_int_equal(told, 1);
  assert_non_null(strstr(last, " differs"));
  assert_int_equal(data_writes, 0);
  assert_int_equal(byte_of(2, EXTENT + 5 * BLOCK), 9);

  s = scrub(true, -1);
  assert_int_equal(s.repaired_bytes, s.mismatch_bytes);
  assert_true(s.range[0].repaired);
  assert_int_equal(byte_of(2, EXTENT + 5 * BLOCK), byte_of(0, EXTENT + 5 * BLOCK));
  assert_int_equal(data_writes, 1);
  s = scrub(true, -1);
  assert_int_equal(s.mismatches, 0);
  rig_free(&rig);
}

/* The vote of each block is its own: here each leg is wrong somewhere. */
static void
each_block_has_its_own_vote(void **state) {
  init(3, SF_TOO_FEW_ERROR, 2);
  for (unsigned leg = 0; leg < 3; leg++)
    spoil(leg, leg * BLOCK, 9);
  scrub(true, 0);
  for (unsigned leg = 0; leg < 3; leg++)
    for (unsigned block = 0; block < 3; block++)
      assert_int_equal(byte_of(leg, block * BLOCK), 0);
  rig_free(&rig);
}

static void
of_two_legs_nobody_can_know(void **state) {
  for (int from = 0; from < 2; from++) {
    struct sf_scrub_status s;

    init(2, SF_TOO_FEW_ERROR, 1);
    spoil(0, 7 * BLOCK, 1);
    spoil(1, 7 * BLOCK, 2);
    s = scrub(true, -1);
    assert_int_equal(s.ranges, 1);
    assert_int_equal(s.range[0].what, SF_SCRUB_UNKNOWN);
    assert_non_null(strstr(last, "l0, l1 differ, and none is known"));
    assert_int_equal(s.range[0].legs, 3);
    assert_int_equal(s.repaired_bytes, 0);
    assert_int_equal(data_writes, 0);

    s = scrub(true, from);
    assert_true(s.range[0].repaired);
    assert_int_equal(byte_of(0, 7 * BLOCK), from + 1);
    assert_int_equal(byte_of(1, 7 * BLOCK), from + 1);
    rig_free(&rig);
  }
}

static void
what_cannot_be_read_is_written_from_a_leg_that_can(void **state) {
  for (unsigned legs = 2; legs <= 3; legs++) {
    struct sf_scrub_status s;

    init(legs, SF_TOO_FEW_ERROR, 1);
    unreadable = 2 * EXTENT + 3 * BLOCK + 1;
    repair_error = 0;
    s = scrub(false, -1);
    assert_int_equal(s.mismatch_bytes, 0);
    assert_int_equal(s.ranges, 1);
    assert_int_equal(s.range[0].what, SF_SCRUB_UNREADABLE);
    assert_int_equal(s.range[0].legs, 2);
    assert_non_null(strstr(last, "l1 cannot be read"));
    assert_true(s.unreadable_bytes <= BLOCK);
    assert_int_equal(data_writes, 0);
    s = scrub(true, -1);
    assert_int_equal(unreadable, 0);
    assert_int_equal(s.repaired_bytes, s.unreadable_bytes);
    assert_int_equal(repair_error, -EIO);
    assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
    rig_free(&rig);
  }
}

static bool
is_read(const struct rig *r, const struct rig_region *region) {
  return region->op == SF_TIO_READ && rig_is_data(r, region);
}

static bool
is_read_of_leg_1(const struct rig *r, const struct rig_region *region) {
  return is_read(r, region) && region->leg == 1;
}

static bool
is_data_write(const struct rig *r, const struct rig_region *region) {
  return region->op == SF_TIO_WRITE && rig_is_data(r, region);
}

/* R6: else one leg would be read before it and the other one behind it. */
static void
a_write_waits_for_the_look(void **state) {
  struct rig_request write;

  init(2, SF_TOO_FEW_ERROR, 1);
  rig_touch_extents(&rig, 1, EXTENT);
  rig.holds = is_read_of_leg_1;
  assert_int_equal(begin(false, -1), 0);
  rig_run(&rig);
  assert_true(rig_count(&rig, is_read) > 0);
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, BLOCK, 7);
  rig_run(&rig);
  assert_false(write.done);
  assert_int_equal(rig_count(&rig, is_data_write), 0);
  rig.holds = NULL;
  rig_pass(&rig, 2000);
  assert_true(write.done);
  assert_int_equal(status().state, SF_SCRUB_DONE);
  assert_int_equal(status().mismatches, 0);
  rig_put(&write);
  rig_free(&rig);
}

static bool writes_fail_on_leg_1;

static int
fails_on_leg_1(const struct rig *r, const struct rig_region *region) {
  return writes_fail_on_leg_1 && region->leg == 1 && is_data_write(r, region) ? -EIO : 0;
}

static bool
is_write_of_leg_1(const struct rig *r, const struct rig_region *region) {
  return is_data_write(r, region) && region->leg == 1;
}

/* It is on one leg and not on the other; copies pass such a write, and a scrub must not. */
static void
a_suspended_write_is_no_mismatch(void **state) {
  struct rig_request write;

  init(2, SF_TOO_FEW_SUSPEND, 2);
  rig_touch_extents(&rig, 1, EXTENT);
  spoil(1, 0, 3);
  rig.holds = is_read_of_leg_1;
  assert_int_equal(begin(true, 0), 0);
  rig_run(&rig);
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, BLOCK, 7);
  writes_fail_on_leg_1 = true;
  rig.fails = fails_on_leg_1;
  rig.holds = is_write_of_leg_1;
  rig_run(&rig);
  for (unsigned i = 0; i < 100 && rig.volume->scrub.slot[0].copy.machine.state != COPY_WAITING; i++)
    rig_pass(&rig, 1);
  assert_true(rig.volume->scrub.slot[0].doubt_length > 0);
  assert_int_equal(rig.volume->scrub.slot[0].copy.machine.state, COPY_WAITING);
  rig.holds = NULL;
  rig_pass(&rig, 200);
  assert_true(rig.volume->suspended > 0);
  assert_int_not_equal(byte_of(0, 0), byte_of(1, 0));
  assert_false(write.done);
  assert_int_equal(status().mismatches, 0);
  writes_fail_on_leg_1 = false;
  rig_pass(&rig, 3000);
  assert_true(write.done);
  assert_int_equal(status().state, SF_SCRUB_DONE);
  assert_int_equal(status().mismatches, 0);
  rig_put(&write);
  rig_free(&rig);
}

/* The convergence cannot end, as leg 1 takes no writes: what differs there is known already. */
static void
what_is_to_be_converged_is_not_compared(void **state) {
  struct rig_request write;

  init(2, SF_TOO_FEW_SUSPEND, 2);
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, BLOCK, 7);
  rig.holds = is_data_write;
  rig_run(&rig);
  rig.holds = NULL;
  rig_put(&write);
  rig_kill(&rig);
  spoil(0, 0, 7);
  writes_fail_on_leg_1 = true;
  rig.fails = fails_on_leg_1;
  rig_start_fully(&rig);
  assert_true(rig.volume->unconverged.set > 0);
  assert_int_equal(begin(false, -1), 0);
  rig_pass(&rig, 3000);
  assert_true(rig.volume->unconverged.set > 0);
  assert_int_equal(status().mismatches, 0);
  assert_int_equal(status().done_bytes, (EXTENTS - 1) * EXTENT);
  writes_fail_on_leg_1 = false;
  rig_pass(&rig, 3000);
  assert_int_equal(status().state, SF_SCRUB_DONE);
  assert_int_equal(status().mismatches, 0);
  rig_free(&rig);
}

/* A bus garbled it, or a read repair was about to mend it. */
static void
what_is_alike_at_the_second_look_is_not_told(void **state) {
  init(2, SF_TOO_FEW_ERROR, 1);
  rig.holds = rig_takes_a_moment;
  spoil(1, 0, 3);
  assert_int_equal(begin(true, 0), 0);
  for (unsigned i = 0; i < 100 && rig.volume->scrub.slot[0].doubt_length == 0; i++)
    rig_pass(&rig, 1);
  assert_int_equal(rig.volume->scrub.slot[0].doubt_length, rig.volume->block_bytes);
  spoil(1, 0, 0);
  rig.holds = NULL;
  rig_pass(&rig, 3000);
  assert_int_equal(status().state, SF_SCRUB_DONE);
  assert_int_equal(status().mismatches, 0);
  assert_int_equal(data_writes, 0);
  rig_free(&rig);
}

static void
readers_wait_for_the_second_look_only(void **state) {
  struct rig_request read;

  init(2, SF_TOO_FEW_ERROR, 1);
  spoil(1, 0, 3);
  rig.holds = is_read_of_leg_1;
  assert_int_equal(begin(false, -1), 0);
  rig_run(&rig);
  rig.volume->leg[1].avoid = true;
  rig_submit(&rig, &read, SF_REQ_READ, 0, BLOCK, 0);
  rig_run(&rig);
  assert_true(read.done);
  rig_put(&read);
  rig.holds = rig_takes_a_moment;
  for (unsigned i = 0; i < 500 && rig.volume->scrub.slot[0].doubt_length == 0; i++)
    rig_pass(&rig, 1);
  assert_true(rig.volume->scrub.slot[0].doubt_length > 0);
  rig.holds = is_read_of_leg_1;
  rig_submit(&rig, &read, SF_REQ_READ, 0, BLOCK, 0);
  rig_run(&rig);
  assert_false(read.done);
  rig.holds = NULL;
  rig_pass(&rig, 3000);
  assert_true(read.done);
  assert_int_equal(status().range[0].what, SF_SCRUB_UNKNOWN);
  rig_put(&read);
  rig_free(&rig);
}

static void
it_can_be_paused_and_given_up(void **state) {
  init(2, SF_TOO_FEW_ERROR, 1);
  assert_int_equal(sf_volume_scrub_cancel(rig.volume, rig.now_ns), -ENOENT);
  assert_int_equal(sf_volume_scrub_pause(rig.volume, true, rig.now_ns), -ENOENT);
  rig.holds = is_read;
  assert_int_equal(begin(false, -1), 0);
  assert_int_equal(begin(false, -1), -EALREADY);
  assert_int_equal(sf_volume_scrub_pause(rig.volume, true, rig.now_ns), 0);
  rig.holds = NULL;
  rig_pass(&rig, 3000);
  assert_int_equal(status().state, SF_SCRUB_PAUSED);
  assert_true(status().done_bytes < status().total_bytes);
  assert_int_equal(sf_volume_scrub_pause(rig.volume, false, rig.now_ns), 0);
  rig.holds = is_read;
  rig_pass(&rig, 10);
  assert_int_equal(sf_volume_scrub_cancel(rig.volume, rig.now_ns), 0);
  assert_int_equal(status().state, SF_SCRUB_CANCELED);
  assert_int_equal(begin(false, -1), -EBUSY);
  rig.holds = NULL;
  rig_run(&rig);
  scrub(false, -1);
  rig_free(&rig);
}

static void
it_needs_two_legs_and_the_one_that_is_right(void **state) {
  init(3, SF_TOO_FEW_ERROR, 1);
  assert_int_equal(begin(true, 3), -ENOENT);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 1, rig.now_ns), 0);
  rig_pass(&rig, 100);
  assert_int_equal(begin(true, 1), -ENOTCONN);
  assert_int_equal(scrub(false, -1).legs, 5);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 100);
  assert_int_equal(begin(false, -1), -ENOTCONN);
  rig_free(&rig);
}

static void
it_keeps_to_its_rate(void **state) {
  struct sf_scrub_order order = {.from = -1, .rate = EXTENT};

  init(2, SF_TOO_FEW_ERROR, 1);
  assert_int_equal(sf_volume_scrub(rig.volume, &order, rig.now_ns), 0);
  rig_pass(&rig, 2000);
  assert_true(status().done_bytes <= 3 * EXTENT);
  rig_pass(&rig, 3000);
  assert_int_equal(status().state, SF_SCRUB_DONE);
  rig_free(&rig);
}

/* A leg that hangs leaves, and the scrub goes on with the others. */
static void
a_leg_that_hangs_holds_nobody(void **state) {
  struct rig_request write;

  init(3, SF_TOO_FEW_ERROR, 1);
  rig_touch_extents(&rig, 1, EXTENT);
  rig.holds = is_read_of_leg_1;
  assert_int_equal(begin(false, -1), 0);
  rig_run(&rig);
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, BLOCK, 7);
  rig_pass(&rig, 5000);
  assert_true(write.done);
  assert_int_not_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_int_equal(status().state, SF_SCRUB_DONE);
  assert_int_equal(status().legs, 5);
  rig_put(&write);
  rig.holds = NULL;
  rig_pass(&rig, 100);
  rig_free(&rig);
}

static void
it_ends_with_the_volume(void **state) {
  init(2, SF_TOO_FEW_ERROR, 1);
  rig.holds = is_read;
  assert_int_equal(begin(false, -1), 0);
  sf_volume_stop(rig.volume, rig.now_ns);
  assert_int_equal(status().state, SF_SCRUB_CANCELED);
  rig.holds = NULL;
  rig_pass(&rig, 1000);
  assert_true(sf_volume_stopped(rig.volume));
  rig_free(&rig);
}

/* Taken by another host, there is no stop. */
static void
it_ends_with_a_volume_that_is_taken(void **state) {
  init(2, SF_TOO_FEW_ERROR, 1);
  spoil(1, 0, 9);
  rig.holds = is_read;
  assert_int_equal(begin(true, 0), 0);
  rig_run(&rig);
  sf_vol_enter(rig.volume, rig.now_ns);
  sf_vol_end(rig.volume, -EIO);
  sf_vol_settle(rig.volume);
  sf_vol_leave(rig.volume);
  assert_int_equal(status().state, SF_SCRUB_CANCELED);
  rig.holds = NULL;
  rig_pass(&rig, 1000);
  assert_int_equal(data_writes, 0);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nothing_is_found_where_all_is_alike),
      cmocka_unit_test(the_majority_names_the_wrong_copy),
      cmocka_unit_test(each_block_has_its_own_vote),
      cmocka_unit_test(of_two_legs_nobody_can_know),
      cmocka_unit_test(what_cannot_be_read_is_written_from_a_leg_that_can),
      cmocka_unit_test(a_write_waits_for_the_look),
      cmocka_unit_test(a_suspended_write_is_no_mismatch),
      cmocka_unit_test(what_is_to_be_converged_is_not_compared),
      cmocka_unit_test(what_is_alike_at_the_second_look_is_not_told),
      cmocka_unit_test(readers_wait_for_the_second_look_only),
      cmocka_unit_test(it_can_be_paused_and_given_up),
      cmocka_unit_test(it_needs_two_legs_and_the_one_that_is_right),
      cmocka_unit_test(it_keeps_to_its_rate),
      cmocka_unit_test(a_leg_that_hangs_holds_nobody),
      cmocka_unit_test(it_ends_with_the_volume),
      cmocka_unit_test(it_ends_with_a_volume_that_is_taken),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

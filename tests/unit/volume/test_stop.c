/* Ends that come at the wrong moment. */
#include "rig.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct rig rig;

static bool
is_superblock(const struct rig_region *region) {
  return rig_is_superblock(region);
}

static bool
holds_superblocks_of_legs_2_and_3(const struct rig *r, const struct rig_region *region) {
  return region->leg >= 2 && is_superblock(region);
}

/* R12: no record of a term before its claim is stable on every leg that takes part. */
static void
a_stop_during_the_claim_writes_no_record(void **state) {
  struct sf_superblock sb;

  rig_init(&rig, 4, 2, 65536, 64);
  rig.holds = holds_superblocks_of_legs_2_and_3;
  rig_start(&rig);
  rig_pass(&rig, 200);
  assert_int_equal(rig.volume->phase, PHASE_CLAIMING);
  sf_volume_stop(rig.volume, rig.now_ns);
  rig_pass(&rig, 200);
  assert_true(sf_volume_stopped(rig.volume));
  for (unsigned leg = 0; leg < 4; leg++) {
    rig_read_superblock(&rig, leg, &sb);
    assert_int_equal(sb.record.term, 1);
  }
  rig_free(&rig);
}

/* What the operator asks after the end must not undo the record that says clean. */
static void
a_stopped_volume_writes_nothing_more(void **state) {
  struct sf_superblock sb;

  rig_init(&rig, 3, 2, 65536, 64);
  rig_start_fully(&rig);
  sf_volume_stop(rig.volume, rig.now_ns);
  rig_pass(&rig, 200);
  assert_true(sf_volume_stopped(rig.volume));
  assert_int_not_equal(sf_volume_leg_fail(rig.volume, 1, rig.now_ns), 0);
  rig_run(&rig);
  for (unsigned leg = 0; leg < 3; leg++) {
    rig_read_superblock(&rig, leg, &sb);
    assert_true(sb.record.clean);
  }
  rig_free(&rig);
}

static bool
holds_extent_9_of_leg_2(const struct rig *r, const struct rig_region *region) {
  return region->leg == 2 && region->op == SF_TIO_WRITE && rig_is_data(r, region) &&
         region->offset == SF_DATA_OFFSET + 9 * 65536;
}

/* A write that was answered without a leg that catches up, and is still under way there when the
 * volume stops, may never land. */
static void
a_stop_remembers_what_a_returning_leg_may_lack(void **state) {
  struct rig_request w;

  rig_init(&rig, 3, 2, 65536, 64);
  rig_start_fully(&rig);
  rig.volume->config.resync_max_rate = rig.volume->config.resync_min_rate = 1; /* nearly none */
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 50);
  rig_touch_extents(&rig, 8, 65536); /* more than is copied at once */
  rig.holds = holds_extent_9_of_leg_2;
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  for (unsigned ms = 0; rig_state(&rig, 2) != SF_STATE_CATCHING_UP; ms++) {
    assert_true(ms < 3000);
    rig_pass(&rig, 1);
  }
  rig_submit(&rig, &w, SF_REQ_WRITE, 9 * 65536, 4096, 2);
  rig_run(&rig);
  assert_true(w.done && w.request.error == 0);
  rig_put(&w);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_CATCHING_UP);
  sf_volume_stop(rig.volume, rig.now_ns);
  rig_pass(&rig, 2000);
  assert_true(sf_volume_stopped(rig.volume));
  assert_false(rig.volume->durable.clean);
  rig_kill(&rig);
  rig_start_fully(&rig);
  assert_true(sf_map_test(&rig.volume->leg[2].stale, 9));
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 3000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  assert_int_equal(rig.leg[2][SF_DATA_OFFSET + 9 * 65536], 2);
  rig_free(&rig);
}

static bool
holds_data_and_flushes(const struct rig *r, const struct rig_region *region) {
  return rig_is_data(r, region) || region->op == SF_TIO_FLUSH;
}

enum { MORE = 4 };

static struct rig_request many[SF_OPS_MAX + MORE];

/* What has not begun is answered at once, by whatever it waits; what has begun is waited for. */
static void
a_stop_answers_what_has_not_begun(void **state) {
  struct rig_request read;
  unsigned held = 0;

  rig_init(&rig, 2, 1, 65536, 64);
  rig_never_late(&rig.config);
  rig_start_fully(&rig);
  rig_touch_extents(&rig, 64, 65536);
  rig.holds = holds_data_and_flushes;
  sf_map_set(&rig.volume->unconverged, 63);
  rig_submit(&rig, &read, SF_REQ_READ, 63 * 65536, 4096, 0);
  for (unsigned i = 0; i < SF_OPS_MAX + MORE; i++)
    rig_submit(&rig, &many[i], SF_REQ_WRITE, i * 4096, 4096, 2);
  rig_run(&rig);
  assert_non_null(rig.volume->held);
  assert_non_null(rig.volume->parked);
  sf_volume_stop(rig.volume, rig.now_ns);
  assert_true(read.done);
  assert_int_equal(read.request.error, -ESHUTDOWN);
  for (unsigned i = 0; i < SF_OPS_MAX + MORE; i++)
    if (many[i].done) {
      assert_int_equal(many[i].request.error, -ESHUTDOWN);
      held++;
    }
  assert_in_range(held, MORE, SF_OPS_MAX / 2);
  assert_null(rig.volume->held);
  rig.holds = NULL;
  rig_pass(&rig, 1000);
  assert_true(sf_volume_stopped(rig.volume));
  for (unsigned i = 0; i < SF_OPS_MAX + MORE; i++) {
    assert_true(many[i].done);
    held -= many[i].request.error != 0;
    rig_put(&many[i]);
  }
  assert_int_equal(held, 0);
  rig_put(&read);
  rig_free(&rig);
}

/* ---- R12: another host may write as soon as no holder is named ---- */

static bool
is_data_write(const struct rig *r, const struct rig_region *region) {
  return rig_is_data(r, region) && (region->op == SF_TIO_WRITE || region->op == SF_TIO_ZERO);
}

static bool
holds_data_writes_of_leg_0(const struct rig *r, const struct rig_region *region) {
  return region->leg == 0 && is_data_write(r, region);
}

static bool
holds_data_of_leg_2_for_ever(const struct rig *r, const struct rig_region *region) {
  return region->leg == 2 && is_data_write(r, region);
}

static bool
is_any_write(const struct rig *r, const struct rig_region *region) {
  return region->op == SF_TIO_WRITE || region->op == SF_TIO_ZERO;
}

static int
fails_the_first_block_of_leg_0(const struct rig *r, const struct rig_region *region) {
  return region->leg == 0 && region->op == SF_TIO_READ && region->offset == SF_DATA_OFFSET ? -EIO
                                                                                           : 0;
}

static void
start_with_holder(unsigned legs, unsigned min_legs) {
  rig_init(&rig, legs, min_legs, 65536, 64);
  rig.holder = (struct sf_holder){.host = "here", .since_s = 1, .pid = 7};
  rig_start_fully(&rig);
}

/* What another host would see on these legs. */
static bool
names_a_holder(unsigned legs) {
  struct sf_superblock sb;

  for (unsigned leg = 0; leg < legs; leg++) {
    rig_read_superblock(&rig, leg, &sb);
    if (sb.record.clean || sb.holder.since_s == 0)
      return false;
  }
  return true;
}

static void
waits_with_its_holder(unsigned legs, unsigned for_ms) {
  for (unsigned ms = 0; ms < for_ms; ms++) {
    rig_pass(&rig, 1);
    assert_false(sf_volume_stopped(rig.volume));
    assert_true(names_a_holder(legs));
  }
}

static void
ends_clean(unsigned legs) {
  struct sf_superblock sb;

  rig.holds = NULL;
  for (unsigned ms = 0; !sf_volume_stopped(rig.volume); ms++) {
    assert_true(ms < 1000);
    rig_pass(&rig, 1);
  }
  for (unsigned leg = 0; leg < legs; leg++) {
    rig_read_superblock(&rig, leg, &sb);
    assert_true(sb.record.clean);
    assert_int_equal(sb.holder.since_s, 0);
  }
  assert_int_equal(rig_count(&rig, is_any_write), 0);
}

/* As if the process had been killed: what it still has in the kernel may land at any time. */
static void
ends_with_its_holder(unsigned legs) {
  unsigned ms = 0;

  for (; !sf_volume_stopped(rig.volume); ms++) {
    assert_true(ms < 5000);
    assert_true(names_a_holder(legs));
    rig_pass(&rig, 1);
  }
  assert_in_range(ms, 1000, 2000); /* a flush and two writes may take so long */
  assert_true(names_a_holder(legs));
  assert_int_not_equal(rig_count(&rig, is_any_write), 0);
}

static char last_words[SF_LEG_REASON_MAX];

static void
note_last_words(const struct sf_volume_event *event) {
  if (event->kind == SF_EVENT_STOPPED)
    snprintf(last_words, sizeof last_words, "%s", event->reason);
}

static void
write_extents(uint64_t from, uint64_t to) {
  struct rig_request write;

  for (uint64_t i = from; i < to; i++) {
    rig_submit(&rig, &write, SF_REQ_WRITE, i * rig.volume->extent_bytes, 4096, 1);
    rig_run(&rig);
    assert_true(write.done);
    rig_put(&write);
  }
}

static void
begin_a_read_repair(void) {
  struct rig_request read;

  rig.fails = fails_the_first_block_of_leg_0;
  rig.holds = holds_data_writes_of_leg_0;
  rig_submit(&rig, &read, SF_REQ_READ, 0, 4096, 0);
  rig_run(&rig);
  assert_true(read.done);
  assert_int_equal(read.request.error, 0);
  rig_put(&read);
  assert_int_equal(rig_count(&rig, holds_data_writes_of_leg_0), 1);
}

static void
a_clean_stop_waits_for_a_read_repair(void **state) {
  start_with_holder(3, 2);
  begin_a_read_repair();
  sf_volume_stop(rig.volume, rig.now_ns);
  waits_with_its_holder(3, 60);
  ends_clean(3);
  rig_free(&rig);
}

/* On a leg that cannot be spared.  No intent stands for it, so all else is flushed meanwhile. */
static void
a_read_repair_that_hangs_keeps_the_holder(void **state) {
  start_with_holder(2, 2);
  write_extents(20, 60);
  begin_a_read_repair();
  rig.event = note_last_words;
  sf_volume_stop(rig.volume, rig.now_ns);
  ends_with_its_holder(2);
  assert_string_equal(last_words, "not clean: a leg still holds writes of ours, so no other host "
                                  "may start it unasked");
  rig_kill(&rig);
  rig.event = NULL;
  rig.fails = NULL;
  rig.holds = NULL;
  rig_start_fully(&rig);
  assert_int_equal(rig.volume->unconverged.set, 0);
  rig_free(&rig);
}

static bool
holds_flushes_of_leg_1(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && region->op == SF_TIO_FLUSH;
}

/* The flush does not cover it: it is flushed once more. */
static void
a_read_repair_lands_beside_the_flush(void **state) {
  start_with_holder(2, 2);
  write_extents(20, 60);
  begin_a_read_repair();
  sf_volume_stop(rig.volume, rig.now_ns);
  rig_run(&rig);
  assert_int_equal(rig.volume->stop_step, STOP_FLUSH);
  rig.holds = holds_flushes_of_leg_1;
  rig_pass(&rig, 10);
  assert_int_equal(rig.volume->stop_step, STOP_FLUSH);
  assert_int_equal(rig_count(&rig, holds_flushes_of_leg_1), 1);
  ends_clean(2);
  rig_free(&rig);
}

static void
a_clean_stop_waits_for_a_scrub_repair(void **state) {
  const struct sf_scrub_order order = {.repair = true, .from = -1};

  start_with_holder(3, 2);
  memset(rig.leg[0] + SF_DATA_OFFSET + 9 * 65536, 0x77, 4096);
  rig.holds = holds_data_writes_of_leg_0;
  assert_int_equal(sf_volume_scrub(rig.volume, &order, rig.now_ns), 0);
  for (unsigned ms = 0; rig_count(&rig, holds_data_writes_of_leg_0) == 0; ms++) {
    assert_true(ms < 1000);
    rig_pass(&rig, 1);
  }
  sf_volume_stop(rig.volume, rig.now_ns);
  waits_with_its_holder(3, 60);
  ends_clean(3);
  rig_free(&rig);
}

static void
make_leg_2_late(void) {
  struct rig_request write;

  rig.holds = holds_data_of_leg_2_for_ever;
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 1);
  rig_pass(&rig, 300);
  assert_true(write.done && write.request.error == 0);
  rig_put(&write);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_LATE);
  assert_int_not_equal(rig_count(&rig, holds_data_of_leg_2_for_ever), 0);
}

/* It lacks that write anyway; but another host may copy to it what is newer. */
static void
a_clean_stop_waits_for_what_a_late_leg_holds(void **state) {
  start_with_holder(3, 2);
  make_leg_2_late();
  sf_volume_stop(rig.volume, rig.now_ns);
  waits_with_its_holder(2, 500);
  ends_clean(2);
  rig_free(&rig);
}

static void
what_a_late_leg_holds_for_ever_keeps_the_holder(void **state) {
  start_with_holder(3, 2);
  make_leg_2_late();
  sf_volume_stop(rig.volume, rig.now_ns);
  ends_with_its_holder(2);
  rig_free(&rig);
}

/* A copy to a leg that catches up was begun before the stop, and none is after it. */
static void
a_clean_stop_waits_for_a_copy(void **state) {
  start_with_holder(3, 2);
  rig.volume->config.resync_max_rate = rig.volume->config.resync_min_rate = 1;
  rig_lacks(&rig, 2, 8);
  rig.holds = holds_data_of_leg_2_for_ever;
  rig_copies_may_go(&rig, 1 << 30);
  for (unsigned ms = 0; rig_count(&rig, holds_data_of_leg_2_for_ever) == 0; ms++) {
    assert_true(ms < 1000);
    rig_pass(&rig, 1);
  }
  sf_volume_stop(rig.volume, rig.now_ns);
  waits_with_its_holder(2, 60);
  ends_clean(2);
  rig_free(&rig);
}

static uint64_t slow_ns;

static bool
holds_data_of_leg_2_in_turn(const struct rig *r, const struct rig_region *region) {
  return region->leg == 2 && rig_is_data(r, region) && rig_in_turn(&rig, region, slow_ns);
}

static void
start_a_slow_resync(void) {
  rig_init(&rig, 3, 2, 1 << 20, 64);
  rig.windows = true;
  rig.config.intent_delay_ns = 600 * SF_S;
  rig.config.deadline_ns[SF_READ_KIND] = rig.config.deadline_ns[SF_WRITE_KIND] = 62500000;
  rig.config.deadline_ns[SF_FLUSH_KIND] = 312500000;
  rig.holder = (struct sf_holder){.host = "here", .since_s = 1, .pid = 7};
  rig_start_fully(&rig);
  rig.volume->config.resync_max_rate = rig.volume->config.resync_min_rate = 1;
  rig_lacks(&rig, 2, 16);
  write_extents(20, 60);
  rig.holds = holds_data_of_leg_2_in_turn;
  rig_copies_may_go(&rig, 1 << 30);
  rig_pass(&rig, 500);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_CATCHING_UP);
  assert_int_not_equal(rig.volume->leg[2].stale.set, 0);
}

/* What has not been sent to it is not waited for: a stop has not the time. */
static void
a_stop_during_a_resync_to_a_slow_leg_is_clean(void **state) {
  static const uint64_t slow_ms[] = {10, 25, 30, 35, 40};

  for (unsigned i = 0; i < sizeof slow_ms / sizeof slow_ms[0]; i++) {
    unsigned ms = 0;

    slow_ns = slow_ms[i] * SF_MS;
    start_a_slow_resync();
    sf_volume_stop(rig.volume, rig.now_ns);
    for (; !sf_volume_stopped(rig.volume) && ms < 2000; ms++)
      rig_pass(&rig, 1);
    assert_in_range(ms, 1, 200);
    assert_true(rig.volume->durable.clean);
    assert_int_equal(rig_count(&rig, is_any_write), 0);
    rig_kill(&rig);
    rig.holds = NULL;
    rig_start_fully(&rig);
    assert_int_equal(rig.volume->unconverged.set, 0);
    assert_int_not_equal(rig.volume->leg[2].stale.set, 0);
    rig_free(&rig);
  }
}

static void
discard_leg_3(void) {
  start_with_holder(4, 2);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 3, rig.now_ns), 0);
  rig_pass(&rig, 50);
  assert_int_equal(sf_volume_leg_discard(rig.volume, 3, rig.now_ns), 0);
}

/* Not by the volume's own writes, so they do not show it. */
static void
a_clean_stop_waits_for_a_disk_that_is_emptied(void **state) {
  discard_leg_3();
  rig_pass(&rig, 50);
  assert_int_equal(rig.opening, 1 << 3);
  assert_int_equal(rig.blank[3], SF_BLANK_OWN);
  sf_volume_stop(rig.volume, rig.now_ns);
  waits_with_its_holder(3, 500);
  rig_cannot_open(&rig, 3, -ESHUTDOWN, NULL);
  ends_clean(3);
  rig_free(&rig);
}

static bool
is_superblock_of_leg_1(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && is_superblock(region);
}

static void
no_disk_is_emptied_in_a_stop(void **state) {
  discard_leg_3();
  assert_int_equal(rig.opening, 0);
  rig.holds = is_superblock_of_leg_1;
  sf_volume_stop(rig.volume, rig.now_ns);
  rig_pass(&rig, 30);
  assert_false(sf_volume_stopped(rig.volume));
  assert_int_equal(sf_volume_leg_discard(rig.volume, 3, rig.now_ns), -ESHUTDOWN);
  assert_int_equal(rig.opening, 0);
  ends_clean(2);
  rig_free(&rig);
}

/* Another host takes the legs while the stop waits for a late one: the clean record is not written
 * over its claim. */
static void
a_stop_that_waits_may_be_taken_from(void **state) {
  struct sf_superblock theirs, now;

  start_with_holder(3, 2);
  rig_pass(&rig, 5000);
  make_leg_2_late();
  sf_volume_stop(rig.volume, rig.now_ns);
  rig_pass(&rig, 100);
  assert_int_equal(rig.volume->stop_step, STOP_MAPS);
  for (unsigned leg = 0; leg < 2; leg++) {
    rig_read_superblock(&rig, leg, &theirs);
    theirs.serial++;
    theirs.claim++;
    theirs.record.term++;
    theirs.holder = (struct sf_holder){.since_s = 1, .pid = 200};
    snprintf(theirs.holder.host, sizeof theirs.holder.host, "other");
    sf_superblock_encode(&theirs,
                         rig.leg[leg] + SF_SUPERBLOCK_OFFSET(theirs.serial % SF_SUPERBLOCK_COPIES));
  }
  for (unsigned copy = 0; copy < SF_SUPERBLOCK_COPIES; copy++) {
    rig.volume->look_at_ns = 0;
    rig_pass(&rig, 60);
  }
  assert_true(sf_volume_stopped(rig.volume));
  assert_true(rig.volume->taken);
  rig.holds = NULL;
  rig_pass(&rig, 300);
  for (unsigned leg = 0; leg < 2; leg++) {
    rig_read_superblock(&rig, leg, &now);
    assert_string_equal(now.holder.host, "other");
    assert_false(now.record.clean);
  }
  rig_free(&rig);
}

static bool
is_superblock_of_1(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && region->op == SF_TIO_WRITE && region->offset < SF_MAPS_OFFSET;
}

/* The other leg shows it: any host may start. */
static void
a_clean_record_that_hangs_promises_nothing(void **state) {
  start_with_holder(2, 2);
  write_extents(20, 30);
  rig.holds = is_superblock_of_1;
  rig.event = note_last_words;
  sf_volume_stop(rig.volume, rig.now_ns);
  for (unsigned ms = 0; !sf_volume_stopped(rig.volume); ms++) {
    assert_true(ms < 5000);
    rig_pass(&rig, 1);
  }
  assert_non_null(strstr(last_words, "another host may start it"));
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_stop_during_the_claim_writes_no_record),
      cmocka_unit_test(a_stopped_volume_writes_nothing_more),
      cmocka_unit_test(a_stop_remembers_what_a_returning_leg_may_lack),
      cmocka_unit_test(a_stop_answers_what_has_not_begun),
      cmocka_unit_test(a_clean_stop_waits_for_a_read_repair),
      cmocka_unit_test(a_read_repair_that_hangs_keeps_the_holder),
      cmocka_unit_test(a_read_repair_lands_beside_the_flush),
      cmocka_unit_test(a_clean_stop_waits_for_a_scrub_repair),
      cmocka_unit_test(a_clean_stop_waits_for_what_a_late_leg_holds),
      cmocka_unit_test(what_a_late_leg_holds_for_ever_keeps_the_holder),
      cmocka_unit_test(a_clean_stop_waits_for_a_copy),
      cmocka_unit_test(a_stop_during_a_resync_to_a_slow_leg_is_clean),
      cmocka_unit_test(a_clean_stop_waits_for_a_disk_that_is_emptied),
      cmocka_unit_test(no_disk_is_emptied_in_a_stop),
      cmocka_unit_test(a_stop_that_waits_may_be_taken_from),
      cmocka_unit_test(a_clean_record_that_hangs_promises_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

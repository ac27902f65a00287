/* Legs that must not pass for hung, or for only busy; and requests sent when none may be. */
#include "rig.h"

#include <errno.h>
#include <string.h>

#include "volume/ground/deadline.h"
#include "volume/ground/facts.h"
#include "volume/set/sample.h"

enum { WRITES = 64, EXTENT = 65536, EXTENTS = 64 };

static struct rig rig;
static struct rig_request w[WRITES];
static uint64_t stall_until_ns[2];

static bool
stalls(const struct rig *r, const struct rig_region *region) {
  return region->leg < 2 && r->now_ns < stall_until_ns[region->leg];
}

static void
start(bool windows) {
  rig_init(&rig, 2, 1, EXTENT, EXTENTS);
  rig.windows = windows;
  rig_start_fully(&rig);
  rig_touch_extents(&rig, EXTENTS, EXTENT);
  stall_until_ns[0] = stall_until_ns[1] = 0;
}

static void
write_well(uint64_t ms) {
  rig_submit(&rig, &w[0], SF_REQ_WRITE, 4096, 4096, 2);
  rig_pass(&rig, ms);
  assert_true(w[0].done);
  assert_int_equal(w[0].request.error, 0);
  rig_put(&w[0]);
}

/* ---- taken over ---- */

static bool
is_data_of_leg_1(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && rig_is_data(r, region);
}

static int
fails_on_leg_1(const struct rig *r, const struct rig_region *region) {
  return is_data_of_leg_1(r, region) ? -EIO : 0;
}

/* Completions of the regions cancelled then were on their way already. */
static void
lift_cancels(const struct sf_volume_event *event) {
  if (event->kind != SF_EVENT_STATE || strcmp(event->to, "failed") != 0)
    return;
  for (unsigned i = 0; i < RIG_REGIONS; i++)
    rig.region[i].canceled = false;
}

static void
another_host_takes_leg_0(void) {
  struct sf_superblock sb;

  rig_read_superblock(&rig, 0, &sb);
  sb.serial++;
  sb.claim++;
  sb.holder = (struct sf_holder){.host = "there", .since_s = 1, .pid = 200};
  sf_superblock_encode(&sb, rig.leg[0] + SF_SUPERBLOCK_OFFSET(sb.serial % SF_SUPERBLOCK_COPIES));
}

static void
nothing_is_sent_after_a_takeover(void **state) {
  uint64_t handles;

  rig_init(&rig, 2, 1, EXTENT, EXTENTS);
  rig.holder = (struct sf_holder){.host = "here", .since_s = 1, .pid = 100};
  rig_start_fully(&rig);
  rig_pass(&rig, 3000);
  rig.event = lift_cancels;
  write_well(5);
  another_host_takes_leg_0();
  rig.holds = is_data_of_leg_1;
  rig_submit(&rig, &w[0], SF_REQ_WRITE, 0, 4096, 3);
  for (unsigned i = 0; i < 3 && rig.volume->phase == PHASE_SERVING; i++) {
    rig.volume->look_at_ns = rig.now_ns;
    sf_volume_tick(rig.volume, rig.now_ns);
    rig_pass(&rig, 1);
  }
  assert_true(rig.volume->taken);
  assert_int_equal(rig.called_back, 3); /* what is in the kernel too, as far as it can be */
  handles = rig.handles;
  rig.fails = fails_on_leg_1;
  rig.holds = NULL;
  rig_pass(&rig, 1000);
  assert_int_equal(rig.handles, handles);
  rig_put(&w[0]);
  rig_free(&rig);
}

/* ---- answers that come late ---- */

static bool
leg_1_reads_one_in_30_ms(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && region->op == SF_TIO_READ && rig_is_data(r, region) &&
         rig_in_turn(&rig, region, 30 * SF_MS);
}

/* They are given up on at 100 ms, as the other leg has answered, and end one after the other. */
static void
a_leg_that_ends_reads_late_is_not_silent(void **state) {
  start(false);
  rig.holds = leg_1_reads_one_in_30_ms;
  rig.volume->leg[0].avoid = true;
  for (unsigned i = 0; i < 24; i++)
    rig_submit(&rig, &w[i], SF_REQ_READ, (uint64_t) i * EXTENT + 4096, 4096, 2);
  rig_pass(&rig, 700);
  for (unsigned i = 0; i < 24; i++) {
    assert_true(w[i].done);
    rig_put(&w[i]);
  }
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

/* ---- flushes ---- */

static void
a_stall_is_not_how_long_a_flush_takes(void **state) {
  uint64_t began;

  start(true);
  rig.holds = stalls;
  rig.fua = true;
  stall_until_ns[0] = stall_until_ns[1] = rig.now_ns + 900 * SF_MS;
  write_well(1000);
  for (unsigned i = 0; i < 60; i++)
    write_well(5);
  stall_until_ns[1] = UINT64_MAX;
  began = rig.now_ns;
  rig_submit(&rig, &w[0], SF_REQ_WRITE, 4096, 4096, 2);
  rig_pass(&rig, 3000);
  assert_true(w[0].done && w[0].done_ns - began <= 130 * SF_MS);
  rig_put(&w[0]);
  rig_free(&rig);
}

/* The disk is known to flush for 300 ms, and has none to do when it freezes. */
static void
a_flush_that_waits_in_the_volume_is_no_excuse(void **state) {
  uint64_t began;

  start(true);
  rig.holds = stalls;
  rig.volume->leg[1].longest_flush_ns = 300 * SF_MS;
  for (unsigned class = 0; class < WINDOW_CLASSES; class ++) {
    rig.volume->leg[1].window.cost_ns[class] = 20 * SF_MS;
    rig.volume->leg[1].window.seen[class] = UINT8_MAX;
  }
  stall_until_ns[1] = UINT64_MAX;
  began = rig.now_ns;
  for (unsigned i = 0; i < 12; i++) {
    rig.fua = i >= 4;
    rig_submit(&rig, &w[i], SF_REQ_WRITE, (uint64_t) i * EXTENT + 4096, 4096, 2);
  }
  rig.fua = false;
  rig_pass(&rig, 1500);
  for (unsigned i = 0; i < 12; i++) {
    assert_true(w[i].done && w[i].done_ns - began <= 130 * SF_MS);
    rig_put(&w[i]);
  }
  rig_free(&rig);
}

static bool
leg_1_hangs(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1;
}

/* A leg that has just fallen silent may only be on its way out: it is not yet what requests wait
 * for in vain. */
static void
a_leg_has_the_time_to_leave_before_it_is_awaited(void **state) {
  rig_init(&rig, 2, 2, EXTENT, EXTENTS);
  rig.config.on_too_few = SF_TOO_FEW_SUSPEND;
  rig_start_fully(&rig);
  rig_touch_extents(&rig, EXTENTS, EXTENT);
  rig.holds = leg_1_hangs;
  rig_submit(&rig, &w[0], SF_REQ_WRITE, 0, 4096, 2);
  rig_pass(&rig, 390);
  assert_int_equal(sf_vol_state(rig.volume), SF_VOLUME_HEALTHY);
  rig_pass(&rig, 300);
  assert_int_equal(sf_vol_state(rig.volume), SF_VOLUME_SUSPENDED);
  rig.holds = NULL;
  rig_pass(&rig, 200);
  assert_true(w[0].done);
  assert_int_equal(sf_vol_state(rig.volume), SF_VOLUME_HEALTHY);
  rig_put(&w[0]);
  rig_free(&rig);
}

/* A disk may flush for as long as its deadline for that says: a volume that waits for it is well,
 * and not suspended after what a write may take. */
static void
a_flush_waits_by_its_own_deadline(void **state) {
  uint64_t write, flush;

  rig_init(&rig, 2, 2, EXTENT, EXTENTS);
  rig_start_fully(&rig);
  write = sf_deadline_timeout(rig.volume, 1, SF_WRITE_KIND) / SF_MS;
  flush = sf_deadline_timeout(rig.volume, 1, SF_FLUSH_KIND) / SF_MS;
  assert_true(flush > 6 * write);
  rig.holds = leg_1_hangs;
  rig_submit(&rig, &w[0], SF_REQ_FLUSH, 0, 0, 0);
  rig_pass(&rig, flush - 10);
  assert_int_equal(sf_vol_state(rig.volume), SF_VOLUME_HEALTHY);
  rig_pass(&rig, flush / 2 + 4 * write);
  assert_false(w[0].done);
  assert_int_equal(sf_vol_state(rig.volume), SF_VOLUME_SUSPENDED);
  rig.holds = NULL;
  rig_pass(&rig, 200);
  assert_true(w[0].done);
  rig_free(&rig);
}

enum { BEHIND = 8, LACKS = 4, A_KEEPS = 20 };

static uint64_t frozen_from_ns, a_keeps_until_ns;

static bool
leg_2_freezes_leg_0_keeps_one_and_leg_1_is_slow(const struct rig *r,
                                                const struct rig_region *region) {
  if (region->leg == 2)
    return r->now_ns >= frozen_from_ns;
  if (region->leg == 0)
    return r->now_ns < a_keeps_until_ns && region->op == SF_TIO_WRITE && rig_is_data(r, region) &&
           region->offset == SF_DATA_OFFSET + A_KEEPS * EXTENT;
  return rig_is_data(r, region) && rig_in_turn(&rig, region, 100 * SF_MS);
}

static void
catch_up_at_a_slow_leg_1(void) {
  rig_init(&rig, 3, 1, EXTENT, EXTENTS);
  rig.windows = true;
  rig.config.on_too_few = SF_TOO_FEW_SUSPEND;
  rig.config.resync_max_rate = rig.config.resync_min_rate = 4096;
  rig_start_fully(&rig);
  rig_lacks(&rig, 1, LACKS);
  for (unsigned k = A_KEEPS - BEHIND; k <= A_KEEPS; k++) { /* none waits for its intent later */
    rig_submit(&rig, &w[0], SF_REQ_WRITE, k * EXTENT, 4096, 1);
    rig_pass(&rig, 10);
    assert_true(w[0].done);
    rig_put(&w[0]);
  }
  for (unsigned class = 0; class < WINDOW_CLASSES; class ++) {
    rig.volume->leg[1].window.cost_ns[class] = 90 * SF_MS;
    rig.volume->leg[1].window.seen[class] = 200;
  }
}

/* The legs in sync have some writes, which wait for their turn on the one that catches up; another
 * one waits for a busy leg.  The frozen leg leaves when that one has it. */
static void
what_waits_for_a_leg_that_catches_up_is_not_suspended(void **state) {
  catch_up_at_a_slow_leg_1();
  frozen_from_ns = rig.now_ns + 3 * SF_MS;
  a_keeps_until_ns = rig.now_ns + 600 * SF_MS;
  rig.holds = leg_2_freezes_leg_0_keeps_one_and_leg_1_is_slow;
  rig.turn_ns[1] = rig.now_ns;
  for (unsigned k = 0; k < BEHIND; k++)
    rig_submit(&rig, &w[k], SF_REQ_WRITE, (A_KEEPS - BEHIND + k) * EXTENT, 4096, 2);
  rig_pass(&rig, 4);
  rig_submit(&rig, &w[BEHIND], SF_REQ_WRITE, A_KEEPS * EXTENT, 4096, 2);
  for (unsigned ms = 0; ms < 590; ms++) {
    if (ms % 20 == 0)
      sf_probe_sample(rig.volume, 0); /* it is awake */
    rig_pass(&rig, 1);
    assert_int_not_equal(rig.volume->told, SF_VOLUME_SUSPENDED);
  }
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  rig_pass(&rig, 100);
  assert_int_not_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  rig.holds = NULL;
  rig_pass(&rig, 3000);
  for (unsigned k = 0; k <= BEHIND; k++) {
    assert_true(w[k].done);
    rig_put(&w[k]);
  }
  rig_free(&rig);
}

/* ---- looks ---- */

static bool a_write_takes_its_time;

static bool
looks_hang(const struct rig *r, const struct rig_region *region) {
  if (region->leg != 1)
    return false;
  if (region->op == SF_TIO_READ && region->offset < SF_PROBE_OFFSET)
    return true;
  return a_write_takes_its_time && region->op == SF_TIO_WRITE &&
         region->offset == SF_DATA_OFFSET + 4096 && r->now_ns - region->since_ns < 110 * SF_MS;
}

/* A look that hangs for seconds, while the leg answers clients, does not make it late for one slow
 * write. */
static void
a_look_that_hangs_says_nothing_of_the_leg(void **state) {
  rig_init(&rig, 2, 1, EXTENT, EXTENTS);
  rig.holder = (struct sf_holder){.host = "here", .since_s = 1, .pid = 100};
  rig_start_fully(&rig);
  rig.holds = looks_hang;
  a_write_takes_its_time = false;
  for (unsigned i = 0; i < 1500; i++) {
    rig_submit(&rig, &w[0], SF_REQ_WRITE, (uint64_t) (i % 32) * 2 * EXTENT, 4096, 1);
    rig_pass(&rig, 3);
    assert_true(w[0].done);
    rig_put(&w[0]);
  }
  a_write_takes_its_time = true;
  rig_submit(&rig, &w[1], SF_REQ_WRITE, 4096, 4096, 1);
  for (unsigned i = 0; i < 60; i++) {
    rig_submit(&rig, &w[0], SF_REQ_WRITE, (uint64_t) (1 + i % 16) * 2 * EXTENT, 4096, 1);
    rig_pass(&rig, 3);
    assert_true(w[0].done);
    rig_put(&w[0]);
  }
  assert_true(w[1].done);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_put(&w[1]);
  rig_free(&rig);
}

static bool
leg_0_takes_its_time_for_one(const struct rig *r, const struct rig_region *region) {
  return region->leg == 0 && region->op == SF_TIO_WRITE && region->length == EXTENT &&
         r->now_ns - region->since_ns < 300 * SF_MS;
}

/* A large write takes long on leg 0, which goes on answering small ones.  A copy that does not fit
 * beside it waits, and small ones that do fit do not wait for that copy. */
static void
return_leg_1(void) {
  start(true);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 1, rig.now_ns), 0);
  rig_pass(&rig, 50);
  rig_touch_extents(&rig, EXTENTS, EXTENT);
  assert_int_equal(sf_volume_leg_return(rig.volume, 1, rig.now_ns), 0);
}

static void
a_copy_that_does_not_fit_keeps_nobody_waiting(void **state) {
  static struct rig_request large, small[300];
  uint64_t longest = 0, ms = 0;

  for (return_leg_1(); rig_state(&rig, 1) != SF_STATE_CATCHING_UP; ms++)
    rig_pass(&rig, 1);
  rig_free(&rig);
  return_leg_1();
  rig_pass(&rig, ms - 2);
  for (unsigned class = 0; class < WINDOW_CLASSES; class ++) {
    rig.volume->leg[0].window.cost_ns[class] = class % WINDOW_SIZES == 0 ? 1 * SF_MS : 30 * SF_MS;
    rig.volume->leg[0].window.seen[class] = 200;
  }
  rig.holds = leg_0_takes_its_time_for_one;
  rig_submit(&rig, &large, SF_REQ_WRITE, 63 * EXTENT, EXTENT, 3);
  for (unsigned i = 0; i < 300; i++) {
    rig_submit(&rig, &small[i], SF_REQ_WRITE, 62 * EXTENT + (i % 16) * 4096, 4096, 2);
    rig_pass(&rig, 1);
  }
  rig_pass(&rig, 500);
  assert_true(large.done);
  for (unsigned i = 0; i < 300; i++) {
    assert_true(small[i].done);
    if (small[i].done_ns - small[i].request.since_ns > longest)
      longest = small[i].done_ns - small[i].request.since_ns;
    rig_put(&small[i]);
  }
  rig_put(&large);
  assert_true(longest <= 30 * SF_MS);
  rig_free(&rig);
}

static uint64_t flush_takes_ms;

static bool
is_flush_of_leg_1(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && region->op == SF_TIO_FLUSH;
}

/* Leg 1 answers nothing else while it flushes. */
static bool
leg_1_flushes(const struct rig *r, const struct rig_region *region) {
  if (is_flush_of_leg_1(r, region))
    return r->now_ns - region->since_ns < flush_takes_ms * SF_MS;
  return region->leg == 1 && rig_count(r, is_flush_of_leg_1) > 0;
}

/* It is known to take nearly as long as a write may, and is given twice as much before it hangs. */
static void
a_leg_that_is_known_to_flush_for_long_stays(void **state) {
  struct rig_request f;

  start(true);
  rig.holds = leg_1_flushes;
  for (unsigned turn = 0; turn < 6; turn++) {
    flush_takes_ms = turn < 5 ? 90 : 160;
    write_well(5);
    rig_submit(&rig, &f, SF_REQ_FLUSH, 0, 0, 0);
    rig_pass(&rig, 2);
    rig_submit(&rig, &w[1], SF_REQ_WRITE, 8192, 4096, 2);
    rig_pass(&rig, 200);
    assert_true(f.done && w[1].done);
    assert_int_equal(f.request.error, 0);
    rig_put(&w[1]);
    assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  }
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nothing_is_sent_after_a_takeover),
      cmocka_unit_test(a_leg_that_ends_reads_late_is_not_silent),
      cmocka_unit_test(a_stall_is_not_how_long_a_flush_takes),
      cmocka_unit_test(a_flush_that_waits_in_the_volume_is_no_excuse),
      cmocka_unit_test(a_leg_has_the_time_to_leave_before_it_is_awaited),
      cmocka_unit_test(a_flush_waits_by_its_own_deadline),
      cmocka_unit_test(a_copy_that_does_not_fit_keeps_nobody_waiting),
      cmocka_unit_test(what_waits_for_a_leg_that_catches_up_is_not_suspended),
      cmocka_unit_test(a_look_that_hangs_says_nothing_of_the_leg),
      cmocka_unit_test(a_leg_that_is_known_to_flush_for_long_stays),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

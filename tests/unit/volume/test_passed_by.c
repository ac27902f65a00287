/* A leg that answers others and keeps one: how long it may, and what silences have to do with it. */
#include "rig.h"

#include "volume/ground/deadline.h"
#include "volume/ground/facts.h"

enum { WRITES = 8, EXTENT = 65536, EXTENTS = 64 };

static struct rig rig;
static struct rig_request w[WRITES];
static uint64_t stall_until_ns[2];

static void
start(void) {
  rig_init(&rig, 2, 1, EXTENT, EXTENTS);
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

static void
write_as_long_as_it_takes(void) {
  rig_submit(&rig, &w[2], SF_REQ_WRITE, EXTENT, 4096, 2);
  while (!w[2].done)
    rig_pass(&rig, 1);
  assert_int_equal(w[2].request.error, 0);
  rig_put(&w[2]);
}

static bool
leg_1_keeps_block_0(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && region->offset == SF_DATA_OFFSET && rig_is_data(r, region);
}

/* It is never silent, and yet one request gets no answer: it leaves after three timeouts, as it has
 * answered what it got a timeout later, and not before.  Else the client waits as long as the leg
 * likes. */
static void
a_leg_that_passes_one_request_by_leaves(void **state) {
  uint64_t began, timeout;

  start();
  timeout = sf_deadline_timeout(rig.volume, 1, SF_WRITE_KIND);
  rig.holds = leg_1_keeps_block_0;
  began = rig.now_ns;
  rig_submit(&rig, &w[1], SF_REQ_WRITE, 0, 4096, 2);
  while (rig_state(&rig, 1) == SF_STATE_IN_SYNC && rig.now_ns - began < 20 * timeout)
    write_well(5);
  assert_true(rig.now_ns - began >= 3 * timeout);
  assert_true(rig.now_ns - began < 4 * timeout);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_LATE);
  rig_pass(&rig, 10);
  assert_true(w[1].done);
  assert_int_equal(w[1].request.error, 0);
  rig_put(&w[1]);
  rig_free(&rig);
}

/* A disk may answer a flush before all that it has, and Linux hands it over before what waits. */
static void
a_flush_passes_nothing_by(void **state) {
  uint64_t timeout;

  start();
  timeout = sf_deadline_timeout(rig.volume, 1, SF_WRITE_KIND);
  rig.holds = leg_1_keeps_block_0;
  rig_submit(&rig, &w[1], SF_REQ_WRITE, 0, 4096, 2);
  for (unsigned i = 0; i < 10; i++) {
    rig_submit(&rig, &w[2], SF_REQ_FLUSH, 0, 0, 0);
    rig_pass(&rig, timeout / SF_MS / 2);
    assert_true(w[2].done);
    rig_put(&w[2]);
  }
  rig.holds = NULL;
  rig_pass(&rig, 5);
  assert_true(w[1].done);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_put(&w[1]);
  rig_free(&rig);
}

static bool
both_stall_and_leg_1_keeps_block_0(const struct rig *r, const struct rig_region *region) {
  if (region->leg < 2 && r->now_ns < stall_until_ns[0])
    return true;
  return r->now_ns < stall_until_ns[1] && leg_1_keeps_block_0(r, region);
}

/* For so long, as legs behind one host do; then leg 1 takes so much longer for what it got first,
 * and both are in sync. */
static void
both_stall_for(uint64_t ms, uint64_t longer_ms) {
  start();
  stall_until_ns[0] = rig.now_ns + ms * SF_MS;
  stall_until_ns[1] = stall_until_ns[0] + longer_ms * SF_MS;
  rig.holds = both_stall_and_leg_1_keeps_block_0;
  rig_submit(&rig, &w[1], SF_REQ_WRITE, 0, 4096, 2);
  rig_pass(&rig, 120);
  rig_submit(&rig, &w[2], SF_REQ_WRITE, EXTENT, 4096, 2);
  rig_pass(&rig, ms - 119);
  for (unsigned i = 0; i < longer_ms / 5 + 8; i++)
    write_well(5);
  assert_true(w[1].done && w[2].done);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_put(&w[1]);
  rig_put(&w[2]);
  rig_free(&rig);
}

/* Longer than three timeouts.  What leg 1 answers last when it is awake has waited for the stall,
 * and not because the leg passed it by. */
static void
a_stall_of_all_is_not_being_passed_by(void **state) {
  both_stall_for(330, 60);
}

/* The same where the stall is longer than what a leg may keep one in any case: it has answered
 * nothing else in that time. */
static void
a_longer_stall_of_all_is_not_either(void **state) {
  both_stall_for(900, 60);
}

/* It may be slower than before, with much before it. */
static void
a_leg_that_was_held_up_has_as_long_as_before(void **state) {
  both_stall_for(330, 280);
}

/* Each pause is longer than the timeout.  What the leg keeps was lost before them. */
static void
pauses_of_clients_are_no_stalls(void **state) {
  uint64_t began, timeout;

  start();
  timeout = sf_deadline_timeout(rig.volume, 1, SF_WRITE_KIND);
  rig.holds = leg_1_keeps_block_0;
  began = rig.now_ns;
  rig_submit(&rig, &w[1], SF_REQ_WRITE, 0, 4096, 2);
  while (rig_state(&rig, 1) == SF_STATE_IN_SYNC && rig.now_ns - began < 20 * timeout)
    write_well(timeout / SF_MS + 20);
  assert_in_range(rig.now_ns - began, 3 * timeout, 5 * timeout);
  assert_true(w[1].done);
  rig_put(&w[1]);
  rig_free(&rig);
}

static uint64_t hiccup_began_ns;

static bool
leg_1_keeps_block_0_and_has_hiccups(const struct rig *r, const struct rig_region *region) {
  if (leg_1_keeps_block_0(r, region))
    return true;
  return region->leg == 1 && (r->now_ns - hiccup_began_ns) % (300 * SF_MS) < 108 * SF_MS;
}

/* What each takes is no part of the three timeouts, and what was before it remains one. */
static void
hiccups_do_not_keep_what_is_lost(void **state) {
  uint64_t timeout;

  start();
  timeout = sf_deadline_timeout(rig.volume, 1, SF_WRITE_KIND);
  rig.holds = leg_1_keeps_block_0_and_has_hiccups;
  hiccup_began_ns = rig.now_ns - 200 * SF_MS;
  rig_submit(&rig, &w[1], SF_REQ_WRITE, 0, 4096, 2);
  while (!w[1].done) {
    write_as_long_as_it_takes();
    rig_pass(&rig, 10);
  }
  assert_in_range(w[1].done_ns - w[1].request.since_ns, 3 * timeout, 6 * timeout);
  rig_put(&w[1]);
  rig_free(&rig);
}

static bool
leg_1_keeps_flushes_and_has_hiccups(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && (region->op == SF_TIO_FLUSH ||
                              (r->now_ns - hiccup_began_ns) % (400 * SF_MS) < 112 * SF_MS);
}

/* A flush may take as long as ten of these. */
static void
hiccups_do_not_keep_a_flush_that_is_lost(void **state) {
  uint64_t timeout;

  start();
  timeout = sf_deadline_timeout(rig.volume, 1, SF_FLUSH_KIND);
  assert_true(timeout >= 10 * sf_deadline_timeout(rig.volume, 1, SF_WRITE_KIND));
  write_well(5);
  rig.holds = leg_1_keeps_flushes_and_has_hiccups;
  hiccup_began_ns = rig.now_ns;
  rig_submit(&rig, &w[1], SF_REQ_FLUSH, 0, 0, 0);
  while (!w[1].done) {
    write_as_long_as_it_takes();
    rig_pass(&rig, 2);
  }
  assert_in_range(w[1].done_ns - w[1].request.since_ns, 3 * timeout, 6 * timeout);
  rig_put(&w[1]);
  rig_free(&rig);
}

static uint64_t second_began_ns;

static bool
both_stall_twice_and_leg_1_wakes_later(const struct rig *r, const struct rig_region *region) {
  uint64_t apart_ns = region->leg == 1 ? 30 * SF_MS : 0;

  return r->now_ns < stall_until_ns[0] + apart_ns ||
         (r->now_ns >= second_began_ns && r->now_ns < second_began_ns + 200 * SF_MS + apart_ns);
}

/* The first one is longer, and over for less than half of itself. */
static void
two_stalls_in_a_row_are_two(void **state) {
  start();
  rig.holds = both_stall_twice_and_leg_1_wakes_later;
  stall_until_ns[0] = rig.now_ns + 2000 * SF_MS;
  second_began_ns = stall_until_ns[0] + 300 * SF_MS;
  while (rig.now_ns < second_began_ns + 500 * SF_MS)
    write_as_long_as_it_takes();
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

static bool
leg_1_keeps_flushes_and_leg_0_has_hiccups(const struct rig *r, const struct rig_region *region) {
  if (region->leg == 1)
    return region->op == SF_TIO_FLUSH;
  return (r->now_ns - hiccup_began_ns) % (400 * SF_MS) < 112 * SF_MS;
}

/* The other leg is no evidence for a moment after each, but these are shorter than the silence that
 * a flush is judged by. */
static void
hiccups_of_the_other_leg_do_not_keep_a_lost_flush(void **state) {
  uint64_t timeout;

  start();
  timeout = sf_deadline_timeout(rig.volume, 1, SF_FLUSH_KIND);
  rig.holds = leg_1_keeps_flushes_and_leg_0_has_hiccups;
  hiccup_began_ns = rig.now_ns;
  rig_submit(&rig, &w[1], SF_REQ_FLUSH, 0, 0, 0);
  for (uint64_t until = rig.now_ns + 4 * timeout; !w[1].done && rig.now_ns < until;)
    write_as_long_as_it_takes();
  assert_true(w[1].done);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_LATE);
  rig_put(&w[1]);
  rig_free(&rig);
}

/* Several that one hiccup held up end after it: that is one hiccup all the same. */
static void
a_hiccup_counts_once_for_all_it_held_up(void **state) {
  uint64_t timeout;

  start();
  timeout = sf_deadline_timeout(rig.volume, 1, SF_WRITE_KIND);
  rig.holds = leg_1_keeps_block_0_and_has_hiccups;
  hiccup_began_ns = rig.now_ns - 200 * SF_MS;
  rig_submit(&rig, &w[1], SF_REQ_WRITE, 0, 4096, 2);
  while (!w[1].done) {
    for (unsigned i = 2; i < 6; i++)
      rig_submit(&rig, &w[i], SF_REQ_WRITE, i * EXTENT, 4096, 2);
    while (!w[2].done || !w[3].done || !w[4].done || !w[5].done)
      rig_pass(&rig, 1);
    for (unsigned i = 2; i < 6; i++)
      rig_put(&w[i]);
  }
  assert_in_range(w[1].done_ns - w[1].request.since_ns, 3 * timeout, 6 * timeout);
  rig_put(&w[1]);
  rig_free(&rig);
}

/* What a leg got near the end of a stall was held up for no longer than it had it. */
static void
a_stall_holds_up_from_when_it_was_sent(void **state) {
  uint64_t timeout;

  start();
  timeout = sf_deadline_timeout(rig.volume, 1, SF_WRITE_KIND);
  stall_until_ns[0] = rig.now_ns + 330 * SF_MS;
  stall_until_ns[1] = UINT64_MAX;
  rig.holds = both_stall_and_leg_1_keeps_block_0;
  rig_submit(&rig, &w[2], SF_REQ_WRITE, EXTENT, 4096, 2);
  rig_pass(&rig, 320);
  rig_submit(&rig, &w[1], SF_REQ_WRITE, 0, 4096, 2);
  rig_pass(&rig, 11);
  assert_true(w[2].done);
  for (unsigned i = 0; i < 200 && !w[1].done; i++)
    write_well(5);
  assert_true(w[1].done);
  assert_in_range(w[1].done_ns - w[1].request.since_ns, 3 * timeout, 4 * timeout);
  rig_put(&w[1]);
  rig_put(&w[2]);
  rig_free(&rig);
}

static uint64_t kept_until_ns;

static bool
both_stall_and_leg_1_ends_block_0_last(const struct rig *r, const struct rig_region *region) {
  if (region->leg < 2 && r->now_ns < stall_until_ns[0])
    return true;
  if (region->leg == 1 && region->offset == SF_DATA_OFFSET + EXTENT &&
      r->now_ns < stall_until_ns[1])
    return true;
  return r->now_ns < kept_until_ns && leg_1_keeps_block_0(r, region);
}

/* Both stall, and when they are awake this process does: R3 moves what the legs have had time
 * for. */
static void
our_own_delay_after_a_stall_is_excused(void **state) {
  start();
  stall_until_ns[0] = rig.now_ns + 330 * SF_MS;
  stall_until_ns[1] = stall_until_ns[0] + 2 * SF_MS;
  kept_until_ns = UINT64_MAX;
  rig.holds = both_stall_and_leg_1_ends_block_0_last;
  rig_submit(&rig, &w[1], SF_REQ_WRITE, 0, 4096, 2);
  rig_pass(&rig, 120);
  rig_submit(&rig, &w[2], SF_REQ_WRITE, EXTENT, 4096, 2);
  rig_pass(&rig, 1);
  rig_submit(&rig, &w[3], SF_REQ_WRITE, 2 * EXTENT, 4096, 2);
  rig_pass(&rig, 210);
  stall_until_ns[1] = UINT64_MAX;
  assert_false(w[2].done);
  rig.now_ns += 280 * SF_MS; /* and nothing of ours runs */
  stall_until_ns[1] = rig.now_ns + 2 * SF_MS;
  kept_until_ns = rig.now_ns + 40 * SF_MS;
  rig_pass(&rig, 100);
  assert_true(w[1].done && w[2].done && w[3].done);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  for (unsigned i = 1; i < 4; i++)
    rig_put(&w[i]);
  rig_free(&rig);
}

static bool
leg_1_keeps_block_0_and_dozes(const struct rig *r, const struct rig_region *region) {
  return leg_1_keeps_block_0(r, region) ||
         (region->leg == 1 && r->now_ns - region->since_ns < 130 * SF_MS);
}

/* It answers one request each 130 ms and keeps another for ever, and cannot be spared: the volume
 * is suspended, and that is told once, whether the leg is silent at the moment or not. */
static void
a_leg_that_dozes_and_keeps_one_suspends(void **state) {
  unsigned suspended = 0, told = 0;

  rig_init(&rig, 2, 2, EXTENT, EXTENTS);
  rig.config.on_too_few = SF_TOO_FEW_SUSPEND;
  rig_start_fully(&rig);
  rig_touch_extents(&rig, EXTENTS, EXTENT);
  rig.holds = leg_1_keeps_block_0_and_dozes;
  rig_submit(&rig, &w[1], SF_REQ_WRITE, 0, 4096, 2);
  for (unsigned i = 0; i < 60; i++) {
    rig_submit(&rig, &w[0], SF_REQ_WRITE, EXTENT, 4096, 2);
    while (!w[0].done) {
      rig_pass(&rig, 1);
      if (rig.volume->told == SF_VOLUME_SUSPENDED && suspended++ == 0)
        told++;
      if (rig.volume->told != SF_VOLUME_SUSPENDED)
        suspended = 0;
    }
    rig_put(&w[0]);
  }
  assert_int_equal(sf_vol_state(rig.volume), SF_VOLUME_SUSPENDED);
  assert_int_equal(told, 1);
  rig.holds = NULL;
  rig_pass(&rig, 100);
  assert_true(w[1].done);
  rig_put(&w[1]);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_leg_that_passes_one_request_by_leaves),
      cmocka_unit_test(a_flush_passes_nothing_by),
      cmocka_unit_test(a_stall_of_all_is_not_being_passed_by),
      cmocka_unit_test(a_longer_stall_of_all_is_not_either),
      cmocka_unit_test(a_leg_that_was_held_up_has_as_long_as_before),
      cmocka_unit_test(pauses_of_clients_are_no_stalls),
      cmocka_unit_test(hiccups_do_not_keep_what_is_lost),
      cmocka_unit_test(hiccups_do_not_keep_a_flush_that_is_lost),
      cmocka_unit_test(two_stalls_in_a_row_are_two),
      cmocka_unit_test(hiccups_of_the_other_leg_do_not_keep_a_lost_flush),
      cmocka_unit_test(a_hiccup_counts_once_for_all_it_held_up),
      cmocka_unit_test(a_stall_holds_up_from_when_it_was_sent),
      cmocka_unit_test(our_own_delay_after_a_stall_is_excused),
      cmocka_unit_test(a_leg_that_dozes_and_keeps_one_suspends),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Legs that are busy, legs that stall together, and what becomes of what waits for a leg's
 * window. */
#include "rig.h"

#include <errno.h>

enum { WRITES = 64, EXTENT = 65536, EXTENTS = 64 };

static struct rig rig;
static struct rig_request w[WRITES];
static uint64_t stall_until_ns[2];
static unsigned most_on_leg_1;
static unsigned events;

static bool
is_write_of_leg_1(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && region->op == SF_TIO_WRITE && rig_is_data(r, region);
}

static bool
leg_1_takes_6_ms_each(const struct rig *r, const struct rig_region *region) {
  unsigned n;

  if (!is_write_of_leg_1(r, region))
    return false;
  n = rig_count(r, is_write_of_leg_1);
  if (n > most_on_leg_1)
    most_on_leg_1 = n;
  return rig_in_turn(&rig, region, 6 * SF_MS);
}

static bool
stalls(const struct rig *r, const struct rig_region *region) {
  return region->leg < 2 && r->now_ns < stall_until_ns[region->leg];
}

static void
count_states(const struct sf_volume_event *event) {
  events += event->kind == SF_EVENT_STATE || event->kind == SF_EVENT_LEG_STATE;
}

static void
start_with(unsigned min_legs) {
  rig_init(&rig, 2, min_legs, EXTENT, EXTENTS);
  rig.windows = true;
  rig.config.on_too_few = min_legs == 1 ? SF_TOO_FEW_ERROR : SF_TOO_FEW_SUSPEND;
  rig_start_fully(&rig);
  rig_touch_extents(&rig, EXTENTS, EXTENT);
  rig.event = count_states;
  events = 0;
  stall_until_ns[0] = stall_until_ns[1] = 0;
}

static void
start(void) {
  start_with(1);
}

static void
start_with_both_needed(void) {
  start_with(2);
}

/* 64 at once take 384 ms, nearly four times the deadline.  The first 64 are sent at once, as the
 * leg has been quick until then, like a disk with a cache that is full now: they are overdue, and
 * it is not silent. */
static void
a_busy_leg_is_not_late(void **state) {
  start();
  rig.holds = leg_1_takes_6_ms_each;
  for (unsigned round = 0; round < 3; round++) {
    most_on_leg_1 = 0;
    for (unsigned i = 0; i < WRITES; i++)
      rig_submit(&rig, &w[i], SF_REQ_WRITE, (uint64_t) (i * 7 % WRITES) * EXTENT + 4096, 4096, 2);
    rig_pass(&rig, 600);
    for (unsigned i = 0; i < WRITES; i++) {
      assert_true(w[i].done);
      assert_int_equal(w[i].request.error, 0);
      rig_put(&w[i]);
    }
  }
  assert_in_range(most_on_leg_1, 2, 12);
  assert_int_equal(events, 0); /* in sync, and never called suspended */
  rig_free(&rig);
}

/* Clients that ask for the next as soon as they have an answer. */
static void
clients_work_for(unsigned ms) {
  for (unsigned i = 0; i < ms; i++) {
    for (unsigned k = 0; k < WRITES; k++) {
      if (w[k].request.buffer != NULL && !w[k].done)
        continue;
      if (w[k].request.buffer != NULL)
        rig_put(&w[k]);
      rig_submit(&rig, &w[k], SF_REQ_WRITE, (uint64_t) (k * 7 % WRITES) * EXTENT + 4096, 4096, 2);
    }
    rig_pass(&rig, 1);
  }
}

static void
clients_end(void) {
  rig_pass(&rig, 2000);
  for (unsigned k = 0; k < WRITES; k++) {
    assert_true(w[k].done);
    assert_int_equal(w[k].request.error, 0);
    rig_put(&w[k]);
  }
}

/* A cache is full: all that the leg has takes longer than its timeout now, and so does all that it
 * is given in place of it.  What it answers late tells its pace too. */
static void
a_leg_that_has_become_slow_is_given_less(void **state) {
  start();
  clients_work_for(50);
  rig.holds = leg_1_takes_6_ms_each;
  clients_work_for(3000);
  most_on_leg_1 = 0;
  clients_work_for(300);
  assert_in_range(most_on_leg_1, 2, 12);
  assert_int_equal(events, 0);
  clients_end();
  rig_free(&rig);
}

static bool
leg_1_takes_2_ms_each_and_stalls(const struct rig *r, const struct rig_region *region) {
  unsigned n = rig_count(r, is_write_of_leg_1);

  if (n > most_on_leg_1)
    most_on_leg_1 = n;
  return stalls(r, region) ||
         (is_write_of_leg_1(r, region) && rig_in_turn(&rig, region, 2 * SF_MS));
}

/* What a silent leg has stays counted: given as much again for each timeout, it would be late when
 * it is awake. */
static void
a_stall_does_not_fill_a_leg(void **state) {
  unsigned before;

  start_with_both_needed();
  rig.holds = leg_1_takes_2_ms_each_and_stalls;
  clients_work_for(1000);
  most_on_leg_1 = 0;
  clients_work_for(200);
  before = most_on_leg_1;
  assert_in_range(before, 15, 40);
  stall_until_ns[1] = rig.now_ns + 350 * SF_MS;
  clients_work_for(600);
  assert_in_range(most_on_leg_1, before,
                  before + 5); /* one for each timeout, to show that it is awake */
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  clients_end();
  rig_free(&rig);
}

/* It cannot be spared for writes; reads need not find out one by one that it answers nothing. */
static void
no_read_goes_to_a_silent_leg(void **state) {
  static struct rig_request read;

  start_with_both_needed();
  stall_until_ns[1] = UINT64_MAX;
  rig.holds = stalls;
  rig_submit(&rig, &w[0], SF_REQ_WRITE, 4096, 4096, 2);
  rig_pass(&rig, 200);
  assert_false(w[0].done);
  rig.volume->leg[0].latency[SF_READ_KIND].average_ns = SF_S; /* leg 1 was quicker */
  rig_submit(&rig, &read, SF_REQ_READ, 8 * EXTENT, 4096, 0);
  rig_pass(&rig, 3);
  assert_true(read.done);
  rig_put(&read);
  stall_until_ns[1] = 0;
  rig_pass(&rig, 300);
  assert_true(w[0].done);
  rig_put(&w[0]);
  rig_free(&rig);
}

static void
a_frozen_leg_costs_a_deadline_whatever_waits(void **state) {
  uint64_t began;

  start();
  stall_until_ns[0] = 0;
  stall_until_ns[1] = UINT64_MAX;
  rig.holds = stalls;
  began = rig.now_ns;
  for (unsigned i = 0; i < WRITES; i++)
    rig_submit(&rig, &w[i], SF_REQ_WRITE, (uint64_t) i * EXTENT + 4096, 4096, 2);
  rig_pass(&rig, 300);
  for (unsigned i = 0; i < WRITES; i++) {
    assert_true(w[i].done);
    assert_int_equal(w[i].request.error, 0);
    assert_true(w[i].done_ns - began <= rig.config.deadline_ns[SF_WRITE_KIND] + 5 * SF_MS);
    rig_put(&w[i]);
  }
  assert_int_equal(rig_state(&rig, 1), SF_STATE_LATE);
  assert_int_equal(rig.volume->leg[1].waiting_n, 0);
  stall_until_ns[1] = 0;
  rig_pass(&rig, 15000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

static void
stall_together(uint64_t first_ms, uint64_t second_ms) {
  start();
  stall_until_ns[0] = rig.now_ns + first_ms * SF_MS;
  stall_until_ns[1] = rig.now_ns + second_ms * SF_MS;
  rig.holds = stalls;
  rig_submit(&rig, &w[0], SF_REQ_WRITE, 4096, 4096, 2);
  rig_pass(&rig, second_ms + 50);
  assert_true(w[0].done);
  assert_int_equal(w[0].request.error, 0);
  rig_put(&w[0]);
}

static void
legs_that_stall_together_stay_together(void **state) {
  stall_together(400, 420);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

static void
the_one_that_stays_away_leaves(void **state) {
  stall_together(400, 500);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  assert_int_not_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

/* What waited for the window of a leg is dropped when it leaves, and what a client gives up too. */
static void
what_waits_is_given_up(void **state) {
  start();
  rig.config.on_too_few = SF_TOO_FEW_SUSPEND;
  sf_volume_configure(rig.volume, &rig.config, rig.now_ns);
  stall_until_ns[0] = stall_until_ns[1] = UINT64_MAX;
  rig.holds = stalls;
  for (unsigned class = 0; class < WINDOW_CLASSES; class ++)
    rig.volume->leg[0].window.cost_ns[class] = rig.volume->leg[1].window.cost_ns[class] =
        20 * SF_MS;
  for (unsigned i = 0; i < WRITES; i++)
    rig_submit(&rig, &w[i], SF_REQ_WRITE, (uint64_t) i * EXTENT + 4096, 4096, 2);
  rig_pass(&rig, 50);
  assert_true(rig.volume->leg[0].waiting_n > 0 && rig.volume->leg[1].waiting_n > 0);
  for (unsigned i = 0; i < WRITES; i++) {
    sf_volume_give_up(rig.volume, &w[i].request, rig.now_ns);
    assert_true(w[i].done);
    assert_int_equal(w[i].request.error, -ESHUTDOWN);
    rig_put(&w[i]);
  }
  assert_int_equal(rig.volume->leg[0].waiting_n + rig.volume->leg[1].waiting_n, 0);
  assert_int_equal(rig.volume->waiting_parts, 0);
  stall_until_ns[0] = stall_until_ns[1] = 0;
  rig_pass(&rig, 2000);
  assert_int_equal(rig.volume->unconverged.set, 0);
  rig_free(&rig);
}

/* A page goes before a client's request that waits, and the disk must come back from it: what that
 * costs depends on what was sent before it, and not on what came before it. */
static void
the_order_is_that_of_sending(void **state) {
  enum { RESUMED = (WINDOW_ORDERS + 1) * WINDOW_SIZES };
  struct window *window;

  rig_init(&rig, 2, 1, EXTENT, EXTENTS);
  rig.windows = true;
  rig_start_fully(&rig);
  rig_touch_extents(&rig, EXTENTS - 1, EXTENT);
  window = &rig.volume->leg[1].window;
  for (unsigned class = 0; class < WINDOW_CLASSES; class ++) {
    window->cost_ns[class] = 20 * SF_MS;
    window->seen[class] = UINT8_MAX;
  }
  stall_until_ns[0] = 0;
  stall_until_ns[1] = rig.now_ns + 30 * SF_MS;
  rig.holds = stalls;
  for (unsigned i = 0; i < 3; i++)
    rig_submit(&rig, &w[i], SF_REQ_WRITE, 10 * EXTENT + 4096 * (i + 1), 4096, 2);
  assert_int_equal(rig.volume->leg[1].waiting_n, 1); /* of a target of 50 ms */
  rig_submit(&rig, &w[3], SF_REQ_WRITE, (EXTENTS - 1) * EXTENT, 4096, 2);
  rig_pass(&rig, 20);
  assert_int_equal(window->outstanding[WINDOW_META], 1);
  assert_int_equal(rig.volume->leg[1].waiting_n, 1);
  assert_int_equal(window->cost_ns[RESUMED], 20 * SF_MS);
  rig_pass(&rig, 100);
  for (unsigned i = 0; i < 4; i++) {
    assert_true(w[i].done);
    rig_put(&w[i]);
  }
  assert_true(window->cost_ns[RESUMED] < 20 * SF_MS); /* it has answered one */
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_busy_leg_is_not_late),
      cmocka_unit_test(a_leg_that_has_become_slow_is_given_less),
      cmocka_unit_test(a_stall_does_not_fill_a_leg),
      cmocka_unit_test(no_read_goes_to_a_silent_leg),
      cmocka_unit_test(a_frozen_leg_costs_a_deadline_whatever_waits),
      cmocka_unit_test(legs_that_stall_together_stay_together),
      cmocka_unit_test(the_one_that_stays_away_leaves),
      cmocka_unit_test(what_waits_is_given_up),
      cmocka_unit_test(the_order_is_that_of_sending),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

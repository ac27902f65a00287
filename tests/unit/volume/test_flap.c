/* R14: how long a leg is kept out follows from what its absences have cost lately. */
#include "rig.h"

#include <stdio.h>
#include <string.h>

enum { MINUTE_S = 60, STEP_MS = 20 };

static struct rig rig;
static uint64_t stall_ns, period_ns, begin_ns; /* of leg 1 */
static unsigned left;
static char told[SF_LEG_REASON_MAX];

static bool
stalls(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && period_ns != 0 && (r->now_ns - begin_ns) % period_ns < stall_ns;
}

static void
listen(const struct sf_volume_event *event) {
  if (event->kind != SF_EVENT_LEG_STATE || event->leg != 1)
    return;
  left += strcmp(event->from, "in-sync") == 0;
  if (strcmp(event->to, "probing") == 0)
    snprintf(told, sizeof told, "%s", event->reason);
}

static void
setup(double stall_s, double period_s) {
  rig_init(&rig, 2, 1, 65536, 64);
  rig_start_fully(&rig);
  rig.event = listen;
  rig.holds = stalls;
  left = 0;
  stall_ns = (uint64_t) (stall_s * 1e9);
  period_ns = (uint64_t) (period_s * 1e9);
  begin_ns = rig.now_ns - stall_ns; /* a period begins with the stall */
}

/* One client writes on; how many of its writes took a deadline, and for how much of the time both
 * legs were in sync. */
static unsigned
pass(unsigned seconds, double *redundant) {
  struct rig_request w;
  unsigned slow = 0, in_sync = 0, steps = seconds * 1000 / STEP_MS, waited;
  uint64_t block = 0;

  for (unsigned i = 0; i < steps; i += waited) {
    rig_submit(&rig, &w, SF_REQ_WRITE, block++ % 64 * 65536, 4096, 1);
    for (waited = 0; waited == 0 || !w.done; waited++) {
      rig_pass(&rig, STEP_MS);
      in_sync += rig_state(&rig, 1) == SF_STATE_IN_SYNC;
    }
    assert_int_equal(w.request.error, 0);
    slow += w.done_ns - w.request.since_ns >= 100 * SF_MS;
    rig_put(&w);
  }
  *redundant = (double) in_sync / steps;
  return slow;
}

static void
a_leg_that_stalls_shortly_and_seldom_is_redundant(void **state) {
  double redundant;

  setup(0.2, 20);
  pass(10 * MINUTE_S, &redundant);
  print_message("in sync for %.1f %% of the time\n", redundant * 100);
  assert_true(redundant > 0.93);
  assert_in_range(left, 25, 31); /* it does stall, and is taken out for it */
  rig_free(&rig);
}

static void
a_leg_that_stalls_half_of_the_time_costs_few_deadlines(void **state) {
  double redundant;
  unsigned slow;

  setup(5, 10);
  slow = pass(5 * MINUTE_S, &redundant);
  print_message("%u deadlines in 5 minutes, in sync for %.1f %%\n", slow, redundant * 100);
  assert_in_range(slow, 1, 2);
  rig_free(&rig);
}

static uint64_t
ms_until_in_sync(uint64_t most) {
  uint64_t ms = 0;

  for (; ms < most && rig_state(&rig, 1) != SF_STATE_IN_SYNC; ms += STEP_MS)
    rig_pass(&rig, STEP_MS);
  return ms;
}

static void
a_leg_that_was_away_long_returns_soon(void **state) {
  double redundant;

  setup(600, 100000);
  begin_ns = rig.now_ns;
  pass(600, &redundant);
  assert_int_equal(left, 1);
  assert_int_not_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_in_range(ms_until_in_sync(60000), 5000, 9000);
  rig_free(&rig);
}

/* And the next is forgiven as quickly once that is forgotten. */
static void
a_short_stall_is_forgiven_at_once(void **state) {
  double redundant;

  for (unsigned i = 0; i < 2; i++) {
    if (i == 0)
      setup(0.2, 100000);
    begin_ns = rig.now_ns;
    pass(1, &redundant);
    assert_int_equal(left, i + 1);
    assert_in_range(ms_until_in_sync(60000), 0, 500);
    pass(5 * MINUTE_S, &redundant);
    assert_int_equal((unsigned) (redundant * 100), 100);
  }
  rig_free(&rig);
}

static void
status_and_event_say_for_how_long_and_why(void **state) {
  struct sf_volume_status status;
  double redundant;

  setup(5, 10);
  pass(22, &redundant); /* well, away, well, away, well */
  assert_non_null(strstr(told, "kept out until it has answered for "));
  assert_non_null(strstr(told, "s more: it was away 2 times in the last "));
  pass(11, &redundant); /* away once more, and it answers since 3 s */
  sf_volume_status(rig.volume, rig.now_ns, &status);
  assert_string_equal(sf_leg_state_name(status.leg[1].state), "probing");
  print_message("%s\n", status.leg[1].reason);
  assert_non_null(strstr(status.leg[1].reason, "a probe was not answered in time; kept out "));
  assert_non_null(strstr(status.leg[1].reason, "it was away 3 times in the last 2"));
  rig_free(&rig);
}

static int
refuses(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 ? -ETIMEDOUT : 0;
}

/* Its answers come at once, so it must not be asked again as quickly: each time is told of. */
static void
a_leg_whose_probes_fail_at_once_is_asked_less_and_less(void **state) {
  double redundant;

  setup(0, 0);
  rig.fails = refuses;
  pass(MINUTE_S, &redundant);
  assert_int_equal(left, 1);
  assert_in_range(rig.volume->leg[1].errors, 5, 40);
  rig.fails = NULL;
  assert_in_range(ms_until_in_sync(60000), 1000, 35000);
  rig_free(&rig);
}

static void
the_operator_takes_it_back_at_once(void **state) {
  double redundant;

  setup(5, 10);
  pass(41, &redundant);
  assert_int_not_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig.holds = NULL;
  rig_run(&rig);
  rig_pass(&rig, 7000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_PROBING);
  assert_int_equal(sf_volume_leg_return(rig.volume, 1, rig.now_ns), 0);
  assert_in_range(ms_until_in_sync(60000), 0, 1000);
  rig_free(&rig);
}

static bool
holds_leg_1(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1;
}

/* About a second's worth of copying is done again, and no more. */
static void
what_was_copied_counts_when_the_leg_falls_back(void **state) {
  const uint64_t a_second = 4;
  struct rig_request w;
  uint64_t lacking;

  setup(0, 0);
  rig.volume->config.intent_delay_ns = 3600 * SF_S;
  rig.volume->config.resync_min_rate = rig.volume->config.resync_max_rate = a_second * 65536;
  rig.holds = holds_leg_1;
  for (unsigned i = 0; i < 64; i++) {
    rig_submit(&rig, &w, SF_REQ_WRITE, i * 65536, 4096, 1);
    rig_pass(&rig, i == 0 ? 400 : 5);
    assert_true(w.done);
    rig_put(&w);
  }
  assert_int_equal(rig.volume->leg[1].stale.set, 64);
  rig.holds = NULL;
  for (unsigned ms = 0; rig.volume->leg[1].stale.set > 32; ms += STEP_MS) {
    assert_true(ms < 30000);
    rig_pass(&rig, STEP_MS);
  }
  lacking = rig.volume->leg[1].stale.set;
  rig.holds = holds_leg_1;
  rig_submit(&rig, &w, SF_REQ_WRITE, 0, 4096, 1);
  rig_pass(&rig, 400);
  assert_true(w.done);
  rig_put(&w);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_LATE);
  assert_in_range(rig.volume->leg[1].stale.set, lacking, lacking + 3 * a_second / 2 + 1);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_leg_that_stalls_shortly_and_seldom_is_redundant),
      cmocka_unit_test(a_leg_that_stalls_half_of_the_time_costs_few_deadlines),
      cmocka_unit_test(a_leg_that_was_away_long_returns_soon),
      cmocka_unit_test(a_short_stall_is_forgiven_at_once),
      cmocka_unit_test(status_and_event_say_for_how_long_and_why),
      cmocka_unit_test(a_leg_whose_probes_fail_at_once_is_asked_less_and_less),
      cmocka_unit_test(the_operator_takes_it_back_at_once),
      cmocka_unit_test(what_was_copied_counts_when_the_leg_falls_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* One leg in sync that holds clients back by its pace alone (pace.c). */
#include "rig.h"

#include <stdio.h>
#include <string.h>

static struct rig rig;
static uint64_t answers_in_ms[3];
static unsigned told, ended;
static char reason[128];

static bool
takes_its_time(const struct rig *r, const struct rig_region *region) {
  return r->now_ns < region->since_ns + answers_in_ms[region->leg] * SF_MS;
}

static void
listen(const struct sf_volume_event *event) {
  if (event->kind != SF_EVENT_LEG_SLOW)
    return;
  assert_string_equal(event->leg_name, "l1");
  if (strcmp(event->to, "slow") == 0) {
    told++;
    snprintf(reason, sizeof reason, "%s", event->reason);
  } else {
    ended++;
  }
}

static void
setup(unsigned legs, unsigned min_legs, enum sf_slow_leg slow_leg) {
  rig_init(&rig, legs, min_legs, 65536, 64);
  rig.config.slow_leg = slow_leg;
  rig_start_fully(&rig);
  rig.event = listen;
  rig.holds = takes_its_time;
  for (unsigned i = 0; i < 3; i++)
    answers_in_ms[i] = 2;
  told = ended = 0;
}

static void
work(unsigned seconds) {
  uint64_t until = rig.now_ns + seconds * SF_S;
  struct rig_request w;

  for (unsigned i = 0; rig.now_ns < until; i++) {
    rig_submit(&rig, &w, SF_REQ_WRITE, i % 64 * 65536, 4096, 1);
    while (!w.done)
      rig_pass(&rig, 1);
    assert_int_equal(w.request.error, 0);
    rig_put(&w);
    rig_pass(&rig, 40);
  }
}

static const char *
note(struct sf_volume_status *status) {
  sf_volume_status(rig.volume, rig.now_ns, status);
  return status->leg[1].reason;
}

static void
it_is_told_after_half_a_minute_and_when_it_ends(void **state) {
  struct sf_volume_status status;

  setup(3, 2, SF_SLOW_WAIT);
  work(60);
  assert_int_equal(told, 0);
  answers_in_ms[1] = 13;
  work(25);
  assert_int_equal(told, 0); /* it may pass */
  work(20);
  assert_int_equal(told, 1);
  assert_string_equal(reason, "holds clients back 6.5 x");
  assert_string_equal(note(&status), "holds clients back 6.5 x");
  work(60);
  assert_int_equal(told, 1); /* once */
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  answers_in_ms[1] = 2;
  work(25);
  assert_int_equal(ended, 1);
  assert_string_equal(note(&status), "");
  rig_free(&rig);
}

static void
what_others_do_too_is_nobodys(void **state) {
  setup(3, 2, SF_SLOW_LEAVE);
  answers_in_ms[1] = answers_in_ms[2] = 20;
  work(90);
  assert_int_equal(told, 0);
  answers_in_ms[1] = 7; /* below the factor */
  answers_in_ms[2] = 2;
  work(90);
  assert_int_equal(told, 0);
  rig_free(&rig);
}

static void
it_leaves_until_it_keeps_pace(void **state) {
  setup(2, 1, SF_SLOW_LEAVE);
  answers_in_ms[1] = 20;
  work(45);
  assert_int_equal(told, 1);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_PROBING);
  assert_string_equal(rig.volume->leg[1].reason, "holds clients back 10.0 x");
  work(300); /* it answers within its deadline all the time */
  assert_int_equal(rig_state(&rig, 1), SF_STATE_PROBING);
  answers_in_ms[1] = 3;
  work(20);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_false(rig.volume->leg[1].pace.slow); /* it is compared anew, */
  assert_int_equal(rig.volume->leg[1].pace.limit_ns, 0);
  assert_int_equal(ended, 0); /* and its leaving was the end of that */
  work(60);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_int_equal(told, 1);
  rig_free(&rig);
}

static void
the_operator_may_take_it_back(void **state) {
  setup(2, 1, SF_SLOW_LEAVE);
  answers_in_ms[1] = 20;
  work(50);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_PROBING);
  assert_int_equal(sf_volume_leg_return(rig.volume, 1, rig.now_ns), 0);
  work(5);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

/* R2 */
static void
one_that_cannot_be_spared_stays(void **state) {
  setup(2, 2, SF_SLOW_LEAVE);
  answers_in_ms[1] = 20;
  work(60);
  assert_int_equal(told, 1);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

static void
slow_flushes_count(void **state) {
  struct rig_request f;

  setup(2, 1, SF_SLOW_WAIT);
  answers_in_ms[1] = 30;
  for (unsigned i = 0; i < 60; i++) {
    rig_submit(&rig, &f, SF_REQ_FLUSH, 0, 0, 0);
    while (!f.done)
      rig_pass(&rig, 1);
    rig_pass(&rig, 1000);
  }
  assert_int_equal(told, 1);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(it_is_told_after_half_a_minute_and_when_it_ends),
      cmocka_unit_test(what_others_do_too_is_nobodys),
      cmocka_unit_test(it_leaves_until_it_keeps_pace),
      cmocka_unit_test(the_operator_may_take_it_back),
      cmocka_unit_test(one_that_cannot_be_spared_stays),
      cmocka_unit_test(slow_flushes_count),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

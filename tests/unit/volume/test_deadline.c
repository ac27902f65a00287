/* Deadlines that follow the legs: `auto` (deadline.c). */
#include "rig.h"

#include <string.h>

#include "volume/ground/deadline.h"

static struct rig rig;
static uint64_t answers_in_ms[2], flushes_in_ms[2]; /* of each leg */
static bool frozen;                                 /* leg 1 */
static unsigned left;

static bool
takes_its_time(const struct rig *r, const struct rig_region *region) {
  uint64_t ms =
      region->op == SF_TIO_FLUSH ? flushes_in_ms[region->leg] : answers_in_ms[region->leg];

  if (region->offset < SF_DATA_OFFSET && region->op != SF_TIO_FLUSH)
    ms = ms < 2 ? ms : 2; /* pages of ours, so that a test says what the leg's requests take */
  return (frozen && region->leg == 1) || r->now_ns < region->since_ns + ms * SF_MS;
}

static void
listen(const struct sf_volume_event *event) {
  left += event->kind == SF_EVENT_LEG_STATE && strcmp(event->from, "in-sync") == 0;
}

static void
setup(uint64_t ms, uint64_t flush_ms) {
  rig_init(&rig, 2, 1, 65536, 64);
  for (unsigned kind = 0; kind < SF_KINDS; kind++)
    rig.config.deadline_ns[kind] = SF_CONFIG_AUTO;
  rig_start_fully(&rig);
  rig.event = listen;
  rig.holds = takes_its_time;
  left = 0;
  frozen = false;
  for (unsigned i = 0; i < 2; i++) {
    answers_in_ms[i] = ms;
    flushes_in_ms[i] = flush_ms;
  }
}

static uint64_t
write_ms(unsigned i) {
  struct rig_request w;

  rig_submit(&rig, &w, SF_REQ_WRITE, i % 64 * 65536, 4096, 1);
  for (unsigned ms = 0; !w.done; ms++) {
    assert_true(ms < 100000);
    rig_pass(&rig, 1);
  }
  assert_int_equal(w.request.error, 0);
  rig_put(&w);
  return (w.done_ns - w.request.since_ns) / SF_MS;
}

static void
flush(void) {
  struct rig_request f;

  rig_submit(&rig, &f, SF_REQ_FLUSH, 0, 0, 0);
  while (!f.done)
    rig_pass(&rig, 1);
  assert_int_equal(f.request.error, 0);
}

static void
work(unsigned seconds) {
  uint64_t until = rig.now_ns + seconds * SF_S;

  for (unsigned i = 0; rig.now_ns < until; i++) {
    write_ms(i);
    rig_pass(&rig, 40);
  }
}

static uint64_t
in_force_ms(unsigned leg, enum sf_kind kind) {
  return sf_deadline_timeout(rig.volume, leg, kind) / SF_MS;
}

static uint64_t
shown_ms(unsigned leg, enum sf_kind kind) {
  struct sf_volume_status status;

  sf_volume_status(rig.volume, rig.now_ns, &status);
  return status.leg[leg].deadline_ns[kind] / SF_MS;
}

static void
nothing_is_known_at_the_start(void **state) {
  setup(1, 1);
  for (unsigned leg = 0; leg < 2; leg++) {
    assert_int_equal(in_force_ms(leg, SF_READ_KIND), 500);
    assert_int_equal(in_force_ms(leg, SF_WRITE_KIND), 500);
    assert_int_equal(in_force_ms(leg, SF_FLUSH_KIND), 2000);
    assert_int_equal(shown_ms(leg, SF_READ_KIND), 625);
    assert_int_equal(shown_ms(leg, SF_WRITE_KIND), 625);
    assert_int_equal(shown_ms(leg, SF_FLUSH_KIND), 2500);
    assert_int_equal(sf_deadline_source(rig.volume, leg, SF_WRITE_KIND), SF_DEADLINE_LEARNING);
  }
  answers_in_ms[1] = 400; /* slow, and not thrown out in its first second */
  work(5);
  assert_int_equal(left, 0);
  rig_free(&rig);
}

/* 24 answers in as many seconds are too few. */
static void
few_answers_say_little(void **state) {
  setup(1, 1);
  rig.volume->config.intent_delay_ns = 600 * SF_S; /* pages of the maps are writes too */
  for (unsigned i = 0; i < 24; i++) {
    write_ms(0);
    rig_pass(&rig, 1000);
  }
  assert_int_equal(in_force_ms(0, SF_WRITE_KIND), 500);
  assert_int_equal(sf_deadline_source(rig.volume, 0, SF_WRITE_KIND), SF_DEADLINE_LEARNING);
  rig_free(&rig);
}

static void
it_comes_down_to_what_a_fast_leg_takes(void **state) {
  setup(1, 1);
  answers_in_ms[1] = 30;
  work(60);
  assert_int_equal(in_force_ms(0, SF_WRITE_KIND), 50); /* no less, however fast */
  assert_in_range(in_force_ms(1, SF_WRITE_KIND), 115, 135);
  assert_int_equal(in_force_ms(0, SF_READ_KIND), 500); /* nothing was read: nothing is known */
  assert_int_equal(sf_deadline_source(rig.volume, 1, SF_WRITE_KIND), SF_DEADLINE_AUTO);
  rig_free(&rig);
}

static void
a_leg_that_slows_down_is_followed_at_once(void **state) {
  setup(1, 1);
  work(90);
  assert_int_equal(in_force_ms(1, SF_WRITE_KIND), 50);
  answers_in_ms[1] = 45;
  work(6);
  assert_in_range(in_force_ms(1, SF_WRITE_KIND), 170, 200);
  answers_in_ms[1] = 150;
  work(6);
  assert_in_range(in_force_ms(1, SF_WRITE_KIND), 580, 660);
  answers_in_ms[1] = 560;
  work(12);
  assert_in_range(in_force_ms(1, SF_WRITE_KIND), 1050, 1080); /* half a second on top at most */
  assert_int_equal(left, 0);
  answers_in_ms[1] = 1; /* and back, but not soon */
  work(100);
  assert_in_range(in_force_ms(1, SF_WRITE_KIND), 1050, 1080);
  work(240);
  assert_in_range(in_force_ms(1, SF_WRITE_KIND), 50, 200);
  rig_free(&rig);
}

static void
a_pause_is_not_its_speed(void **state) {
  setup(1, 1);
  work(60);
  for (unsigned i = 0; i < 3; i++) {
    answers_in_ms[1] = 45;
    write_ms(i);
    answers_in_ms[1] = 1;
    work(20);
  }
  assert_int_equal(in_force_ms(1, SF_WRITE_KIND), 50);
  rig_free(&rig);
}

/* Its requests, also later ones, wait for the deadline in force when it froze. */
static void
a_frozen_leg_leaves_at_the_deadline_in_force(void **state) {
  setup(10, 1);
  work(90);
  assert_int_equal(in_force_ms(1, SF_WRITE_KIND), 50);
  frozen = true;
  assert_in_range(write_ms(1), 60, 70); /* with a grace */
  assert_int_equal(left, 1);
  work(10);
  assert_int_equal(in_force_ms(1, SF_WRITE_KIND), 50);
  frozen = false;
  work(30);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_int_equal(in_force_ms(1, SF_WRITE_KIND), 50); /* what it took then is not learned */
  rig_free(&rig);
}

/* The grace is in what is set: nobody waits for longer than that. */
static void
a_frozen_leg_leaves_at_the_deadline_that_was_set(void **state) {
  struct sf_volume_status status;
  struct sf_config config;
  char error[SF_CONFIG_ERROR_MAX];

  setup(1, 1);
  sf_volume_get_config(rig.volume, &config);
  assert_int_equal(sf_config_set(&config, "write_deadline", "100ms", error), 0);
  assert_int_equal(sf_volume_configure(rig.volume, &config, rig.now_ns), 0);
  work(5);
  frozen = true;
  assert_in_range(write_ms(1), 100, 105);
  assert_int_equal(left, 1);
  sf_volume_status(rig.volume, rig.now_ns, &status);
  assert_non_null(strstr(status.leg[1].reason, "not answered in 100 ms"));
  rig_free(&rig);
}

/* Nor where it cannot leave, since what it answers in the end is one pause. */
static void
a_leg_that_cannot_leave_does_not_raise_it_by_hanging(void **state) {
  struct rig_request w;

  rig_init(&rig, 2, 2, 65536, 64);
  for (unsigned kind = 0; kind < SF_KINDS; kind++)
    rig.config.deadline_ns[kind] = SF_CONFIG_AUTO;
  rig_start_fully(&rig);
  rig.holds = takes_its_time;
  frozen = false;
  answers_in_ms[0] = answers_in_ms[1] = 1;
  work(90);
  frozen = true;
  rig_submit(&rig, &w, SF_REQ_WRITE, 0, 4096, 1);
  rig_pass(&rig, 20000);
  assert_false(w.done);
  assert_int_equal(in_force_ms(1, SF_WRITE_KIND), 50);
  frozen = false;
  rig_pass(&rig, 100);
  assert_true(w.done);
  rig_put(&w);
  work(5);
  assert_int_equal(in_force_ms(1, SF_WRITE_KIND), 50);
  rig_free(&rig);
}

/* The flushes of the issue: of 1.2 s and 1.3 s, under a deadline of 1 s, took a leg out for
 * good. */
static void
slow_flushes_keep_both_legs(void **state) {
  setup(1, 1200);
  flushes_in_ms[1] = 1300;
  for (unsigned i = 0; i < 60; i++) {
    write_ms(i);
    flush();
  }
  assert_int_equal(left, 0);
  assert_in_range(in_force_ms(1, SF_FLUSH_KIND), 3790, 3810);
  rig_free(&rig);
}

static void
what_is_set_is_in_force_and_auto_again(void **state) {
  struct sf_config config;
  char error[SF_CONFIG_ERROR_MAX];

  setup(30, 1);
  work(60);
  assert_in_range(in_force_ms(1, SF_WRITE_KIND), 115, 135);
  sf_volume_get_config(rig.volume, &config);
  assert_int_equal(sf_config_set(&config, "write_deadline", "1s", error), 0);
  assert_int_equal(sf_config_set(&config, "leg.l1.write_timeout", "70ms", error), 0);
  assert_int_equal(sf_volume_configure(rig.volume, &config, rig.now_ns), 0);
  assert_int_equal(shown_ms(0, SF_WRITE_KIND), 1000);
  assert_int_equal(shown_ms(1, SF_WRITE_KIND), 70);
  assert_int_equal(in_force_ms(0, SF_WRITE_KIND), 800);
  assert_int_equal(in_force_ms(1, SF_WRITE_KIND), 56);
  assert_int_equal(sf_deadline_source(rig.volume, 1, SF_WRITE_KIND), SF_DEADLINE_SET);
  work(10);
  assert_int_equal(shown_ms(1, SF_WRITE_KIND), 70);
  assert_int_equal(sf_config_set(&config, "write_deadline", "auto", error), 0);
  assert_int_equal(sf_config_set(&config, "leg.l1.write_timeout", "auto", error), 0);
  assert_int_equal(sf_volume_configure(rig.volume, &config, rig.now_ns), 0);
  assert_in_range(in_force_ms(0, SF_WRITE_KIND), 115, 135);
  assert_in_range(in_force_ms(1, SF_WRITE_KIND), 115, 135);
  assert_int_equal(sf_deadline_source(rig.volume, 1, SF_WRITE_KIND), SF_DEADLINE_AUTO);
  rig_free(&rig);
}

static void
the_status_has_it(void **state) {
  struct sf_volume_status status;

  setup(30, 1);
  rig.volume->config.leg[0].timeout_ns[SF_FLUSH_KIND] = 300 * SF_MS;
  work(60);
  sf_volume_status(rig.volume, rig.now_ns, &status);
  assert_int_equal(status.leg[1].deadline_ns[SF_WRITE_KIND],
                   sf_deadline_of(rig.volume, 1, SF_WRITE_KIND));
  assert_string_equal(sf_deadline_source_name(status.leg[1].deadline_source[SF_WRITE_KIND]),
                      "auto");
  assert_string_equal(sf_deadline_source_name(status.leg[1].deadline_source[SF_READ_KIND]),
                      "learning");
  assert_string_equal(sf_deadline_source_name(status.leg[0].deadline_source[SF_FLUSH_KIND]),
                      "file");
  assert_int_equal(status.leg[0].deadline_ns[SF_FLUSH_KIND], 300 * SF_MS);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nothing_is_known_at_the_start),
      cmocka_unit_test(few_answers_say_little),
      cmocka_unit_test(it_comes_down_to_what_a_fast_leg_takes),
      cmocka_unit_test(a_leg_that_slows_down_is_followed_at_once),
      cmocka_unit_test(a_pause_is_not_its_speed),
      cmocka_unit_test(a_frozen_leg_leaves_at_the_deadline_in_force),
      cmocka_unit_test(a_frozen_leg_leaves_at_the_deadline_that_was_set),
      cmocka_unit_test(a_leg_that_cannot_leave_does_not_raise_it_by_hanging),
      cmocka_unit_test(slow_flushes_keep_both_legs),
      cmocka_unit_test(what_is_set_is_in_force_and_auto_again),
      cmocka_unit_test(the_status_has_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

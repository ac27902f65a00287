/* Drills: when one may begin, and what ends it. */
#include "rig.h"

#include <errno.h>
#include <string.h>

static struct rig rig;
static unsigned begun, ended;
static char why[SF_LEG_REASON_MAX];

static void
listen(const struct sf_volume_event *event) {
  if (event->kind != SF_EVENT_DRILL)
    return;
  begun += strcmp(event->to, "begins") == 0;
  if (strcmp(event->to, "ends") == 0) {
    ended++;
    snprintf(why, sizeof why, "%s", event->reason);
  }
}

static void
setup(unsigned legs, unsigned min_legs) {
  rig_init(&rig, legs, min_legs, 65536, 64);
  rig_start_fully(&rig);
  rig.event = listen;
  begun = ended = 0;
}

static int
drill(unsigned leg, uint64_t ms) {
  return sf_volume_drill(rig.volume, leg, ms * SF_MS, rig.now_ns);
}

static void
write_block(struct rig_request *w) {
  rig_submit(&rig, w, SF_REQ_WRITE, 0, 4096, 1);
}

static uint64_t
left_ns(unsigned leg) {
  static struct sf_volume_status status;

  sf_volume_status(rig.volume, rig.now_ns, &status);
  return status.leg[leg].drill_left_ns;
}

/* Proves: a write goes on without the leg, which leaves, and comes back by itself when the time is
 * over. */
static void
a_leg_leaves_and_comes_back(void **state) {
  struct rig_request w;

  setup(2, 1);
  assert_int_equal(drill(1, 2000), 0);
  assert_int_equal(rig.frozen, 1u << 1);
  assert_int_equal(begun, 1);
  assert_true(left_ns(1) == 2000 * SF_MS);
  assert_true(left_ns(0) == 0);
  write_block(&w);
  rig_pass(&rig, 1000);
  assert_true(w.done);
  assert_int_equal(w.request.error, 0);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_LATE);
  rig_pass(&rig, 1500);
  assert_int_equal(rig.frozen, 0);
  assert_int_equal(ended, 1);
  assert_string_equal(why, "");
  rig_pass(&rig, 20000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_put(&w);
  rig_free(&rig);
}

/* Proves: what would be more than a drill is refused, and nothing is frozen then. */
static void
refusals(void **state) {
  setup(3, 2);
  assert_int_equal(drill(3, 1000), -ENOENT);
  assert_int_equal(drill(0, 0), -EINVAL);
  assert_int_equal(drill(0, SF_DRILL_MOST_NS / SF_MS + 1), -EINVAL);
  assert_int_equal(sf_volume_drill_cancel(rig.volume, rig.now_ns), -ENOENT);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 100);
  assert_int_equal(drill(0, 1000), -ENOTCONN);
  assert_int_equal(rig.frozen, 0);
  rig_free(&rig);

  setup(2, 2);
  assert_int_equal(drill(0, 1000), -EBUSY);
  assert_int_equal(rig.frozen, 0);
  rig_free(&rig);

  setup(3, 1);
  assert_int_equal(drill(0, 1000), 0);
  assert_int_equal(drill(1, 1000), -EALREADY);
  assert_int_equal(rig.frozen, 1u << 0);
  rig_free(&rig);
}

/* Proves: another leg's trouble, a cancel and a stop end it at once, whatever time is left. */
static void
ends_early(void **state) {
  struct rig_request w;

  setup(3, 1);
  assert_int_equal(drill(0, 600000), 0);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  assert_int_equal(rig.frozen, 0);
  assert_string_equal(why, "another leg is not in sync");
  rig_free(&rig);

  setup(2, 1);
  assert_int_equal(drill(0, 600000), 0);
  write_block(&w);
  rig_pass(&rig, 500);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_LATE);
  assert_int_equal(sf_volume_drill_cancel(rig.volume, rig.now_ns), 0);
  assert_int_equal(rig.frozen, 0);
  rig_pass(&rig, 20000);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);

  assert_int_equal(drill(0, 600000), 0);
  sf_volume_stop(rig.volume, rig.now_ns);
  assert_int_equal(rig.frozen, 0);
  assert_string_equal(why, "the volume stops");
  assert_int_equal(ended, 2);
  rig_put(&w);
  rig_free(&rig);
}

/* Proves: a leg that leaves beside the one that is frozen, by itself, is waited for no longer than
 * the drill's end takes: the frozen leg answers at once. */
static bool
leg_1_hangs(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1;
}

static void
two_at_once(void **state) {
  struct rig_request w;

  setup(3, 1);
  assert_int_equal(drill(0, 600000), 0);
  rig.holds = leg_1_hangs;
  write_block(&w);
  rig_pass(&rig, 2000);
  assert_true(w.done);
  assert_int_equal(w.request.error, 0);
  assert_int_equal(rig.frozen, 0);
  assert_int_equal(ended, 1);
  rig.holds = NULL;
  rig_pass(&rig, 30000);
  for (unsigned leg = 0; leg < 3; leg++)
    assert_int_equal(rig_state(&rig, leg), SF_STATE_IN_SYNC);
  rig_put(&w);
  rig_free(&rig);
}

static int
leg_0_is_gone(const struct rig *r, const struct rig_region *region) {
  return region->leg == 0 ? -ENOTCONN : 0;
}

/* Proves: a read that needs the frozen leg, as the other one fails, does not wait for the drill, and
 * none begins while that is so. */
static void
another_leg_fails(void **state) {
  struct rig_request r;

  setup(2, 1);
  assert_int_equal(drill(1, 600000), 0);
  rig.fails = leg_0_is_gone;
  rig_submit(&rig, &r, SF_REQ_READ, 0, 4096, 0);
  rig_pass(&rig, 100 /* the deadline */ + 50);
  assert_true(r.done);
  assert_int_equal(r.request.error, 0);
  assert_int_equal(rig.frozen, 0);
  assert_string_equal(why, "another leg fails what it is asked");
  assert_int_equal(drill(1, 1000), -ENOTCONN);
  rig_put(&r);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_leg_leaves_and_comes_back),
      cmocka_unit_test(refusals),
      cmocka_unit_test(ends_early),
      cmocka_unit_test(two_at_once),
      cmocka_unit_test(another_leg_fails),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

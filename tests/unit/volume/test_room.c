/* Ops and slots are used up: what waits, and what must not. */
#include "rig.h"

#include <errno.h>
#include <string.h>

#include "volume/ground/facts.h"

static struct rig rig;

static unsigned fell; /* leg 1, for want of room */

static void
count_falls(const struct sf_volume_event *event) {
  fell += event->kind == SF_EVENT_LEG_STATE && event->leg == 1 && strcmp(event->to, "late") == 0;
}

static int
leg_1_is_full(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && region->op == SF_TIO_WRITE && rig_is_data(r, region) ? -ENOSPC : 0;
}

/* Requests that are suspended hold ops.  The copies and flushes that bring another leg back, and
 * with it an end to the wait, find some all the same. */
static void
suspended_writes_do_not_keep_a_leg_from_returning(void **state) {
  enum { WRITES = SF_OPS_MAX + 8 };
  static struct rig_request w[WRITES];

  rig_init(&rig, 3, 2, 4096, 1024);
  rig.config.on_too_few = SF_TOO_FEW_SUSPEND;
  rig_start_fully(&rig);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 50);
  rig_submit(&rig, &w[0], SF_REQ_WRITE, 1000 * 4096, 4096, 1);
  rig_run(&rig);
  assert_true(w[0].done && w[0].request.error == 0);
  rig_put(&w[0]);
  rig.fails = leg_1_is_full;
  for (unsigned i = 0; i < WRITES; i++)
    rig_submit(&rig, &w[i], SF_REQ_WRITE, (uint64_t) i * 4096, 4096, 2);
  rig_pass(&rig, 100);
  assert_false(w[0].done || w[WRITES - 1].done);
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 5000);
  for (unsigned i = 0; i < WRITES; i++) {
    assert_true(w[i].done);
    assert_int_equal(w[i].request.error, 0);
    rig_put(&w[i]);
  }
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  assert_int_not_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

/* A leg without room is tried again by itself, with pauses that grow, and no copies in a circle. */
static void
a_leg_comes_back_when_it_has_room(void **state) {
  struct rig_request w;

  rig_init(&rig, 3, 2, 65536, 64);
  rig_start_fully(&rig);
  rig.fails = leg_1_is_full;
  rig.event = count_falls;
  rig_submit(&rig, &w, SF_REQ_WRITE, 0, 65536, 1);
  rig_pass(&rig, 50);
  assert_true(w.done && w.request.error == 0);
  rig_put(&w);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_PROBING);
  assert_int_equal(rig.volume->latest.faulty, 0);
  for (unsigned s = 0; s < 600; s++) {
    rig_pass(&rig, 1000);
    assert_int_not_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
    assert_int_not_equal(rig_state(&rig, 1), SF_STATE_FAULTY);
  }
  assert_in_range(fell, 5, 20);
  rig.fails = NULL;
  rig_pass(&rig, 100000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

/* No slot for a superblock write is no reason to call the leg faulty. */
static void
a_superblock_write_without_a_slot_is_no_error_of_the_leg(void **state) {
  rig_init(&rig, 4, 2, 65536, 64);
  rig_start_fully(&rig);
  rig.full = 1u << 1;
  assert_int_equal(sf_volume_leg_fail(rig.volume, 3, rig.now_ns), 0);
  rig_pass(&rig, 50);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig.full = 0;
  rig_pass(&rig, 20);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_true(sf_record_is_durable(rig.volume));
  rig_free(&rig);
}

static bool
leg_1_hangs(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && rig_is_data(r, region);
}

/* What a frozen leg has is kept until it has ended that, perhaps for ever: clients that had as much
 * outstanding as there are ops go on as soon as it is out. */
static void
a_frozen_leg_does_not_hold_all_ops(void **state) {
  enum { WRITES = SF_OPS_MAX };
  static struct rig_request w[WRITES], next[WRITES];

  rig_init(&rig, 2, 1, 4096, 1024);
  rig_start_fully(&rig);
  rig_touch_extents(&rig, 512, 4096);
  rig.holds = leg_1_hangs;
  for (unsigned i = 0; i < WRITES; i++)
    rig_submit(&rig, &w[i], SF_REQ_WRITE, (uint64_t) i * 4096, 4096, 2);
  rig_pass(&rig, 200);
  assert_int_not_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  for (unsigned i = 0; i < WRITES; i++) {
    assert_true(w[i].done && w[i].request.error == 0);
    rig_submit(&rig, &next[i], SF_REQ_WRITE, (uint64_t) i * 4096, 4096, 3);
    rig_pass(&rig, 1);
    assert_true(next[i].done && next[i].request.error == 0);
    rig_put(&next[i]);
  }
  rig.holds = NULL;
  rig_pass(&rig, 100);
  for (unsigned i = 0; i < WRITES; i++)
    rig_put(&w[i]);
  rig_free(&rig);
}

static bool
leg_1_lost_the_first(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && rig_is_data(r, region) && region->offset < SF_DATA_OFFSET + 256 * 4096;
}

/* A leg that cannot be spared has lost as many requests as is its share of the ops, as where a path
 * broke, and answers all that it is asked since.  Clients that ask for something else are served,
 * as nothing else could end their wait. */
static void
a_leg_that_lost_its_share_of_ops_may_show_that_it_answers(void **state) {
  enum { LOST = 256 };
  static struct rig_request w[LOST], next;

  rig_init(&rig, 2, 2, 4096, 1024);
  rig.config.on_too_few = SF_TOO_FEW_SUSPEND;
  rig_start_fully(&rig);
  rig_touch_extents(&rig, 512, 4096);
  rig.holds = leg_1_lost_the_first;
  for (unsigned i = 0; i < LOST; i++)
    rig_submit(&rig, &w[i], SF_REQ_WRITE, (uint64_t) i * 4096, 4096, 2);
  rig_pass(&rig, 500);
  rig_submit(&rig, &next, SF_REQ_WRITE, 300 * 4096, 4096, 3);
  rig_pass(&rig, 500);
  assert_true(next.done && next.request.error == 0);
  rig_put(&next);
  rig.holds = NULL;
  rig_pass(&rig, 100);
  for (unsigned i = 0; i < LOST; i++) {
    assert_true(w[i].done);
    rig_put(&w[i]);
  }
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(suspended_writes_do_not_keep_a_leg_from_returning),
      cmocka_unit_test(a_frozen_leg_does_not_hold_all_ops),
      cmocka_unit_test(a_leg_that_lost_its_share_of_ops_may_show_that_it_answers),
      cmocka_unit_test(a_leg_comes_back_when_it_has_room),
      cmocka_unit_test(a_superblock_write_without_a_slot_is_no_error_of_the_leg),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

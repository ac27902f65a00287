/* R3: a process that could not run does not fail what it did not hear of. */
#include "rig.h"

#include <errno.h>

static struct rig rig;

static bool
holds_data_of_leg_1(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && rig_is_data(r, region);
}

static void
begin(struct rig_request *w, struct rig_request *waits) {
  rig_init(&rig, 2, 2, 65536, 64);
  rig_start_fully(&rig);
  rig_pass(&rig, 100);
  rig.holds = holds_data_of_leg_1;
  rig_submit(&rig, w, SF_REQ_WRITE, 0, 4096, 1);
  rig_submit(&rig, waits, SF_REQ_WRITE, 0, 4096, 2); /* for the first one */
  rig_pass(&rig, 10);
}

static void
a_stopped_process_fails_nothing_when_it_goes_on(void **state) {
  struct rig_request w, waits;

  begin(&w, &waits);
  rig.now_ns += 2 * rig.config.fail_timeout_ns; /* stopped, so the answer of leg 1 is not heard */
  sf_volume_tick(rig.volume, rig.now_ns);
  rig.holds = NULL;
  rig_pass(&rig, 50);
  assert_true(w.done && waits.done);
  assert_int_equal(w.request.error, 0);
  assert_int_equal(waits.request.error, 0);
  rig_put(&w);
  rig_put(&waits);
  rig_free(&rig);
}

/* Its own delay is not counted; the legs' is, before it and after. */
static void
the_legs_delay_still_counts(void **state) {
  struct rig_request w, waits;
  uint64_t began, stopped = 5 * SF_S;

  begin(&w, &waits);
  began = w.request.since_ns;
  rig.now_ns += stopped;
  sf_volume_tick(rig.volume, rig.now_ns);
  rig_pass(&rig, rig.config.fail_timeout_ns / SF_MS + 100);
  assert_true(w.done);
  assert_int_equal(w.request.error, -EIO);
  assert_true(w.done_ns - began >= rig.config.fail_timeout_ns + stopped - 100 * SF_MS);
  rig_put(&w);
  rig_put(&waits);
  rig_free(&rig);
}

/* A client may have waited before its request came to the volume. */
static void
what_a_client_waited_before_counts(void **state) {
  struct rig_request w, waits, late;

  begin(&w, &waits);
  rig.asked_ns = rig.now_ns;
  rig_pass(&rig, rig.config.fail_timeout_ns / 2 / SF_MS);
  rig_submit(&rig, &late, SF_REQ_WRITE, 0, 4096, 3);
  rig_pass(&rig, rig.config.fail_timeout_ns / 2 / SF_MS + 100);
  assert_true(late.done);
  assert_int_equal(late.request.error, -EIO);
  rig_put(&w);
  rig_put(&waits);
  rig_put(&late);
  rig_free(&rig);
}

static uint64_t held_from_ns;

static bool
is_younger_flush(const struct rig *r, const struct rig_region *region) {
  return region->op == SF_TIO_FLUSH && region->since_ns >= held_from_ns;
}

/* One shares the other's flush, and both have waited for us, not for the legs. */
static void
flushes_that_share_one_are_excused(void **state) {
  struct rig_request flush[3];

  rig_init(&rig, 2, 2, 65536, 64);
  rig.config.on_too_few = SF_TOO_FEW_ERROR;
  rig.config.fail_timeout_ns = 3 * SF_S;
  rig_start_fully(&rig);
  held_from_ns = 0;
  rig.holds = is_younger_flush;
  rig_submit(&rig, &flush[0], SF_REQ_FLUSH, 0, 0, 0);
  rig_pass(&rig, 10);
  for (unsigned i = 1; i < 3; i++)
    rig_submit(&rig, &flush[i], SF_REQ_FLUSH, 0, 0, 0);
  held_from_ns = rig.now_ns;
  rig_run(&rig);
  assert_true(flush[0].done);
  assert_non_null(rig.volume->flush_leader->followers);
  rig_pass(&rig, 500);
  rig.now_ns += 10 * SF_S;
  sf_volume_tick(rig.volume, rig.now_ns);
  rig_pass(&rig, 100);
  rig.holds = NULL;
  rig_pass(&rig, 100);
  for (unsigned i = 0; i < 3; i++) {
    assert_true(flush[i].done);
    assert_int_equal(flush[i].request.error, 0);
  }
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_stopped_process_fails_nothing_when_it_goes_on),
      cmocka_unit_test(the_legs_delay_still_counts),
      cmocka_unit_test(what_a_client_waited_before_counts),
      cmocka_unit_test(flushes_that_share_one_are_excused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

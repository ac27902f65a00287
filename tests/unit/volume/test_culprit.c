/* A volume that is suspended, or fails requests, names the legs that it does so for, in the event
 * and in the status. */
#include "rig.h"

#include <errno.h>
#include <string.h>

enum { EXTENT = 65536, PIECE = 4096 };

static struct rig rig;
static struct sf_volume_status status;
static unsigned frozen, failing;
static char told[8][256]; /* "to: reason" of each event of the volume's state */
static unsigned tellings;

static bool
holds_frozen(const struct rig *r, const struct rig_region *region) {
  return (frozen & (1u << region->leg)) != 0 || rig_takes_a_moment(r, region);
}

static int
fails_as_told(const struct rig *r, const struct rig_region *region) {
  return rig_is_data(r, region) && (failing & (1u << region->leg)) ? -EIO : 0;
}

static void
note(const struct sf_volume_event *event) {
  if (event->kind == SF_EVENT_STATE && tellings < 8)
    snprintf(told[tellings++], sizeof told[0], "%s: %s", event->to, event->reason);
}

static void
init(unsigned min_legs, enum sf_on_too_few on_too_few) {
  frozen = failing = tellings = 0;
  rig_init(&rig, 3, min_legs, EXTENT, 64);
  rig.config.on_too_few = on_too_few;
  rig.config.fail_timeout_ns = 2 * SF_S;
  rig_start_fully(&rig);
  rig.holds = holds_frozen;
  rig.fails = fails_as_told;
  rig.event = note;
}

static const char *
reason(void) {
  sf_volume_status(rig.volume, rig.now_ns, &status);
  return status.reason;
}

static struct rig_request request[5];

static void
submit(unsigned i, enum sf_request_kind kind) {
  rig_submit(&rig, &request[i], kind, kind == SF_REQ_FLUSH ? 0 : i * EXTENT,
             kind == SF_REQ_FLUSH ? 0 : PIECE, 7);
}

static void
end(unsigned n, uint64_t ms) {
  rig_pass(&rig, ms);
  for (unsigned i = 0; i < n; i++) {
    assert_true(request[i].done);
    if (request[i].request.kind == SF_REQ_WRITE)
      rig_put(&request[i]);
  }
  rig_free(&rig);
}

/* Of three legs one hangs and all are needed: it is named alone, with the requests that wait for
 * it, from the first event on, and no leg is when it is over. */
static void
a_leg_that_hangs(void **state) {
  init(3, SF_TOO_FEW_SUSPEND);
  frozen = 4;
  for (unsigned i = 0; i < 4; i++)
    submit(i, SF_REQ_WRITE);
  rig_pass(&rig, 6200);
  assert_string_equal(reason(), "waits for leg l2: 4 writes, the oldest 6.2 s; 3 legs needed");
  assert_int_equal(status.waits_for, 4);
  assert_int_equal(tellings, 1);
  assert_non_null(strstr(told[0], "suspended: waits for leg l2: 4 writes, the oldest "));
  frozen = 0;
  rig_pass(&rig, 500);
  assert_string_equal(reason(), "");
  assert_int_equal(status.waits_for, 0);
  assert_string_equal(told[tellings - 1], "healthy: ");
  end(4, 10);
}

/* Legs that are out are named with their state beside the hung one. */
static void
legs_that_are_out(void **state) {
  init(2, SF_TOO_FEW_SUSPEND);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 0, rig.now_ns), 0);
  rig_pass(&rig, 100);
  frozen = 2;
  submit(0, SF_REQ_WRITE);
  submit(1, SF_REQ_FLUSH);
  rig_pass(&rig, 2000);
  assert_string_equal(reason(),
                      "waits for leg l1: 1 write, 1 flush, the oldest 2.0 s; 2 legs needed");
  frozen = 0;
  end(2, 2000);
}

/* A leg that answers with errors and cannot be spared is as much to blame. */
static void
a_leg_that_fails(void **state) {
  init(3, SF_TOO_FEW_SUSPEND);
  failing = 1;
  submit(0, SF_REQ_WRITE);
  rig_pass(&rig, 1000);
  assert_string_equal(reason(), "waits for leg l0: 1 write, the oldest 1.0 s; 3 legs needed");
  failing = 0;
  end(1, 2000);
}

/* And where requests fail. */
static void
requests_that_fail(void **state) {
  init(3, SF_TOO_FEW_ERROR);
  submit(0, SF_REQ_WRITE);
  rig_pass(&rig, 20); /* its intent is there */
  rig_put(&request[0]);
  frozen = 6;
  submit(0, SF_REQ_WRITE);
  rig_pass(&rig, 2100);
  assert_true(request[0].done);
  assert_string_equal(reason(), "requests failed for want of legs l1 and l2; 3 legs needed");
  assert_int_equal(status.waits_for, 6);
  assert_string_equal(told[tellings - 1],
                      "failed: requests failed for want of legs l1 and l2; 3 legs needed");
  frozen = 0;
  end(1, 500);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_leg_that_hangs),
      cmocka_unit_test(legs_that_are_out),
      cmocka_unit_test(a_leg_that_fails),
      cmocka_unit_test(requests_that_fail),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

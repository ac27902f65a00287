/* The status document and events: the names that DESIGN section 7 fixes, letter by letter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/event_ring.h"

static struct sf_volume_status status; /* too large for a stack */

static void
assert_json(json_t *object, const char *expected) {
  assert_non_null(object);
  char *text = json_dumps(object, JSON_COMPACT);
  assert_string_equal(text, expected);
  free(text);
  json_decref(object);
}

static void
make_up(void) {
  memset(&status, 0, sizeof status);
  strcpy(status.name, "vol0");
  status.state = SF_VOLUME_HEALTHY;
  status.size_bytes = UINT64_C(1) << 40;
  status.term = 3;
  status.change = 4;
  status.min_legs = 1;
  status.legs_in_sync = 2;
  status.reads = 1;
  status.writes = 2;
  status.flushes = 3;
  status.late_acks = 4;
  status.errors = 5;
  status.legs = 1;
  strcpy(status.leg[0].name, "a");
  strcpy(status.leg[0].path, "/dev/sdb");
}

#define NO_LATENCY                                                                                 \
  "{\"count\":0,\"recent\":0,\"p50_us\":0,\"p99_us\":0,\"p999_us\":0,\"max_us\":0,"                \
  "\"buckets\":[]}"

/* Every key of DESIGN section 7 is there with its own value, in the order of the document; the
 * document also has since, reason, waits_for, lost_ranges, unconverged_bytes, intent_bytes,
 * resync_bytes, repairs, the pace (requests, bytes, in_flight, oldest_ms, deadline and its source,
 * the latency's recent and buckets), and a rate and a time left in resync. */
static void
whole_document(void **state) {
  (void) state;
  make_up();
  struct sf_leg_status *leg = &status.leg[0];
  leg->state = SF_STATE_CATCHING_UP;
  strcpy(leg->reason, "why");
  leg->stale_bytes = 6;
  leg->late_requests = 7;
  leg->timeouts = 8;
  leg->errors = 9;
  leg->repairs = 23;
  leg->resync_bytes = 14;
  leg->resyncing = true;
  leg->resync_done_bytes = 10;
  leg->resync_total_bytes = 11;
  leg->resync_rate = 12;
  leg->resync_left_ns = UINT64_C(13999999999);
  leg->state_age_ns = UINT64_C(3600000000000);
  leg->deadline_ns[SF_READ_KIND] = 100000000;
  status.lost[0] = (struct sf_lost_range){.begin = 4096, .end = 4608, .legs = 1, .recorded = true};
  status.lost_n = 1;
  leg->deadline_ns[SF_WRITE_KIND] = 1500;
  leg->deadline_source[SF_WRITE_KIND] = SF_DEADLINE_SET;
  leg->deadline_source[SF_FLUSH_KIND] = SF_DEADLINE_LEARNING;
  leg->bytes_read = 15;
  leg->bytes_written = 16;
  leg->window = 22;
  leg->in_flight = 17;
  leg->oldest_ns = UINT64_C(6200999999);
  leg->drill_left_ns = UINT64_C(9000999999);
  leg->latency[SF_READ_KIND] = (struct sf_latency){1, 5, 1000, 2000, 3000, 4001, {0}};
  leg->latency[SF_READ_KIND].bucket[4] = 3;
  leg->latency[SF_READ_KIND].bucket[5] = 4;
  leg->latency[SF_FLUSH_KIND] = (struct sf_latency){2, 6, 1, 999, 1000, 1000000000, {0}};
  status.wall_ns = INT64_C(1767225599987654321);
  status.state_age_ns = 987000000;
  strcpy(status.reason, "waits");
  status.waits_for = 1;
  status.bytes_read = 18;
  status.bytes_written = 19;
  status.in_flight = 20;
  status.oldest_ns = 21000000;
  assert_json(
      sf_status_to_json(&status, 1),
      "{\"version\":1,\"volumes\":[{\"name\":\"vol0\","
      "\"uuid\":\"00000000-0000-0000-0000-000000000000\",\"state\":\"healthy\","
      "\"since\":\"2025-12-31T23:59:59.000Z\",\"reason\":\"waits\",\"waits_for\":[\"a\"],"
      "\"size_bytes\":1099511627776,\"record\":{\"term\":3,\"change\":4},\"min_legs\":1,"
      "\"legs_in_sync\":2,\"unconverged_bytes\":0,\"unwritten_bytes\":0,\"intent_bytes\":0,"
      "\"lost_ranges\":[{\"offset\":4096,\"length\":512,\"legs\":[\"a\"],\"recorded\":true}],"
      "\"requests\":{\"reads\":1,\"writes\":2,\"flushes\":3,\"late_acks\":4,\"errors\":5},"
      "\"bytes_read\":18,\"bytes_written\":19,\"in_flight\":20,\"oldest_ms\":21,"
      "\"latency\":{\"read\":" NO_LATENCY ",\"write\":" NO_LATENCY ",\"flush\":" NO_LATENCY "},"
      "\"scrub\":null,\"legs\":[{\"name\":\"a\",\"path\":\"/dev/sdb\",\"state\":\"catching-up\","
      "\"since\":\"2025-12-31T22:59:59.987Z\","
      "\"reason\":\"why\",\"stale_bytes\":6,\"late_requests\":7,\"timeouts\":8,\"errors\":9,"
      "\"repairs\":23,"
      "\"resync_bytes\":14,\"resync\":{\"done_bytes\":10,\"total_bytes\":11,\"rate_bytes_per_s\":"
      "12,\"seconds_left\":13,\"stalled_ms\":0},\"requests\":{\"reads\":1,\"writes\":0,\"flushes\":"
      "2},"
      "\"bytes_read\":15,\"bytes_written\":16,\"window\":22,\"in_flight\":17,\"oldest_ms\":6200,"
      "\"drill_ms\":9000,"
      "\"deadline\":{\"read_us\":100000,\"write_us\":2,\"flush_us\":0},"
      "\"deadline_source\":{\"read\":\"auto\",\"write\":\"set\",\"flush\":\"learning\"},"
      "\"latency\":{"
      "\"read\":{\"count\":1,\"recent\":5,\"p50_us\":1,\"p99_us\":2,\"p999_us\":3,\"max_us\":5,"
      "\"buckets\":[[19,3],[23,4]]},\"write\":" NO_LATENCY ","
      "\"flush\":{\"count\":2,\"recent\":6,\"p50_us\":1,\"p99_us\":1,\"p999_us\":1,"
      "\"max_us\":1000000,\"buckets\":[]}}}]}]}");
}

/* Each state is told by its own name: what starts or stops has not failed. */
static void
states(void **state) {
  (void) state;
  static const char *const expected[SF_VOLUME_STATES] = {"starting",  "healthy", "degraded",
                                                         "suspended", "failed",  "stopping"};
  make_up();
  for (unsigned i = 0; i < SF_VOLUME_STATES; i++) {
    status.state = (enum sf_volume_state) i;
    json_t *document = sf_status_to_json(&status, 1);
    json_t *volume = json_array_get(json_object_get(document, "volumes"), 0);
    assert_string_equal(json_string_value(json_object_get(volume, "state")), expected[i]);
    json_decref(document);
  }
}

/* No leg, no resync, no rate: the document is whole and says null where there is nothing. */
static void
nothing_there(void **state) {
  (void) state;
  assert_json(sf_status_to_json(&status, 0), "{\"version\":1,\"volumes\":[]}");
  make_up();
  json_t *document = sf_status_to_json(&status, 1), *leg, *resync;
  assert_int_equal(json_unpack(document, "{s[{s[o]}]}", "volumes", "legs", &leg), 0);
  assert_true(json_is_null(json_object_get(leg, "resync")));
  assert_true(json_is_null(json_object_get(leg, "reason")));
  json_decref(document);

  status.leg[0].resyncing = true;
  document = sf_status_to_json(&status, 1);
  assert_int_equal(json_unpack(document, "{s[{s[{so}]}]}", "volumes", "legs", "resync", &resync),
                   0);
  assert_true(json_is_null(json_object_get(resync, "seconds_left")));
  json_decref(document);

  status.leg[0].resync_rate = 12;
  status.leg[0].resync_stalled_ns = 14000000000;
  document = sf_status_to_json(&status, 1);
  assert_int_equal(json_unpack(document, "{s[{s[{so}]}]}", "volumes", "legs", "resync", &resync),
                   0);
  assert_true(json_is_null(json_object_get(resync, "seconds_left")));
  assert_int_equal(json_integer_value(json_object_get(resync, "stalled_ms")), 14000);
  json_decref(document);
}

/* A scrub, with what it found and when. */
static void
a_scrub(void **state) {
  (void) state;
  make_up();
  status.wall_ns = INT64_C(1767225600000000000);
  status.scrub = (struct sf_scrub_status){.state = SF_SCRUB_DONE,
                                          .order = {.repair = true, .from = 0, .rate = 5},
                                          .age_ns = UINT64_C(2000000000),
                                          .ended_age_ns = UINT64_C(1000000000),
                                          .total_bytes = 10,
                                          .done_bytes = 9,
                                          .unwritten_bytes = 6,
                                          .legs = 1,
                                          .mismatches = 2,
                                          .mismatch_bytes = 3,
                                          .unreadable_bytes = 4,
                                          .repaired_bytes = 5,
                                          .ranges = 1};
  status.scrub.range[0] = (struct sf_scrub_range){
      .begin = 4096, .end = 4608, .legs = 1, .what = SF_SCRUB_UNREADABLE, .repaired = true};
  json_t *document = sf_status_to_json(&status, 1), *scrub;
  assert_int_equal(json_unpack(document, "{s[{sO}]}", "volumes", "scrub", &scrub), 0);
  json_decref(document);
  assert_json(scrub,
              "{\"state\":\"done\",\"repair\":true,\"from\":\"a\",\"rate\":5,"
              "\"began\":\"2025-12-31T23:59:58.000Z\",\"ended\":\"2025-12-31T23:59:59.000Z\","
              "\"end_time_s\":1767225599,\"legs\":[\"a\"],\"total_bytes\":10,"
              "\"done_bytes\":9,\"unwritten_bytes\":6,\"mismatches\":2,\"mismatch_bytes\":3,"
              "\"unreadable_bytes\":4,\"repaired_bytes\":5,\"ranges\":[{\"offset\":4096,"
              "\"length\":512,\"legs\":[\"a\"],\"what\":\"unreadable\",\"repaired\":true}]}");
  memset(&status.scrub, 0, sizeof status.scrub);
}

/* A path may hold any byte but NUL: the document is still valid JSON in valid UTF-8. */
static void
path_of_any_bytes(void **state) {
  (void) state;
  make_up();
  strcpy(status.leg[0].path, "/tmp/\xff\n\"");
  json_t *document = sf_status_to_json(&status, 1);
  const char *path;
  assert_int_equal(json_unpack(document, "{s[{s[{ss}]}]}", "volumes", "legs", "path", &path), 0);
  assert_string_equal(path, "/tmp/?\n\"");
  json_decref(document);
}

/* Each kind of event has its name; what it lacks is null. */
static void
events(void **state) {
  (void) state;
  struct sf_volume_event event = {.kind = SF_EVENT_LEG_STATE,
                                  .now_ns = 5,
                                  .leg = 1,
                                  .leg_name = "b",
                                  .from = "in-sync",
                                  .to = "late",
                                  .reason = "slow"};
  assert_json(sf_event_to_json("vol0", &event),
              "{\"event\":\"leg-state\",\"volume\":\"vol0\",\"leg\":\"b\",\"from\":\"in-sync\","
              "\"to\":\"late\",\"reason\":\"slow\",\"monotonic_ns\":5}");
  event = (struct sf_volume_event){.kind = SF_EVENT_READ_REPAIRED,
                                   .leg = 1,
                                   .leg_name = "b",
                                   .offset = 8192,
                                   .length = 4096,
                                   .error = -5,
                                   .count = 3};
  assert_json(sf_event_to_json("vol0", &event),
              "{\"event\":\"read-repaired\",\"volume\":\"vol0\",\"leg\":\"b\",\"from\":null,"
              "\"to\":null,\"reason\":null,\"monotonic_ns\":0,\"offset\":8192,\"length\":4096,"
              "\"errno\":5,\"count\":3}");
  static const char *const names[] = {"started", "leg-state", "state", "read-repaired", "stopped"};
  for (unsigned i = 0; i <= SF_EVENT_STOPPED; i++) {
    event = (struct sf_volume_event){.kind = (enum sf_volume_event_kind) i, .leg = -1};
    char expected[256];
    snprintf(expected, sizeof expected,
             "{\"event\":\"%s\",\"volume\":\"vol0\",\"leg\":null,\"from\":null,\"to\":null,"
             "\"reason\":null,\"monotonic_ns\":0}",
             names[i]);
    assert_json(sf_event_to_json("vol0", &event), expected);
  }
}

/* The ring keeps the newest, forgets the oldest, cuts long texts, and keeps no pointer of its
 * caller's. */
static void
a_ring(void **state) {
  (void) state;
  static struct sf_event_ring ring;
  sf_event_ring_init(&ring);
  uint64_t first, next;
  struct sf_kept_event kept;
  sf_event_ring_range(&ring, &first, &next);
  assert_int_equal(first, 0);
  assert_int_equal(next, 0);
  assert_false(sf_event_ring_get(&ring, 0, &kept));

  char reason[2 * SF_KEPT_REASON_MAX];
  for (unsigned i = 0; i < SF_CONTROL_EVENTS_KEPT + 3; i++) {
    memset(reason, 'x', sizeof reason);
    reason[sizeof reason - 1] = '\0';
    struct sf_volume_event event = {.now_ns = i, .leg = -1, .reason = reason};
    sf_event_ring_put(&ring, &event);
  }
  memset(reason, 'y', sizeof reason);
  sf_event_ring_range(&ring, &first, &next);
  assert_int_equal(first, 3);
  assert_int_equal(next, SF_CONTROL_EVENTS_KEPT + 3);
  assert_false(sf_event_ring_get(&ring, 2, &kept));
  assert_true(sf_event_ring_get(&ring, 3, &kept));
  assert_int_equal(kept.now_ns, 3);
  assert_int_equal(strlen(kept.reason), SF_KEPT_REASON_MAX - 1);
  assert_int_equal(strspn(kept.reason, "x"), SF_KEPT_REASON_MAX - 1);
  assert_string_equal(kept.from, "");

  kept.wall_ns = INT64_C(1767225599987654321);
  json_t *json = sf_kept_event_to_json("vol0", &kept);
  assert_string_equal(json_string_value(json_object_get(json, "time")), "2025-12-31T23:59:59.987Z");
  json_decref(json);
  sf_event_ring_destroy(&ring);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(whole_document),
      cmocka_unit_test(states),
      cmocka_unit_test(nothing_there),
      cmocka_unit_test(a_scrub),
      cmocka_unit_test(path_of_any_bytes),
      cmocka_unit_test(events),
      cmocka_unit_test(a_ring),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

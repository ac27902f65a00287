/* What surefootd keeps of the last hour of a volume's legs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "volumes/history.h"

#define S     UINT64_C(1000000)
#define BEGIN (UINT64_C(7000) * S)
#define HOUR  (UINT64_C(3600) * S)

/* A status with two legs: a has answered so many writes in 0.9 ms, b so many in 50 ms. */
static json_t *
status(json_int_t of_a, json_int_t of_b, const char *state_of_b) {
  json_t *own = json_pack(
      "{ss s{s{sI s[[I,I]]}} s[{ss ss s{sI} s{s{sI sI sI sI s[[I,I]]}}}, "
      "{ss ss s{sI} s{s{sI sI sI sI s[[I,I]]}}}]}",
      "state", "degraded", "latency", "write", "recent", (json_int_t) 0, "buckets",
      (json_int_t) 900000, of_a, "legs", "name", "a", "state", "in-sync", "deadline", "write_us",
      (json_int_t) 70000, "latency", "write", "recent", (json_int_t) 5, "p50_us", (json_int_t) 800,
      "p99_us", (json_int_t) 900, "max_us", (json_int_t) 901, "buckets", (json_int_t) 900000, of_a,
      "name", "b", "state", state_of_b, "deadline", "write_us", (json_int_t) 90000, "latency",
      "write", "recent", (json_int_t) 0, "p50_us", (json_int_t) 0, "p99_us", (json_int_t) 0,
      "max_us", (json_int_t) 0, "buckets", (json_int_t) 50000000, of_b);
  assert_non_null(own);
  return own;
}

static void
note(struct history *history, uint64_t at_us, json_t *own) {
  sfd_history_note(history, own, at_us);
  json_decref(own);
}

/* Writes of this leg in the sum, all of which must have taken at most so long; no leg: 0. */
static json_int_t
writes(const json_t *sum, const char *name, json_int_t ns) {
  size_t i, j;
  json_t *leg, *bucket;
  json_array_foreach(json_object_get(sum, "legs"), i, leg) {
    if (strcmp(json_string_value(json_object_get(leg, "name")), name) != 0)
      continue;
    const json_t *write = json_object_get(json_object_get(leg, "latency"), "write");
    json_array_foreach(json_object_get(write, "buckets"), j, bucket)
      assert_int_equal(json_integer_value(json_array_get(bucket, 0)), ns);
    return json_integer_value(json_object_get(write, "count"));
  }
  return 0;
}

static void
expect_sum(const struct history *history, uint64_t since, uint64_t now, json_int_t seconds,
           json_int_t of_a, json_int_t of_b) {
  json_t *sum = sfd_history_sum(history, since, now);
  assert_int_equal(json_integer_value(json_object_get(sum, "seconds")), seconds);
  assert_int_equal(writes(sum, "a", 1 << 20), of_a);
  assert_int_equal(writes(sum, "b", 1 << 26), of_b);
  json_decref(sum);
}

/* Proves that a time is answered with its counts, in whole minutes, and with how long that is. */
static void
values_since(void **state) {
  struct history history = {0};
  expect_sum(&history, HOUR, BEGIN, 0, 0, 0);
  note(&history, BEGIN, status(10, 1, "in-sync"));
  note(&history, BEGIN + 30 * S, status(15, 1, "in-sync"));
  note(&history, BEGIN + 70 * S, status(115, 1, "in-sync"));
  note(&history, BEGIN + 125 * S, status(115, 4, "in-sync"));
  expect_sum(&history, HOUR, BEGIN + 130 * S, 130, 115, 4);
  expect_sum(&history, 60 * S, BEGIN + 130 * S, 70, 100, 3);
  expect_sum(&history, 1 * S, BEGIN + 130 * S, 10, 0, 3);
  sfd_history_clear(&history);
}

/* Proves that a server that begins to count anew takes nothing away, and that what it counts is
 * added. */
static void
restart(void **state) {
  struct history history = {0};
  note(&history, BEGIN, status(100, 50, "in-sync"));
  note(&history, BEGIN + 5 * S, status(7, 2, "in-sync"));
  note(&history, BEGIN + 10 * S, status(9, 2, "in-sync"));
  expect_sum(&history, HOUR, BEGIN + 10 * S, 10, 109, 52);
  sfd_history_clear(&history);
}

/* Proves that an hour is kept and no more, however long it goes on, and that a minute without a
 * look is a gap. */
static void
an_hour(void **state) {
  struct history history = {0};
  for (unsigned minute = 0; minute < 300; minute++)
    if (minute % 100 < 95)
      note(&history, BEGIN + minute * 60 * S, status(minute + 1, 0, "in-sync"));
  uint64_t now = BEGIN + UINT64_C(294) * 60 * S;
  json_t *all = sfd_history_samples(&history, now);
  json_t *of_a = json_object_get(json_array_get(json_object_get(all, "legs"), 0), "samples");
  assert_int_equal(json_array_size(of_a), HISTORY_MINUTES);
  assert_int_equal(json_integer_value(json_object_get(json_array_get(of_a, 0), "ago_min")), 59);
  json_decref(all);
  expect_sum(&history, 24 * HOUR, now, 3540, 60, 0);
  all = sfd_history_samples(&history, now + 5 * 60 * S);
  of_a = json_object_get(json_array_get(json_object_get(all, "legs"), 0), "samples");
  assert_int_equal(json_array_size(of_a), HISTORY_MINUTES - 5);
  assert_int_equal(json_integer_value(json_object_get(json_array_get(of_a, 54), "ago_min")), 5);
  json_decref(all);
  expect_sum(&history, HOUR, now + 2 * HOUR, 0, 0, 0);
  sfd_history_clear(&history);
}

/* Proves what a sample says: the last look's quantiles with the deadline, null where nothing was
 * asked, and that a leg that was out at one look was out. */
static void
samples(void **state) {
  struct history history = {0};
  note(&history, BEGIN, status(1, 0, "late"));
  note(&history, BEGIN + 5 * S, status(2, 0, "in-sync"));
  json_t *all = sfd_history_samples(&history, BEGIN + 6 * S), *expected;
  expected = json_pack(
      "{s[{si sb sn s n sn}] s[{ss s[{si sb sn s{si si si si} sn}]} {ss s[{si sb sn sn sn}]}]}",
      "samples", "ago_min", 0, "out", 1, "read", "write", "flush", "legs", "name", "a", "samples",
      "ago_min", 0, "out", 0, "read", "write", "p50_us", 800, "p99_us", 900, "max_us", 901,
      "deadline_us", 70000, "flush", "name", "b", "samples", "ago_min", 0, "out", 1, "read",
      "write", "flush");
  assert_non_null(expected);
  if (!json_equal(all, expected))
    fail_msg("%s", json_dumps(all, 0));
  json_decref(all);
  json_decref(expected);
  sfd_history_clear(&history);
}

/* Proves that a status that is not one is not a crash. */
static void
nonsense(void **state) {
  static const char *const said[] = {
      "{}", "[]", "{\"legs\": 4}", "{\"legs\": [null, {}, {\"name\": 7}, {\"name\": \"a\"}]}",
      ("{\"legs\": [{\"name\": \"a\", \"latency\": {\"write\": {\"buckets\": [[-1, 5], [7], 0, "
       "[9223372036854775807, 9223372036854775807]]}}}, {\"name\": \"a\"}]}")};
  struct history history = {0};
  for (unsigned i = 0; i < sizeof said / sizeof *said; i++)
    note(&history, BEGIN + i * S, json_loads(said[i], 0, NULL));
  json_t *sum = sfd_history_sum(&history, HOUR, BEGIN + 10 * S);
  assert_int_equal(json_array_size(json_object_get(sum, "legs")), 1);
  json_decref(sum);
  sfd_history_clear(&history);
}

/* What is kept of a history at that time, and what the next surefootd makes of it later. */
static void
keep(const struct history *history, uint64_t now_us, int64_t wall_s, struct history *next,
     uint64_t next_us, int64_t next_wall_s) {
  char *text = NULL, *line, *rest;
  size_t size;
  FILE *stream = open_memstream(&text, &size);
  assert_int_equal(sfd_history_write(history, "vol0", now_us, wall_s, stream), 0);
  fclose(stream);
  for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
    json_t *object = json_loads(line, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(object, "volume")), "vol0");
    assert_true(sfd_history_is_line(object));
    sfd_history_restore(next, object, next_us, next_wall_s);
    json_decref(object);
  }
  free(text);
}

/* Proves that the hour before a restart is there after it, minute by minute, though the machine
 * was started anew meanwhile and its clock begins anew, that what is older is not, that what
 * happens then is added, and that a second restart adds nothing twice. */
static void
kept(void **state) {
  struct history history = {0}, next = {0}, third = {0};
  note(&history, BEGIN, status(10, 1, "in-sync"));
  note(&history, BEGIN + 70 * S, status(15, 1, "late"));
  note(&history, BEGIN + 130 * S, status(115, 1, "in-sync"));
  keep(&history, BEGIN + 140 * S, 1000140, &next, 20 * S, 1000200);
  expect_sum(&next, HOUR, 20 * S, 240, 115, 1);
  expect_sum(&next, 120 * S, 20 * S, 120, 100, 0);
  json_t *all = sfd_history_samples(&next, 20 * S);
  json_t *of_b = json_object_get(json_array_get(json_object_get(all, "legs"), 1), "samples");
  assert_int_equal(json_array_size(of_b), 3);
  assert_true(json_is_true(json_object_get(json_array_get(of_b, 1), "out")));
  assert_int_equal(json_integer_value(json_object_get(json_array_get(of_b, 1), "ago_min")), 3);
  json_t *of_a = json_object_get(json_array_get(json_object_get(all, "legs"), 0), "samples");
  json_t *write = json_object_get(json_array_get(of_a, 2), "write");
  assert_int_equal(json_integer_value(json_object_get(write, "p99_us")), 900);
  assert_int_equal(json_integer_value(json_object_get(write, "deadline_us")), 70000);
  json_decref(all);

  note(&next, 30 * S, status(7, 3, "in-sync"));
  expect_sum(&next, HOUR, 30 * S, 250, 122, 4);
  keep(&next, 30 * S, 1000210, &third, 5 * S, 1000215);
  expect_sum(&third, HOUR, 5 * S, 255, 122, 4);
  sfd_history_clear(&third);
  keep(&next, 30 * S, 1000210, &third, BEGIN, 1000210 + 3590);
  expect_sum(&third, HOUR, BEGIN, 0, 0, 0);
  sfd_history_clear(&third);
  keep(&next, 30 * S, 1000210, &third, BEGIN, 900000); /* the clock was set back */
  expect_sum(&third, HOUR, BEGIN, 0, 0, 0);
  sfd_history_clear(&history);
  sfd_history_clear(&next);
  sfd_history_clear(&third);
}

/* Proves that no damaged line is taken for a minute. */
static void
damaged_lines(void **state) {
#define KIND "{\"counts\":[[3,7]],\"sample\":[1,2,3,4]}"
#define LINE(a, b)                                                                                 \
  "{\"volume\":\"v\",\"at_s\":5,\"columns\":[{\"name\":" a ",\"out\":false,"                       \
  "\"read\":" b ",\"write\":" KIND ",\"flush\":" KIND "}]}"
  static const struct {
    const char *text;
    bool whole;
  } lines[] = {
      {LINE("\"a\"", KIND), true},
      {LINE("\"\"", "{\"counts\":[],\"sample\":null}"), true},
      {LINE("5", KIND), false},
      {LINE("\"a-name-that-no-leg-can-have-as-it-is-too-long\"", KIND), false},
      {LINE("\"a\"", "{\"counts\":[[32,7]],\"sample\":null}"), false},
      {LINE("\"a\"", "{\"counts\":[[-1,7]],\"sample\":null}"), false},
      {LINE("\"a\"", "{\"counts\":[[3,-7]],\"sample\":null}"), false},
      {LINE("\"a\"", "{\"counts\":[[3,4294967296]],\"sample\":null}"), false},
      {LINE("\"a\"", "{\"counts\":[[3]],\"sample\":null}"), false},
      {LINE("\"a\"", "{\"counts\":7,\"sample\":null}"), false},
      {LINE("\"a\"", "{\"counts\":[],\"sample\":[1,2,3]}"), false},
      {LINE("\"a\"", "{\"counts\":[]}"), false},
      {LINE("\"a\"", "null"), false},
      {"{\"volume\":\"v\",\"columns\":[]}", false},
      {"{\"volume\":7,\"at_s\":5,\"columns\":[]}", false},
      {"{\"volume\":\"v\",\"at_s\":5}", false},
      {"[]", false},
  };
  for (unsigned i = 0; i < sizeof lines / sizeof lines[0]; i++) {
    json_t *line = json_loads(lines[i].text, 0, NULL);
    assert_non_null(line);
    if (sfd_history_is_line(line) != lines[i].whole)
      fail_msg("%s", lines[i].text);
    json_decref(line);
  }
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_since),  cmocka_unit_test(restart),  cmocka_unit_test(an_hour),
      cmocka_unit_test(samples),       cmocka_unit_test(nonsense), cmocka_unit_test(kept),
      cmocka_unit_test(damaged_lines),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

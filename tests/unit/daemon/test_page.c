/* The page for people: that nothing from outside becomes a part of it, and that it shows what there
 * is. */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "monitor/http.h"
#include "monitor/page.h"
#include "monitor/page_text.h"

#define HOSTILE "<b>&\"'><script>alert(1)</script>\x1b[31m"

static json_t *
sample(unsigned ago, int p50, int p99, bool out) {
  return json_pack("{si sb s{si si si si} sn}", "ago_min", ago, "out", out, "write", "p50_us", p50,
                   "p99_us", p99, "max_us", p99 * 3, "deadline_us", 100000, "read");
}

/* An hour with a gap, of a leg that was out at its end. */
static json_t *
an_hour(void) {
  json_t *samples = json_array();
  for (unsigned ago = 60; ago-- > 0;)
    if (ago < 30 || ago > 35)
      json_array_append_new(samples, sample(ago, 400 + (int) ago * 7, 2000 + (int) ago, ago < 4));
  return samples;
}

static json_t *
leg(const char *name, const char *state, const char *reason) {
  return json_pack("{ss ss ss ss ss si si si s{si} s{s{si si si}} s{si si si}}", "name", name,
                   "path", name, "state", state, "since", "2026-11-29T16:00:00.000Z", "reason",
                   reason, "in_flight", 3, "oldest_ms", 6200, "timeouts", 5, "deadline", "write_us",
                   100000, "latency", "write", "recent", 7, "p50_us", 812, "p99_us", 6200000,
                   "resync", "done_bytes", 1, "total_bytes", 4, "seconds_left", 90);
}

/* Each text that comes from outside is this one. */
static json_t *
volumes(const char *text, const char *state) {
  json_t *list = json_pack(
      "[{ss ss ss ss sI si si s[oo] s{ss ss ss s{ss ss} s[{ss ss ss ss}]} s{so s[{ss so}]}}]",
      "name", text, "state", state, "since", "2026-11-29T16:00:00.000Z", "reason", text,
      "size_bytes", (json_int_t) 10 << 30, "legs_in_sync", 1, "min_legs", 1, "legs",
      leg(text, "late", text), leg("b", "in-sync", ""), "service", "state", text, "reason", text,
      "restart_needed_for", text, "device", "path", text, "state", text, "spares", "name", text,
      "path", text, "state", text, "reason", text, "history", "samples", an_hour(), "legs", "name",
      text, "samples", an_hour());
  assert_non_null(list);
  return list;
}

static json_t *
events(const char *text) {
  json_t *list = json_array();
  for (unsigned i = 0; i < 120; i++)
    json_array_append_new(list, json_pack("{ss ss ss ss ss ss ss}", "event", text, "volume", text,
                                          "leg", text, "from", text, "to", i == 119 ? "late" : text,
                                          "reason", text, "time", text));
  return list;
}

static char *
make(const char *text, const char *state, bool whole) {
  json_t *shown = volumes(text, state), *told = events(text), *problems = json_pack("[s]", text);
  const struct page_facts facts = {.volumes = shown,
                                   .events = told,
                                   .problems = problems,
                                   .host = text,
                                   .whole = whole,
                                   .now_ns = INT64_C(1795968000) * 1000000000, /* 16:00 that day */
                                   .nonce = "0123456789abcdef"};
  char *made = sfd_page_make(&facts);
  assert_non_null(made);
  json_decref(shown);
  json_decref(told);
  json_decref(problems);
  return made;
}

static char *
page(const char *text, const char *state) {
  return make(text, state, true);
}

/* The elements that it is made of, in order, without what stands in them. */
static char *
elements(const char *made) {
  char *skeleton = calloc(1, strlen(made) + 1);
  size_t used = 0;
  for (const char *c = made; *c; c++)
    if (*c == '<')
      for (const char *e = c + 1; isalnum((unsigned char) *e) || *e == '/' || *e == '!'; e++)
        skeleton[used++] = *e;
  return skeleton;
}

/* Proves that whatever a name, a path, a host or a reason holds is text in the page: its elements
 * are those of the page of a harmless text, and no attribute ends early. */
static void
hostile_texts(void **state) {
  (void) state;
  char *hostile = page(HOSTILE, "degraded"), *harmless = page("x", "degraded");
  char *are = elements(hostile), *should = elements(harmless);
  assert_string_equal(are, should);
  assert_null(strstr(hostile, "<b>&\""));
  assert_null(strstr(hostile, "alert(1)</script>"));
  assert_null(strchr(hostile, 0x1b));
  assert_non_null(strstr(hostile, "&lt;b&gt;&amp;&quot;&#39;&gt;&lt;script&gt;alert(1)&lt;/script"
                                  "&gt;?[31m"));
  free(hostile);
  free(harmless);
  free(are);
  free(should);
}

/* Proves that it shows the essentials: which leg is late and why, how old the oldest request is,
 * the deadline as text and as a line, and the end of a copy; and that a state is told by a word and
 * a mark, not by its colour. */
static void
what_is_shown(void **state) {
  static const char *const said[] = {
      "<title>▲ Surefoot: 1 of 1 not healthy</title>",
      "<span class=warn>▲ degraded</span>",
      "<span class=warn>▲ late</span>",
      "<span class=good>✓ in-sync</span>",
      ">3, the oldest 6.2 s<",
      ">6.2 s<",
      "copying: 25 %. 1 min left. write at 4096",
      "late after 100 ms</figcaption>",
      "<path class=d d='M",
      "out of sync in 4 of the last 60 minutes",
      "Files that are not used",
      "1 of 2 legs in sync, 1 needed",
      "10 GiB",
  };
  (void) state;
  char *made = page("write at 4096", "degraded");
  const char *to = getenv("SUREFOOT_PAGE_TO"); /* to look at it */
  FILE *file = to ? fopen(to, "we") : NULL;
  if (file) {
    fputs(made, file);
    fclose(file);
  }
  for (unsigned i = 0; i < sizeof said / sizeof *said; i++)
    if (!strstr(made, said[i]))
      fail_msg("%s is not in\n%s", said[i], made);
  assert_null(strstr(made, "Reads in the last hour")); /* there were none */
  unsigned rows = 0;
  for (const char *row = made; (row = strstr(row, "<td data-h='Time'>")); row++)
    rows++;
  assert_int_equal(rows, 50);
  free(made);
  made = page("x", "healthy");
  assert_non_null(strstr(made, "<title>✓ Surefoot: 1 healthy</title>"));
  free(made);
}

/* Proves that a volume that is not well stands before those that are. */
static void
order(void **state) {
  json_t *list = json_pack("[{ss ss}{ss ss}{ss ss}]", "name", "one", "state", "healthy", "name",
                           "two", "state", "suspended", "name", "six", "state", "healthy");
  const struct page_facts facts = {.volumes = list, .host = "", .whole = true, .nonce = "0"};
  char *made = sfd_page_make(&facts);
  const char *one = strstr(made, "<h2>one<"), *two = strstr(made, "<h2>two<"),
             *six = strstr(made, "<h2>six<");
  (void) state;
  assert_true(two && two < one && one < six);
  free(made);
  json_decref(list);
}

/* Proves that a gap in the samples is a gap in the line, and one minute alone is a dot. */
static void
gap(void **state) {
  (void) state;
  char *made = page("x", "healthy");
  const char *line = strstr(made, "<path class=p d='");
  assert_non_null(line);
  unsigned begins = 0;
  for (const char *c = line; *c != '/'; c++)
    begins += *c == 'M';
  assert_int_equal(begins, 2);
  free(made);
}

/* Proves that it loads nothing from elsewhere, and that its policy allows what it has and no
 * more. */
static void
alone(void **state) {
  (void) state;
  char *made = page("x", "healthy"), policy[512];
  const struct page_facts facts = {.nonce = "0123456789abcdef"};
  sfd_page_policy(&facts, policy);
  assert_null(strstr(made, "http:"));
  assert_null(strstr(made, "https:"));
  assert_null(strstr(made, "//"));
  assert_null(strstr(made, " style="));
  assert_null(strstr(made, " onload"));
  assert_non_null(strstr(made, "<style nonce=0123456789abcdef>"));
  assert_non_null(strstr(made, "<script nonce=0123456789abcdef>"));
  assert_non_null(strstr(made, "<noscript><meta http-equiv=refresh content=10></noscript>"));
  assert_string_equal(policy,
                      "default-src 'none'; style-src 'nonce-0123456789abcdef'; script-src "
                      "'nonce-0123456789abcdef'; connect-src 'self'; img-src data:; base-uri "
                      "'none'; form-action 'none'; frame-ancestors 'none'; "
                      "require-trusted-types-for 'script'");
  free(made);
}

/* Proves that what the script asks for has the title and all that changes, and no style or script,
 * which the page's policy would not allow another document. */
static void
a_part(void **state) {
  (void) state;
  char *part = make("x", "degraded", false), *whole = page("x", "degraded");
  const char *main = strstr(part, "<main>"), *of_whole = strstr(whole, "<main>");
  assert_non_null(main);
  assert_memory_equal(main, of_whole, strlen(main));
  assert_non_null(strstr(part, "<title>▲ Surefoot"));
  assert_null(strstr(part, "<style"));
  assert_null(strstr(part, "<script"));
  free(part);
  free(whole);
}

/* Proves that a status that is not one is not a crash. */
static void
nonsense(void **state) {
  static const char *const said[] = {
      "[]", "[null]", "[{}]", "[{\"legs\": [{}, 4]}]",
      "[{\"name\": 4, \"history\": {\"samples\": [{}], \"legs\": [{\"samples\": [{\"write\": "
      "{\"p50_us\": 1, \"max_us\": 1}}, {\"write\": {\"p99_us\": 9223372036854775807, \"max_us\": "
      "9223372036854775807}, \"ago_min\": 5}]}]}}]"};
  (void) state;
  for (unsigned i = 0; i < sizeof said / sizeof *said; i++) {
    json_t *list = json_loads(said[i], 0, NULL);
    const struct page_facts facts = {.volumes = list, .host = "", .whole = true, .nonce = "0"};
    char *made = sfd_page_make(&facts);
    assert_non_null(strstr(made, "</html>"));
    free(made);
    json_decref(list);
  }
}

/* Proves which hosts may be named: this machine itself, at any port, and nothing that only looks
 * like it. */
static void
hosts(void **state) {
  static const char *const ours[] = {"localhost",    "LOCALHOST:1", "127.0.0.1", "127.0.0.1:9465",
                                     "127.9.9.9:80", "[::1]",       "[::1]:9465"};
  static const char *const theirs[] = {"",
                                       "evil.example",
                                       "evil.example:9465",
                                       "localhost.evil.example",
                                       "127.0.0.1.",
                                       "127.0.0.1.evil.com",
                                       "10.0.0.1",
                                       "[::2]",
                                       "[::1",
                                       "[::1]x",
                                       "::1",
                                       "localhost@evil.example",
                                       "127.1"};
  (void) state;
  for (unsigned i = 0; i < sizeof ours / sizeof *ours; i++)
    if (!sfd_http_is_own_host(ours[i]))
      fail_msg("%s is refused", ours[i]);
  for (unsigned i = 0; i < sizeof theirs / sizeof *theirs; i++)
    if (sfd_http_is_own_host(theirs[i]))
      fail_msg("%s is taken", theirs[i]);
  assert_false(sfd_http_is_own_host(NULL));
}

/* Proves how numbers are written. */
static void
numbers(void **state) {
  char text[PAGE_TEXT_MAX];
  (void) state;
  assert_string_equal(sfd_page_us(999, text), "999 µs");
  assert_string_equal(sfd_page_us(1234, text), "1.2 ms");
  assert_string_equal(sfd_page_us(100000, text), "100 ms");
  assert_string_equal(sfd_page_us(6200000, text), "6.2 s");
  assert_string_equal(sfd_page_bytes(1023, text), "1023 B");
  assert_string_equal(sfd_page_bytes(1536, text), "1.5 KiB");
  assert_string_equal(sfd_page_bytes(UINT64_C(10) << 30, text), "10 GiB");
  assert_string_equal(sfd_page_seconds(59, text), "59 s");
  assert_string_equal(sfd_page_seconds(7800, text), "2 h 10 min");
  assert_string_equal(sfd_page_seconds(90000, text), "1 d 1 h");
  assert_int_equal(sfd_page_seconds_of("1970-01-02T00:00:00.123Z"), 86400);
  assert_int_equal(sfd_page_seconds_of("yesterday"), -1);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(hostile_texts), cmocka_unit_test(what_is_shown), cmocka_unit_test(gap),
      cmocka_unit_test(order),         cmocka_unit_test(a_part),        cmocka_unit_test(alone),
      cmocka_unit_test(nonsense),      cmocka_unit_test(hosts),         cmocka_unit_test(numbers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

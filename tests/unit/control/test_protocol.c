/* The request-line parser by itself: any bytes in, a request or one clear line out. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <surefoot/wire.h>

#include "broken_lines.h"

static void
parse_ok(const char *line, struct sf_control_request *request) {
  char error[SF_CONFIG_ERROR_MAX] = "";
  int r = sf_control_parse(line, strlen(line), "vol0", request, error);
  assert_string_equal(error, "");
  assert_int_equal(r, 0);
}

/* Every request that the header names is understood, each with its own fields and no others. */
static void
good_requests(void **state) {
  (void) state;
  struct sf_control_request request;
  parse_ok(V1 "\"command\":\"status\",\"volume\":\"vol0\"}", &request);
  assert_int_equal(request.command, SF_COMMAND_STATUS);
  assert_null(request.key);
  sf_control_request_clear(&request);

  parse_ok(V1 "\"command\":\"events\"}\r", &request);
  assert_int_equal(request.command, SF_COMMAND_EVENTS);
  assert_false(request.follow);
  sf_control_request_clear(&request);

  parse_ok(V1 "\"command\":\"events\",\"follow\":true}", &request);
  assert_true(request.follow);
  sf_control_request_clear(&request);

  parse_ok(V1 "\"command\":\"set\",\"key\":\"leg.a.write_timeout\",\"value\":\"20ms\"}", &request);
  assert_int_equal(request.command, SF_COMMAND_SET);
  assert_string_equal(request.key, "leg.a.write_timeout");
  assert_string_equal(request.value, "20ms");
  sf_control_request_clear(&request);

  parse_ok("{\"leg\":\"a\",\"action\":\"return\",\"command\":\"leg\",\"version\":1}", &request);
  assert_int_equal(request.command, SF_COMMAND_LEG);
  assert_string_equal(request.action, "return");
  assert_string_equal(request.leg, "a");
  sf_control_request_clear(&request);

  parse_ok(V1 "\"command\":\"scrub\",\"action\":\"start\",\"repair\":true,\"leg\":\"a\","
              "\"rate\":\"50M\"}",
           &request);
  assert_int_equal(request.command, SF_COMMAND_SCRUB);
  assert_true(request.repair);
  assert_string_equal(request.leg, "a");
  assert_string_equal(request.rate, "50M");
  sf_control_request_clear(&request);
}

static void
assert_refused(const char *what, const char *bytes, size_t len, const char *expected) {
  /* Exactly as long as the line, so that a sanitizer sees a byte read beyond. */
  char *copy = malloc(len ? len : 1);
  if (len)
    memcpy(copy, bytes, len);
  struct sf_control_request request;
  memset(&request, 0x55, sizeof request);
  struct sf_control_request before = request;
  char error[SF_CONFIG_ERROR_MAX] = "";
  int r = sf_control_parse(copy, len, "vol0", &request, error);
  free(copy);
  if (r != -EINVAL || !*error || (expected && strcmp(error, expected) != 0))
    fail_msg("%s: %d, \"%s\", expected \"%s\"", what, r, error, expected ? expected : "...");
  assert_memory_equal(&request, &before, sizeof request);
  assert_null(strpbrk(error, "\n\r\t\001"));

  json_t *reply = sf_control_error_reply(error);
  assert_string_equal(json_string_value(json_object_get(reply, "error")), error);
  json_decref(reply);
}

/* A scrub is told nothing that it would not heed. */
static void
scrub_requests(void **state) {
  static const char *const cases[][2] = {
      {"\"action\":\"go\"}", "unknown action \"go\": start, pause, resume or cancel"},
      {"\"action\":\"pause\",\"rate\":\"1M\"}", "the action pause has nothing else to it"},
      {"\"action\":\"cancel\",\"repair\":true}", "the action cancel has nothing else to it"},
      {"\"action\":\"start\",\"leg\":\"a\"}", "\"leg\" is for a scrub that repairs"},
      {"\"repair\":true}", "\"action\" is missing in a scrub request"},
  };
  for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char line[256];
    snprintf(line, sizeof line, V1 "\"command\":\"scrub\",%s", cases[i][0]);
    assert_refused(line, line, strlen(line), cases[i][1]);
  }
}

/* Every broken line is refused with its own words, leaves the request untouched, and its error is
 * one line that fits into a JSON reply whatever bytes it quotes. */
static void
lines_that_are_broken(void **state) {
  (void) state;
  for (unsigned i = 0; i < BROKEN_LINES; i++)
    assert_refused(broken_lines[i].what, broken_lines[i].bytes, broken_lines[i].len,
                   broken_lines[i].error);
}

/* Nesting beyond what any request needs ends in an error and not in a full stack. */
static void
deep_nesting(void **state) {
  (void) state;
  enum { DEPTH = SF_CONTROL_LINE_MAX };
  char *line = malloc(DEPTH);
  memset(line, '[', DEPTH);
  assert_refused("deep arrays", line, DEPTH, NULL);
  for (unsigned i = 0; i + 5 <= DEPTH; i += 5)
    memcpy(line + i, "{\"a\":", 5);
  assert_refused("deep objects", line, DEPTH / 5 * 5, NULL);
  free(line);
}

/* A request cut off after any number of its bytes is refused: no prefix is taken for the whole. */
static void
every_prefix(void **state) {
  (void) state;
  static const char line[] = V1 "\"command\":\"leg\",\"action\":\"fail\",\"leg\":\"a\"}";
  for (size_t len = 0; len < sizeof line - 1; len++)
    assert_refused("a prefix", line, len, NULL);
}

/* A request with any one of its bytes turned into any other never crashes the parser, and an
 * accepted request has all that its command needs. */
static void
every_changed_byte(void **state) {
  (void) state;
  static const char good[] = V1 "\"command\":\"set\",\"key\":\"k\",\"value\":\"v\"}";
  char line[sizeof good], error[SF_CONFIG_ERROR_MAX];
  for (size_t at = 0; at < sizeof good - 1; at++) {
    for (unsigned byte = 0; byte < 256; byte++) {
      memcpy(line, good, sizeof good);
      line[at] = (char) byte;
      struct sf_control_request request;
      if (sf_control_parse(line, sizeof good - 1, "vol0", &request, error) < 0)
        continue;
      assert_int_equal(request.command, SF_COMMAND_SET);
      assert_non_null(request.key);
      assert_non_null(request.value);
      sf_control_request_clear(&request);
    }
  }
}

/* An unknown command as long as the line, in characters of several bytes, is quoted cut: the cut
 * falls inside a character, and the reply is valid UTF-8 all the same. */
static void
long_quotes(void **state) {
  (void) state;
  for (unsigned shift = 0; shift < 4; shift++) {
    char line[2048];
    snprintf(line, sizeof line, V1 "\"command\":\"%.*s", (int) shift, "xxx");
    for (unsigned i = 0; i < 300; i++)
      strcat(line, "\xe2\x82\xac");
    strcat(line, "\"}");
    assert_refused("a long command", line, strlen(line), NULL);
  }
}

/* Text of any bytes becomes valid UTF-8, and valid text stays as it is. */
static void
texts_of_messages(void **state) {
  (void) state;
  static const struct {
    const char *in, *out;
  } texts[] = {
      {"plain", "plain"},
      {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
      {"a\xff", "a?"},
      {"\xc3", "?"},
      {"\xe2\x82", "??"},
      {"\xc0\x80", "??"},           /* an overlong NUL */
      {"\xed\xa0\x80", "???"},      /* a surrogate */
      {"\xf4\x90\x80\x80", "????"}, /* beyond U+10FFFF */
      {"line\nnext\x7f", "line?next?"},
  };
  for (unsigned i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    char text[64];
    strcpy(text, texts[i].in);
    sf_text_clean(text);
    assert_string_equal(text, texts[i].out);
    json_t *json = sf_text_to_json_string(texts[i].in);
    assert_non_null(json);
    json_decref(json);
  }
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(good_requests),         cmocka_unit_test(scrub_requests),
      cmocka_unit_test(lines_that_are_broken), cmocka_unit_test(deep_nesting),
      cmocka_unit_test(every_prefix),          cmocka_unit_test(every_changed_byte),
      cmocka_unit_test(long_quotes),           cmocka_unit_test(texts_of_messages),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

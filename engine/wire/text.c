#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <surefoot/wire.h>

/* A final NUL is not a continuation byte, so no sequence is read past the end of the text. */
size_t
sf_utf8_length(const unsigned char *text) {
  unsigned char first = text[0];
  if (first < 0x80)
    return 1;
  size_t length = first >= 0xc2 && first <= 0xdf   ? 2
                  : first >= 0xe0 && first <= 0xef ? 3
                  : first >= 0xf0 && first <= 0xf4 ? 4
                                                   : 0;
  for (size_t i = 1; i < length; i++)
    if ((text[i] & 0xc0) != 0x80)
      return 0;
  /* Overlong forms, surrogates, and what lies beyond U+10FFFF. */
  if ((first == 0xe0 && text[1] < 0xa0) || (first == 0xed && text[1] > 0x9f) ||
      (first == 0xf0 && text[1] < 0x90) || (first == 0xf4 && text[1] > 0x8f))
    return 0;
  return length;
}

static void
replace_invalid(char *text, bool controls_too) {
  for (unsigned char *at = (unsigned char *) text; *at;) {
    size_t length = sf_utf8_length(at);
    if (length == 0 || (controls_too && (*at < 0x20 || *at == 0x7f))) {
      *at++ = '?';
      continue;
    }
    at += length;
  }
}

void
sf_text_clean(char *text) {
  replace_invalid(text, true);
}

json_t *
sf_text_to_json_string(const char *text) {
  json_t *valid = json_string(text);
  if (valid)
    return valid;
  char *copy = strdup(text);
  if (copy == NULL)
    return NULL;
  replace_invalid(copy, false);
  valid = json_string(copy);
  free(copy);
  return valid;
}

json_t *
sf_text_to_json(const char *text) {
  return text && *text ? sf_text_to_json_string(text) : json_null();
}

json_t *
sf_time_to_json(int64_t wall_ns) {
  time_t seconds = (time_t) (wall_ns / 1000000000);
  struct tm utc;
  char date[32], text[48];

  if (wall_ns <= 0)
    return json_null();
  gmtime_r(&seconds, &utc);
  strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
  snprintf(text, sizeof text, "%s.%03dZ", date, (int) (wall_ns % 1000000000 / 1000000));
  return json_string(text);
}

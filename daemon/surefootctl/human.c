#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ctl.h"

/* One decimal, and none where it is 0 or the number is long. */
static const char *
scaled(double value, const char *unit, char text[CTL_TEXT_MAX]) {
  snprintf(text, CTL_TEXT_MAX, value < 99.95 ? "%.1f" : "%.0f", value);
  size_t len = strlen(text);
  if (len > 2 && strcmp(text + len - 2, ".0") == 0)
    text[len - 2] = '\0';
  strncat(text, unit, CTL_TEXT_MAX - strlen(text) - 1);
  return text;
}

const char *
ctl_size(uint64_t bytes, char text[CTL_TEXT_MAX]) {
  static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB"};
  unsigned unit = 0;
  double value = (double) bytes;
  while (value >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
    value /= 1024;
    unit++;
  }
  return scaled(value, units[unit], text);
}

const char *
ctl_time_us(uint64_t us, char text[CTL_TEXT_MAX]) {
  if (us < 1000)
    return scaled((double) us, " us", text);
  if (us < 1000000)
    return scaled((double) us / 1e3, " ms", text);
  return scaled((double) us / 1e6, " s", text);
}

const char *
ctl_time_left(uint64_t s, char text[CTL_TEXT_MAX]) {
  uint64_t min = (s + 30) / 60;
  if (s < 100)
    snprintf(text, CTL_TEXT_MAX, "%" PRIu64 " s", s);
  else if (min < 100)
    snprintf(text, CTL_TEXT_MAX, "%" PRIu64 " min", min);
  else
    snprintf(text, CTL_TEXT_MAX, "%" PRIu64 " h %02" PRIu64 " min", min / 60, min % 60);
  return text;
}

const char *
ctl_parse_time(const char *utc, time_t *seconds) {
  struct tm when = {0};
  const char *rest = strptime(utc, "%Y-%m-%dT%H:%M:%S", &when);
  if (rest)
    *seconds = timegm(&when);
  return rest;
}

bool
ctl_age_s(const char *utc, uint64_t *seconds) {
  time_t then, now = time(NULL);
  if (ctl_parse_time(utc, &then) == NULL)
    return false;
  *seconds = now > then ? (uint64_t) (now - then) : 0;
  return true;
}

const char *
ctl_count(uint64_t count, char text[CTL_TEXT_MAX]) {
  if (count == 0)
    return strcpy(text, "-");
  snprintf(text, CTL_TEXT_MAX, "%" PRIu64, count);
  return text;
}

const char *
ctl_json_text(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

uint64_t
ctl_json_number(const json_t *object, const char *key) {
  json_int_t number = json_integer_value(json_object_get(object, key));
  return number < 0 ? 0 : (uint64_t) number;
}

json_t *
ctl_text_to_json(const char *text) {
  json_t *valid = json_string(text);
  if (valid)
    return valid;
  char ascii[PATH_MAX];
  size_t len = 0;
  for (; text[len] && len + 1 < sizeof ascii; len++)
    ascii[len] = (char) ((unsigned char) text[len] < 0x80 ? text[len] : '?');
  ascii[len] = '\0';
  return json_string(ascii);
}

void
ctl_put(const char *text) {
  for (; *text; text++) {
    unsigned char byte = (unsigned char) *text;
    putchar(byte < 0x20 || byte == 0x7f ? '?' : byte);
  }
}

void
ctl_put_wrapped(const char *text, unsigned used, unsigned indent) {
  struct winsize size = {0};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col <= indent) {
    ctl_put(text);
    return;
  }
  for (bool first = true; *text; first = false) {
    unsigned columns = 0;
    size_t len = 0;
    for (; text[len] && text[len] != ' '; len++)
      columns += ((unsigned char) text[len] & 0xc0) != 0x80;
    if (!first && used + 1 + columns > size.ws_col) {
      printf("\n%*s", (int) indent, "");
      used = indent;
    } else if (!first) {
      putchar(' ');
      used++;
    }
    for (size_t i = 0; i < len; i++)
      putchar((unsigned char) text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i]);
    used += columns;
    text += text[len] ? len + 1 : len;
  }
}

int
ctl_print_json(const json_t *document) {
  if (document == NULL || json_dumpf(document, stdout, JSON_INDENT(2)) < 0)
    return ctl_fail("cannot write the document");
  putchar('\n');
  return CTL_DONE;
}

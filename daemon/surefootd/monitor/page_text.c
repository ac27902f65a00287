#include "monitor/page_text.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

void
sfd_page_put(FILE *out, const char *text) {
  for (; *text; text++) {
    switch (*text) {
    case '&':
      fputs("&amp;", out);
      break;
    case '<':
      fputs("&lt;", out);
      break;
    case '>':
      fputs("&gt;", out);
      break;
    case '"':
      fputs("&quot;", out);
      break;
    case '\'':
      fputs("&#39;", out);
      break;
    default:
      fputc((unsigned char) *text < ' ' || *text == 0x7f ? '?' : *text, out);
    }
  }
}

uint64_t
sfd_page_number(const json_t *object, const char *key) {
  json_int_t number = json_integer_value(json_object_get(object, key));
  return number > 0 ? (uint64_t) number : 0;
}

const char *
sfd_page_us(uint64_t us, char text[PAGE_TEXT_MAX]) {
  if (us < 1000)
    snprintf(text, PAGE_TEXT_MAX, "%" PRIu64 " µs", us);
  else if (us < 1000000)
    snprintf(text, PAGE_TEXT_MAX, us < 10000 ? "%.1f ms" : "%.0f ms", (double) us / 1e3);
  else
    snprintf(text, PAGE_TEXT_MAX, us < 10000000 ? "%.1f s" : "%.0f s", (double) us / 1e6);
  return text;
}

const char *
sfd_page_bytes(uint64_t bytes, char text[PAGE_TEXT_MAX]) {
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = (double) bytes;
  unsigned unit = 0;
  while (value >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
    value /= 1024;
    unit++;
  }
  snprintf(text, PAGE_TEXT_MAX, value < 10 && unit > 0 ? "%.1f %s" : "%.0f %s", value, units[unit]);
  return text;
}

const char *
sfd_page_seconds(int64_t s, char text[PAGE_TEXT_MAX]) {
  if (s < 60)
    snprintf(text, PAGE_TEXT_MAX, "%" PRId64 " s", s < 0 ? 0 : s);
  else if (s < 3600)
    snprintf(text, PAGE_TEXT_MAX, "%" PRId64 " min", s / 60);
  else if (s < 86400)
    snprintf(text, PAGE_TEXT_MAX, "%" PRId64 " h %" PRId64 " min", s / 3600, s / 60 % 60);
  else
    snprintf(text, PAGE_TEXT_MAX, "%" PRId64 " d %" PRId64 " h", s / 86400, s / 3600 % 24);
  return text;
}

int64_t
sfd_page_seconds_of(const char *utc) {
  struct tm when = {0};
  const char *rest = strptime(utc, "%Y-%m-%dT%H:%M:%S", &when);
  return rest && (*rest == '.' || *rest == 'Z') ? (int64_t) timegm(&when) : -1;
}

const char *
sfd_page_time(const char *utc, char text[PAGE_TEXT_MAX]) {
  struct tm local;
  time_t seconds = (time_t) sfd_page_seconds_of(utc);
  if (seconds < 0 || localtime_r(&seconds, &local) == NULL)
    snprintf(text, PAGE_TEXT_MAX, "%s", utc);
  else
    strftime(text, PAGE_TEXT_MAX, "%Y-%m-%d %H:%M:%S", &local);
  return text;
}

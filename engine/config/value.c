#include "config/value.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <surefoot/config.h>

enum { FRACTION_DIGITS_MAX = 6 };

struct unit {
  const char *name;
  uint64_t factor;
};

struct scale {
  const struct unit *units; /* smallest first, ends with a NULL name */
  const struct unit *more;  /* that are read and not written */
  const char *takes;        /* for messages; NULL: nothing but the number */
  bool bare;                /* is a number without a unit taken? */
  bool fractions;           /* is 1.5 of a unit? */
};

static const struct unit duration_units[] = {
    {"ns", 1}, {"us", 1000}, {"ms", 1000 * 1000}, {"s", 1000 * 1000 * 1000}, {NULL, 0}};
static const struct unit size_units[] = {{"", 1},
                                         {"K", UINT64_C(1) << 10},
                                         {"M", UINT64_C(1) << 20},
                                         {"G", UINT64_C(1) << 30},
                                         {"T", UINT64_C(1) << 40},
                                         {NULL, 0}};
static const struct unit long_units[] = {{"m", UINT64_C(60) * 1000 * 1000 * 1000},
                                         {"h", UINT64_C(3600) * 1000 * 1000 * 1000},
                                         {NULL, 0}};
static const struct unit small_letters[] = {{"k", UINT64_C(1) << 10},
                                            {"m", UINT64_C(1) << 20},
                                            {"g", UINT64_C(1) << 30},
                                            {"t", UINT64_C(1) << 40},
                                            {NULL, 0}};
static const struct unit no_units[] = {{NULL, 0}};
static const struct unit count_units[] = {{"", 1}, {NULL, 0}};

static const struct scale durations = {duration_units, long_units, "ns, us, ms, s, m or h", false,
                                       false};
static const struct scale sizes = {size_units, small_letters, "nothing, K, M, G or T", true, true};
static const struct scale counts = {count_units, no_units, NULL, true, false};

int
sf_why(struct sf_why *why, int error, const char *format, ...) {
  if (why) {
    va_list args;
    va_start(args, format);
    vsnprintf(why->text, sizeof why->text, format, args);
    va_end(args);
  }
  return error;
}

/* isdigit() asks the locale. */
static bool
is_digit(char c) {
  return c >= '0' && c <= '9';
}

static const struct unit *
find_unit(const struct scale *scale, const char *name) {
  const struct unit *const tables[] = {scale->units, scale->more};
  for (unsigned i = 0; i < 2; i++)
    for (const struct unit *unit = tables[i]; unit->name; unit++)
      if (strcmp(unit->name, name) == 0)
        return unit;
  return NULL;
}

static int
refuse_tail(const struct scale *scale, const char *text, const char *tail, struct sf_why *why) {
  if ((*tail == '.' || *tail == ',') && !scale->fractions)
    return sf_why(why, -EINVAL, "\"%s\": fractions are not taken, only whole numbers", text);
  if (*tail == '.' || *tail == ',')
    return sf_why(why, -EINVAL, "\"%s\": a fraction has a point, %d digits at most, and a unit",
                  text, FRACTION_DIGITS_MAX);
  if (*tail == ' ' || *tail == '\t')
    return sf_why(why, -EINVAL, "\"%s\": nothing may stand between the number and its unit", text);
  if (*tail == '\0')
    return sf_why(why, -EINVAL, "\"%s\" has no unit: add %s", text, scale->takes);
  if (scale->takes == NULL)
    return sf_why(why, -EINVAL, "\"%s\": \"%s\" may not stand after the number", text, tail);
  return sf_why(why, -EINVAL, "\"%s\": unknown unit \"%s\", after the number comes %s", text, tail,
                scale->takes);
}

/* ".25" of a number that has units; its end, or where it begins if it is none.  So many digits of
 * the largest unit are below what 64 bits hold. */
static const char *
read_fraction(const struct scale *scale, const char *text, uint64_t *parts, uint64_t *of) {
  const char *digit = text + 1;
  uint64_t number = 0, scaled = 1;
  if (*text != '.' || !is_digit(*digit) || !scale->fractions)
    return text;
  for (; is_digit(*digit); digit++, scaled *= 10) {
    if (digit - text > FRACTION_DIGITS_MAX)
      return text;
    number = number * 10 + (uint64_t) (*digit - '0');
  }
  *parts = number;
  *of = scaled;
  return digit;
}

static int
read_scaled(const struct scale *scale, const char *text, uint64_t *value, struct sf_why *why) {
  if (*text == '-' && is_digit(text[1]))
    return sf_why(why, -EINVAL, "\"%s\": negative numbers are not taken", text);
  if (!is_digit(*text) && scale->takes == NULL)
    return sf_why(why, -EINVAL, "\"%s\" is not a whole number", text);
  if (!is_digit(*text))
    return sf_why(why, -EINVAL, "\"%s\" is not a whole number followed by %s", text, scale->takes);

  uint64_t number = 0;
  bool fits = true;
  const char *tail = text;
  for (; is_digit(*tail); tail++)
    if (__builtin_mul_overflow(number, 10, &number) ||
        __builtin_add_overflow(number, (uint64_t) (*tail - '0'), &number))
      fits = false;

  uint64_t parts = 0, of = 1;
  const char *end = read_fraction(scale, tail, &parts, &of);
  const struct unit *unit = find_unit(scale, end);
  if (unit == NULL || (of > 1 && unit->factor == 1))
    return refuse_tail(scale, text, tail, why);
  if (parts * unit->factor % of != 0)
    return sf_why(why, -EINVAL, "\"%s\" is not a whole number of bytes", text);
  if (!fits || __builtin_mul_overflow(number, unit->factor, &number) ||
      __builtin_add_overflow(number, parts * unit->factor / of, &number))
    return sf_why(why, -ERANGE, "\"%s\" is too large to be counted", text);
  *value = number;
  return 0;
}

static void
write_scaled(const struct scale *scale, uint64_t value, char text[SF_VALUE_TEXT_MAX]) {
  const struct unit *best = scale->units;
  for (const struct unit *unit = scale->units; unit->name; unit++)
    if (value != 0 && value % unit->factor == 0)
      best = unit;
  snprintf(text, SF_VALUE_TEXT_MAX, "%" PRIu64 "%s", value / best->factor, best->name);
}

int
sf_value_read_duration(const char *text, uint64_t *ns, struct sf_why *why) {
  return read_scaled(&durations, text, ns, why);
}

int
sf_value_read_size(const char *text, uint64_t *bytes, struct sf_why *why) {
  return read_scaled(&sizes, text, bytes, why);
}

int
sf_value_read_count(const char *text, uint64_t *count, struct sf_why *why) {
  return read_scaled(&counts, text, count, why);
}

void
sf_value_write_duration(uint64_t ns, char text[SF_VALUE_TEXT_MAX]) {
  write_scaled(&durations, ns, text);
}

void
sf_value_write_size(uint64_t bytes, char text[SF_VALUE_TEXT_MAX]) {
  write_scaled(&sizes, bytes, text);
}

void
sf_value_write_count(uint64_t count, char text[SF_VALUE_TEXT_MAX]) {
  write_scaled(&counts, count, text);
}

bool
sf_value_is_name(const char *text, size_t max_chars) {
  size_t len = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
  return len >= 1 && len <= max_chars && text[len] == '\0';
}

int
sf_parse_duration(const char *text, uint64_t *ns) {
  return sf_value_read_duration(text, ns, NULL);
}

int
sf_parse_size(const char *text, uint64_t *bytes) {
  return sf_value_read_size(text, bytes, NULL);
}

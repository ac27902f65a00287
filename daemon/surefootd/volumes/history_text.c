/* A history as lines of text.  Minutes have the time of the day there, since the clock that counts
 * them ends with the machine. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <surefoot/wire.h>

#include "volumes/history_inside.h"

#define SECOND_US UINT64_C(1000000)
#define HOUR_S    (HISTORY_MINUTES * 60)

enum { NUMBERS = 4 /* of a sample */ };

/* ---- out ---- */

static json_t *
kind_to_json(const struct column *column, unsigned k) {
  const struct sample *sample = &column->sample[k];
  json_t *counts = json_array(), *numbers = json_null();
  for (unsigned i = 0; i < OCTAVES; i++)
    if (column->count[k][i])
      json_array_append_new(counts, json_pack("[i, I]", (int) i, (json_int_t) column->count[k][i]));
  if (sample->known)
    numbers = json_pack("[I, I, I, I]", (json_int_t) sample->p50_us, (json_int_t) sample->p99_us,
                        (json_int_t) sample->max_us, (json_int_t) sample->deadline_us);
  return json_pack("{so so}", "counts", counts, "sample", numbers);
}

static json_t *
column_to_json(const struct column *column) {
  json_t *object =
      json_pack("{so sb}", "name", sf_text_to_json_string(column->name), "out", (int) column->out);
  for (unsigned k = 0; object && k < KINDS; k++)
    if (json_object_set_new(object, sfd_history_kinds[k], kind_to_json(column, k)) < 0) {
      json_decref(object);
      object = NULL;
    }
  return object;
}

static int
write_minute(const struct history_minute *minute, const char *volume, int64_t at_s, FILE *stream) {
  json_t *columns = json_array();
  int r = 0;
  for (unsigned i = 0; i < minute->columns; i++)
    if (json_array_append_new(columns, column_to_json(&minute->column[i])) < 0)
      r = -ENOMEM;
  json_t *line = json_pack("{so sI so}", "volume", sf_text_to_json_string(volume), "at_s",
                           (json_int_t) at_s, "columns", columns);
  if (line == NULL)
    r = -ENOMEM;
  if (r == 0 && (json_dumpf(line, stream, JSON_COMPACT) < 0 || fputc('\n', stream) == EOF))
    r = -EIO;
  json_decref(line);
  return r;
}

int
sfd_history_write(const struct history *history, const char *volume, uint64_t now_us,
                  int64_t wall_s, FILE *stream) {
  uint64_t last = (now_us - history->begin_us) / MINUTE_US;
  int r = 0;
  for (unsigned i = 0; i < HISTORY_MINUTES && r == 0; i++) {
    const struct history_minute *minute = history->minute[i];
    if (minute == NULL || minute->number > last || last - minute->number >= HISTORY_MINUTES)
      continue;
    uint64_t age_us = now_us - history->begin_us - minute->number * MINUTE_US;
    r = write_minute(minute, volume, wall_s - (int64_t) (age_us / SECOND_US), stream);
  }
  return r;
}

/* ---- in ---- */

static bool
is_count(const json_t *number, json_int_t most) {
  return json_is_integer(number) && json_integer_value(number) >= 0 &&
         json_integer_value(number) <= most;
}

static bool
is_kind(const json_t *kind) {
  const json_t *counts = json_object_get(kind, "counts"), *pair;
  const json_t *numbers = json_object_get(kind, "sample");
  size_t i;
  if (!json_is_array(counts) || json_array_size(counts) > OCTAVES)
    return false;
  json_array_foreach(counts, i, pair)
    if (json_array_size(pair) != 2 || !is_count(json_array_get(pair, 0), OCTAVES - 1) ||
        !is_count(json_array_get(pair, 1), UINT32_MAX))
      return false;
  if (json_is_null(numbers))
    return true;
  for (i = 0; i < NUMBERS; i++)
    if (!is_count(json_array_get(numbers, i), UINT32_MAX))
      return false;
  return true;
}

static bool
is_column(const json_t *column) {
  const char *name = json_string_value(json_object_get(column, "name"));
  bool whole =
      name && strlen(name) < SF_LEG_NAME_MAX && json_is_boolean(json_object_get(column, "out"));
  for (unsigned k = 0; whole && k < KINDS; k++)
    whole = is_kind(json_object_get(column, sfd_history_kinds[k]));
  return whole;
}

bool
sfd_history_is_line(const json_t *line) {
  const json_t *columns = json_object_get(line, "columns"), *column;
  size_t i;
  if (!json_is_string(json_object_get(line, "volume")) || !json_is_array(columns) ||
      json_array_size(columns) > COLUMNS_MAX || !json_is_integer(json_object_get(line, "at_s")))
    return false;
  json_array_foreach(columns, i, column)
    if (!is_column(column))
      return false;
  return true;
}

static uint32_t
number_at(const json_t *array, size_t i) {
  return (uint32_t) json_integer_value(json_array_get(array, i));
}

static void
take_kind(struct column *column, unsigned k, const json_t *kind) {
  const json_t *numbers = json_object_get(kind, "sample"), *pair;
  size_t i;
  json_array_foreach(json_object_get(kind, "counts"), i, pair) {
    uint32_t *count = &column->count[k][number_at(pair, 0)], more = number_at(pair, 1);
    *count = *count < UINT32_MAX - more ? *count + more : UINT32_MAX;
  }
  if (json_is_array(numbers))
    column->sample[k] = (struct sample){.p50_us = number_at(numbers, 0),
                                        .p99_us = number_at(numbers, 1),
                                        .max_us = number_at(numbers, 2),
                                        .deadline_us = number_at(numbers, 3),
                                        .known = true};
}

void
sfd_history_restore(struct history *history, const json_t *line, uint64_t now_us, int64_t wall_s) {
  int64_t age_s = wall_s - json_integer_value(json_object_get(line, "at_s"));
  const json_t *columns = json_object_get(line, "columns"), *one;
  size_t i;
  /* The clock may have been set: what is not of the last hour by it would stand elsewhere. */
  if (age_s <= 0 || age_s >= HOUR_S)
    return;
  /* The minutes are those of the clock on the wall, so that restarts do not shift them on and on.
   * Since boot there may be less than an hour: the difference counts. */
  int64_t of_hour_s = HOUR_S + wall_s % 60;
  history->begin_us = now_us - (uint64_t) of_hour_s * SECOND_US;
  struct history_minute **slot = sfd_history_take(history, (uint64_t) (of_hour_s - age_s) / 60);
  if (*slot == NULL)
    return;
  json_array_foreach(columns, i, one) {
    struct column *column =
        sfd_history_column(slot, json_string_value(json_object_get(one, "name")));
    for (unsigned k = 0; column && k < KINDS; k++)
      take_kind(column, k, json_object_get(one, sfd_history_kinds[k]));
    if (column)
      column->out = column->out || json_is_true(json_object_get(one, "out"));
  }
}

#include "volumes/history_inside.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <surefoot/wire.h>

const char *const sfd_history_kinds[KINDS] = {"read", "write", "flush"};

struct history_seen {
  unsigned columns;
  struct {
    char name[SF_LEG_NAME_MAX];
    struct counts counts;
  } column[COLUMNS_MAX];
};

void
sfd_history_clear(struct history *history) {
  for (unsigned i = 0; i < HISTORY_MINUTES; i++)
    free(history->minute[i]);
  free(history->seen);
  *history = (struct history){0};
}

/* ---- what a look says ---- */

static const char *
text(const json_t *object, const char *key) {
  const char *found = json_string_value(json_object_get(object, key));
  return found ? found : "";
}

static uint64_t
number(const json_t *object, const char *key) {
  json_int_t found = json_integer_value(json_object_get(object, key));
  return found > 0 ? (uint64_t) found : 0;
}

static uint32_t
cut(uint64_t us) {
  return us < UINT32_MAX ? (uint32_t) us : UINT32_MAX;
}

/* Of what took at most 2^octave ns. */
static unsigned
octave_of(uint64_t ns) {
  unsigned octave = FIRST_OCTAVE;
  while (octave + 1 < FIRST_OCTAVE + OCTAVES && (UINT64_C(1) << octave) < ns)
    octave++;
  return octave - FIRST_OCTAVE;
}

static void
count(struct counts *counts, const json_t *latency) {
  memset(counts, 0, sizeof *counts);
  for (unsigned k = 0; k < KINDS; k++) {
    size_t i;
    json_t *pair;
    json_array_foreach(json_object_get(json_object_get(latency, sfd_history_kinds[k]), "buckets"),
                       i, pair) {
      json_int_t ns = json_integer_value(json_array_get(pair, 0));
      json_int_t n = json_integer_value(json_array_get(pair, 1));
      if (ns > 0 && n > 0)
        counts->of[k][octave_of((uint64_t) ns)] += (uint64_t) n;
    }
  }
}

/* Any that is smaller than before: a server, or a leg, that began anew. */
static bool
began_anew(const struct counts *now, const struct counts *before) {
  for (unsigned k = 0; k < KINDS; k++)
    for (unsigned i = 0; i < OCTAVES; i++)
      if (now->of[k][i] < before->of[k][i])
        return true;
  return false;
}

static const struct counts *
seen_before(const struct history_seen *seen, const char *name) {
  for (unsigned i = 0; seen && i < seen->columns; i++)
    if (strcmp(seen->column[i].name, name) == 0)
      return &seen->column[i].counts;
  return NULL;
}

/* ---- the minute that goes on ---- */

struct history_minute **
sfd_history_take(struct history *history, uint64_t number) {
  struct history_minute **slot = &history->minute[number % HISTORY_MINUTES];
  if (*slot && (*slot)->number != number) {
    free(*slot);
    *slot = NULL;
  }
  if (*slot == NULL && (*slot = calloc(1, sizeof **slot)))
    (*slot)->number = number;
  return slot;
}

static struct column *
find_column(struct history_minute *minute, const char *name) {
  for (unsigned i = 0; i < minute->columns; i++)
    if (strcmp(minute->column[i].name, name) == 0)
      return &minute->column[i];
  return NULL;
}

struct column *
sfd_history_column(struct history_minute **slot, const char *name) {
  struct history_minute *minute = *slot, *larger;
  struct column *column = find_column(minute, name);
  if (column || minute->columns == COLUMNS_MAX)
    return column;
  larger = realloc(minute, sizeof *minute + (minute->columns + 1) * sizeof *column);
  if (larger == NULL)
    return NULL;
  *slot = larger;
  column = &larger->column[larger->columns++];
  memset(column, 0, sizeof *column);
  snprintf(column->name, sizeof column->name, "%s", name);
  return column;
}

static void
sample(struct column *column, const json_t *entry) {
  for (unsigned k = 0; k < KINDS; k++) {
    const json_t *latency =
        json_object_get(json_object_get(entry, "latency"), sfd_history_kinds[k]);
    char deadline[16];
    snprintf(deadline, sizeof deadline, "%s_us", sfd_history_kinds[k]);
    if (number(latency, "recent") == 0)
      continue;
    column->sample[k] = (struct sample){
        .p50_us = cut(number(latency, "p50_us")),
        .p99_us = cut(number(latency, "p99_us")),
        .max_us = cut(number(latency, "max_us")),
        .deadline_us = cut(number(json_object_get(entry, "deadline"), deadline)),
        .known = true,
    };
  }
}

static void
note_column(struct history *history, struct history_seen *seen, struct history_minute **slot,
            const char *name, const json_t *entry, bool out) {
  struct counts *now = &seen->column[seen->columns].counts;
  const struct counts *before = seen_before(history->seen, name);
  struct column *column = sfd_history_column(slot, name);
  count(now, json_object_get(entry, "latency"));
  snprintf(seen->column[seen->columns++].name, SF_LEG_NAME_MAX, "%s", name);
  if (column == NULL)
    return;
  if (before && began_anew(now, before))
    before = NULL;
  for (unsigned k = 0; k < KINDS; k++)
    for (unsigned i = 0; i < OCTAVES; i++)
      column->count[k][i] =
          cut(column->count[k][i] + now->of[k][i] - (before ? before->of[k][i] : 0));
  column->out = column->out || out;
  sample(column, entry);
}

void
sfd_history_note(struct history *history, const json_t *own, uint64_t now_us) {
  const json_t *legs = json_object_get(own, "legs"), *leg;
  struct history_seen *seen = calloc(1, sizeof *seen);
  if (!history->begin_us)
    history->begin_us = now_us;
  size_t n = json_array_size(legs) < SF_LEGS_MAX ? json_array_size(legs) : SF_LEGS_MAX;
  struct history_minute **slot =
      sfd_history_take(history, (now_us - history->begin_us) / MINUTE_US);
  if (seen == NULL || *slot == NULL) {
    free(seen);
    return;
  }
  note_column(history, seen, slot, "", own, strcmp(text(own, "state"), "healthy") != 0);
  for (size_t i = 0; i < n; i++) {
    leg = json_array_get(legs, i);
    if (*text(leg, "name") && seen_before(seen, text(leg, "name")) == NULL)
      note_column(history, seen, slot, text(leg, "name"), leg,
                  strcmp(text(leg, "state"), "in-sync") != 0);
  }
  free(history->seen);
  history->seen = seen;
}

/* ---- reports ---- */

/* Of minute number: NULL if there is none. */
static struct history_minute *
minute_at(const struct history *history, uint64_t number) {
  struct history_minute *minute = history->minute[number % HISTORY_MINUTES];
  return minute && minute->number == number ? minute : NULL;
}

struct span {
  uint64_t first, last;
};

static struct span
all_of(const struct history *history, uint64_t now_us) {
  uint64_t last = (now_us - history->begin_us) / MINUTE_US;
  return (struct span){last >= HISTORY_MINUTES ? last - HISTORY_MINUTES + 1 : 0, last};
}

/* The legs of the newest minute first, then earlier ones. */
static unsigned
list_names(const struct history *history, struct span span, const char *name[COLUMNS_MAX]) {
  unsigned names = 0;
  for (uint64_t i = span.last + 1; i-- > span.first;) {
    const struct history_minute *minute = minute_at(history, i);
    for (unsigned c = 0; minute && c < minute->columns; c++) {
      bool known = false;
      for (unsigned k = 0; k < names; k++)
        known = known || strcmp(name[k], minute->column[c].name) == 0;
      if (!known && names < COLUMNS_MAX)
        name[names++] = minute->column[c].name;
    }
  }
  return names;
}

static const struct column *
column_at(const struct history *history, uint64_t number, const char *name) {
  struct history_minute *minute = minute_at(history, number);
  return minute ? find_column(minute, name) : NULL;
}

static json_t *
latency_of(const struct history *history, struct span span, const char *name) {
  struct counts sum = {0};
  json_t *latency = json_object();
  for (uint64_t i = span.first; i <= span.last; i++) {
    const struct column *column = column_at(history, i, name);
    for (unsigned k = 0; column && k < KINDS; k++)
      for (unsigned o = 0; o < OCTAVES; o++)
        sum.of[k][o] += column->count[k][o];
  }
  for (unsigned k = 0; k < KINDS; k++) {
    json_t *buckets = json_array();
    uint64_t all = 0;
    for (unsigned o = 0; o < OCTAVES; o++) {
      all += sum.of[k][o];
      if (sum.of[k][o])
        json_array_append_new(buckets, json_pack("[I, I]", (json_int_t) 1 << (o + FIRST_OCTAVE),
                                                 (json_int_t) sum.of[k][o]));
    }
    json_object_set_new(latency, sfd_history_kinds[k],
                        json_pack("{sI so}", "count", (json_int_t) all, "buckets", buckets));
  }
  return latency;
}

static json_t *
samples_of(const struct history *history, struct span span, const char *name) {
  json_t *list = json_array();
  for (uint64_t i = span.first; i <= span.last; i++) {
    const struct column *column = column_at(history, i, name);
    if (column == NULL)
      continue;
    json_t *sample =
        json_pack("{sI sb}", "ago_min", (json_int_t) (span.last - i), "out", (int) column->out);
    for (unsigned k = 0; k < KINDS; k++) {
      const struct sample *of = &column->sample[k];
      json_object_set_new(sample, sfd_history_kinds[k],
                          of->known ? json_pack("{sI sI sI sI}", "p50_us", (json_int_t) of->p50_us,
                                                "p99_us", (json_int_t) of->p99_us, "max_us",
                                                (json_int_t) of->max_us, "deadline_us",
                                                (json_int_t) of->deadline_us)
                                    : json_null());
    }
    json_array_append_new(list, sample);
  }
  return list;
}

/* The volume's own under key, each leg's in "legs". */
static json_t *
tell(const struct history *history, struct span span, const char *key,
     json_t *(*of)(const struct history *, struct span, const char *) ) {
  const char *name[COLUMNS_MAX];
  unsigned names = history->begin_us ? list_names(history, span, name) : 0;
  json_t *legs = json_array(),
         *told = json_pack("{so so}", key, of(history, span, ""), "legs", legs);
  for (unsigned i = 0; told && i < names; i++)
    if (*name[i])
      json_array_append_new(legs, json_pack("{so so}", "name", sf_text_to_json_string(name[i]), key,
                                            of(history, span, name[i])));
  return told;
}

json_t *
sfd_history_sum(const struct history *history, uint64_t since_us, uint64_t now_us) {
  struct span span = all_of(history, now_us);
  uint64_t from_us = now_us - history->begin_us > since_us ? now_us - since_us : history->begin_us;
  uint64_t first = (from_us - history->begin_us) / MINUTE_US;
  span.first = span.first > first ? span.first : first;
  while (span.first < span.last && minute_at(history, span.first) == NULL)
    span.first++;
  json_t *told = tell(history, span, "latency", latency_of);
  uint64_t seconds = (now_us - history->begin_us - span.first * MINUTE_US) / 1000000;
  if (!history->begin_us || minute_at(history, span.first) == NULL)
    seconds = 0;
  if (told)
    json_object_set_new(told, "seconds", json_integer((json_int_t) seconds));
  return told;
}

json_t *
sfd_history_samples(const struct history *history, uint64_t now_us) {
  return tell(history, all_of(history, now_us), "samples", samples_of);
}

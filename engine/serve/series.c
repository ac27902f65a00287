/* Many alike are one line: what happens again and again is told in full the first time, then
 * counted, and the count is told now and then, and when it has ended. */
#include "base/units.h"
#include "serve/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Between two lines about one series, and without another one until it has ended. */
static const uint64_t tell_ns = 10 * SF_S;

static struct serve_one_series *
find(struct serve_series *series, const char *what) {
  for (unsigned i = 0; i < SERVE_SERIES; i++)
    if (series->one[i].total > 0 && strcmp(series->one[i].what, what) == 0)
      return &series->one[i];
  return NULL;
}

/* An empty place, or that of the series that has been quiet for longest. */
static struct serve_one_series *
make_room(struct serve_series *series) {
  struct serve_one_series *oldest = &series->one[0];

  for (unsigned i = 0; i < SERVE_SERIES; i++) {
    struct serve_one_series *one = &series->one[i];

    if (one->total == 0)
      return one;
    if (one->last_ns < oldest->last_ns)
      oldest = one;
  }
  return oldest;
}

/* Both under the lock: a line to be told, or not. */
static bool
tell_more(struct serve_one_series *one, uint64_t now, char line[SERVE_LINE_BYTES]) {
  if (one->untold == 0 || now - one->told_ns < tell_ns)
    return false;
  snprintf(line, SERVE_LINE_BYTES, "%s: %" PRIu64 " more in %" PRIu64 " s", one->what, one->untold,
           (now - one->told_ns) / SF_S);
  one->untold = 0;
  one->told_ns = now;
  return true;
}

static bool
tell_end(struct serve_one_series *one, uint64_t now, bool at_once, char line[SERVE_LINE_BYTES]) {
  bool many = one->total > 1;

  if (one->total == 0 || (!at_once && now - one->last_ns < tell_ns))
    return false;
  if (many)
    snprintf(line, SERVE_LINE_BYTES, "%s: %s, %" PRIu64 " in all in %" PRIu64 " s", one->what,
             at_once ? "till now" : "no more of it", one->total,
             (one->last_ns - one->since_ns) / SF_S + 1);
  one->total = 0;
  return many;
}

bool
sf_serve_series_add(struct sf_serve *serve, const char *what) {
  uint64_t now = sf_tio_now();
  struct serve_one_series *one;
  bool first;

  pthread_mutex_lock(&serve->lock);
  one = find(&serve->series, what);
  first = one == NULL;
  if (first) {
    one = make_room(&serve->series);
    *one = (struct serve_one_series){.since_ns = now, .told_ns = now};
    snprintf(one->what, sizeof one->what, "%s", what);
  } else {
    one->untold++;
  }
  one->total++;
  one->last_ns = now;
  pthread_mutex_unlock(&serve->lock);
  return first;
}

void
sf_serve_series_tell(struct sf_serve *serve, bool at_once) {
  uint64_t now = sf_tio_now();
  char line[SERVE_LINE_BYTES];

  for (unsigned i = 0; i < SERVE_SERIES; i++) {
    struct serve_one_series *one = &serve->series.one[i];
    bool tell;

    pthread_mutex_lock(&serve->lock);
    tell = tell_end(one, now, at_once, line) || tell_more(one, now, line);
    pthread_mutex_unlock(&serve->lock);
    if (tell)
      sf_serve_log(serve, "%s", line);
  }
}

uint64_t
sf_serve_series_next(struct sf_serve *serve) {
  uint64_t next = 0;

  pthread_mutex_lock(&serve->lock);
  for (unsigned i = 0; i < SERVE_SERIES; i++) {
    const struct serve_one_series *one = &serve->series.one[i];
    uint64_t at = (one->untold > 0 ? one->told_ns : one->last_ns) + tell_ns;

    if (one->total > 0 && (next == 0 || at < next))
      next = at;
  }
  pthread_mutex_unlock(&serve->lock);
  return next;
}

void
sf_serve_tell_failed(struct sf_serve *serve, const char *verb, int error, uint64_t length,
                     uint64_t offset) {
  const char *why = strerrordesc_np(-error);
  char what[SERVE_SERIES_TEXT];

  snprintf(what, sizeof what, "%s failed: %s", verb, why != NULL ? why : "unknown error");
  if (sf_serve_series_add(serve, what))
    sf_serve_log(serve, "%s of %" PRIu64 " bytes at %" PRIu64 ": %s", verb, length, offset,
                 why != NULL ? why : "unknown error");
}

/* How long the legs took in the last hour: of each minute its histograms and the result of its last
 * look.  It is the daemon's, so it outlives the server; memory is bounded, and a minute without an
 * answer of the server has no entry. */
#ifndef SUREFOOTD_HISTORY_H
#define SUREFOOTD_HISTORY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { HISTORY_MINUTES = 60 };

struct history_minute;
struct history_seen;

/* All zero: nothing yet. */
struct history {
  struct history_minute *minute[HISTORY_MINUTES]; /* number N at N % HISTORY_MINUTES; NULL: none */
  struct history_seen *seen;                      /* what its server had counted at the last look */
  uint64_t begin_us;                              /* of minute 0 */
};

void sfd_history_clear(struct history *history);

/* own: what the volume's socket says of it.  now_us: CLOCK_MONOTONIC.  Without memory the look is
 * lost. */
void sfd_history_note(struct history *history, const json_t *own, uint64_t now_us);

/* Of the last since_us, in whole minutes: {"seconds", "latency", "legs": [{"name", "latency"}]}; a
 * "latency" is that of a status, with "count" and "buckets" only.  "seconds" is what it is of, 0 if
 * nothing is known.  NULL: no memory. */
json_t *sfd_history_sum(const struct history *history, uint64_t since_us, uint64_t now_us);

/* {"samples": [...], "legs": [{"name", "samples"}]}, the oldest first.  A sample: {"ago_min",
 * "out", "read", "write", "flush"}, these null without a request, else {"p50_us", "p99_us",
 * "max_us", "deadline_us"}; out: the leg was not in sync, or the volume not healthy.  NULL: no
 * memory. */
json_t *sfd_history_samples(const struct history *history, uint64_t now_us);

/* ---- over surefootd's own restart (history_text.c) ---- */

/* One line of JSON for each minute.  now_us: CLOCK_MONOTONIC; wall_s: since 1970.  0 or -errno. */
int sfd_history_write(const struct history *history, const char *volume, uint64_t now_us,
                      int64_t wall_s, FILE *stream);
/* Such a line, as JSON, of whatever volume: is it whole? */
bool sfd_history_is_line(const json_t *line);
/* Takes what is of the last hour.  The history has noted nothing yet, and all lines of a volume are
 * taken with one now_us. */
void sfd_history_restore(struct history *history, const json_t *line, uint64_t now_us,
                         int64_t wall_s);

#endif

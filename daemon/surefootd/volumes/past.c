#include "volumes/past.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/log.h"
#include "volumes/inside.h"

/* No more than a minute is lost when it is killed, and a disk is not kept awake for more. */
#define GATHER_US UINT64_C(60000000)

enum { LINE_BYTES_MAX = 64 * 1024, LINES_MAX = PLAN_VOLUMES_MAX * HISTORY_MINUTES };

/* The next kind of lines has another first one. */
static const char first_line[] = "{\"surefoot_latency\":1}\n";

static json_t *
read_line(const char *text, ssize_t len) {
  json_t *line = len < LINE_BYTES_MAX && text[len - 1] == '\n' ? json_loads(text, 0, NULL) : NULL;
  if (line && sfd_history_is_line(line))
    return line;
  json_decref(line);
  return NULL;
}

json_t *
sfd_past_load(const char *path) {
  char *text = NULL;
  size_t size = 0;
  ssize_t len;
  FILE *stream = sfd_kept_file_read(path, "latencies");
  json_t *lines = json_array();
  bool whole = true;
  if (stream == NULL)
    return lines;
  for (unsigned i = 0; whole && i <= LINES_MAX && (len = getline(&text, &size, stream)) > 0; i++) {
    json_t *line = i > 0 ? read_line(text, len) : NULL;
    whole = i > 0 ? line != NULL : strcmp(text, first_line) == 0;
    if (line)
      json_array_append_new(lines, line);
    if (!whole)
      log_warning(NULL,
                  "%s: line %u is damaged: the latencies from there on are not known, and it "
                  "is begun anew",
                  path, i + 1);
  }
  free(text);
  fclose(stream);
  return lines;
}

void
sfd_past_take(const struct volumes *volumes, const json_t *lines) {
  int64_t now_s = time(NULL);
  uint64_t now = (uint64_t) sfd_clock_ms() * 1000;
  size_t i;
  const json_t *line;
  json_array_foreach(lines, i, line) {
    struct volume *volume = sfd_volumes_find(volumes, sfd_events_text(line, "volume"));
    if (volume)
      sfd_history_restore(&volume->history, line, now, now_s);
  }
}

/* In a process of its own, which the event loop tells no time. */
static int
write_all(void *ctx, FILE *stream) {
  const struct volumes *volumes = ctx;
  int64_t now_s = time(NULL);
  uint64_t now = (uint64_t) sfd_clock_ms() * 1000;
  int r = fputs(first_line, stream) == EOF ? -EIO : 0;
  SF_LIST_EACH(entry, &volumes->list) {
    struct volume *volume = SF_LIST_ENTRY(entry, struct volume, entry);
    if (r == 0)
      r = sfd_history_write(&volume->history, sfd_volume_name(volume), now, now_s, stream);
  }
  return r;
}

struct kept_file
sfd_past_of(struct volumes *volumes, const char *path) {
  return (struct kept_file){.event = volumes->event,
                            .path = path,
                            .what = "latencies",
                            .gather_us = GATHER_US,
                            .write = write_all,
                            .ctx = volumes};
}

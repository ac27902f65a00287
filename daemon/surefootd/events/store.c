#include "events/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GATHER_MS = 300 /* events come in bursts */, LINE_BYTES_MAX = 32 * 1024 };

void
sfd_store_load(const char *path, struct events *events) {
  char *line = NULL;
  size_t size = 0;
  ssize_t len;
  FILE *stream = sfd_kept_file_read(path, "events");
  if (stream == NULL)
    return;
  while ((len = getline(&line, &size, stream)) > 0 && len < LINE_BYTES_MAX) {
    json_t *event = json_loads(line, 0, NULL);
    if (*sfd_events_text(event, "event") && *sfd_events_text(event, "volume"))
      sfd_events_restore(events, event);
    json_decref(event);
  }
  free(line);
  fclose(stream);
}

static int
write_all(void *ctx, FILE *stream) {
  const struct events *events = ctx;
  json_t *list = sfd_events_list(events, NULL), *event;
  size_t i;
  int r = list ? 0 : -ENOMEM;
  json_array_foreach(list, i, event)
    if (json_dumpf(event, stream, JSON_COMPACT) < 0 || fputc('\n', stream) == EOF)
      r = -EIO;
  json_decref(list);
  return r;
}

struct kept_file
sfd_store_of(sd_event *event, const char *path, struct events *events) {
  return (struct kept_file){.event = event,
                            .path = path,
                            .what = "events",
                            .gather_us = GATHER_MS * UINT64_C(1000),
                            .write = write_all,
                            .ctx = events};
}

/* The kept events in a file, so that the next surefootd has them too.  Written anew as a whole,
 * which bounds it, by a process of its own: the disk that it is on may hang. */
#ifndef SUREFOOTD_EVENTS_STORE_H
#define SUREFOOTD_EVENTS_STORE_H

#include <stdbool.h>

#include <systemd/sd-event.h>

#include "events/events.h"

struct job;

struct store {
  sd_event *event;
  const struct events *events;
  const char *path; /* "": none is kept */
  struct job *job;
  sd_event_source *timer;
  bool dirty;  /* something happened that the file does not have, nor the job under way */
  bool failed; /* it was said that it cannot be written */
};

/* What the file has, before anything has happened; they are not told again. */
void sfd_store_load(const char *path, struct events *events);
/* Something has happened. */
void sfd_store_note(struct store *store);
/* The last words: waited for briefly. */
void sfd_store_end(struct store *store);

#endif

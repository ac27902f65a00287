/* What surefootd knows, in a file for the next one.  Written anew as a whole, which bounds it, by a
 * process of its own: the disk that it is on may hang.  So it is read. */
#ifndef SUREFOOTD_KEPT_FILE_H
#define SUREFOOTD_KEPT_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <systemd/sd-event.h>

struct job;

struct kept_file {
  /* The owner's, before the first note. */
  sd_event *event;
  const char *path;                      /* "" or NULL: none is kept */
  const char *what;                      /* "events", for the log */
  uint64_t gather_us;                    /* so long is waited for more */
  int (*write)(void *ctx, FILE *stream); /* in that process; 0 or -errno */
  void *ctx;

  struct job *job;
  sd_event_source *timer;
  bool dirty;  /* something happened that the file does not have, nor the job under way */
  bool failed; /* it was said that it cannot be written */
  bool closed; /* what it would be written from is going */
};

/* To be read from its beginning, and closed; NULL: there is none, or it is told why it is not known. */
FILE *sfd_kept_file_read(const char *path, const char *what);
/* Something has happened. */
void sfd_kept_file_note(struct kept_file *kept);
/* Written now, if something has happened, and not again: what it is written from goes soon. */
void sfd_kept_file_close(struct kept_file *kept);
/* The last words: waited for briefly. */
void sfd_kept_file_end(struct kept_file *kept);

#endif

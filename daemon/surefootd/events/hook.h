/* The operator's program for what happens: HOOK EVENT VOLUME [LEG], the rest in SUREFOOT_* of its
 * environment.  One at a time, in order, each with a time limit; the daemon waits for none.  While
 * one is slow at most HOOK_QUEUE_MAX wait, and what comes then is dropped, and said in the log. */
#ifndef SUREFOOTD_HOOK_H
#define SUREFOOTD_HOOK_H

#include <jansson.h>

#include <systemd/sd-event.h>

#include "common/job.h"
#include "files/settings.h"

enum { HOOK_QUEUE_MAX = 128 };

struct hook {
  /* The owner's. */
  sd_event *event;
  const struct settings *settings;

  json_t *queue[HOOK_QUEUE_MAX];
  unsigned first, count, dropped;
  struct job *job; /* that of queue[first] */
};

void sfd_hook_tell(struct hook *hook, const json_t *event);
void sfd_hook_end(struct hook *hook);

#endif

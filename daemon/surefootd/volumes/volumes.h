/* The volumes of one daemon, and what each of them needs of it. */
#ifndef SUREFOOTD_VOLUMES_H
#define SUREFOOTD_VOLUMES_H

#include <systemd/sd-event.h>

#include "base/list.h"
#include "events/events.h"
#include "files/settings.h"

struct volume;

struct volumes {
  struct sf_list list;
  /* The owner's, before the first volume. */
  sd_event *event;
  const struct settings *settings;
  struct events *events;
  /* Something that systemd or the operator is told in one line has changed. */
  void (*changed)(void *ctx);
  /* A volume has ended for good: the owner destroys it, not from inside. */
  void (*gone)(void *ctx);
  /* How long its legs took was heard.  NULL: nothing is done then. */
  void (*looked)(void *ctx);
  void *ctx;
};

/* NULL: there is none of that name. */
struct volume *sfd_volumes_find(const struct volumes *volumes, const char *name);

#endif

/* What the parts of surefootd share: one thread, one event loop. */
#ifndef SUREFOOTD_DAEMON_H
#define SUREFOOTD_DAEMON_H

#include <stdbool.h>

#include <systemd/sd-event.h>

#include "base/list.h"
#include "events.h"
#include "hook.h"
#include "plan.h"
#include "settings.h"

struct volume;
struct clients;
struct netlink_listener;
struct metrics;

struct daemon {
  sd_event *event;
  const char *settings_file;
  bool settings_given; /* with -c: it must be there */
  struct settings settings;
  struct sf_list volumes;
  struct events events;
  struct hook hook;
  struct metrics *metrics; /* NULL: off */
  struct clients *clients;
  struct netlink_listener *listener; /* NULL: the kernel has no nbd, or nobody needs it */
  sd_event_source *start_timer, *sweep;
  bool started; /* every volume was given its first start */
  bool ready;   /* systemd was told */
  bool reloading, stopping;
};

/* Reads the settings and every volume's file.  -errno after what is wrong was logged. */
int daemon_check(struct daemon *daemon, struct plan *plan);
/* Until it is told to stop.  Takes the plan's volumes over. */
int daemon_run(struct daemon *daemon, struct plan *plan);

struct volume *daemon_find(struct daemon *daemon, const char *name);

/* Called by a volume: something that systemd or the operator is told in one line has changed. */
void daemon_volume_changed(struct daemon *daemon);
/* Called by a volume, once it has ended for good; it is destroyed from the event loop. */
void daemon_volume_gone(struct daemon *daemon, struct volume *volume);

#endif

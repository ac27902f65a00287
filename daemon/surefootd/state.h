/* What surefootd is made of: one thread, one event loop.  Only data: what runs it is daemon.h. */
#ifndef SUREFOOTD_STATE_H
#define SUREFOOTD_STATE_H

#include <jansson.h>
#include <stdbool.h>

#include <systemd/sd-event.h>

#include "common/kept_file.h"
#include "events/events.h"
#include "events/hook.h"
#include "files/settings.h"
#include "volumes/volumes.h"

struct clients;
struct netlink_listener;
struct http;

struct daemon {
  sd_event *event;
  const char *settings_file;
  bool settings_given; /* with -c: it must be there */
  struct settings settings;
  struct volumes volumes;
  struct events events;
  struct hook hook;
  struct kept_file store, past; /* of the events, of the latencies */
  struct http *http[2]; /* the metrics', which may serve the page too, and the page's; NULL: off */
  struct clients *clients;
  struct netlink_listener *listener; /* NULL: the kernel has no nbd, or no volume needs it */
  json_t *problems; /* an array of lines: the files that no volume comes from, and why */
  sd_event_source *start_timer, *sweep;
  bool started; /* every volume was given its first start */
  bool ready;   /* systemd was told */
  bool reloading, stopping;
};

#endif

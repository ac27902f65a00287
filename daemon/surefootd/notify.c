#include "notify.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <systemd/sd-daemon.h>

#include "daemon.h"
#include "volume.h"

/* "3 volumes: 2 healthy, 1 failed (vol2)" */
static void
status_line(struct daemon *daemon, char *text, size_t size) {
  static const char *const states[] = {"healthy", "degraded", "suspended", "failed"};
  enum { STATES = sizeof states / sizeof states[0] };
  unsigned count[STATES] = {0}, volumes = 0;
  const char *first[STATES] = {NULL};
  SF_LIST_EACH(entry, &daemon->volumes) {
    struct volume *volume = SF_LIST_ENTRY(entry, struct volume, entry);
    volumes++;
    for (unsigned i = 0; i < STATES; i++)
      if (strcmp(states[i], volume_state_text(volume)) == 0) {
        if (count[i]++ == 0)
          first[i] = volume_name(volume);
      }
  }
  size_t used = (size_t) snprintf(text, size, "%u volume%s", volumes, volumes == 1 ? "" : "s");
  const char *between = ": ";
  for (unsigned i = 0; i < STATES && used < size; i++) {
    if (count[i] == 0)
      continue;
    used += (size_t) snprintf(text + used, size - used, "%s%u %s", between, count[i], states[i]);
    if (i > 0 && used < size)
      used += (size_t) snprintf(text + used, size - used, " (%s%s)", first[i],
                                count[i] > 1 ? ", ..." : "");
    between = ", ";
  }
}

void
notify_status(struct daemon *daemon) {
  char text[512];
  status_line(daemon, text, sizeof text);
  sd_notifyf(0, "STATUS=%s", text);
}

void
notify_ready(struct daemon *daemon) {
  char text[512];
  status_line(daemon, text, sizeof text);
  sd_notifyf(0, "READY=1\nSTATUS=%s", text);
}

void
notify_reloading(struct daemon *daemon) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=reading the files again",
             (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000);
}

void
notify_reloaded(struct daemon *daemon) {
  notify_ready(daemon);
}

void
notify_stopping(struct daemon *daemon) {
  sd_notify(0, "STOPPING=1\nSTATUS=stopping the volumes");
}

#include "monitor/notify.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "volumes/volume.h"

/* "3 volumes: 2 healthy, 1 failed (vol2)" */
static void
status_line(const struct volumes *volumes, const json_t *problems, char *text, size_t size) {
  static const char *const states[] = {"healthy", "degraded", "suspended", "failed",
                                       "silent",  "starting", "stopping"};
  enum { STATES = sizeof states / sizeof states[0] };
  unsigned count[STATES] = {0}, all = 0;
  const char *first[STATES] = {NULL};
  SF_LIST_EACH(entry, &volumes->list) {
    struct volume *volume = SF_LIST_ENTRY(entry, struct volume, entry);
    all++;
    for (unsigned i = 0; i < STATES; i++)
      if (strcmp(states[i], sfd_volume_state_text(volume)) == 0) {
        if (count[i]++ == 0)
          first[i] = sfd_volume_name(volume);
      }
  }
  size_t used = (size_t) snprintf(text, size, "%u volume%s", all, all == 1 ? "" : "s");
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
  size_t wrong = json_array_size(problems);
  if (wrong > 0 && used < size)
    snprintf(text + used, size - used, "; %zu problem%s: %.300s%s", wrong, wrong == 1 ? "" : "s",
             json_string_value(json_array_get(problems, 0)), wrong == 1 ? "" : " ...");
}

/* sd_notify() waits while systemd does not listen, as during its own reload.  A status that is late
 * is not worth that: it is dropped, and the next one is sent. */
static bool
send_if_possible(const char *text) {
  const char *path = getenv("NOTIFY_SOCKET");
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t len = path ? strlen(path) : 0;
  if (len == 0 || len >= sizeof address.sun_path)
    return true;
  memcpy(address.sun_path, path, len + 1);
  if (path[0] == '@')
    address.sun_path[0] = '\0';
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return false;
  socklen_t address_len = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + len);
  ssize_t sent = sendto(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL,
                        (struct sockaddr *) &address, address_len);
  close(fd);
  return sent >= 0;
}

void
sfd_notify_status(const struct volumes *volumes, const json_t *problems) {
  static char last[768];
  char text[sizeof last] = "STATUS=";
  status_line(volumes, problems, text + strlen(text), sizeof text - strlen(text));
  if (strcmp(text, last) != 0 && send_if_possible(text))
    memcpy(last, text, sizeof last);
}

void
sfd_notify_ready(const struct volumes *volumes, const json_t *problems) {
  char text[768];
  status_line(volumes, problems, text, sizeof text);
  sd_notifyf(0, "READY=1\nSTATUS=%s", text);
}

void
sfd_notify_reloading(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=reading the files again",
             (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000);
}

void
sfd_notify_reloaded(const struct volumes *volumes, const json_t *problems) {
  sfd_notify_ready(volumes, problems);
}

void
sfd_notify_stopping(void) {
  sd_notify(0, "STOPPING=1\nSTATUS=stopping the volumes");
}

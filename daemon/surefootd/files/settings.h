/* surefootd's own settings: the [daemon] section of surefoot.conf.
 *
 *   volumes        the folder of the volumes' files           /etc/surefoot/volumes.d
 *   runtime        the folder for sockets and what runs       /run/surefoot
 *   control        surefootctl's socket                       RUNTIME/control
 *   nbdkit plugin  what serves a volume
 *   start_timeout  how long systemd waits for slow volumes    30s
 *   stop_timeout   when a server that does not end is killed  60s
 *   silent_timeout when a server that does not answer is killed and started again; 0s: never  60s
 *   hook           an executable, called when something happens; hook_timeout 10s
 *   events         the file that events are kept in           /var/lib/surefoot/events; RUNTIME.events elsewhere
 *   latency        the file that the last hour's latencies are kept in  /var/lib/surefoot/latency; RUNTIME.latency elsewhere
 *   metrics        ADDRESS:PORT or PORT (on 127.0.0.1) for Prometheus; off without it
 *   page           the same for people, on this machine only; off without it */
#ifndef SUREFOOTD_SETTINGS_H
#define SUREFOOTD_SETTINGS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include <surefoot/config.h>

struct settings_place {
  char address[64]; /* "": off */
  uint16_t port;
};

struct settings {
  char volumes[PATH_MAX];
  char runtime[SF_CONTROL_PATH_MAX];
  char control[SF_CONTROL_PATH_MAX];
  char nbdkit[PATH_MAX]; /* a name is looked up in PATH */
  char plugin[PATH_MAX];
  uint64_t start_timeout_us, stop_timeout_us;
  uint64_t silent_timeout_us; /* 0: off */
  char events[PATH_MAX];      /* "": none */
  char latency[PATH_MAX];     /* "": none */
  char hook[PATH_MAX];        /* "": none */
  uint64_t hook_timeout_us;
  struct settings_place metrics, page;
};

void sfd_settings_init(struct settings *settings);

/* Both, and the same. */
bool sfd_settings_same_place(const struct settings_place *a, const struct settings_place *b);

/* 0, or -errno with one line in error: "FILE:LINE: KEY: what is wrong".  -ENOENT: no such file. */
int sfd_settings_load(struct settings *settings, const char *file, char error[SF_CONFIG_ERROR_MAX]);

#endif

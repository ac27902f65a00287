/* The kernel's block device of a volume, /dev/nbdN.
 *
 *      waiting ──► attaching ──► attached ──► waiting      the server ended: the kernel keeps
 *                      │                                   requests for device_dead_timeout
 *                      └──► failed ──► attaching           tried again with back-off
 *
 * The kernel gives no server up that lives (TIMEOUT 0), since a volume may rightly wait long for
 * its legs.  What it had sent to a server that died it sends again to the next one when it looks,
 * which queue/io_timeout makes it do every two seconds.
 *
 * Nothing here reads through the device: a process that does, while the server dies, is held by the
 * kernel until the next one is there, and held this service's end up.  The kernel's answer is
 * believed instead: a connect that succeeds has taken the connection.  A reconnect succeeds also
 * while the kernel has not noticed that the old connection is over; it tells when it has
 * (sfd_device_link_dead), and then, and once a little later, it is offered the same connection
 * again, which a kernel that has it ignores.
 *
 * A device in use is not taken away when the daemon stops: it waits for a server, as after a crash,
 * and only after device_dead_timeout its requests fail. */
#ifndef SUREFOOTD_DEVICE_H
#define SUREFOOTD_DEVICE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include <systemd/sd-event.h>

#include <surefoot/config.h>

#include "common/backoff.h"
#include "common/job.h"
#include "server/probe.h"

enum device_state {
  DEVICE_NONE, /* the volume has none */
  DEVICE_WAITING,
  DEVICE_ATTACHING,
  DEVICE_ATTACHED,
  DEVICE_FAILED,
  DEVICE_STOPPING,
};

struct device {
  /* The owner's, before sfd_device_begin. */
  sd_event *event;
  const char *volume; /* the name, for the log */
  /* It needs a connection to the server: sfd_device_connect is to follow. */
  void (*wants)(void *ctx);
  /* Its state has changed. */
  void (*changed)(void *ctx);
  /* It was taken away while its server lives; it is attached again. */
  void (*lost)(void *ctx, const char *why);
  /* The answer to sfd_device_stop. */
  void (*stopped)(void *ctx);
  void *ctx;

  enum device_state state;
  char path[SF_DEVICE_PATH_MAX];
  unsigned index;
  uint64_t timeout_s, dead_timeout_s;
  char identifier[40];
  struct probe_result connection; /* fd: ours of the connection that the kernel has; -1: none */
  bool by_fast_door;              /* that connection; the owner's */
  struct job *job;
  sd_event_source *timer;
  sd_event_source *hang_up; /* of the connection */
  bool offer_again;         /* when the job is done: the kernel may have said yes too early */
  struct backoff backoff;
  bool lets_go; /* its connection was ended by us, and the kernel has not said yet that it knows */
  unsigned stop_tries;
  bool left;        /* by a stop, since it is in use */
  bool tried;       /* attached, or failed, once */
  char reason[320]; /* why it is not attached */
};

/* Takes over the configuration.  Without a device all other calls do nothing. */
void sfd_device_begin(struct device *device, const struct sf_config *config);

/* A proven connection; takes its descriptor over.  uuid guards against another volume's device. */
void sfd_device_connect(struct device *device, const struct probe_result *connection,
                        const char *uuid);
/* There is no connection to be had. */
void sfd_device_no_connection(struct device *device, const char *why);
/* The server has ended. */
void sfd_device_server_gone(struct device *device);
/* The volume has grown: a connection has the size of its beginning, so a new one is needed. */
void sfd_device_grown(struct device *device);
/* The kernel says that it has lost its connection, or an earlier one. */
void sfd_device_link_dead(struct device *device);
/* Looks whether the kernel still has it; now and then, while the volume serves. */
void sfd_device_look(struct device *device);

/* Detaches it, unless it is in use; stopped is called in any case, maybe from inside. */
void sfd_device_stop(struct device *device);
/* After a stop, so that it may go on: waiting, if it was left attached; else without a device. */
void sfd_device_after_stop(struct device *device);
/* Attached, and to this volume. */
bool sfd_device_is_ours(const struct device *device);
bool sfd_device_in_use(const struct device *device, char *why, size_t size);

/* The folder where the kernel shows block devices; a test has one of its own. */
extern const char *sfd_device_sysfs;

/* NULL: it has none. */
json_t *sfd_device_describe(const struct device *device);

void sfd_device_end(struct device *device);

#endif

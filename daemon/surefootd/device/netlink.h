/* The kernel's NBD client, by its generic netlink family "nbd". */
#ifndef SUREFOOTD_NETLINK_H
#define SUREFOOTD_NETLINK_H

#include <stdint.h>

#include <systemd/sd-event.h>

/* All of these may block: for a job.  0 or -errno; -ENOENT: the kernel has no nbd. */

struct netlink_device {
  unsigned index; /* of /dev/nbdINDEX */
  int fd;         /* a connection in transmission */
  uint64_t size_bytes;
  uint32_t block_bytes;
  uint16_t server_flags;
  uint64_t timeout_s, dead_timeout_s;
  const char *identifier;
};

int sfd_netlink_connect(const struct netlink_device *device);
/* A connection for a device that has lost its own, then the size.  If it has not, the kernel says
 * yes and keeps its connection: offering that one again changes nothing. */
int sfd_netlink_reconnect(const struct netlink_device *device);
/* Only its timeouts. */
int sfd_netlink_set_timeouts(const struct netlink_device *device);
int sfd_netlink_disconnect(const struct netlink_device *device);

/* ---- the kernel tells that a device has lost its connection ---- */

struct netlink_listener;

/* Does not block. */
int sfd_netlink_listen(sd_event *event, void (*dead)(void *ctx, unsigned index), void *ctx,
                       struct netlink_listener **listener);
/* NULL is accepted. */
void sfd_netlink_listener_close(struct netlink_listener *listener);

#endif

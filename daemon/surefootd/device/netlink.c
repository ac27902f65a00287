#include "device/netlink.h"

#include <errno.h>
#include <linux/nbd-netlink.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "base/assert.h"

/* libnl's numbers are its own. */
static int
to_errno(int error) {
  switch (-error) {
  case 0:
    return 0;
  case NLE_OBJ_NOTFOUND:
    return -ENOENT;
  case NLE_PERM:
  case NLE_NOACCESS:
    return -EPERM;
  case NLE_BUSY:
    return -EBUSY;
  case NLE_INVAL:
    return -EINVAL;
  case NLE_NOMEM:
    return -ENOMEM;
  case NLE_EXIST:
    return -EEXIST;
  case NLE_AGAIN:
    return -EAGAIN;
  default:
    return -EIO;
  }
}

static int
connect_family(struct nl_sock **result, int *family) {
  struct nl_sock *sock = nl_socket_alloc();
  if (sock == NULL)
    return -ENOMEM;
  int r = genl_connect(sock);
  if (r == 0) {
    *family = genl_ctrl_resolve(sock, NBD_GENL_FAMILY_NAME);
    r = *family < 0 ? *family : 0;
  }
  if (r < 0) {
    nl_socket_free(sock);
    return to_errno(r);
  }
  *result = sock;
  return 0;
}

static int
put_socket(struct nl_msg *message, int fd) {
  struct nlattr *list = nla_nest_start(message, NBD_ATTR_SOCKETS);
  struct nlattr *item = list ? nla_nest_start(message, NBD_SOCK_ITEM) : NULL;
  if (item == NULL || nla_put_u32(message, NBD_SOCK_FD, (uint32_t) fd) < 0)
    return -NLE_NOMEM;
  nla_nest_end(message, item);
  nla_nest_end(message, list);
  return 0;
}

static int
fill(struct nl_msg *message, int command, const struct netlink_device *device) {
  int r = nla_put_u32(message, NBD_ATTR_INDEX, device->index);
  if (r == 0 && command == NBD_CMD_CONNECT) {
    r = nla_put_u64(message, NBD_ATTR_SIZE_BYTES, device->size_bytes);
    if (r == 0)
      r = nla_put_u64(message, NBD_ATTR_BLOCK_SIZE_BYTES, device->block_bytes);
    if (r == 0)
      r = nla_put_u64(message, NBD_ATTR_SERVER_FLAGS, device->server_flags);
    /* Neither destroyed at a disconnect nor disconnected by the last close. */
    if (r == 0)
      r = nla_put_u64(message, NBD_ATTR_CLIENT_FLAGS, 0);
  }
  if (r == 0 && command == NBD_CMD_RECONFIGURE && device->size_bytes > 0)
    r = nla_put_u64(message, NBD_ATTR_SIZE_BYTES, device->size_bytes);
  if (r == 0 && command != NBD_CMD_DISCONNECT) {
    r = nla_put_u64(message, NBD_ATTR_TIMEOUT, device->timeout_s);
    if (r == 0)
      r = nla_put_u64(message, NBD_ATTR_DEAD_CONN_TIMEOUT, device->dead_timeout_s);
    /* The kernel refuses a reconfiguration that does not name the same. */
    if (r == 0)
      r = nla_put_string(message, NBD_ATTR_BACKEND_IDENTIFIER, device->identifier);
    if (r == 0 && device->fd >= 0)
      r = put_socket(message, device->fd);
  }
  return r;
}

static int
run(int command, const struct netlink_device *device) {
  struct nl_sock *sock;
  int family;
  int r = connect_family(&sock, &family);
  if (r < 0)
    return r;
  struct nl_msg *message = nlmsg_alloc();
  if (message == NULL ||
      genlmsg_put(message, NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, 0, (uint8_t) command, 0) == NULL)
    r = -NLE_NOMEM;
  if (r == 0)
    r = fill(message, command, device);
  if (r == 0)
    r = nl_send_sync(sock, message); /* frees it */
  else
    nlmsg_free(message);
  nl_socket_free(sock);
  return to_errno(r);
}

int
sfd_netlink_connect(const struct netlink_device *device) {
  return run(NBD_CMD_CONNECT, device);
}

int
sfd_netlink_reconnect(const struct netlink_device *device) {
  struct netlink_device part = *device;
  part.size_bytes = 0;
  int r = run(NBD_CMD_RECONFIGURE, &part);
  if (r < 0)
    return r;
  /* The volume may have grown.  In a message of its own: newer kernels drain the queue to change
   * the size, and requests in flight need the connection for that. */
  part.size_bytes = device->size_bytes;
  part.fd = -1;
  return run(NBD_CMD_RECONFIGURE, &part);
}

int
sfd_netlink_set_timeouts(const struct netlink_device *device) {
  struct netlink_device only = *device;
  only.fd = -1;
  only.size_bytes = 0;
  return run(NBD_CMD_RECONFIGURE, &only);
}

int
sfd_netlink_disconnect(const struct netlink_device *device) {
  return run(NBD_CMD_DISCONNECT, device);
}

/* ---- the listener ---- */

struct netlink_listener {
  struct nl_sock *sock;
  sd_event_source *source;
  void (*dead)(void *ctx, unsigned index);
  void *ctx;
};

static int
on_message(struct nl_msg *message, void *arg) {
  struct netlink_listener *listener = arg;
  struct genlmsghdr *header = nlmsg_data(nlmsg_hdr(message));
  struct nlattr *attr[NBD_ATTR_MAX + 1];
  if (header->cmd == NBD_CMD_LINK_DEAD &&
      genlmsg_parse(nlmsg_hdr(message), 0, attr, NBD_ATTR_MAX, NULL) == 0 && attr[NBD_ATTR_INDEX])
    listener->dead(listener->ctx, nla_get_u32(attr[NBD_ATTR_INDEX]));
  return NL_OK;
}

static int
on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
  struct netlink_listener *listener = userdata;
  nl_recvmsgs_default(listener->sock);
  return 0;
}

int
sfd_netlink_listen(sd_event *event, void (*dead)(void *ctx, unsigned index), void *ctx,
                   struct netlink_listener **result) {
  SF_ASSERT(dead != NULL);
  struct nl_sock *sock;
  int family;
  int r = connect_family(&sock, &family);
  if (r < 0)
    return r;
  struct netlink_listener *listener = calloc(1, sizeof *listener);
  int group = genl_ctrl_resolve_grp(sock, NBD_GENL_FAMILY_NAME, NBD_GENL_MCAST_GROUP_NAME);
  r = listener == NULL ? -NLE_NOMEM : group < 0 ? group : nl_socket_add_membership(sock, group);
  if (r < 0) {
    free(listener);
    nl_socket_free(sock);
    return to_errno(r);
  }
  *listener = (struct netlink_listener){.sock = sock, .dead = dead, .ctx = ctx};
  nl_socket_disable_seq_check(sock); /* these are not replies */
  nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, on_message, listener);
  nl_socket_set_nonblocking(sock);
  r = sd_event_add_io(event, &listener->source, nl_socket_get_fd(sock), EPOLLIN, on_io, listener);
  if (r < 0) {
    sfd_netlink_listener_close(listener);
    return r;
  }
  *result = listener;
  return 0;
}

void
sfd_netlink_listener_close(struct netlink_listener *listener) {
  if (listener == NULL)
    return;
  sd_event_source_disable_unref(listener->source);
  nl_socket_free(listener->sock);
  free(listener);
}

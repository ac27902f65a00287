#include "server/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <libnbd.h>
#include <linux/nbd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "base/assert.h"

enum { BLOCK_BYTES_MAX = 64 * 1024 };

struct probe {
  void (*done)(void *ctx, const struct probe_result *result);
  void *ctx;
  struct nbd_handle *nbd;
  sd_event_source *source;
  int64_t cookie; /* of the read; 0: not sent yet */
  char block[BLOCK_BYTES_MAX];
};

void
sfd_probe_cancel(struct probe *probe) {
  if (probe == NULL)
    return;
  sd_event_source_disable_unref(probe->source);
  nbd_close(probe->nbd);
  free(probe);
}

static void
finish(struct probe *probe, const struct probe_result *result) {
  SF_ASSERT((result->error == 0) == (result->fd >= 0)); /* it is the other's to close */
  void (*done)(void *ctx, const struct probe_result *result) = probe->done;
  void *ctx = probe->ctx;
  sfd_probe_cancel(probe);
  done(ctx, result);
}

static void
fail(struct probe *probe) {
  int error = nbd_get_errno();
  const char *text = nbd_get_error();
  struct probe_result result = {.error = error ? -error : -EIO, .fd = -1};
  snprintf(result.why, sizeof result.why, "%s", text ? text : "the server ended the connection");
  finish(probe, &result);
}

static uint32_t
block_bytes(struct nbd_handle *nbd) {
  int64_t minimum = nbd_get_block_size(nbd, LIBNBD_SIZE_MINIMUM);
  return minimum > 512 && minimum <= BLOCK_BYTES_MAX ? (uint32_t) minimum : 512;
}

static uint16_t
export_flags(struct nbd_handle *nbd) {
  return (uint16_t) (NBD_FLAG_HAS_FLAGS | (nbd_is_read_only(nbd) > 0 ? NBD_FLAG_READ_ONLY : 0) |
                     (nbd_can_flush(nbd) > 0 ? NBD_FLAG_SEND_FLUSH : 0) |
                     (nbd_can_fua(nbd) > 0 ? NBD_FLAG_SEND_FUA : 0) |
                     (nbd_can_trim(nbd) > 0 ? NBD_FLAG_SEND_TRIM : 0) |
                     (nbd_can_multi_conn(nbd) > 0 ? NBD_FLAG_CAN_MULTI_CONN : 0));
}

/* nbd_close closes only its own descriptor: this one stays connected. */
static void
succeed(struct probe *probe) {
  struct probe_result result = {
      .fd = fcntl(nbd_aio_get_fd(probe->nbd), F_DUPFD_CLOEXEC, 3),
      .size_bytes = (uint64_t) nbd_get_size(probe->nbd),
      .block_bytes = block_bytes(probe->nbd),
      .flags = export_flags(probe->nbd),
  };
  if (result.fd < 0)
    result.error = -errno;
  finish(probe, &result);
}

static uint32_t
wanted_events(struct nbd_handle *nbd) {
  unsigned direction = nbd_aio_get_direction(nbd);
  return (direction & LIBNBD_AIO_DIRECTION_READ ? EPOLLIN : 0) |
         (direction & LIBNBD_AIO_DIRECTION_WRITE ? EPOLLOUT : 0);
}

/* False: the probe has ended. */
static bool
go_on(struct probe *probe) {
  struct nbd_handle *nbd = probe->nbd;
  if (nbd_aio_is_dead(nbd) || nbd_aio_is_closed(nbd)) {
    fail(probe);
    return false;
  }
  if (probe->cookie == 0 && nbd_aio_is_ready(nbd)) {
    uint32_t bytes = block_bytes(nbd);
    if (nbd_get_size(nbd) < (int64_t) bytes) {
      struct probe_result result = {.error = -ENODATA, .why = "the volume is empty", .fd = -1};
      finish(probe, &result);
      return false;
    }
    probe->cookie = nbd_aio_pread(nbd, probe->block, bytes, 0, NBD_NULL_COMPLETION, 0);
    if (probe->cookie < 0) {
      fail(probe);
      return false;
    }
  }
  int completed = probe->cookie > 0 ? nbd_aio_command_completed(nbd, (uint64_t) probe->cookie) : 0;
  if (completed != 0) {
    if (completed < 0)
      fail(probe);
    else
      succeed(probe);
    return false;
  }
  sd_event_source_set_io_events(probe->source, wanted_events(nbd));
  return true;
}

static int
on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
  struct probe *probe = userdata;
  unsigned direction = nbd_aio_get_direction(probe->nbd);
  int r = 0;
  if ((revents & (EPOLLIN | EPOLLHUP | EPOLLERR)) && (direction & LIBNBD_AIO_DIRECTION_READ))
    r = nbd_aio_notify_read(probe->nbd);
  else if ((revents & (EPOLLHUP | EPOLLERR)) ||
           ((revents & EPOLLOUT) && (direction & LIBNBD_AIO_DIRECTION_WRITE)))
    r = nbd_aio_notify_write(probe->nbd);
  if (r < 0)
    fail(probe);
  else
    go_on(probe);
  return 0;
}

int
sfd_probe_start(sd_event *event, const char *socket,
                void (*done)(void *ctx, const struct probe_result *result), void *ctx,
                struct probe **result) {
  SF_ASSERT(done != NULL);
  struct probe *probe = calloc(1, sizeof *probe);
  if (probe == NULL)
    return -ENOMEM;
  probe->done = done;
  probe->ctx = ctx;
  probe->nbd = nbd_create();
  if (probe->nbd == NULL || nbd_set_request_structured_replies(probe->nbd, false) < 0 ||
      nbd_set_handshake_flags(probe->nbd, LIBNBD_HANDSHAKE_FLAG_FIXED_NEWSTYLE |
                                              LIBNBD_HANDSHAKE_FLAG_NO_ZEROES) < 0 ||
      nbd_aio_connect_unix(probe->nbd, socket) < 0) {
    int error = nbd_get_errno();
    sfd_probe_cancel(probe);
    return error ? -error : -ENOMEM;
  }
  int r = sd_event_add_io(event, &probe->source, nbd_aio_get_fd(probe->nbd),
                          wanted_events(probe->nbd), on_io, probe);
  if (r < 0) {
    sfd_probe_cancel(probe);
    return r;
  }
  *result = probe;
  return 0;
}

#include "server/upstream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <surefoot/wire.h>

enum { LINE_MAX_BYTES = 2 * 1024 * 1024 }; /* all events that are kept, each with a path */

struct upstream {
  struct upstream_user user;
  struct sf_connection *connection;
  sd_event_source *source;
  bool *closed; /* set when it is closed from inside its own callback */
};

void
upstream_close(struct upstream *upstream) {
  if (!upstream)
    return;
  if (upstream->closed)
    *upstream->closed = true;
  sd_event_source_disable_unref(upstream->source);
  sf_connection_destroy(upstream->connection);
  free(upstream);
}

static void
end(struct upstream *upstream, int error) {
  struct upstream_user user = upstream->user;
  upstream_close(upstream);
  user.ended(user.ctx, error);
}

static int
take_lines(struct upstream *upstream) {
  bool closed = false;
  const char *line;
  size_t len;
  upstream->closed = &closed;
  while (sf_connection_next_line(upstream->connection, &line, &len)) {
    json_t *object = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(object)) {
      json_decref(object);
      upstream->closed = NULL;
      return -EPROTO;
    }
    upstream->user.line(upstream->user.ctx, object);
    json_decref(object);
    if (closed)
      return -ECANCELED;
  }
  upstream->closed = NULL;
  return sf_connection_line_too_long(upstream->connection) ? -EPROTO : 0;
}

static int
on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
  struct upstream *upstream = userdata;
  struct sf_connection *connection = upstream->connection;
  int r = 0;
  if (revents & EPOLLOUT)
    r = sf_connection_send(connection);
  if (r == 0 && (revents & (EPOLLIN | EPOLLHUP | EPOLLERR)))
    r = sf_connection_receive(connection);
  if (r == 0)
    r = take_lines(upstream);
  if (r == -ECANCELED)
    return 0;
  if (r < 0 || connection->ended) {
    end(upstream, r);
    return 0;
  }
  sd_event_source_set_io_events(source,
                                EPOLLIN | (sf_connection_pending(connection) ? EPOLLOUT : 0));
  return 0;
}

void
upstream_drain(struct upstream *upstream) {
  on_io(upstream->source, upstream->connection->fd, EPOLLIN, upstream);
}

static int
connect_to(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t len = strlen(path);
  if (len >= sizeof address.sun_path)
    return -ENAMETOOLONG;
  memcpy(address.sun_path, path, len + 1);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return -errno;
  if (connect(fd, (const struct sockaddr *) &address, sizeof address) < 0) {
    int r = -errno;
    close(fd);
    return r;
  }
  return fd;
}

static int
set_up(sd_event *event, int fd, const json_t *request, struct upstream *upstream) {
  int r = sf_connection_create(fd, LINE_MAX_BYTES, &upstream->connection);
  if (r == 0)
    r = sf_connection_queue_json(upstream->connection, request);
  if (r == 0)
    r = sd_event_add_io(event, &upstream->source, fd, EPOLLIN | EPOLLOUT, on_io, upstream);
  return r < 0 ? r : 0;
}

int
upstream_open(sd_event *event, const char *path, json_t *request, const struct upstream_user *user,
              struct upstream **result) {
  json_t *version = json_integer(SF_CONTROL_VERSION);
  if (!request || !version || json_object_set_new(request, "version", version) < 0) {
    json_decref(request);
    return -ENOMEM;
  }
  struct upstream *upstream = calloc(1, sizeof *upstream);
  int fd = upstream ? connect_to(path) : -ENOMEM;
  int r = fd < 0 ? fd : set_up(event, fd, request, upstream);
  json_decref(request);
  if (r < 0) {
    upstream_close(upstream);
    return r;
  }
  upstream->user = *user;
  *result = upstream;
  return 0;
}

/* ---- calls ---- */

struct call {
  struct upstream *upstream;
  sd_event_source *timer;
  void (*done)(void *ctx, int error, json_t *reply);
  void *ctx;
};

void
call_cancel(struct call *call) {
  if (!call)
    return;
  upstream_close(call->upstream);
  sd_event_source_disable_unref(call->timer);
  free(call);
}

static void
finish(struct call *call, int error, json_t *reply) {
  struct call copy = *call;
  call_cancel(call);
  copy.done(copy.ctx, error, reply);
}

static void
on_reply(void *ctx, json_t *object) {
  json_incref(object);
  finish(ctx, 0, object);
  json_decref(object);
}

static void
on_ended(void *ctx, int error) {
  struct call *call = ctx;
  call->upstream = NULL;
  finish(call, error ? error : -ECONNRESET, NULL);
}

static int
on_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
  finish(userdata, -ETIMEDOUT, NULL);
  return 0;
}

int
call_start(sd_event *event, const char *path, json_t *request, uint64_t timeout_us,
           void (*done)(void *ctx, int error, json_t *reply), void *ctx, struct call **result) {
  struct call *call = calloc(1, sizeof *call);
  if (!call) {
    json_decref(request);
    return -ENOMEM;
  }
  call->done = done;
  call->ctx = ctx;
  const struct upstream_user user = {.line = on_reply, .ended = on_ended, .ctx = call};
  int r = upstream_open(event, path, request, &user, &call->upstream);
  if (r == 0)
    r = sd_event_add_time_relative(event, &call->timer, CLOCK_MONOTONIC, timeout_us, 0, on_timeout,
                                   call);
  if (r < 0) {
    call_cancel(call);
    return r;
  }
  *result = call;
  return 0;
}

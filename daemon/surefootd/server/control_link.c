#include "server/control_link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <surefoot/wire.h>

#include "base/assert.h"

enum { LINE_MAX_BYTES = 2 * 1024 * 1024 }; /* all events that are kept, each with a path */

struct control_link {
  struct control_link_user user;
  struct sf_connection *connection;
  sd_event_source *source;
  bool *closed; /* set when it is closed from inside its own callback */
};

void
sfd_control_link_close(struct control_link *control_link) {
  if (control_link == NULL)
    return;
  if (control_link->closed)
    *control_link->closed = true;
  sd_event_source_disable_unref(control_link->source);
  sf_connection_destroy(control_link->connection);
  free(control_link);
}

static void
end(struct control_link *control_link, int error) {
  struct control_link_user user = control_link->user;
  sfd_control_link_close(control_link);
  user.ended(user.ctx, error);
}

static int
take_lines(struct control_link *control_link) {
  bool closed = false;
  const char *line;
  size_t len;
  control_link->closed = &closed;
  while (sf_connection_next_line(control_link->connection, &line, &len)) {
    json_t *object = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(object)) {
      json_decref(object);
      control_link->closed = NULL;
      return -EPROTO;
    }
    control_link->user.line(control_link->user.ctx, object);
    json_decref(object);
    if (closed)
      return -ECANCELED;
  }
  control_link->closed = NULL;
  return sf_connection_line_too_long(control_link->connection) ? -EPROTO : 0;
}

static int
on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
  struct control_link *control_link = userdata;
  struct sf_connection *connection = control_link->connection;
  int r = 0;
  if (revents & EPOLLOUT)
    r = sf_connection_send(connection);
  if (r == 0 && (revents & (EPOLLIN | EPOLLHUP | EPOLLERR)))
    r = sf_connection_receive(connection);
  if (r == 0)
    r = take_lines(control_link);
  if (r == -ECANCELED)
    return 0;
  if (r < 0 || connection->ended) {
    end(control_link, r);
    return 0;
  }
  sd_event_source_set_io_events(source,
                                EPOLLIN | (sf_connection_pending(connection) ? EPOLLOUT : 0));
  return 0;
}

void
sfd_control_link_drain(struct control_link *control_link) {
  on_io(control_link->source, control_link->connection->fd, EPOLLIN, control_link);
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
set_up(sd_event *event, int fd, const json_t *request, struct control_link *control_link) {
  int r = sf_connection_create(fd, LINE_MAX_BYTES, &control_link->connection);
  if (r == 0)
    r = sf_connection_queue_json(control_link->connection, request);
  if (r == 0)
    r = sd_event_add_io(event, &control_link->source, fd, EPOLLIN | EPOLLOUT, on_io, control_link);
  return r < 0 ? r : 0;
}

int
sfd_control_link_open(sd_event *event, const char *path, json_t *request,
                      const struct control_link_user *user, struct control_link **result) {
  SF_ASSERT(user->line != NULL && user->ended != NULL);
  /* It takes the number where there is no request, too. */
  if (json_object_set_new(request, "version", json_integer(SF_CONTROL_VERSION)) < 0) {
    json_decref(request);
    return -ENOMEM;
  }
  struct control_link *control_link = calloc(1, sizeof *control_link);
  int fd = control_link ? connect_to(path) : -ENOMEM;
  int r = fd < 0 ? fd : set_up(event, fd, request, control_link);
  json_decref(request);
  if (r < 0) {
    sfd_control_link_close(control_link);
    return r;
  }
  control_link->user = *user;
  *result = control_link;
  return 0;
}

/* ---- calls ---- */

struct call {
  struct control_link *control_link;
  sd_event_source *timer;
  void (*done)(void *ctx, int error, json_t *reply);
  void *ctx;
};

void
sfd_call_cancel(struct call *call) {
  if (call == NULL)
    return;
  sfd_control_link_close(call->control_link);
  sd_event_source_disable_unref(call->timer);
  free(call);
}

static void
finish(struct call *call, int error, json_t *reply) {
  struct call copy = *call;
  sfd_call_cancel(call);
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
  call->control_link = NULL;
  finish(call, error ? error : -ECONNRESET, NULL);
}

static int
on_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
  finish(userdata, -ETIMEDOUT, NULL);
  return 0;
}

int
sfd_call_start(sd_event *event, const char *path, json_t *request, uint64_t timeout_us,
               void (*done)(void *ctx, int error, json_t *reply), void *ctx, struct call **result) {
  SF_ASSERT(done != NULL);
  struct call *call = calloc(1, sizeof *call);
  if (call == NULL) {
    json_decref(request);
    return -ENOMEM;
  }
  call->done = done;
  call->ctx = ctx;
  const struct control_link_user user = {.line = on_reply, .ended = on_ended, .ctx = call};
  int r = sfd_control_link_open(event, path, request, &user, &call->control_link);
  if (r == 0)
    r = sd_event_add_time_relative(event, &call->timer, CLOCK_MONOTONIC, timeout_us, 0, on_timeout,
                                   call);
  if (r < 0) {
    sfd_call_cancel(call);
    return r;
  }
  *result = call;
  return 0;
}

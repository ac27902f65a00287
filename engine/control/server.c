/* The control server: one thread, one poll() over the listening socket, an eventfd and the clients.
 *
 * The life of a client
 *
 *      accepted ──► answered, line by line ──► ended (it closed) ──► dropped
 *                        │        │
 *                        │        └──► follows: gets every event, sends nothing more
 *                        └──► closing (its line was too long, it was quiet): dropped after the
 *                             error line is sent
 *
 * It is dropped at once when its connection breaks, when it follows and lets its queue run full,
 * or when it leaves a reply untaken for the quiet time. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <surefoot/wire.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/thread.h"
#include "control/event_ring.h"
#include "control/server.h"

enum {
  LINES_PER_TURN = 16,   /* of one client, before the others have theirs */
  ACCEPTS_PER_TURN = 8,  /* before the clients have theirs */
  ACCEPT_PAUSE_MS = 100, /* when the process has no descriptor left */
};

struct sf_control_server {
  struct sf_socket_file socket;
  struct sf_control_handlers handlers;
  char volume_name[SF_VOLUME_NAME_MAX];
  uint64_t quiet_ns;

  int wake_fd;
  atomic_bool stop;
  struct sf_event_ring ring;

  bool started;
  pthread_t thread;

  /* The thread's own. */
  struct sf_connection *client[SF_CONTROL_CLIENTS_MAX];
  uint64_t published;        /* the number of the first event that followers have not got */
  uint64_t accept_paused_ns; /* no accept before */
  struct sf_volume_status status;
  struct sf_config config;
};

static void
wake(struct sf_control_server *server) {
  uint64_t one = 1;
  /* EAGAIN: the counter is full, so the thread is woken anyway. */
  ssize_t ignored = write(server->wake_fd, &one, sizeof one);
  (void) ignored;
}

/* ---- life ---- */

int
sf_control_server_create(const char *path, const char *volume_name,
                         const struct sf_control_handlers *handlers,
                         struct sf_control_server **server) {
  struct sf_control_server *made = calloc(1, sizeof *made);
  if (made == NULL)
    return -ENOMEM;
  made->handlers = *handlers;
  made->quiet_ns = (uint64_t) SF_CONTROL_QUIET_MS * 1000000;
  snprintf(made->volume_name, sizeof made->volume_name, "%s", volume_name);
  made->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (made->wake_fd < 0) {
    int r = -errno;
    free(made);
    return r;
  }
  int r = sf_socket_file_bind(path, &made->socket);
  if (r < 0) {
    close(made->wake_fd);
    free(made);
    return r;
  }
  sf_event_ring_init(&made->ring);
  *server = made;
  return 0;
}

void
sf_control_server_set_quiet_ms(struct sf_control_server *server, unsigned quiet_ms) {
  SF_ASSERT(!server->started);
  server->quiet_ns = (uint64_t) quiet_ms * 1000000;
}

void
sf_control_server_event(struct sf_control_server *server, const struct sf_volume_event *event) {
  sf_event_ring_put(&server->ring, event);
  wake(server);
}

void
sf_control_server_destroy(struct sf_control_server *server) {
  if (server == NULL)
    return;
  if (server->started) {
    atomic_store(&server->stop, true);
    wake(server);
    SF_ASSERT(pthread_join(server->thread, NULL) == 0);
  }
  for (unsigned i = 0; i < SF_CONTROL_CLIENTS_MAX; i++)
    sf_connection_destroy(server->client[i]);
  sf_socket_file_close(&server->socket);
  close(server->wake_fd);
  sf_event_ring_destroy(&server->ring);
  free(server);
}

static void
drop(struct sf_control_server *server, unsigned slot) {
  sf_connection_destroy(server->client[slot]);
  server->client[slot] = NULL;
}

/* ---- events ---- */

/* A follower that the thread itself kept waiting for more than the ring holds is told so. */
static json_t *
lost_events(const struct sf_control_server *server, uint64_t count) {
  return json_pack("{ss ss sI}", "event", "events-lost", "volume", server->volume_name, "count",
                   (json_int_t) count);
}

static void
send_to_followers(struct sf_control_server *server, json_t *object) {
  char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
  json_decref(object);
  for (unsigned i = 0; i < SF_CONTROL_CLIENTS_MAX; i++) {
    struct sf_connection *client = server->client[i];
    if (client == NULL || !client->follows)
      continue;
    if (text == NULL || sf_connection_pending(client) + strlen(text) + 1 > SF_CONTROL_QUEUE_MAX ||
        sf_connection_queue(client, text) < 0 || sf_connection_send(client) < 0)
      drop(server, i);
  }
  free(text);
}

static void
publish(struct sf_control_server *server) {
  uint64_t first, next;
  sf_event_ring_range(&server->ring, &first, &next);
  if (server->published < first) {
    send_to_followers(server, lost_events(server, first - server->published));
    server->published = first;
  }
  struct sf_kept_event kept;
  while (server->published < next && sf_event_ring_get(&server->ring, server->published, &kept)) {
    server->published++;
    send_to_followers(server, sf_kept_event_to_json(server->volume_name, &kept));
  }
}

/* ---- answers ---- */

static json_t *
answer_error(int r, const char *error) {
  return sf_control_error_reply(error[0] ? error : strerrordesc_np(-r));
}

static int
add_settings(struct sf_control_server *server, json_t *document) {
  json_t *volume = json_array_get(json_object_get(document, "volumes"), 0);
  if (server->handlers.config == NULL)
    return 0;
  server->handlers.config(server->handlers.ctx, &server->config);
  return json_object_set_new(volume, "settings", sf_settings_to_json(&server->config));
}

static json_t *
answer_status(struct sf_control_server *server) {
  memset(&server->status, 0, sizeof server->status);
  int r = server->handlers.status(server->handlers.ctx, &server->status);
  if (r < 0)
    return answer_error(r, "");
  json_t *reply = json_pack("{sb}", "ok", 1);
  json_t *document = sf_status_to_json(&server->status, 1);
  if (reply == NULL || document == NULL || add_settings(server, document) < 0 ||
      json_object_update(reply, document) < 0) {
    json_decref(reply);
    reply = NULL;
  }
  json_decref(document);
  return reply;
}

/* Only published events: later ones go to the new follower with all the others. */
static json_t *
answer_events(struct sf_control_server *server) {
  uint64_t number, next;
  sf_event_ring_range(&server->ring, &number, &next);
  json_t *events = json_array();
  struct sf_kept_event kept;
  for (; events && number < server->published; number++) {
    if (!sf_event_ring_get(&server->ring, number, &kept))
      continue;
    if (json_array_append_new(events, sf_kept_event_to_json(server->volume_name, &kept)) < 0) {
      json_decref(events);
      return NULL;
    }
  }
  return json_pack("{sb si so}", "ok", 1, "version", SF_CONTROL_VERSION, "events", events);
}

static json_t *
answer_request(struct sf_control_server *server, const struct sf_control_request *request) {
  const struct sf_control_handlers *handlers = &server->handlers;
  char error[SF_CONFIG_ERROR_MAX] = "";
  int r = 0;
  switch (request->command) {
  case SF_COMMAND_STATUS:
    return answer_status(server);
  case SF_COMMAND_EVENTS:
    return answer_events(server);
  case SF_COMMAND_SET:
    r = handlers->set(handlers->ctx, request->key, request->value, error);
    break;
  case SF_COMMAND_LEG:
    r = handlers->leg(handlers->ctx, request->action, request->leg, request->path, error);
    break;
  case SF_COMMAND_GROW:
    r = handlers->grow ? handlers->grow(handlers->ctx, request->size, error) : -EOPNOTSUPP;
    break;
  case SF_COMMAND_SCRUB:
    r = handlers->scrub ? handlers->scrub(handlers->ctx, request->action, request->repair,
                                          request->leg, request->rate, error)
                        : -EOPNOTSUPP;
    break;
  case SF_COMMAND_DRILL:
    r = handlers->drill ? handlers->drill(handlers->ctx, request->action, request->leg,
                                          request->duration, error)
                        : -EOPNOTSUPP;
    break;
  case SF_COMMAND_STOP:
    r = handlers->stop ? handlers->stop(handlers->ctx, error) : -EOPNOTSUPP;
    break;
  case SF_COMMAND_START:
  case SF_COMMAND_RELOAD:
  case SF_COMMAND_RESTART:
  case SF_COMMAND_LATENCY:
    SF_ASSERT(false); /* surefootd's: not understood here */
  }
  return r < 0 ? answer_error(r, error) : json_pack("{sb}", "ok", 1);
}

/* False: the client is to be dropped. */
static bool
reply(struct sf_connection *client, json_t *object) {
  int r = sf_connection_queue_json(client, object);
  json_decref(object);
  return r == 0 && sf_connection_send(client) == 0;
}

static bool
answer_line(struct sf_control_server *server, struct sf_connection *client, const char *line,
            size_t len) {
  char error[SF_CONFIG_ERROR_MAX] = "";
  if (client->follows) {
    client->closing = true;
    return reply(client,
                 sf_control_error_reply("this connection follows the events: no more requests"));
  }
  struct sf_control_request request;
  if (sf_control_parse(line, len, server->volume_name, &request, error) < 0)
    return reply(client, sf_control_error_reply(error));

  if (request.command == SF_COMMAND_EVENTS)
    publish(server);
  json_t *object = answer_request(server, &request);
  client->follows = request.follow;
  sf_control_request_clear(&request);
  return reply(client, object);
}

/* ---- one client's turn ---- */

static bool
has_work(const struct sf_connection *client) {
  return sf_connection_pending(client) == 0 && !client->closing && sf_connection_has_line(client);
}

static bool
answer_lines(struct sf_control_server *server, struct sf_connection *client) {
  const char *line;
  size_t len;
  for (unsigned n = 0; n < LINES_PER_TURN && has_work(client); n++) {
    sf_connection_next_line(client, &line, &len);
    if (!answer_line(server, client, line, len))
      return false;
    client->deadline_ns = client->follows ? UINT64_MAX : sf_clock_ns() + server->quiet_ns;
  }
  return true;
}

static bool
close_with_error(struct sf_connection *client, const char *error) {
  client->closing = true;
  return reply(client, sf_control_error_reply(error));
}

static bool
serve_client(struct sf_control_server *server, struct sf_connection *client, short revents) {
  if (revents & (POLLERR | POLLNVAL))
    return false;
  if ((revents & POLLHUP) && client->follows)
    return false;
  if ((revents & POLLOUT) && sf_connection_send(client) < 0)
    return false;
  if ((revents & (POLLIN | POLLHUP)) && !client->ended && sf_connection_receive(client) < 0)
    return false;
  if (!answer_lines(server, client))
    return false;

  if (!client->closing && sf_connection_line_too_long(client)) {
    char error[80];
    snprintf(error, sizeof error, "the request is longer than %d bytes", SF_CONTROL_LINE_MAX);
    if (!close_with_error(client, error))
      return false;
  }
  if (!client->closing && client->ended && sf_connection_has_half_line(client) &&
      !close_with_error(client, "the request ends without a newline"))
    return false;

  if (sf_connection_pending(client) > 0)
    return true;
  if (client->closing)
    return false;
  return !client->ended || client->follows || sf_connection_has_line(client);
}

/* ---- the thread ---- */

static void
refuse_client(int fd) {
  char line[96];
  int len = snprintf(line, sizeof line, "{\"ok\":false,\"error\":\"too many clients: %d\"}\n",
                     SF_CONTROL_CLIENTS_MAX);
  ssize_t ignored = send(fd, line, (size_t) len, MSG_DONTWAIT | MSG_NOSIGNAL);
  (void) ignored;
  close(fd);
}

static void
add_client(struct sf_control_server *server, int fd) {
  if (!sf_peer_may_ask(fd)) {
    close(fd);
    return;
  }
  for (unsigned i = 0; i < SF_CONTROL_CLIENTS_MAX; i++) {
    if (server->client[i])
      continue;
    if (sf_connection_create(fd, SF_CONTROL_LINE_MAX, &server->client[i]) == 0)
      server->client[i]->deadline_ns = sf_clock_ns() + server->quiet_ns;
    return;
  }
  refuse_client(fd);
}

static void
accept_clients(struct sf_control_server *server) {
  for (unsigned n = 0; n < ACCEPTS_PER_TURN; n++) {
    int fd = accept4(server->socket.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      add_client(server, fd);
      continue;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
      server->accept_paused_ns = sf_clock_ns() + (uint64_t) ACCEPT_PAUSE_MS * 1000000;
    return;
  }
}

static void
drop_quiet_clients(struct sf_control_server *server) {
  uint64_t now = sf_clock_ns();
  for (unsigned i = 0; i < SF_CONTROL_CLIENTS_MAX; i++) {
    struct sf_connection *client = server->client[i];
    if (client == NULL || client->deadline_ns > now)
      continue;
    if (sf_connection_pending(client) == 0) {
      char error[80];
      snprintf(error, sizeof error, "no whole request for %llu ms",
               (unsigned long long) (server->quiet_ns / 1000000));
      close_with_error(client, error);
    }
    drop(server, i);
  }
}

/* -1: until something comes. */
static int
poll_timeout_ms(const struct sf_control_server *server) {
  uint64_t until = server->accept_paused_ns ? server->accept_paused_ns : UINT64_MAX;
  for (unsigned i = 0; i < SF_CONTROL_CLIENTS_MAX; i++) {
    if (server->client[i] == NULL)
      continue;
    if (has_work(server->client[i]))
      return 0;
    if (server->client[i]->deadline_ns < until)
      until = server->client[i]->deadline_ns;
  }
  if (until == UINT64_MAX)
    return -1;
  uint64_t now = sf_clock_ns();
  return until <= now ? 0 : (int) ((until - now + 999999) / 1000000);
}

static short
wanted_events(const struct sf_connection *client) {
  if (sf_connection_pending(client) > 0)
    return POLLOUT;
  return client->ended || client->closing ? 0 : POLLIN;
}

static void
one_turn(struct sf_control_server *server) {
  enum { WAKE, LISTEN, CLIENTS };
  struct pollfd fds[CLIENTS + SF_CONTROL_CLIENTS_MAX];
  if (server->accept_paused_ns && sf_clock_ns() >= server->accept_paused_ns)
    server->accept_paused_ns = 0;
  fds[WAKE] = (struct pollfd){.fd = server->wake_fd, .events = POLLIN};
  fds[LISTEN] =
      (struct pollfd){.fd = server->accept_paused_ns ? -1 : server->socket.fd, .events = POLLIN};
  for (unsigned i = 0; i < SF_CONTROL_CLIENTS_MAX; i++) {
    const struct sf_connection *client = server->client[i];
    fds[CLIENTS + i] = (struct pollfd){.fd = client ? client->fd : -1,
                                       .events = (short) (client ? wanted_events(client) : 0)};
  }
  if (poll(fds, CLIENTS + SF_CONTROL_CLIENTS_MAX, poll_timeout_ms(server)) < 0)
    return;

  uint64_t count;
  if (fds[WAKE].revents) {
    ssize_t ignored = read(server->wake_fd, &count, sizeof count);
    (void) ignored;
  }
  publish(server);
  for (unsigned i = 0; i < SF_CONTROL_CLIENTS_MAX; i++) {
    struct sf_connection *client = server->client[i];
    if (client && (fds[CLIENTS + i].revents || has_work(client)) &&
        !serve_client(server, client, fds[CLIENTS + i].revents))
      drop(server, i);
  }
  drop_quiet_clients(server);
  if (fds[LISTEN].revents)
    accept_clients(server);
}

static void *
control_thread(void *arg) {
  struct sf_control_server *server = arg;
  while (!atomic_load(&server->stop))
    one_turn(server);
  publish(server); /* followers see the volume stop */
  return NULL;
}

int
sf_control_server_start(struct sf_control_server *server) {
  int r = sf_thread_start(&server->thread, "sf-control", control_thread, server);
  server->started = r == 0;
  return r;
}

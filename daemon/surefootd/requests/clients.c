#include "requests/clients.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <surefoot/wire.h>

#include "events/events.h"

enum { LINES_PER_TURN = 16 };

struct client {
  struct clients *clients;
  struct sf_connection *connection;
  sd_event_source *io, *quiet;
  struct reply *reply;              /* the request that is being answered; NULL: none */
  char follows[SF_VOLUME_NAME_MAX]; /* with connection->follows: the one volume; "" all */
};

struct reply {
  struct client *client; /* NULL: it is gone */
};

struct clients {
  sd_event *event;
  struct sf_socket_file socket;
  sd_event_source *listen;
  clients_request *request;
  void *ctx;
  struct client *client[SF_CONTROL_CLIENTS_MAX];
};

static void
drop(struct client *client) {
  if (client == NULL)
    return;
  for (unsigned i = 0; i < SF_CONTROL_CLIENTS_MAX; i++)
    if (client->clients->client[i] == client)
      client->clients->client[i] = NULL;
  if (client->reply)
    client->reply->client = NULL;
  sd_event_source_disable_unref(client->io);
  sd_event_source_disable_unref(client->quiet);
  sf_connection_destroy(client->connection);
  free(client);
}

/* ---- a client's turn ---- */

static bool
may_read(const struct client *client) {
  const struct sf_connection *connection = client->connection;
  return client->reply == NULL && !connection->closing && sf_connection_pending(connection) == 0;
}

static void
set_quiet_time(struct client *client) {
  if (client->connection->follows) {
    sd_event_source_set_enabled(client->quiet, SD_EVENT_OFF);
    return;
  }
  sd_event_source_set_time_relative(client->quiet, (uint64_t) SF_CONTROL_QUIET_MS * 1000);
  sd_event_source_set_enabled(client->quiet, SD_EVENT_ONESHOT);
}

static void
queue_error(struct client *client, const char *error) {
  json_t *object = sf_control_error_reply(error);
  client->connection->closing = true;
  sf_connection_queue_json(client->connection, object); /* without memory it is closed unheard */
  json_decref(object);
}

static void
take_line(struct client *client, const char *line, size_t len) {
  char error[SF_CONFIG_ERROR_MAX] = "";
  struct sf_control_request request;
  if (client->connection->follows) {
    queue_error(client, "this connection follows the events: no more requests");
    return;
  }
  struct reply *reply = malloc(sizeof *reply);
  if (reply == NULL) {
    queue_error(client, "out of memory");
    return;
  }
  *reply = (struct reply){.client = client};
  client->reply = reply;
  if (sf_control_parse(line, len, NULL, &request, error) < 0) {
    sfd_reply_error(reply, "%s", error);
    return;
  }
  client->clients->request(client->clients->ctx, &request, reply);
  sf_control_request_clear(&request);
}

/* False: it is to be dropped. */
static bool
take_lines(struct client *client) {
  struct sf_connection *connection = client->connection;
  const char *line;
  size_t len;
  for (unsigned n = 0; n < LINES_PER_TURN; n++) {
    if (sf_connection_send(connection) < 0)
      return false;
    if (!may_read(client) || !sf_connection_next_line(connection, &line, &len))
      break;
    take_line(client, line, len);
    set_quiet_time(client);
  }
  if (may_read(client) && sf_connection_line_too_long(connection)) {
    char error[80];
    snprintf(error, sizeof error, "the request is longer than %d bytes", SF_CONTROL_LINE_MAX);
    queue_error(client, error);
  }
  if (may_read(client) && connection->ended && sf_connection_has_half_line(connection))
    queue_error(client, "the request ends without a newline");
  if (sf_connection_send(connection) < 0)
    return false;
  if (sf_connection_pending(connection) > 0 || client->reply)
    return true;
  if (connection->closing)
    return false;
  return !connection->ended || connection->follows || sf_connection_has_line(connection);
}

static void
set_wanted_events(struct client *client) {
  struct sf_connection *connection = client->connection;
  uint32_t wanted = sf_connection_pending(connection) > 0    ? EPOLLOUT
                    : may_read(client) && !connection->ended ? EPOLLIN
                                                             : 0;
  /* Lines that are there already bring no event of their own. */
  if (may_read(client) && sf_connection_has_line(connection))
    wanted = EPOLLOUT;
  sd_event_source_set_io_events(client->io, wanted);
}

static void
serve(struct client *client) {
  if (take_lines(client))
    set_wanted_events(client);
  else
    drop(client);
}

static int
on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
  struct client *client = userdata;
  /* Both directions are closed: an answer could not be sent. */
  if (revents & (EPOLLERR | EPOLLHUP)) {
    drop(client);
    return 0;
  }
  if ((revents & EPOLLIN) && sf_connection_receive(client->connection) < 0) {
    drop(client);
    return 0;
  }
  serve(client);
  return 0;
}

static int
on_quiet(sd_event_source *source, uint64_t usec, void *userdata) {
  struct client *client = userdata;
  if (client->reply) { /* the daemon is slow, not the client */
    set_quiet_time(client);
    return 0;
  }
  if (sf_connection_pending(client->connection) == 0) {
    char error[80];
    snprintf(error, sizeof error, "no whole request for %d ms", SF_CONTROL_QUIET_MS);
    queue_error(client, error);
    sf_connection_send(client->connection);
  }
  drop(client);
  return 0;
}

/* ---- answers ---- */

/* The client's turn comes from the event loop: an answer may be given from inside of one. */
static void
answered(struct client *client, json_t *object) {
  client->reply = NULL;
  if (object == NULL || sf_connection_queue_json(client->connection, object) < 0) {
    client->connection->closing = true;
    object = NULL;
  }
  sd_event_source_set_io_events(client->io, EPOLLOUT);
}

void
sfd_reply_send(struct reply *reply, json_t *object) {
  if (reply->client)
    answered(reply->client, object);
  json_decref(object);
  free(reply);
}

void
sfd_reply_error(struct reply *reply, const char *format, ...) {
  char error[SF_CONFIG_ERROR_MAX];
  va_list args;
  va_start(args, format);
  vsnprintf(error, sizeof error, format, args);
  va_end(args);
  sfd_reply_send(reply, sf_control_error_reply(error));
}

void
sfd_reply_follow(struct reply *reply, json_t *object, const char *volume) {
  struct client *client = reply->client;
  if (client) {
    client->connection->follows = true;
    snprintf(client->follows, sizeof client->follows, "%s", volume ? volume : "");
    sd_event_source_set_enabled(client->quiet, SD_EVENT_OFF);
  }
  sfd_reply_send(reply, object);
}

void
sfd_clients_publish(struct clients *clients, const json_t *event) {
  char *text = NULL;
  if (clients == NULL)
    return;
  for (unsigned i = 0; i < SF_CONTROL_CLIENTS_MAX; i++) {
    struct client *client = clients->client[i];
    if (client == NULL || !client->connection->follows ||
        (client->follows[0] && strcmp(client->follows, sfd_events_text(event, "volume")) != 0))
      continue;
    if (text == NULL)
      text = json_dumps(event, JSON_COMPACT);
    if (text == NULL ||
        sf_connection_pending(client->connection) + strlen(text) + 1 > SF_CONTROL_QUEUE_MAX ||
        sf_connection_queue(client->connection, text) < 0)
      client->connection->closing = true; /* it is too slow */
    sd_event_source_set_io_events(client->io, EPOLLOUT);
    if (client->connection->closing && client->reply == NULL)
      drop(client);
  }
  free(text);
}

/* ---- the listening socket ---- */

static int
add_client(struct clients *clients, struct client **slot, int fd) {
  struct client *client = calloc(1, sizeof *client);
  if (client == NULL) {
    close(fd);
    return -ENOMEM;
  }
  client->clients = clients;
  *slot = client;
  int r = sf_connection_create(fd, SF_CONTROL_LINE_MAX, &client->connection);
  if (r == 0)
    r = sd_event_add_io(clients->event, &client->io, fd, EPOLLIN, on_io, client);
  if (r >= 0)
    r = sd_event_add_time_relative(clients->event, &client->quiet, CLOCK_MONOTONIC,
                                   (uint64_t) SF_CONTROL_QUIET_MS * 1000, 0, on_quiet, client);
  if (r < 0)
    drop(client);
  return r;
}

static int
on_connection(sd_event_source *source, int listen_fd, uint32_t revents, void *userdata) {
  struct clients *clients = userdata;
  int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0)
    return 0;
  if (!sf_peer_may_ask(fd)) {
    close(fd);
    return 0;
  }
  for (unsigned i = 0; i < SF_CONTROL_CLIENTS_MAX; i++)
    if (clients->client[i] == NULL) {
      add_client(clients, &clients->client[i], fd);
      return 0;
    }
  char line[96];
  int len = snprintf(line, sizeof line, "{\"ok\":false,\"error\":\"too many clients: %d\"}\n",
                     SF_CONTROL_CLIENTS_MAX);
  ssize_t ignored = send(fd, line, (size_t) len, MSG_DONTWAIT | MSG_NOSIGNAL);
  (void) ignored;
  close(fd);
  return 0;
}

int
sfd_clients_create(sd_event *event, const char *path, clients_request *request, void *ctx,
                   struct clients **result) {
  struct clients *clients = calloc(1, sizeof *clients);
  if (clients == NULL)
    return -ENOMEM;
  clients->event = event;
  clients->request = request;
  clients->ctx = ctx;
  int r = sf_socket_file_bind(path, &clients->socket);
  if (r < 0) {
    free(clients);
    return r;
  }
  r = sd_event_add_io(event, &clients->listen, clients->socket.fd, EPOLLIN, on_connection, clients);
  if (r < 0) {
    sfd_clients_destroy(clients);
    return r;
  }
  /* Clients that have gone make room before the next is let in. */
  sd_event_source_set_priority(clients->listen, SD_EVENT_PRIORITY_NORMAL + 1);
  *result = clients;
  return 0;
}

void
sfd_clients_destroy(struct clients *clients) {
  if (clients == NULL)
    return;
  for (unsigned i = 0; i < SF_CONTROL_CLIENTS_MAX; i++)
    drop(clients->client[i]);
  sd_event_source_disable_unref(clients->listen);
  sf_socket_file_close(&clients->socket);
  free(clients);
}

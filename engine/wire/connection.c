#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <surefoot/wire.h>

int
sf_connection_create(int fd, size_t line_max, struct sf_connection **connection) {
  struct sf_connection *made = malloc(sizeof *made + line_max + 1);
  if (made == NULL) {
    close(fd);
    return -ENOMEM;
  }
  /* Not zeroed as a whole: the line buffer costs no memory until it is used. */
  made->fd = fd;
  made->follows = made->ended = made->closing = false;
  made->deadline_ns = UINT64_MAX;
  made->out = NULL;
  made->out_start = made->out_end = made->out_size = 0;
  made->in_start = made->in_end = 0;
  made->in_size = line_max + 1;
  *connection = made;
  return 0;
}

void
sf_connection_destroy(struct sf_connection *connection) {
  if (connection == NULL)
    return;
  close(connection->fd);
  free(connection->out);
  free(connection);
}

/* ---- in ---- */

int
sf_connection_receive(struct sf_connection *connection) {
  if (connection->in_start > 0) {
    connection->in_end -= connection->in_start;
    memmove(connection->in, connection->in + connection->in_start, connection->in_end);
    connection->in_start = 0;
  }
  size_t room = connection->in_size - connection->in_end;
  if (room == 0)
    return 0;
  ssize_t got = recv(connection->fd, connection->in + connection->in_end, room, MSG_DONTWAIT);
  if (got < 0)
    return errno == EAGAIN || errno == EINTR ? 0 : -errno;
  if (got == 0)
    connection->ended = true;
  connection->in_end += (size_t) got;
  return 0;
}

static char *
find_newline(const struct sf_connection *connection) {
  const char *from = connection->in + connection->in_start;
  return memchr(from, '\n', connection->in_end - connection->in_start);
}

bool
sf_connection_next_line(struct sf_connection *connection, const char **line, size_t *len) {
  const char *newline = find_newline(connection);
  if (newline == NULL)
    return false;
  *line = connection->in + connection->in_start;
  *len = (size_t) (newline - *line);
  connection->in_start += *len + 1;
  return true;
}

bool
sf_connection_has_line(const struct sf_connection *connection) {
  return find_newline(connection) != NULL;
}

bool
sf_connection_line_too_long(const struct sf_connection *connection) {
  return connection->in_end - connection->in_start == connection->in_size &&
         find_newline(connection) == NULL;
}

bool
sf_connection_has_half_line(const struct sf_connection *connection) {
  return connection->in_end > connection->in_start && find_newline(connection) == NULL;
}

/* ---- out ---- */

static int
make_room(struct sf_connection *connection, size_t len) {
  if (connection->out_start > 0) {
    connection->out_end -= connection->out_start;
    memmove(connection->out, connection->out + connection->out_start, connection->out_end);
    connection->out_start = 0;
  }
  if (connection->out_size - connection->out_end >= len)
    return 0;
  size_t size = connection->out_end + len + 4096;
  char *larger = realloc(connection->out, size);
  if (larger == NULL)
    return -ENOMEM;
  connection->out = larger;
  connection->out_size = size;
  return 0;
}

int
sf_connection_queue(struct sf_connection *connection, const char *text) {
  size_t len = strlen(text);
  int r = make_room(connection, len + 1);
  if (r < 0)
    return r;
  memcpy(connection->out + connection->out_end, text, len);
  connection->out[connection->out_end + len] = '\n';
  connection->out_end += len + 1;
  return 0;
}

int
sf_connection_queue_json(struct sf_connection *connection, const json_t *object) {
  char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
  if (text == NULL)
    return -ENOMEM;
  int r = sf_connection_queue(connection, text);
  free(text);
  return r;
}

int
sf_connection_send(struct sf_connection *connection) {
  while (connection->out_start < connection->out_end) {
    ssize_t sent = send(connection->fd, connection->out + connection->out_start,
                        connection->out_end - connection->out_start, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR)
      continue;
    if (sent < 0)
      return errno == EAGAIN ? 0 : -errno;
    connection->out_start += (size_t) sent;
  }
  return 0;
}

size_t
sf_connection_pending(const struct sf_connection *connection) {
  return connection->out_end - connection->out_start;
}

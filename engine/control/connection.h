/* One end of a control socket: bytes in up to a newline, bytes out as the client takes them.
 * Nothing here waits.  A client of a server has at most one request being answered: while its
 * reply is not taken, nothing more is read from it. */
#ifndef SF_CONTROL_CONNECTION_H
#define SF_CONTROL_CONNECTION_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <surefoot/control.h>

enum { SF_CONTROL_QUEUE_MAX = 256 * 1024 }; /* events that a follower has not taken */

struct sf_connection {
  int fd;
  bool follows;         /* gets every event */
  bool ended;           /* will send no more */
  bool closing;         /* is dropped once the output is gone */
  uint64_t deadline_ns; /* dropped when quiet until then */
  char *out;            /* out[out_start..out_end) is still to be sent */
  size_t out_start, out_end, out_size;
  size_t in_start, in_end, in_size;
  char in[]; /* a line of the longest kind and its newline */
};

/* line_max: of what comes in.  Takes fd over, also on failure. */
int sf_connection_create(int fd, size_t line_max, struct sf_connection **connection);
/* NULL is accepted. */
void sf_connection_destroy(struct sf_connection *connection);

/* Reads what is there.  -errno: the connection is broken. */
int sf_connection_receive(struct sf_connection *connection);

/* The next whole line, without its newline; valid until the next receive. */
bool sf_connection_next_line(struct sf_connection *connection, const char **line, size_t *len);
bool sf_connection_has_line(const struct sf_connection *connection);
/* The buffer is full and holds no newline. */
bool sf_connection_line_too_long(const struct sf_connection *connection);
/* Bytes after the last newline. */
bool sf_connection_has_half_line(const struct sf_connection *connection);

/* Queues text and a newline. */
int sf_connection_queue(struct sf_connection *connection, const char *text);
int sf_connection_queue_json(struct sf_connection *connection, const json_t *object);
/* Sends what the socket takes.  -errno: the connection is broken. */
int sf_connection_send(struct sf_connection *connection);
size_t sf_connection_pending(const struct sf_connection *connection);

#endif

/* The control socket: one JSON object per line, each way, over a Unix stream socket.
 *
 *   -> {"version":1,"command":"status","volume":"vol0"}
 *   <- {"ok":true, ...}            or {"ok":false,"error":"one line for the operator"}
 *
 * commands: status; events (answers, with "follow":true goes on with one object per event); set
 * {"key","value"}; leg {"action":"fail|return|discard|replace|add|remove","leg","path"}; grow
 * {"size"} (left out: what the legs hold; it is only begun, the event "grown" or "grow-failed"
 * tells the end); scrub {"action":"start|pause|resume|cancel","repair","leg","rate"}, the event
 * "scrub" tells its end; drill {"action":"start|cancel","leg","duration"}, the event "drill" tells
 * its end. stop ends the volume cleanly: its own socket does not wait for clients,
 * surefootd's refuses while its device is held, and keeps it down until start {"force"}.
 * surefootd's also knows reload {"dry_run"}, restart, and latency {"since":"10m"}, the legs'
 * histograms of the last hour or less.  "volume" may be left out where the socket serves one
 * volume, and in status and events, which are then about all.  An unknown command, key or version
 * is an error, never ignored.  Root and the group surefoot may ask. */
#ifndef SUREFOOT_WIRE_H
#define SUREFOOT_WIRE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

#include <surefoot/config.h>

enum {
  SF_CONTROL_VERSION = 1,
  SF_CONTROL_LINE_MAX = 64 * 1024, /* of a request */
  SF_CONTROL_CLIENTS_MAX = 32,
  SF_CONTROL_QUIET_MS = 30000,       /* a client that is quiet for longer is dropped */
  SF_CONTROL_QUEUE_MAX = 256 * 1024, /* bytes of events that a follower has not taken */
  SF_CONTROL_EVENTS_KEPT = 256,      /* what `events` without follow shows */
};

/* ---- requests ---- */

/* One line of the control socket into a request: a pure function of bytes, no I/O and no state.  A
 * line that is not understood whole is refused whole, with one line that says why. */

enum sf_control_command {
  SF_COMMAND_STATUS,
  SF_COMMAND_EVENTS,
  SF_COMMAND_SET,
  SF_COMMAND_LEG,
  SF_COMMAND_GROW,
  SF_COMMAND_SCRUB,
  SF_COMMAND_DRILL,
  SF_COMMAND_STOP,
  SF_COMMAND_START,   /* surefootd's */
  SF_COMMAND_RELOAD,  /* surefootd's */
  SF_COMMAND_RESTART, /* surefootd's */
  SF_COMMAND_LATENCY, /* surefootd's */
};

/* The strings live in the document: valid until sf_control_request_clear. */
struct sf_control_request {
  enum sf_control_command command;
  const char *volume; /* NULL: not said */
  bool follow;        /* events */
  bool dry_run;       /* reload */
  const char *key;    /* set */
  const char *value;  /* set */
  bool force;         /* start; leg: fail, surefootd's */
  bool repair;        /* scrub */
  const char *rate;   /* scrub; NULL: not said */
  /* leg: "fail", "return", "discard", "replace", "add" or "remove"; scrub: "start", "pause",
   * "resume", "cancel"; drill: "start", "cancel" */
  const char *action;
  const char *leg;      /* leg; drill; scrub: the leg that is right, NULL: not said */
  const char *path;     /* leg: replace, add; NULL: not said */
  const char *with;     /* leg: fail with force: "a,b", the legs to go on with; NULL: not said */
  const char *size;     /* grow; NULL: not said */
  const char *since;    /* latency */
  const char *duration; /* drill; NULL: not said */
  json_t *document;
};

/* bytes: a line without its newline, any bytes at all.  volume_name: the served volume; NULL:
 * surefootd, which serves many.  -EINVAL or -ENOMEM with error; *request is untouched then. */
int sf_control_parse(const char *bytes, size_t len, const char *volume_name,
                     struct sf_control_request *request, char error[SF_CONFIG_ERROR_MAX]);
void sf_control_request_clear(struct sf_control_request *request);

/* {"ok":false,"error":...}; cleans the text. */
json_t *sf_control_error_reply(const char *error);

/* ---- the asking end ---- */

/* Is it the file of a socket on which no process listens, as its server was killed? */
bool sf_control_is_abandoned(const char *path);

/* One request, one reply; waits at most timeout_ms.  *reply is the caller's (json_decref). */
int sf_control_call(const char *path, json_t *request, int timeout_ms, json_t **reply);

/* Sends the request and hands each following line to line(), until it returns false or the
 * connection ends. */
int sf_control_follow(const char *path, json_t *request, bool (*line)(void *arg, json_t *object),
                      void *arg);

/* ---- text ---- */

/* Text of unknown origin on its way into JSON or an error line: always valid UTF-8, one line. */

/* A JSON string of text; bytes that are not UTF-8 become '?'.  NULL or "" becomes null. */
json_t *sf_text_to_json(const char *text);

/* As above, but "" stays "". */
json_t *sf_text_to_json_string(const char *text);

/* "2026-01-31T12:00:00.123Z" of a CLOCK_REALTIME; null if it is 0. */
json_t *sf_time_to_json(int64_t wall_ns);

/* In place: every byte that is not UTF-8 and every control character becomes '?'. */
void sf_text_clean(char *text);

/* The length of the UTF-8 sequence that begins here, 1..4; 0: not UTF-8. */
size_t sf_utf8_length(const unsigned char *text);

/* ---- connections ---- */

/* One end of a control socket: bytes in up to a newline, bytes out as the client takes them.
 * Nothing here waits.  A client of a server has at most one request being answered: while its
 * reply is not taken, nothing more is read from it. */

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

/* Reads what has come. -errno: the connection is broken. */
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

/* ---- access to a control socket ---- */

/* A control socket is open to root, the user of this process, and the group surefoot. */

/* The group's number, looked up once; (gid_t) -1: there is no such group. */
gid_t sf_peer_group(void);

/* By what the kernel says of the process that connected, when it connected. */
bool sf_peer_may_ask(int fd);

/* ---- the listening socket ---- */

/* The listening socket and its file: bound once, removed only while it is still ours. */

struct sf_socket_file {
  int fd;           /* listens, non-blocking; -1: none */
  int directory_fd; /* so that a later chdir (nbdkit's daemon) does not matter */
  char name[sizeof((struct sockaddr_un *) 0)->sun_path];
  dev_t device;
  ino_t inode;
};

/* The directory is made (0755) if its parent is there; the socket file has mode 0660.
 * -ENAMETOOLONG, -EEXIST (something else is there), -EADDRINUSE (another process listens there). */
int sf_socket_file_bind(const char *path, struct sf_socket_file *file);
/* The same with mode 0600. */
int sf_socket_file_bind_private(const char *path, struct sf_socket_file *file);

/* Unlinks and closes. */
void sf_socket_file_close(struct sf_socket_file *file);

#endif

/* The control socket: one JSON object per line, each way, over a Unix stream socket.
 *
 *   -> {"version":1,"command":"status","volume":"vol0"}
 *   <- {"ok":true, ...}            or {"ok":false,"error":"one line for the operator"}
 *
 * commands: status; events (answers, with "follow":true goes on with one object per event);
 * set {"key","value"}; leg {"action":"fail|return|discard|replace|add|remove","leg","path"}; grow {"size"} (left out: what the
 * legs hold; it is only begun, the event "grown" or "grow-failed" tells the end).  A volume's own socket knows
 * stop (ends the volume cleanly; it does not wait for clients), surefootd's knows reload
 * {"dry_run"} and restart.  "volume" may be left out where the socket serves one volume, and in
 * status and events, which are then about all.  An unknown command, key or version is an error,
 * never ignored.  Root and the group surefoot may ask.
 *
 * The server is one thread of its own; it never waits for a client: a client that does not read is
 * dropped, as is one that sends a longer line than SF_CONTROL_LINE_MAX or is quiet for too long. */
#ifndef SUREFOOT_CONTROL_H
#define SUREFOOT_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include <surefoot/volume.h>

enum {
  SF_CONTROL_VERSION = 1,
  SF_CONTROL_LINE_MAX = 64 * 1024, /* of a request */
  SF_CONTROL_CLIENTS_MAX = 32,
  SF_CONTROL_EVENTS_KEPT = 256, /* what `events` without follow shows */
};

/* ---- server ---- */

struct sf_control_server;

struct sf_control_handlers {
  /* All are called in the server's thread.  A handler returns 0, or -errno with a line in error. */
  void *ctx;
  int (*status)(void *ctx, struct sf_volume_status *status);
  int (*set)(void *ctx, const char *key, const char *value, char error[SF_CONFIG_ERROR_MAX]);
  /* path: of replace and add; NULL when it was not said. */
  int (*leg)(void *ctx, const char *action, const char *leg, const char *path,
             char error[SF_CONFIG_ERROR_MAX]);
  /* Begins; size NULL: what the legs hold. */
  int (*grow)(void *ctx, const char *size, char error[SF_CONFIG_ERROR_MAX]);
  /* Begins the stop; the event STOPPED says that it has ended.  May be NULL: refused. */
  int (*stop)(void *ctx, char error[SF_CONFIG_ERROR_MAX]);
};

/* Binds path (mode 0660, an abandoned socket file is replaced, a live one is -EADDRINUSE) and
 * listens, without a thread: for before the fork. */
int sf_control_server_create(const char *path, const char *volume_name,
                             const struct sf_control_handlers *handlers,
                             struct sf_control_server **server);
/* Starts the thread: after the last fork. */
int sf_control_server_start(struct sf_control_server *server);
/* Any thread, never blocks: keeps the event and sends it to followers. */
void sf_control_server_event(struct sf_control_server *server, const struct sf_volume_event *event);
/* Joins, closes, unlinks.  NULL is accepted. */
void sf_control_server_destroy(struct sf_control_server *server);

/* ---- client ---- */

/* The file of a socket on which nobody listens: its server was killed. */
bool sf_control_is_abandoned(const char *path);

/* One request, one reply; waits at most timeout_ms.  *reply is the caller's (json_decref). */
int sf_control_call(const char *path, json_t *request, int timeout_ms, json_t **reply);

/* Sends the request and hands each following line to line(), until it returns false or the
 * connection ends. */
int sf_control_follow(const char *path, json_t *request, bool (*line)(void *arg, json_t *object),
                      void *arg);

/* ---- the document of `status --json` (DESIGN section 7) ---- */

json_t *sf_status_to_json(const struct sf_volume_status *status, unsigned volumes);
json_t *sf_event_to_json(const char *volume_name, const struct sf_volume_event *event);

#endif

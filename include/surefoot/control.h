/* A volume's control socket: what its server answers with (wire.h has the protocol).
 *
 * The server is one thread of its own; it never waits for a client: it drops a client that does not
 * read, sends a longer line than SF_CONTROL_LINE_MAX or is quiet for too long. */
#ifndef SUREFOOT_CONTROL_H
#define SUREFOOT_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include <surefoot/volume.h>
#include <surefoot/wire.h>

/* ---- server ---- */

struct sf_control_server;

struct sf_control_handlers {
  /* All are called in the server's thread.  A handler returns 0, or -errno with a line in error. */
  void *ctx;
  int (*status)(void *ctx, struct sf_volume_status *status);
  /* The settings in force.  May be NULL: then the status tells none. */
  void (*config)(void *ctx, struct sf_config *config);
  int (*set)(void *ctx, const char *key, const char *value, char error[SF_CONFIG_ERROR_MAX]);
  /* path: of replace and add; NULL when it was not said. */
  int (*leg)(void *ctx, const char *action, const char *leg, const char *path,
             char error[SF_CONFIG_ERROR_MAX]);
  /* Begins; size NULL: what the legs hold. */
  int (*grow)(void *ctx, const char *size, char error[SF_CONFIG_ERROR_MAX]);
  /* leg, rate: NULL when they were not said.  May be NULL: refused. */
  int (*scrub)(void *ctx, const char *action, bool repair, const char *leg, const char *rate,
               char error[SF_CONFIG_ERROR_MAX]);
  /* action: "start", with leg and duration, or "cancel".  May be NULL: refused. */
  int (*drill)(void *ctx, const char *action, const char *leg, const char *duration,
               char error[SF_CONFIG_ERROR_MAX]);
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

/* ---- the document of `status --json` (DESIGN section 7) ---- */

json_t *sf_status_to_json(const struct sf_volume_status *status, unsigned volumes);
/* {key: {"value", "source"}}: beside what sf_volume_status tells, as "settings" of the volume. */
json_t *sf_settings_to_json(const struct sf_config *config);
json_t *sf_event_to_json(const char *volume_name, const struct sf_volume_event *event);

#endif

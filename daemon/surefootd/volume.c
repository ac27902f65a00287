#include "volume.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <surefoot/control.h>

#include "command.h"
#include "control/text.h"
#include "daemon.h"
#include "log.h"
#include "probe.h"

#define SECOND_US UINT64_C(1000000)

enum {
  SOCKET_TRIES = 2,       /* a second and a half: it is not taken for tried before */
  HEALTH_S = 5,           /* between two looks at a server's own socket */
  HEALTH_ANSWER_S = 5,    /* it is silent after that */
  CLIENTS_GRACE_MS = 2000 /* for clients to leave by themselves when it stops */
};

static const struct sf_sm_table table = {
    .machine = "volume",
    .states = VOLUME_GONE + 1,
    .name = {"down", "starting", "serving", "stopping", "gone"},
    .moves = {[VOLUME_DOWN] = SF_SM_TO(VOLUME_STARTING) | SF_SM_TO(VOLUME_STOPPING),
              [VOLUME_STARTING] =
                  SF_SM_TO(VOLUME_SERVING) | SF_SM_TO(VOLUME_DOWN) | SF_SM_TO(VOLUME_STOPPING),
              [VOLUME_SERVING] = SF_SM_TO(VOLUME_DOWN) | SF_SM_TO(VOLUME_STOPPING),
              [VOLUME_STOPPING] = SF_SM_TO(VOLUME_DOWN) | SF_SM_TO(VOLUME_GONE),
              [VOLUME_GONE] = 0},
};

const char *
volume_name(const struct volume *volume) {
  return volume->plan->config.name;
}

const char *
volume_state_text(const struct volume *volume) {
  if (volume_state(volume) != VOLUME_SERVING || volume->silent)
    return "failed";
  return volume->state[0] ? volume->state : "degraded";
}

static void
move(struct volume *volume, enum volume_state state, const char *reason) {
  const char *from = sf_sm_state_name(&volume->sm);
  static const struct sf_sm_hooks no_hooks;
  sf_sm_move(&volume->sm, state, &no_hooks, volume);
  snprintf(volume->reason, sizeof volume->reason, "%s", reason);
  events_service(&volume->daemon->events, volume_name(volume), from, sf_sm_state_name(&volume->sm),
                 reason);
  daemon_volume_changed(volume->daemon);
}

static void
set_timer(struct volume *volume, uint64_t in_us, sd_event_time_handler_t handler) {
  volume->timer = sd_event_source_disable_unref(volume->timer);
  int r = sd_event_add_time_relative(volume->daemon->event, &volume->timer, CLOCK_MONOTONIC, in_us,
                                     0, handler, volume);
  if (r < 0)
    log_error(volume_name(volume), "no timer: %s", strerror(-r));
}

static uint64_t
now_us(const struct volume *volume) {
  uint64_t now = 0;
  sd_event_now(volume->daemon->event, CLOCK_MONOTONIC, &now);
  return now;
}

/* ---- what its own socket says ---- */

int
volume_ask(struct volume *volume, json_t *request, uint64_t timeout_us,
           void (*done)(void *ctx, int error, json_t *reply), void *ctx, struct call **call) {
  return call_start(volume->daemon->event, volume->control_path, request, timeout_us, done, ctx,
                    call);
}

static void
note_state(struct volume *volume, const char *state) {
  if (strcmp(volume->state, state) == 0)
    return;
  snprintf(volume->state, sizeof volume->state, "%s", state);
  daemon_volume_changed(volume->daemon);
}

static void
note_leg(struct volume *volume, const char *leg, const char *path) {
  int r = kept_legs_note(&volume->kept_legs, volume->plan, leg, path);
  if (r == 0 && volume->running)
    r = plan_config_set_leg(&volume->running->config, leg, path);
  if (r < 0)
    log_error(volume_name(volume),
              "leg %s: a server that starts again would not be told of the change (%s): write it "
              "into the file, then reload",
              leg, r == -EINVAL ? "no file could say this path" : strerror(-r));
}

static void
take_event(struct volume *volume, json_t *event) {
  const char *kind = events_text(event, "event");
  if (strcmp(kind, "events-lost") != 0) { /* of this feed alone: no list has it */
    json_decref(volume->last_event);
    volume->last_event = json_incref(event);
  }
  if (strcmp(kind, "leg-replaced") == 0 || strcmp(kind, "leg-added") == 0)
    note_leg(volume, events_text(event, "leg"), events_text(event, "reason"));
  if (strcmp(kind, "leg-removed") == 0)
    note_leg(volume, events_text(event, "leg"), "");
  if (strcmp(kind, "state") == 0)
    note_state(volume, events_text(event, "to"));
  if (strcmp(kind, "grown") == 0)
    device_grown(&volume->device);
  if (strcmp(kind, "stopped") == 0 && volume_state(volume) == VOLUME_STOPPING) {
    snprintf(volume->stop_said, sizeof volume->stop_said, "%s", events_text(event, "reason"));
    /* Its clients do not count any more: it was told to stop without them. */
    if (volume->stop_told)
      server_signal(&volume->server, SIGKILL);
  }
  events_publish(&volume->daemon->events, event);
}

static void
on_feed_line(void *ctx, json_t *object) {
  struct volume *volume = ctx;
  json_t *kept = json_object_get(object, "events"), *event;
  size_t i;
  if (json_object_get(object, "event")) {
    take_event(volume, object);
    return;
  }
  volume->feed_answers = json_is_array(kept);
  /* A feed that is opened again begins with what was told already: an old change of a leg would undo
   * the ones since.  Not by what the daemon keeps, which the other volumes' events push out, nor by
   * the time, which several may share. */
  size_t told = events_told(kept, volume->last_event);
  json_array_foreach(kept, i, event)
    if (i >= told)
      take_event(volume, event);
}

static void
on_feed_ended(void *ctx, int error) {
  struct volume *volume = ctx;
  volume->feed = NULL; /* the next look at its health opens it again */
  if (volume_state(volume) != VOLUME_STOPPING)
    volume->feed_answers = false;
}

static void
open_feed(struct volume *volume) {
  const struct upstream_user user = {.line = on_feed_line, .ended = on_feed_ended, .ctx = volume};
  upstream_open(volume->daemon->event, volume->control_path,
                json_pack("{ss sb}", "command", "events", "follow", 1), &user, &volume->feed);
}

static void
note_silent(struct volume *volume, bool silent) {
  if (volume->silent == silent)
    return;
  volume->silent = silent;
  events_service(&volume->daemon->events, volume_name(volume), silent ? "serving" : "silent",
                 silent ? "silent" : "serving",
                 silent ? "it does not answer on its control socket" : "it answers again");
  daemon_volume_changed(volume->daemon);
}

static int on_health_time(sd_event_source *source, uint64_t usec, void *userdata);

static void
plan_health(struct volume *volume, uint64_t in_us) {
  volume->feed_timer = sd_event_source_disable_unref(volume->feed_timer);
  int r = sd_event_add_time_relative(volume->daemon->event, &volume->feed_timer, CLOCK_MONOTONIC,
                                     in_us, 0, on_health_time, volume);
  if (r < 0)
    log_error(volume_name(volume), "no timer: %s", strerror(-r));
}

/* The device is told the volume's uuid, so that no other volume's server is ever put behind it. */
static void
give_connection(struct volume *volume) {
  if (volume->connection.fd < 0 || !volume->uuid[0])
    return;
  struct probe_result connection = volume->connection;
  volume->connection.fd = -1;
  device_connect(&volume->device, &connection, volume->uuid);
}

static void
drop_connection(struct volume *volume) {
  if (volume->connection.fd >= 0)
    close(volume->connection.fd);
  volume->connection.fd = -1;
}

static void
on_health(void *ctx, int error, json_t *reply) {
  struct volume *volume = ctx;
  volume->health = NULL;
  note_silent(volume, error != 0);
  json_t *own = json_array_get(json_object_get(reply, "volumes"), 0);
  if (own) {
    snprintf(volume->uuid, sizeof volume->uuid, "%s", events_text(own, "uuid"));
    note_state(volume, events_text(own, "state"));
  }
  give_connection(volume);
  if (!volume->feed)
    open_feed(volume);
  plan_health(volume, HEALTH_S * SECOND_US);
}

static void
look_at_health(struct volume *volume) {
  call_cancel(volume->health);
  volume->health = NULL;
  int r = volume_ask(volume, json_pack("{ss}", "command", "status"), HEALTH_ANSWER_S * SECOND_US,
                     on_health, volume, &volume->health);
  if (r < 0) {
    note_silent(volume, true);
    plan_health(volume, SECOND_US);
  }
}

static int
on_health_time(sd_event_source *source, uint64_t usec, void *userdata) {
  look_at_health(userdata);
  return 0;
}

static void
forget_server(struct volume *volume) {
  probe_cancel(volume->device_probe);
  drop_connection(volume);
  upstream_close(volume->feed);
  call_cancel(volume->health);
  call_cancel(volume->stop_call);
  volume->device_probe = NULL;
  volume->feed = NULL;
  json_decref(volume->last_event);
  volume->last_event = NULL;
  volume->uuid[0] = '\0';
  volume->health = volume->stop_call = NULL;
  volume->feed_timer = sd_event_source_disable_unref(volume->feed_timer);
  volume->silent = false;
  volume->state[0] = '\0';
  free(volume->running);
  volume->running = NULL;
}

/* ---- life ---- */

static int
on_time_to_start(sd_event_source *source, uint64_t usec, void *userdata) {
  volume_start(userdata);
  return 0;
}

static void
try_later(struct volume *volume) {
  uint64_t wait_us = backoff_failed(&volume->backoff, now_us(volume));
  /* The servers of a daemon that was killed, and their sockets, may be just ending. */
  if (volume->socket_path[0] || volume->backoff.failures > SOCKET_TRIES)
    volume->tried = true;
  set_timer(volume, wait_us, on_time_to_start);
  daemon_volume_changed(volume->daemon);
}

static int on_probe_again(sd_event_source *source, uint64_t usec, void *userdata);

static void
on_probe(void *ctx, const struct probe_result *result) {
  struct volume *volume = ctx;
  volume->probe = NULL;
  if (result->error) {
    /* While the process lives it may yet serve; when it ends we hear of it. */
    if (volume_state(volume) == VOLUME_STARTING)
      set_timer(volume, SECOND_US / 2, on_probe_again);
    return;
  }
  if (volume_state(volume) != VOLUME_STARTING) { /* the last words of a server that has ended */
    close(result->fd);
    return;
  }
  volume->connection = *result;
  if (volume->device.state == DEVICE_NONE)
    drop_connection(volume);
  volume->tried = true;
  backoff_well(&volume->backoff, now_us(volume));
  move(volume, VOLUME_SERVING, "");
  open_feed(volume);
  look_at_health(volume);
}

/* One that an earlier server has not answered waits in the socket for this one, like every client. */
static void
begin_probe(struct volume *volume) {
  if (volume->probe)
    return;
  int r = probe_start(volume->daemon->event, volume->socket_path, on_probe, volume, &volume->probe);
  if (r < 0) {
    log_error(volume_name(volume), "cannot connect to %s: %s", volume->socket_path, strerror(-r));
    set_timer(volume, SECOND_US, on_probe_again);
  }
}

static int
on_probe_again(sd_event_source *source, uint64_t usec, void *userdata) {
  struct volume *volume = userdata;
  if (volume_state(volume) == VOLUME_STARTING && !volume->probe)
    begin_probe(volume);
  return 0;
}

/* ---- its device ---- */

static void
on_device_probe(void *ctx, const struct probe_result *result) {
  struct volume *volume = ctx;
  volume->device_probe = NULL;
  if (result->error) {
    device_no_connection(&volume->device, result->why);
    return;
  }
  drop_connection(volume);
  volume->connection = *result;
  give_connection(volume); /* or later, when the uuid is known */
}

static void
on_device_wants(void *ctx) {
  struct volume *volume = ctx;
  if (volume_state(volume) != VOLUME_SERVING || volume->device_probe)
    return;
  int r = probe_start(volume->daemon->event, volume->socket_path, on_device_probe, volume,
                      &volume->device_probe);
  if (r < 0)
    device_no_connection(&volume->device, strerror(-r));
}

static void
on_device_changed(void *ctx) {
  struct volume *volume = ctx;
  daemon_volume_changed(volume->daemon);
}

static void on_device_stopped(void *ctx);

static bool
is_to_change_device(const struct volume *volume) {
  return volume->device.state != DEVICE_NONE &&
         strcmp(volume->device.path, volume->plan->config.device) != 0;
}

/* Also one that never comes to a device is asked to stop it. */
static struct device
no_device(struct volume *volume) {
  return (struct device){.event = volume->daemon->event,
                         .volume = volume_name(volume),
                         .wants = on_device_wants,
                         .changed = on_device_changed,
                         .stopped = on_device_stopped,
                         .ctx = volume,
                         .connection.fd = -1};
}

/* A device in the file is taken over when its server starts: before, the old one is in force, and so it
 * is after, unless it was detached: by a restart, when nobody uses it. */
static void
take_device(struct volume *volume) {
  const struct sf_config *config = &volume->plan->config;
  if (volume->device.state != DEVICE_NONE) {
    volume->device.timeout_s = config->device_timeout_ns / 1000000000;
    volume->device.dead_timeout_s = config->device_dead_timeout_ns / 1000000000;
  }
  if (is_to_change_device(volume)) {
    log_warning(volume_name(volume),
                "%s stays its device; a restart changes it to %s when nobody uses it",
                volume->device.path, *config->device ? config->device : "none");
    memcpy(volume->running->config.device, volume->device.path, sizeof volume->device.path);
    snprintf(volume->restart_for, sizeof volume->restart_for, "device");
  }
  if (volume->device.state != DEVICE_NONE)
    return;
  device_end(&volume->device);
  volume->device = no_device(volume);
  device_begin(&volume->device, config);
}

/* A server that was killed leaves it.  Somebody else's, who listens there and for whom ours had to give
 * way, stays. */
static void
remove_control(const struct volume *volume) {
  struct stat st;
  if (lstat(volume->control_path, &st) == 0 && S_ISSOCK(st.st_mode) &&
      sf_control_is_abandoned(volume->control_path))
    unlink(volume->control_path);
}

/* The paths that the plan says are in force from here on, if its socket can be had. */
static int
take_paths(struct volume *volume, char error[SF_CONFIG_ERROR_MAX]) {
  const struct sf_config *config = &volume->plan->config;
  struct sf_socket_file socket;
  if (strcmp(volume->socket_path, config->socket) == 0) {
    memcpy(volume->control_path, config->control, sizeof volume->control_path);
    return 0;
  }
  int r = sf_socket_file_bind(config->socket, &socket);
  if (r < 0) {
    snprintf(error, SF_CONFIG_ERROR_MAX, "socket %s: %s", config->socket,
             r == -EADDRINUSE ? "somebody listens there already" : strerror(-r));
    return r;
  }
  if (volume->socket_path[0]) {
    sf_socket_file_close(&volume->socket);
    probe_cancel(volume->probe);
    volume->probe = NULL;
  }
  volume->socket = socket;
  memcpy(volume->socket_path, config->socket, sizeof volume->socket_path);
  memcpy(volume->control_path, config->control, sizeof volume->control_path);
  return 0;
}

void
volume_start(struct volume *volume) {
  struct server_command command;
  char error[SF_CONFIG_ERROR_MAX] = "";
  volume->timer = sd_event_source_disable_unref(volume->timer);
  int r = take_paths(volume, error);
  if (r == 0)
    r = command_make(&volume->daemon->settings, volume->plan, &command, error);
  if (r == 0) {
    r = server_start(&volume->server, command.argv, volume->socket.fd);
    if (r < 0)
      snprintf(error, sizeof error, "cannot start %s: %s", command.argv[0], strerror(-r));
    command_clear(&command);
  }
  if (r == 0 && !(volume->running = malloc(sizeof *volume->running))) {
    snprintf(error, sizeof error, "out of memory");
    server_destroy(&volume->server);
    r = -ENOMEM;
  }
  if (r < 0) {
    snprintf(volume->reason, sizeof volume->reason, "%.255s", error);
    log_error(volume_name(volume), "%s", error);
    try_later(volume);
    return;
  }
  *volume->running = (struct plan_volume){.config = volume->plan->config};
  volume->restart_for[0] = '\0';
  take_device(volume);
  volume->stop_told = volume->feed_answers = false;
  volume->stop_said[0] = '\0';
  move(volume, VOLUME_STARTING, "");
  begin_probe(volume);
}

/* Everything that was to end has ended; a restart may have become a stop meanwhile. */
static void
finish_stop(struct volume *volume) {
  bool again = volume->again;
  if (!again && volume->device.state != DEVICE_NONE && volume->device.state != DEVICE_STOPPING) {
    volume->device_stopping = true;
    device_stop(&volume->device);
    return;
  }
  volume->again = false;
  if (again) {
    device_after_stop(&volume->device);
    move(volume, VOLUME_DOWN, "");
    volume->backoff = (struct backoff){0};
    volume_start(volume);
    return;
  }
  move(volume, VOLUME_GONE, "");
  daemon_volume_gone(volume->daemon, volume);
}

/* One that was stopped before it was listened to had nobody to tell how. */
static void
judge_stop(struct volume *volume, const char *reason) {
  if (strcmp(volume->stop_said, "clean") == 0)
    return;
  if (volume->stop_said[0])
    log_warning(volume_name(volume), "stopped, %s", volume->stop_said);
  else if (volume->feed_answers)
    log_warning(volume_name(volume), "did not say that it stopped cleanly (%s)", reason);
  else
    log_notice(volume_name(volume), "was stopped before it was heard (%s)", reason);
}

static void
on_server_ended(void *ctx, const char *how) {
  struct volume *volume = ctx;
  char reason[sizeof volume->reason];
  bool stopping = volume_state(volume) == VOLUME_STOPPING;
  volume->timer = sd_event_source_disable_unref(volume->timer);
  /* Who is killed has not said why. */
  const char *said = strcmp(how, "signal 9") == 0 ? "" : volume->server.last_line;
  snprintf(reason, sizeof reason, "%.60s%s%.255s", how, *said ? ": " : "", said);
  if (volume->feed)
    upstream_drain(volume->feed); /* its last words */
  forget_server(volume);
  if (stopping) {
    judge_stop(volume, reason);
    if (!volume->device_stopping)
      finish_stop(volume);
    return;
  }
  device_server_gone(&volume->device);
  volume->restarts++;
  move(volume, VOLUME_DOWN, reason);
  try_later(volume);
}

/* ---- the stop: first by the signal, which waits for clients; then by its socket, which does not;
 * at last by force ---- */

static int
on_stop_too_long(sd_event_source *source, uint64_t usec, void *userdata) {
  struct volume *volume = userdata;
  log_error(volume_name(volume),
            "did not stop in time: killed; the next start makes the legs equal "
            "again where that is needed");
  server_signal(&volume->server, SIGKILL);
  return 0;
}

static void
on_stop_told(void *ctx, int error, json_t *reply) {
  struct volume *volume = ctx;
  volume->stop_call = NULL;
  if (error || !json_is_true(json_object_get(reply, "ok")))
    log_warning(volume_name(volume), "cannot be told to stop: %s",
                error ? strerror(-error) : events_text(reply, "error"));
}

static int
on_clients_stay(sd_event_source *source, uint64_t usec, void *userdata) {
  struct volume *volume = userdata;
  log_notice(volume_name(volume), "clients are still connected: it stops without them");
  volume->stop_told = true;
  int r = volume_ask(volume, json_pack("{ss}", "command", "stop"), HEALTH_ANSWER_S * SECOND_US,
                     on_stop_told, volume, &volume->stop_call);
  if (r < 0)
    on_stop_told(volume, r, NULL);
  set_timer(volume, volume->daemon->settings.stop_timeout_us, on_stop_too_long);
  return 0;
}

/* The server loses its biggest client before it is told to end. */
static void
on_device_stopped(void *ctx) {
  struct volume *volume = ctx;
  volume->device_stopping = false;
  if (!volume->server.pid) {
    finish_stop(volume);
    return;
  }
  server_signal(&volume->server, SIGTERM);
  set_timer(volume, CLIENTS_GRACE_MS * 1000, on_clients_stay);
}

static void
stop(struct volume *volume) {
  if (volume_state(volume) == VOLUME_STOPPING || volume_state(volume) == VOLUME_GONE)
    return;
  volume->timer = sd_event_source_disable_unref(volume->timer);
  probe_cancel(volume->probe);
  probe_cancel(volume->device_probe);
  volume->probe = volume->device_probe = NULL;
  drop_connection(volume);
  call_cancel(volume->health);
  volume->health = NULL;
  volume->feed_timer = sd_event_source_disable_unref(volume->feed_timer);
  move(volume, VOLUME_STOPPING, "");
  if (!volume->feed && volume->server.pid)
    open_feed(volume);
  volume->device_stopping = true;
  if (volume->again && !is_to_change_device(volume)) {
    device_server_gone(&volume->device); /* it waits for the next one */
    on_device_stopped(volume);
  } else {
    device_stop(&volume->device);
  }
}

void
volume_leave(struct volume *volume) {
  volume->leaving = true;
  volume->again = false;
  stop(volume);
}

int
volume_restart(struct volume *volume) {
  if (volume->leaving || volume_state(volume) == VOLUME_GONE)
    return -ESHUTDOWN;
  volume->again = true;
  stop(volume);
  return 0;
}

bool
volume_keeps_device(const struct volume *volume, const char *key) {
  return strcmp(key, "device") == 0 && volume->device.state != DEVICE_NONE;
}

bool
volume_in_use(struct volume *volume, char why[SF_CONFIG_ERROR_MAX]) {
  return device_in_use(&volume->device, why, SF_CONFIG_ERROR_MAX);
}

/* ---- settings ---- */

void
volume_replan(struct volume *volume, struct plan_volume *plan, const char *needed_for) {
  struct plan_volume *old = volume->plan;
  kept_legs_settle(&volume->kept_legs, plan);
  int r = kept_legs_apply(&volume->kept_legs, plan, NULL, NULL);
  if (r < 0)
    log_error(plan->config.name, "its changed legs could not be kept: %s", strerror(-r));
  volume->plan = plan;
  volume->server.volume = volume->device.volume = plan->config.name;
  snprintf(volume->restart_for, sizeof volume->restart_for, "%s", needed_for);
  plan_volume_free(old);
  if (volume_state(volume) == VOLUME_DOWN) { /* maybe it is mended */
    volume->backoff = (struct backoff){0};
    volume_start(volume);
  }
}

void
volume_note_setting(struct volume *volume, const char *key, const char *value) {
  char error[SF_CONFIG_ERROR_MAX];
  if (volume->running)
    sf_config_set(&volume->running->config, key, value, error);
  if (sf_config_set(&volume->plan->config, key, value, error) < 0)
    log_warning(volume_name(volume), "taken by the volume, but not kept: %s", error);
}

/* ---- status ---- */

static json_t *
stand_in(struct volume *volume) {
  const struct sf_config *config = &volume->plan->config;
  return json_pack("{ss sn ss si s{si si} si si s{si si si si si} s[]}", "name", config->name,
                   "uuid", "state", "failed", "size_bytes", 0, "record", "term", 0, "change", 0,
                   "min_legs", (int) config->min_legs, "legs_in_sync", 0, "requests", "reads", 0,
                   "writes", 0, "flushes", 0, "late_acks", 0, "errors", 0, "legs");
}

/* While it starts its server tells what it waits for. */
static const char *
why_not(const struct volume *volume) {
  if (!*volume->reason && volume_state(volume) == VOLUME_STARTING)
    return volume->server.last_line;
  return volume->reason;
}

json_t *
volume_describe(struct volume *volume, json_t *own, const char *reason) {
  json_t *object = own ? json_incref(own) : stand_in(volume);
  const char *state = volume->silent ? "silent" : sf_sm_state_name(&volume->sm);
  json_t *service =
      json_pack("{ss si si ss so so so}", "state", state, "pid", (int) volume->server.pid,
                "restarts", (int) volume->restarts, "socket",
                *volume->socket_path ? volume->socket_path : volume->plan->config.socket, "reason",
                sf_text_to_json(*reason ? reason : why_not(volume)), "restart_needed_for",
                sf_text_to_json(volume->restart_for), "device", device_describe(&volume->device));
  if (!object || !service || json_object_set(object, "service", service) < 0) {
    json_decref(object);
    object = NULL;
  }
  json_decref(service);
  return object;
}

/* ---- birth and death ---- */

int
volume_create(struct daemon *daemon, struct plan_volume *plan, struct volume **result) {
  struct volume *volume = calloc(1, sizeof *volume);
  if (!volume)
    return -ENOMEM;
  volume->daemon = daemon;
  volume->plan = plan;
  volume->connection.fd = -1;
  volume->device = no_device(volume);
  volume->socket.fd = volume->socket.directory_fd = -1;
  sf_sm_init(&volume->sm, &table, 0, VOLUME_DOWN);
  volume->server = (struct server){.event = daemon->event,
                                   .volume = plan->config.name,
                                   .ended = on_server_ended,
                                   .ctx = volume,
                                   .output_fd = -1};
  sf_list_append(&daemon->volumes, &volume->entry);
  *result = volume;
  return 0;
}

void
volume_destroy(struct volume *volume) {
  sf_list_remove(&volume->entry);
  forget_server(volume);
  probe_cancel(volume->probe);
  device_end(&volume->device);
  sd_event_source_disable_unref(volume->timer);
  server_destroy(&volume->server);
  /* Without the socket nothing was made: what is there is somebody else's. */
  if (volume->socket_path[0]) {
    sf_socket_file_close(&volume->socket);
    command_forget(&volume->daemon->settings, volume->plan);
    remove_control(volume);
  }
  kept_legs_clear(&volume->kept_legs);
  plan_volume_free(volume->plan);
  free(volume);
}

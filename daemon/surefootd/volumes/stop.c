/* The stop: first the device, then the signal, which waits for clients, then the server's own
 * socket, which does not; at last by force. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "volumes/attach.h"
#include "volumes/feed.h"
#include "volumes/forced.h"
#include "volumes/inside.h"
#include "volumes/start.h"

enum { CLIENTS_GRACE_MS = 2000 /* for clients to leave by themselves */ };

/* Everything that was to end has ended; a restart may have become a stop meanwhile. */
static void
finish_stop(struct volume *volume) {
  bool again = volume->again;
  if (!again && volume->device.state != DEVICE_NONE && volume->device.state != DEVICE_STOPPING) {
    sfd_volume_stop_move(volume, STOP_DEVICE);
    sfd_device_stop(&volume->device);
    return;
  }
  volume->again = false;
  volume->stop_ended = NULL;
  sfd_volume_stop_move(volume, STOP_NONE);
  if (volume->held && !volume->leaving) {
    sfd_device_after_stop(&volume->device);
    sfd_probe_cancel(volume->probe);
    volume->probe = NULL;
    sf_socket_file_close(&volume->socket);
    volume->socket_path[0] = '\0';
    sfd_volume_move(volume, VOLUME_DOWN, "stopped by the operator");
    return;
  }
  if (again) {
    sfd_device_after_stop(&volume->device);
    sfd_volume_move(volume, VOLUME_DOWN, "");
    volume->backoff = (struct backoff){0};
    sfd_volume_start(volume);
    return;
  }
  sfd_volume_move(volume, VOLUME_GONE, "");
  volume->volumes->gone(volume->volumes->ctx);
}

/* A server that stopped before its events were followed could not tell how. */
static void
judge_stop(struct volume *volume, const char *reason) {
  if (strcmp(volume->stop_said, "clean") == 0)
    return;
  if (volume->stop_said[0])
    log_warning(sfd_volume_name(volume), "stopped, %s", volume->stop_said);
  else if (volume->feed_answers)
    log_warning(sfd_volume_name(volume), "did not say that it stopped cleanly (%s)", reason);
  else
    log_notice(sfd_volume_name(volume), "was stopped before it was heard (%s)", reason);
}

static int
on_stop_too_long(sd_event_source *source, uint64_t usec, void *userdata) {
  struct volume *volume = userdata;
  log_error(sfd_volume_name(volume),
            "did not stop in time: killed; the next start makes the legs equal "
            "again where that is needed");
  sfd_volume_stop_move(volume, STOP_KILLED);
  sfd_server_signal(&volume->server, SIGKILL);
  return 0;
}

static void
on_stop_told(void *ctx, int error, json_t *reply) {
  struct volume *volume = ctx;
  volume->stop_call = NULL;
  if (error || !json_is_true(json_object_get(reply, "ok")))
    log_warning(sfd_volume_name(volume), "cannot be told to stop: %s",
                error ? strerror(-error) : sfd_events_text(reply, "error"));
}

static int
on_clients_stay(sd_event_source *source, uint64_t usec, void *userdata) {
  struct volume *volume = userdata;
  log_notice(sfd_volume_name(volume), "clients are still connected: it stops without them");
  sfd_volume_stop_move(volume, STOP_TOLD);
  int r = sfd_volume_ask(volume, json_pack("{ss}", "command", "stop"), HEALTH_ANSWER_S * SECOND_US,
                         on_stop_told, volume, &volume->stop_call);
  if (r < 0)
    on_stop_told(volume, r, NULL);
  sfd_volume_set_timer(volume, volume->volumes->settings->stop_timeout_us, on_stop_too_long);
  return 0;
}

/* The server loses its biggest client before it is told to end. */
static void
on_device_stopped(void *ctx) {
  struct volume *volume = ctx;
  if (!volume->server.pid) {
    finish_stop(volume);
    return;
  }
  sfd_volume_stop_move(volume, STOP_CLIENTS);
  sfd_server_signal(&volume->server, SIGTERM);
  sfd_volume_set_timer(volume, CLIENTS_GRACE_MS * 1000, on_clients_stay);
}

/* Not while the device is stopped: on_device_stopped() comes. */
static void
on_ended(struct volume *volume, const char *reason) {
  judge_stop(volume, reason);
  if (volume_stop(volume) != STOP_DEVICE)
    finish_stop(volume);
}

static void
stop(struct volume *volume) {
  if (volume_state(volume) == VOLUME_STOPPING || volume_state(volume) == VOLUME_GONE)
    return;
  volume->timer = sd_event_source_disable_unref(volume->timer);
  sfd_probe_cancel(volume->probe);
  sfd_probe_cancel(volume->device_probe);
  volume->probe = volume->device_probe = NULL;
  sfd_attach_drop(volume);
  sfd_call_cancel(volume->health);
  volume->health = NULL;
  volume->feed_timer = sd_event_source_disable_unref(volume->feed_timer);
  sfd_volume_move(volume, VOLUME_STOPPING, "");
  if (volume->feed == NULL && volume->server.pid)
    sfd_feed_open(volume);
  volume->stop_ended = on_ended;
  volume->device.stopped = on_device_stopped;
  sfd_volume_stop_move(volume, STOP_DEVICE);
  if (volume->again && !sfd_attach_changes(volume)) {
    sfd_device_server_gone(&volume->device); /* it waits for the next one */
    on_device_stopped(volume);
  } else {
    sfd_device_stop(&volume->device);
  }
}

void
sfd_volume_leave(struct volume *volume) {
  volume->leaving = true;
  volume->again = false;
  stop(volume);
}

int
sfd_volume_restart(struct volume *volume) {
  if (volume->leaving || volume_state(volume) == VOLUME_GONE)
    return -ESHUTDOWN;
  volume->held = false;
  volume->again = true;
  stop(volume);
  return 0;
}

int
sfd_volume_hold(struct volume *volume) {
  if (volume->leaving || volume_state(volume) == VOLUME_GONE)
    return -ESHUTDOWN;
  if (volume->held)
    return -EALREADY;
  sfd_forced_end(volume);
  volume->held = true;
  volume->again = false;
  volume->tried = true;
  stop(volume);
  return 0;
}

int
sfd_volume_resume(struct volume *volume, bool force) {
  if (volume->leaving || volume_state(volume) == VOLUME_GONE)
    return -ESHUTDOWN;
  if (volume_state(volume) == VOLUME_SERVING)
    return -EALREADY;
  if (volume_state(volume) == VOLUME_STOPPING)
    return -EBUSY;
  sfd_forced_end(volume);
  volume->held = false;
  volume->force = force;
  if (volume_state(volume) == VOLUME_STARTING)
    return force ? sfd_volume_restart(volume) : -EALREADY;
  volume->backoff = (struct backoff){0};
  sfd_volume_start(volume);
  return 0;
}

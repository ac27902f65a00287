#include "base/assert.h"
#include "volumes/inside.h"

#include <stdio.h>
#include <string.h>

#include "common/log.h"

const struct sf_state_table sfd_volume_states = {
    .machine = "volume",
    .states = VOLUME_GONE + 1,
    .name = {"down", "starting", "serving", "stopping", "gone"},
    .moves = {[VOLUME_DOWN] = SF_MOVE_TO(VOLUME_STARTING) | SF_MOVE_TO(VOLUME_STOPPING),
              [VOLUME_STARTING] = SF_MOVE_TO(VOLUME_SERVING) | SF_MOVE_TO(VOLUME_DOWN) |
                                  SF_MOVE_TO(VOLUME_STOPPING),
              [VOLUME_SERVING] = SF_MOVE_TO(VOLUME_DOWN) | SF_MOVE_TO(VOLUME_STOPPING),
              [VOLUME_STOPPING] = SF_MOVE_TO(VOLUME_DOWN) | SF_MOVE_TO(VOLUME_GONE),
              [VOLUME_GONE] = 0},
};

const struct sf_state_table sfd_volume_stops = {
    .machine = "stop",
    .states = STOP_KILLED + 1,
    .name = {"none", "device", "clients", "told", "killed"},
    .moves = {[STOP_NONE] = SF_MOVE_TO(STOP_DEVICE),
              [STOP_DEVICE] = SF_MOVE_TO(STOP_CLIENTS) | SF_MOVE_TO(STOP_NONE),
              [STOP_CLIENTS] =
                  SF_MOVE_TO(STOP_TOLD) | SF_MOVE_TO(STOP_DEVICE) | SF_MOVE_TO(STOP_NONE),
              [STOP_TOLD] =
                  SF_MOVE_TO(STOP_KILLED) | SF_MOVE_TO(STOP_DEVICE) | SF_MOVE_TO(STOP_NONE),
              [STOP_KILLED] = SF_MOVE_TO(STOP_DEVICE) | SF_MOVE_TO(STOP_NONE)},
};

const char *
sfd_volume_name(const struct volume *volume) {
  return volume->plan->config.name;
}

const char *
sfd_volume_state_text(const struct volume *volume) {
  switch (volume_state(volume)) {
  case VOLUME_STARTING: /* also "failed" while a failed start is tried again */
    return volume->start_failed ? "failed" : "starting";
  case VOLUME_SERVING:
    if (volume->silent)
      return "silent";
    return volume->state[0] ? volume->state : "starting";
  case VOLUME_STOPPING:
  case VOLUME_GONE:
    return "stopping";
  case VOLUME_DOWN:
    if (volume->held)
      return "stopped";
    break;
  }
  return "failed";
}

void
sfd_volume_changed(struct volume *volume) {
  volume->volumes->changed(volume->volumes->ctx);
}

static const struct sf_state_hooks no_hooks;

void
sfd_volume_stop_move(struct volume *volume, enum volume_stop stop) {
  sf_state_move(&volume->stop, stop, &no_hooks, volume);
}

void
sfd_volume_move(struct volume *volume, enum volume_state state, const char *reason) {
  const char *from = sf_state_name(&volume->machine);
  if (state == VOLUME_DOWN)
    volume->start_failed = volume_state(volume) == VOLUME_STARTING;
  else if (state == VOLUME_SERVING)
    volume->start_failed = false;
  volume->since_ns = sfd_events_now_ns();
  sf_state_move(&volume->machine, state, &no_hooks, volume);
  snprintf(volume->reason, sizeof volume->reason, "%s", reason);
  sfd_events_service(volume->volumes->events, sfd_volume_name(volume), from,
                     sf_state_name(&volume->machine), reason);
  sfd_volume_changed(volume);
}

void
sfd_volume_set_timer(struct volume *volume, uint64_t in_us, sd_event_time_handler_t handler) {
  SF_ASSERT(handler != NULL); /* libsystemd takes none for: end the loop */
  volume->timer = sd_event_source_disable_unref(volume->timer);
  int r = sd_event_add_time_relative(volume->volumes->event, &volume->timer, CLOCK_MONOTONIC, in_us,
                                     0, handler, volume);
  if (r < 0)
    log_error(sfd_volume_name(volume), "no timer: %s", strerror(-r));
}

uint64_t
sfd_volume_now_us(const struct volume *volume) {
  uint64_t now = 0;
  sd_event_now(volume->volumes->event, CLOCK_MONOTONIC, &now);
  return now;
}

int
sfd_volume_ask(struct volume *volume, json_t *request, uint64_t timeout_us,
               void (*done)(void *ctx, int error, json_t *reply), void *ctx, struct call **call) {
  return sfd_call_start(volume->volumes->event, volume->control_path, request, timeout_us, done,
                        ctx, call);
}

#include <stdio.h>

#include <surefoot/wire.h>

#include "volumes/inside.h"

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

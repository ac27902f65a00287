#include <stdio.h>
#include <string.h>

#include <surefoot/wire.h>

#include "volumes/inside.h"
#include "volumes/spare.h"

/* What it would say itself if it could. */
static json_t *
stand_in(struct volume *volume, const char *state) {
  const struct sf_config *config = &volume->plan->config;
  return json_pack("{ss sn ss so sn s[] si s{si si} si si s{si si si si si} si si si si s[]}",
                   "name", config->name, "uuid", "state", state, "since",
                   sf_time_to_json(volume->since_ns), "reason", "waits_for", "size_bytes", 0,
                   "record", "term", 0, "change", 0, "min_legs", (int) config->min_legs,
                   "legs_in_sync", 0, "requests", "reads", 0, "writes", 0, "flushes", 0,
                   "late_acks", 0, "errors", 0, "bytes_read", 0, "bytes_written", 0, "in_flight", 0,
                   "oldest_ms", 0, "legs");
}

/* We wrote the server's file, so a value from there may be a default or have been set before.  And
 * the server does not tell the daemon's keys. */
static void
note_setting(void *ctx, const char *key, const char *value, const char *source) {
  json_t *settings = ctx, *own = json_object_get(settings, key);
  if (strcmp(key, "control") == 0 ||
      (strcmp(key, "fast_socket") == 0 && strcmp(source, "set") == 0))
    source = "default";
  if (own == NULL && sf_config_is_of_daemon(key))
    json_object_set_new(settings, key,
                        json_pack("{so ss}", "value", sf_text_to_json(value), "source", source));
  else if (own && strcmp(sfd_events_text(own, "value"), value ? value : "") == 0)
    json_object_set_new(own, "source", json_string(source));
}

/* It serves, and was asked in vain. */
static const char *
state_without(const struct volume *volume, const char *reason) {
  if (*reason && volume_state(volume) == VOLUME_SERVING)
    return "silent";
  return sfd_volume_state_text(volume);
}

/* While it starts its server tells what it waits for. */
static const char *
why_not(const struct volume *volume) {
  if (!*volume->reason && volume_state(volume) == VOLUME_STARTING)
    return volume->server.last_line;
  return volume->reason;
}

/* What it did with its legs while it ran, and its file did not say when it was last read. */
static json_t *
file_behind(const struct volume *volume) {
  json_t *list = json_array();
  for (unsigned i = 0; i < volume->changed_legs.count; i++) {
    const struct changed_leg *leg = &volume->changed_legs.leg[i];
    json_array_append_new(list, json_pack("{ss so so}", "leg", leg->name, "in_file",
                                          sf_text_to_json(leg->in_file), "now",
                                          sf_text_to_json(leg->now)));
  }
  return list;
}

/* A server knows of its own scrubs only. */
void
sfd_volume_note_status(struct volume *volume, const json_t *own) {
  json_t *scrub = json_object_get(own, "scrub");
  const char *state = sfd_events_text(scrub, "state");
  if (strcmp(state, "done") != 0 && strcmp(state, "canceled") != 0)
    return;
  json_decref(volume->scrub);
  volume->scrub = json_deep_copy(scrub);
  if (volume->scrub)
    json_object_set_new(volume->scrub, "of_earlier_server", json_true());
}

json_t *
sfd_volume_describe(struct volume *volume, json_t *own, const char *reason) {
  json_t *object = own ? json_incref(own) : stand_in(volume, state_without(volume, reason));
  const char *state = volume->silent ? "silent" : sf_state_name(&volume->machine);
  json_t *service = json_pack(
      "{ss so si si ss so so so so so}", "state", state, "since", sf_time_to_json(volume->since_ns),
      "pid", (int) volume->server.pid, "restarts", (int) volume->restarts, "socket",
      *volume->socket_path ? volume->socket_path : volume->plan->config.socket, "reason",
      sf_text_to_json(*reason ? reason : why_not(volume)), "restart_needed_for",
      sf_text_to_json(volume->restart_for), "file_behind", file_behind(volume), "device",
      sfd_device_describe(&volume->device), "spares", sfd_spare_describe(volume));
  if (own && json_is_null(json_object_get(own, "scrub")) && volume->scrub)
    json_object_set(object, "scrub", volume->scrub);
  else if (own)
    sfd_volume_note_status(volume, own);
  json_t *settings = json_object_get(own, "settings");
  if (settings)
    sf_config_each(&volume->plan->config, note_setting, settings);
  if (own && volume_state(volume) == VOLUME_STOPPING)
    json_object_set_new(object, "state", json_string("stopping"));
  if (object == NULL || service == NULL || json_object_set(object, "service", service) < 0) {
    json_decref(object);
    object = NULL;
  }
  json_decref(service);
  return object;
}

json_t *
sfd_volume_latencies(const struct volume *volume, uint64_t since_us) {
  return sfd_history_sum(&volume->history, since_us, sfd_volume_now_us(volume));
}

json_t *
sfd_volume_samples(const struct volume *volume) {
  return sfd_history_samples(&volume->history, sfd_volume_now_us(volume));
}

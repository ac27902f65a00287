/* Its device: the connection behind it, and when it changes. */
#include "volumes/attach.h"
#include "base/units.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "volumes/inside.h"

/* The device is told the volume's uuid, so that no other volume's server is ever put behind it. */
void
sfd_attach_give(struct volume *volume) {
  if (volume->connection.fd < 0 || !volume->uuid[0])
    return;
  struct probe_result connection = volume->connection;
  volume->connection.fd = -1;
  sfd_device_connect(&volume->device, &connection, volume->uuid);
}

void
sfd_attach_drop(struct volume *volume) {
  if (volume->connection.fd >= 0)
    close(volume->connection.fd);
  volume->connection.fd = -1;
}

/* ---- a connection for it ---- */

static void on_probe(void *ctx, const struct probe_result *result);

static int
probe_door(struct volume *volume, bool fast) {
  const char *path = fast ? volume->running->config.fast_socket : volume->socket_path;
  volume->probes_fast_door = fast;
  return sfd_probe_start(volume->volumes->event, path, on_probe, volume, &volume->device_probe);
}

/* The fast door may be full of other clients: a device by the slower one is better than none. */
static int
probe_other_door(struct volume *volume, const char *why) {
  log_warning(sfd_volume_name(volume), "%s: its fast socket cannot be had (%s): nbdkit's is taken",
              volume->device.path, why);
  return probe_door(volume, false);
}

static void
on_probe(void *ctx, const struct probe_result *result) {
  struct volume *volume = ctx;
  volume->device_probe = NULL;
  if (result->error && volume->probes_fast_door && probe_other_door(volume, result->why) == 0)
    return;
  if (result->error) {
    sfd_device_no_connection(&volume->device, result->why);
    return;
  }
  sfd_attach_drop(volume);
  volume->connection = *result;
  volume->device.by_fast_door = volume->probes_fast_door;
  sfd_attach_give(volume); /* or later, when the uuid is known */
}

static bool
is_fast(const struct volume *volume) {
  const struct sf_config *config = &volume->running->config;
  return config->device_door == SF_DEVICE_DOOR_FAST && config->fast_socket[0];
}

static void
on_wants(void *ctx) {
  struct volume *volume = ctx;
  if (volume_state(volume) != VOLUME_SERVING || volume->device_probe)
    return;
  bool fast = is_fast(volume);
  int r = probe_door(volume, fast);
  if (r < 0 && fast)
    r = probe_other_door(volume, strerror(-r));
  if (r < 0)
    sfd_device_no_connection(&volume->device, strerror(-r));
}

void
sfd_attach_serving(struct volume *volume) {
  bool has_device = volume->device.state != DEVICE_NONE;
  if (!has_device || is_fast(volume))
    sfd_attach_drop(volume);
  if (has_device && is_fast(volume))
    on_wants(volume);
  else
    volume->device.by_fast_door = false;
}

/* ---- which one ---- */

static void
on_changed(void *ctx) {
  struct volume *volume = ctx;
  sfd_volume_changed(volume);
}

static void
on_lost(void *ctx, const char *why) {
  struct volume *volume = ctx;
  char reason[sizeof volume->device.reason + SF_DEVICE_PATH_MAX];
  snprintf(reason, sizeof reason, "%s: %s", volume->device.path, why);
  sfd_events_device(volume->volumes->events, sfd_volume_name(volume), "lost", reason);
}

bool
sfd_attach_changes(const struct volume *volume) {
  return volume->device.state != DEVICE_NONE &&
         strcmp(volume->device.path, volume->plan->config.device) != 0;
}

/* Also a volume that never gets a device is told to stop it. */
struct device
sfd_attach_none(struct volume *volume) {
  return (struct device){.event = volume->volumes->event,
                         .volume = sfd_volume_name(volume),
                         .wants = on_wants,
                         .changed = on_changed,
                         .lost = on_lost,
                         .ctx = volume,
                         .connection.fd = -1};
}

/* A device in the file is taken over when its server starts: before, the old one is in force, and
 * so it is after, unless it was detached: by a restart, when it is not in use. */
void
sfd_attach_take(struct volume *volume) {
  const struct sf_config *config = &volume->plan->config;
  if (volume->device.state != DEVICE_NONE) {
    volume->device.timeout_s = config->device_timeout_ns / SF_S;
    volume->device.dead_timeout_s = config->device_dead_timeout_ns / SF_S;
  }
  if (sfd_attach_changes(volume)) {
    log_warning(sfd_volume_name(volume),
                "%s stays its device; a restart changes it to %s when it is not in use",
                volume->device.path, *config->device ? config->device : "none");
    memcpy(volume->running->config.device, volume->device.path, sizeof volume->device.path);
    snprintf(volume->restart_for, sizeof volume->restart_for, "device");
  }
  if (volume->device.state != DEVICE_NONE)
    return;
  sfd_device_end(&volume->device);
  volume->device = sfd_attach_none(volume);
  sfd_device_begin(&volume->device, config);
}

bool
sfd_volume_keeps_device(const struct volume *volume, const char *key) {
  return strcmp(key, "device") == 0 && volume->device.state != DEVICE_NONE;
}

bool
sfd_volume_in_use(struct volume *volume, char why[SF_CONFIG_ERROR_MAX]) {
  return sfd_device_in_use(&volume->device, why, SF_CONFIG_ERROR_MAX);
}

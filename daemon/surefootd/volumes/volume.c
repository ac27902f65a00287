/* A volume is made, given settings, and ended. */
#include "volumes/volume.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <surefoot/wire.h>

#include "common/log.h"
#include "files/command.h"
#include "volumes/attach.h"
#include "volumes/forced.h"
#include "volumes/inside.h"
#include "volumes/spare.h"
#include "volumes/start.h"

void
sfd_volume_replan(struct volume *volume, struct plan_volume *plan, const char *needed_for) {
  struct plan_volume *old = volume->plan;
  sfd_changed_legs_settle(&volume->changed_legs, plan);
  int r = sfd_changed_legs_apply(&volume->changed_legs, plan, NULL, NULL);
  if (r < 0)
    log_error(plan->config.name, "its changed legs could not be kept: %s", strerror(-r));
  volume->plan = plan;
  volume->server.volume = volume->device.volume = plan->config.name;
  snprintf(volume->restart_for, sizeof volume->restart_for, "%s", needed_for);
  free(old);
  if (volume_state(volume) == VOLUME_DOWN && !volume->held) { /* maybe it is mended */
    volume->backoff = (struct backoff){0};
    sfd_volume_start(volume);
  }
}

void
sfd_volume_note_setting(struct volume *volume, const char *key, const char *value) {
  char error[SF_CONFIG_ERROR_MAX];
  if (volume->running)
    sf_config_set(&volume->running->config, key, value, error);
  if (sf_config_set(&volume->plan->config, key, value, error) < 0)
    log_warning(sfd_volume_name(volume), "taken by the volume, but not kept: %s", error);
}

int
sfd_volume_create(struct volumes *volumes, struct plan_volume *plan, struct volume **result) {
  struct volume *volume = calloc(1, sizeof *volume);
  if (volume == NULL)
    return -ENOMEM;
  volume->volumes = volumes;
  volume->plan = plan;
  volume->connection.fd = -1;
  volume->device = sfd_attach_none(volume);
  volume->socket.fd = volume->socket.directory_fd = -1;
  sf_state_init(&volume->machine, &sfd_volume_states, 0, VOLUME_DOWN);
  sf_state_init(&volume->stop, &sfd_volume_stops, 0, STOP_NONE);
  volume->server = (struct server){.event = volumes->event,
                                   .volume = plan->config.name,
                                   .ended = sfd_volume_server_ended,
                                   .ctx = volume,
                                   .output_fd = -1};
  sf_list_append(&volumes->list, &volume->entry);
  *result = volume;
  return 0;
}

/* A killed server leaves its sockets.  A socket on which another process listens stays. */
static void
remove_abandoned(const char *path) {
  struct stat st;
  if (*path && lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && sf_control_is_abandoned(path))
    unlink(path);
}

void
sfd_volume_destroy(struct volume *volume) {
  sf_list_remove(&volume->entry);
  sfd_volume_forget_server(volume);
  sfd_spare_end(volume);
  sfd_forced_end(volume);
  sfd_probe_cancel(volume->probe);
  sfd_device_end(&volume->device);
  sd_event_source_disable_unref(volume->timer);
  sfd_server_destroy(&volume->server);
  /* Without the socket nothing was made: files there are another process's. */
  if (volume->socket_path[0]) {
    sf_socket_file_close(&volume->socket);
    sfd_command_forget(volume->volumes->settings, volume->plan);
    remove_abandoned(volume->control_path);
    remove_abandoned(volume->plan->config.fast_socket);
  }
  sfd_changed_legs_clear(&volume->changed_legs);
  sfd_history_clear(&volume->history);
  json_decref(volume->scrub);
  free(volume->plan);
  free(volume);
}

/* From down to serving, and down again when its server ends. */
#include "volumes/start.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "files/command.h"
#include "volumes/attach.h"
#include "volumes/feed.h"
#include "volumes/forced.h"
#include "volumes/inside.h"
#include "volumes/spare.h"

enum { SOCKET_TRIES = 2 /* a second and a half: it is not taken for tried before */ };

void
sfd_volume_forget_server(struct volume *volume) {
  sfd_probe_cancel(volume->device_probe);
  sfd_attach_drop(volume);
  sfd_spare_forget(volume);
  sfd_forced_forget(volume);
  sfd_control_link_close(volume->feed);
  sfd_call_cancel(volume->health);
  sfd_call_cancel(volume->stop_call);
  volume->device_probe = NULL;
  volume->feed = NULL;
  json_decref(volume->last_event);
  volume->last_event = NULL;
  volume->uuid[0] = '\0';
  volume->health = volume->stop_call = NULL;
  volume->feed_timer = sd_event_source_disable_unref(volume->feed_timer);
  volume->silent = volume->legs_told = false;
  volume->silent_looks = 0;
  volume->state[0] = '\0';
  free(volume->running);
  volume->running = NULL;
}

static int
on_time_to_start(sd_event_source *source, uint64_t usec, void *userdata) {
  sfd_volume_start(userdata);
  return 0;
}

static void
try_later(struct volume *volume) {
  uint64_t wait_us = sfd_backoff_failed(&volume->backoff, sfd_volume_now_us(volume));
  /* The servers of a daemon that was killed, and their sockets, may be just ending. */
  if (volume->socket_path[0] || volume->backoff.failures > SOCKET_TRIES)
    volume->tried = true;
  sfd_volume_set_timer(volume, wait_us, on_time_to_start);
  sfd_volume_changed(volume);
}

static int on_probe_again(sd_event_source *source, uint64_t usec, void *userdata);

static void
on_probe(void *ctx, const struct probe_result *result) {
  struct volume *volume = ctx;
  volume->probe = NULL;
  if (result->error) {
    /* While the process lives it may yet serve; when it ends we hear of it. */
    if (volume_state(volume) == VOLUME_STARTING)
      sfd_volume_set_timer(volume, SECOND_US / 2, on_probe_again);
    return;
  }
  if (volume_state(volume) != VOLUME_STARTING) { /* the last words of a server that has ended */
    close(result->fd);
    return;
  }
  volume->connection = *result;
  volume->tried = true;
  sfd_backoff_well(&volume->backoff, sfd_volume_now_us(volume));
  sfd_volume_move(volume, VOLUME_SERVING, "");
  sfd_forced_served(volume);
  sfd_attach_serving(volume);
  sfd_feed_open(volume);
  sfd_feed_look(volume);
}

/* A probe that an earlier server has not answered waits in the socket for this one, like every
 * client. */
static void
begin_probe(struct volume *volume) {
  if (volume->probe)
    return;
  int r = sfd_probe_start(volume->volumes->event, volume->socket_path, on_probe, volume,
                          &volume->probe);
  if (r < 0) {
    log_error(sfd_volume_name(volume), "cannot connect to %s: %s", volume->socket_path,
              strerror(-r));
    sfd_volume_set_timer(volume, SECOND_US, on_probe_again);
  }
}

static int
on_probe_again(sd_event_source *source, uint64_t usec, void *userdata) {
  struct volume *volume = userdata;
  if (volume_state(volume) == VOLUME_STARTING && volume->probe == NULL)
    begin_probe(volume);
  return 0;
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
             r == -EADDRINUSE ? "another process listens there" : strerror(-r));
    return r;
  }
  if (volume->socket_path[0]) {
    sf_socket_file_close(&volume->socket);
    sfd_probe_cancel(volume->probe);
    volume->probe = NULL;
  }
  volume->socket = socket;
  memcpy(volume->socket_path, config->socket, sizeof volume->socket_path);
  memcpy(volume->control_path, config->control, sizeof volume->control_path);
  return 0;
}

void
sfd_volume_start(struct volume *volume) {
  struct server_command command;
  char error[SF_CONFIG_ERROR_MAX] = "";
  volume->timer = sd_event_source_disable_unref(volume->timer);
  int r = take_paths(volume, error);
  if (r == 0)
    r = sfd_command_make(volume->volumes->settings, volume->plan, volume->force,
                         sfd_forced_take(volume), &command, error);
  if (r == 0) {
    r = sfd_server_start(&volume->server, command.argv, volume->socket.fd);
    if (r < 0)
      snprintf(error, sizeof error, "cannot start %s: %s", command.argv[0], strerror(-r));
  }
  if (r == 0 && (volume->running = malloc(sizeof *volume->running)) == NULL) {
    snprintf(error, sizeof error, "out of memory");
    sfd_server_destroy(&volume->server);
    r = -ENOMEM;
  }
  if (r < 0) {
    snprintf(volume->reason, sizeof volume->reason, "%.255s", error);
    log_error(sfd_volume_name(volume), "%s", error);
    volume->start_failed = true;
    try_later(volume);
    return;
  }
  *volume->running = (struct plan_volume){.config = volume->plan->config};
  volume->restart_for[0] = '\0';
  volume->force = false;
  sfd_attach_take(volume);
  volume->feed_answers = false;
  volume->stop_said[0] = volume->ended_for[0] = '\0';
  volume->first_event = volume->volumes->events->next;
  sfd_volume_move(volume, VOLUME_STARTING, "");
  begin_probe(volume);
}

void
sfd_volume_server_ended(void *ctx, const char *how) {
  struct volume *volume = ctx;
  char reason[sizeof volume->reason];
  volume->timer = sd_event_source_disable_unref(volume->timer);
  /* A killed server has not said why. */
  const char *said = volume->ended_for[0]           ? volume->ended_for
                     : strcmp(how, "signal 9") == 0 ? ""
                                                    : volume->server.last_line;
  snprintf(reason, sizeof reason, "%.60s%s%.255s", how, *said ? ": " : "", said);
  if (volume->feed)
    sfd_control_link_drain(volume->feed); /* its last words */
  sfd_volume_forget_server(volume);
  if (volume->stop_ended) {
    volume->stop_ended(volume, reason);
    return;
  }
  sfd_device_server_gone(&volume->device);
  volume->restarts++;
  sfd_volume_move(volume, VOLUME_DOWN, reason);
  try_later(volume);
}

/* What its own control socket says: its events, and every few seconds its status. */
#include "volumes/feed.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "volumes/attach.h"
#include "volumes/forced.h"
#include "volumes/inside.h"
#include "volumes/spare.h"

enum {
  HEALTH_S = 5,       /* between two looks at a server's own socket */
  SILENT_PAUSE_S = 1, /* the same, when it did not answer the last one */
  SILENT_LOOKS = 2,   /* so many at least, before it is said to hang */
};

static void
note_state(struct volume *volume, const char *state) {
  if (strcmp(volume->state, state) == 0)
    return;
  snprintf(volume->state, sizeof volume->state, "%s", state);
  sfd_volume_changed(volume);
}

static void
note_leg(struct volume *volume, const char *leg, const char *path) {
  int r = sfd_changed_legs_note(&volume->changed_legs, volume->plan, leg, path);
  if (r == 0 && volume->running)
    r = sf_config_set_leg(&volume->running->config, leg, path);
  if (r < 0)
    log_error(sfd_volume_name(volume),
              "leg %s: a server that starts again would not be told of the change (%s): write it "
              "into the file, then reload",
              leg, r == -EINVAL ? "no file could say this path" : strerror(-r));
}

static void
take_event(struct volume *volume, json_t *event) {
  const char *kind = sfd_events_text(event, "event");
  if (strcmp(kind, "events-lost") != 0) { /* of this feed alone: no list has it */
    json_decref(volume->last_event);
    volume->last_event = json_incref(event);
  }
  if (strcmp(kind, "leg-replaced") == 0 || strcmp(kind, "leg-added") == 0)
    note_leg(volume, sfd_events_text(event, "leg"), sfd_events_text(event, "reason"));
  if (strcmp(kind, "leg-removed") == 0)
    note_leg(volume, sfd_events_text(event, "leg"), "");
  if (strcmp(kind, "state") == 0)
    note_state(volume, sfd_events_text(event, "to"));
  if (strcmp(kind, "grown") == 0)
    sfd_device_grown(&volume->device);
  if (strcmp(kind, "stopped") == 0 && volume_state(volume) == VOLUME_STOPPING) {
    snprintf(volume->stop_said, sizeof volume->stop_said, "%s", sfd_events_text(event, "reason"));
    /* Its clients do not count any more: it was told to stop without them. */
    if (volume_stop(volume) >= STOP_TOLD)
      sfd_server_signal(&volume->server, SIGKILL);
  }
  sfd_events_publish(volume->volumes->events, event);
  sfd_spare_heard(volume, event);
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
  /* A feed that is opened again begins with events told before, and an old change of a leg would
   * undo later ones.  They are not found by the daemon's kept events, which the other volumes'
   * events push out, nor by the time, which several may share. */
  size_t told = sfd_events_told(kept, volume->last_event);
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

void
sfd_feed_open(struct volume *volume) {
  const struct control_link_user user = {
      .line = on_feed_line, .ended = on_feed_ended, .ctx = volume};
  sfd_control_link_open(volume->volumes->event, volume->control_path,
                        json_pack("{ss sb}", "command", "events", "follow", 1), &user,
                        &volume->feed);
}

static void
note_silent(struct volume *volume, bool silent) {
  if (volume->silent == silent)
    return;
  volume->silent = silent;
  volume->since_ns = sfd_events_now_ns();
  sfd_events_service(volume->volumes->events, sfd_volume_name(volume),
                     silent ? "serving" : "silent", silent ? "silent" : "serving",
                     silent ? "it does not answer on its control socket" : "it answers again");
  sfd_volume_changed(volume);
}

/* A server that hangs is ended by force, or nothing would ever start the next one.  Counted are the
 * looks that it did not answer: were this process itself stopped for a while, that would be one. */
static void
end_silent(struct volume *volume) {
  uint64_t limit_us = volume->volumes->settings->silent_timeout_us;
  uint64_t silent_us = volume->silent_looks * (HEALTH_ANSWER_S + SILENT_PAUSE_S) * SECOND_US;
  if (limit_us == 0 || volume->silent_looks < SILENT_LOOKS || silent_us < limit_us ||
      volume->ended_for[0])
    return;
  snprintf(volume->ended_for, sizeof volume->ended_for,
           "it did not answer for %u s and was killed (silent_timeout)",
           (unsigned) (silent_us / SECOND_US));
  log_error(sfd_volume_name(volume), "%s", volume->ended_for);
  sfd_server_signal(&volume->server, SIGKILL);
}

/* A volume tells when a leg changes; a leg that is out of sync from the start has not changed. */
static void
tell_legs(struct volume *volume, const json_t *legs) {
  size_t i;
  json_t *leg;
  if (volume->legs_told)
    return;
  volume->legs_told = true;
  json_array_foreach(legs, i, leg) {
    const char *name = sfd_events_text(leg, "name"), *state = sfd_events_text(leg, "state");
    if (*name && *state && strcmp(state, "in-sync") != 0 &&
        !sfd_events_leg_is_told(volume->volumes->events, volume->first_event,
                                sfd_volume_name(volume), name, state))
      sfd_events_leg(volume->volumes->events, sfd_volume_name(volume), name, state,
                     sfd_events_text(leg, "reason"));
  }
}

static int on_health_time(sd_event_source *source, uint64_t usec, void *userdata);

static void
plan_health(struct volume *volume, uint64_t in_us) {
  volume->feed_timer = sd_event_source_disable_unref(volume->feed_timer);
  int r = sd_event_add_time_relative(volume->volumes->event, &volume->feed_timer, CLOCK_MONOTONIC,
                                     in_us, 0, on_health_time, volume);
  if (r < 0)
    log_error(sfd_volume_name(volume), "no timer: %s", strerror(-r));
}

static void
on_health(void *ctx, int error, json_t *reply) {
  struct volume *volume = ctx;
  bool again = error != 0;
  volume->health = NULL;
  volume->silent_looks = error ? volume->silent_looks + 1 : 0;
  note_silent(volume, error != 0);
  json_t *own = json_array_get(json_object_get(reply, "volumes"), 0);
  if (own) {
    snprintf(volume->uuid, sizeof volume->uuid, "%s", sfd_events_text(own, "uuid"));
    note_state(volume, sfd_events_text(own, "state"));
    tell_legs(volume, json_object_get(own, "legs"));
    sfd_volume_note_status(volume, own);
    sfd_history_note(&volume->history, own, sfd_volume_now_us(volume));
    if (volume->volumes->looked)
      volume->volumes->looked(volume->volumes->ctx);
    sfd_spare_look(volume, own);
    again = sfd_forced_look(volume, own);
  }
  end_silent(volume);
  sfd_attach_give(volume);
  sfd_device_look(&volume->device);
  if (volume->feed == NULL)
    sfd_feed_open(volume);
  plan_health(volume, (again ? SILENT_PAUSE_S : HEALTH_S) * SECOND_US);
}

void
sfd_feed_look(struct volume *volume) {
  sfd_call_cancel(volume->health);
  volume->health = NULL;
  int r = sfd_volume_ask(volume, json_pack("{ss}", "command", "status"),
                         HEALTH_ANSWER_S * SECOND_US, on_health, volume, &volume->health);
  if (r < 0) {
    volume->silent_looks++;
    note_silent(volume, true);
    end_silent(volume);
    plan_health(volume, (HEALTH_ANSWER_S + SILENT_PAUSE_S) * SECOND_US);
  }
}

static int
on_health_time(sd_event_source *source, uint64_t usec, void *userdata) {
  sfd_feed_look(userdata);
  return 0;
}

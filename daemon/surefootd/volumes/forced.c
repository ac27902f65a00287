#include "volumes/forced.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <surefoot/wire.h>

#include "config/keys.h"

#include "common/log.h"
#include "volumes/inside.h"

#define ANSWER_US (5 * SECOND_US)

/* Calls each(ctx, name) for the words between commas; stops at the first that is refused. */
static bool
each_name(const char *with, bool (*each)(void *ctx, const char *name), void *ctx) {
  char name[SF_LEG_NAME_MAX];
  for (const char *at = with;;) {
    size_t len = strcspn(at, ",");
    if (len >= sizeof name)
      return false;
    memcpy(name, at, len);
    name[len] = '\0';
    if (!each(ctx, name))
      return false;
    if (!at[len])
      return true;
    at += len + 1;
  }
}

struct names {
  const struct volume *volume;
  const char *leg;
  unsigned count;
};

static bool
is_another_leg(void *ctx, const char *name) {
  struct names *names = ctx;
  names->count++;
  return strcmp(name, names->leg) != 0 && *sfd_plan_leg_path(names->volume->plan, name);
}

int
sfd_volume_fail_by_force(struct volume *volume, const char *leg, const char *with,
                         char error[SF_CONFIG_ERROR_MAX]) {
  struct forced *forced = &volume->forced;
  struct names names = {volume, leg, 0};
  int r = -EINVAL;
  if (volume_state(volume) != VOLUME_SERVING)
    sf_config_error(error, "does not run: it is %s%s%.200s", sf_state_name(&volume->machine),
                    volume->reason[0] ? ": " : "", volume->reason);
  else if (forced->leg[0])
    sf_config_error(error, "leg %s is being failed by force", forced->leg);
  else if (!*sfd_plan_leg_path(volume->plan, leg))
    sf_config_error(error, "has no leg %.64s", leg);
  else if (strlen(with) >= sizeof forced->with || !each_name(with, is_another_leg, &names))
    sf_config_error(error, "with %.200s: not other legs of the volume", with);
  else
    r = 0;
  if (r < 0)
    return r;
  *forced = (struct forced){.least = names.count};
  snprintf(forced->leg, sizeof forced->leg, "%s", leg);
  snprintf(forced->with, sizeof forced->with, "%s", with);
  log_warning(sfd_volume_name(volume),
              "leg %s is failed by force: its server is killed, and started by force with %s", leg,
              with);
  /* A server whose requests hang does not end otherwise, and an error would reach its clients. */
  snprintf(volume->ended_for, sizeof volume->ended_for, "leg %s is failed by force", leg);
  sfd_server_signal(&volume->server, SIGKILL);
  return 0;
}

static void
set_min_legs(struct volume *volume, unsigned least) {
  char number[16], error[SF_CONFIG_ERROR_MAX];
  snprintf(number, sizeof number, "%u", least);
  if (sf_config_set(&volume->plan->config, "min_legs", number, error) < 0)
    log_error(sfd_volume_name(volume), "min_legs = %s: %s", number, error);
}

const char *
sfd_forced_take(struct volume *volume) {
  struct forced *forced = &volume->forced;
  unsigned before = volume->plan->config.min_legs;
  if (!forced->leg[0] || forced->served)
    return NULL;
  if (before > forced->least) {
    forced->min_legs_before = before;
    set_min_legs(volume, forced->least);
    log_warning(sfd_volume_name(volume), "min_legs is %u from here on, and was %u", forced->least,
                before);
  }
  return forced->with;
}

void
sfd_forced_served(struct volume *volume) {
  volume->forced.served = volume->forced.leg[0] != '\0';
}

static void
on_failed(void *ctx, int error, json_t *reply) {
  struct volume *volume = ctx;
  struct forced *forced = &volume->forced;
  forced->call = NULL;
  if (error || !json_is_true(json_object_get(reply, "ok")))
    log_warning(sfd_volume_name(volume), "leg %s is not failed yet: %s", forced->leg,
                error ? strerror(-error) : sfd_events_text(reply, "error"));
  else
    *forced = (struct forced){0}; /* from here on the operator may return it */
}

static const char *
state_of(const json_t *own, const char *name) {
  size_t i;
  json_t *leg;
  json_array_foreach(json_object_get(own, "legs"), i, leg)
    if (strcmp(sfd_events_text(leg, "name"), name) == 0)
      return sfd_events_text(leg, "state");
  return "faulty"; /* it was removed */
}

bool
sfd_forced_look(struct volume *volume, const json_t *own) {
  struct forced *forced = &volume->forced;
  if (!forced->leg[0] || !forced->served)
    return false;
  if (strcmp(state_of(own, forced->leg), "faulty") == 0) {
    sfd_call_cancel(forced->call);
    *forced = (struct forced){0};
    return false;
  }
  if (forced->call)
    return true;
  int r = sfd_volume_ask(
      volume, json_pack("{ss ss ss}", "command", "leg", "action", "fail", "leg", forced->leg),
      ANSWER_US, on_failed, volume, &forced->call);
  if (r < 0)
    on_failed(volume, r, NULL);
  return true;
}

void
sfd_forced_forget(struct volume *volume) {
  sfd_call_cancel(volume->forced.call);
  volume->forced.call = NULL;
}

void
sfd_forced_end(struct volume *volume) {
  struct forced *forced = &volume->forced;
  sfd_forced_forget(volume);
  if (forced->leg[0] && !forced->served && forced->min_legs_before)
    set_min_legs(volume, forced->min_legs_before);
  *forced = (struct forced){0};
}

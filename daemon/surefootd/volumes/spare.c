/* When a spare is taken, which one, and what becomes of it. */
#include "volumes/spare.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/job.h"
#include "common/log.h"
#include "volumes/inside.h"

enum {
  ASK_S = 8,
  WRITE_S = 30,
  REFUSED_S = 600,        /* a spare that the volume did not take is not tried before */
  ANSWERS_MOST_MS = 2000, /* a leg in sync with an older request does not answer */
};

/* ---- is it taken? ---- */

static const char *
leg_at(const struct volume *volume, const char *path) {
  const struct sf_config *config = &volume->plan->config;
  for (unsigned i = 0; i < config->legs; i++)
    if (strcmp(config->leg[i].path, path) == 0)
      return config->leg[i].name;
  return NULL;
}

/* The volume that has it, or is about to; NULL: it is free. */
static const struct volume *
user_of(const struct volume *volume, const char *path) {
  SF_LIST_EACH(entry, &volume->volumes->list) {
    const struct volume *other = SF_LIST_ENTRY(entry, struct volume, entry);
    const struct spare_use *use = &other->spare;
    if (leg_at(other, path) || (use->under_way && strcmp(use->path, path) == 0))
      return other;
  }
  return NULL;
}

/* NULL: it was not refused. */
static const struct spare_refused *
refusal_of(const struct volume *volume, const char *path) {
  const struct spare_refused *refused = volume->spare.refused;
  for (unsigned i = 0; i < SF_SPARES_MAX; i++)
    if (refused[i].path && strcmp(refused[i].path, path) == 0)
      return &refused[i];
  return NULL;
}

static bool
is_refused(const struct volume *volume, const char *path) {
  const struct spare_refused *refused = refusal_of(volume, path);
  return refused && sfd_volume_now_us(volume) < refused->until_us;
}

static void
note_refused(struct volume *volume, const char *reason) {
  struct spare_use *use = &volume->spare;
  const struct spare_refused *known = refusal_of(volume, use->path);
  struct spare_refused *refused = &use->refused[0];
  for (unsigned i = 0; i < SF_SPARES_MAX; i++)
    if (known ? known == &use->refused[i] : use->refused[i].path == NULL)
      refused = &use->refused[i];
  free(refused->path);
  refused->path = strdup(use->path);
  refused->until_us = sfd_volume_now_us(volume) + REFUSED_S * SECOND_US;
  snprintf(refused->reason, sizeof refused->reason, "%s", reason);
}

static const struct sf_config_spare *
choose(const struct volume *volume) {
  const struct sf_config *config = &volume->plan->config;
  for (unsigned i = 0; i < config->spares; i++) {
    const struct sf_config_spare *spare = &config->spare[i];
    if (user_of(volume, spare->path) == NULL && !is_refused(volume, spare->path))
      return spare;
  }
  return NULL;
}

/* ---- the file ---- */

struct writing {
  char file[PATH_MAX], leg_section[SF_LEG_NAME_MAX + 8], spare_section[SF_LEG_NAME_MAX + 8];
  char path[PATH_MAX], instead_of[PATH_MAX]; /* "": the line goes */
  bool leg_too;
};

static int
write_file(void *arg) {
  const struct writing *writing = arg;
  const struct sf_config_edit edit[] = {
      {writing->spare_section, "instead_of", writing->instead_of[0] ? writing->instead_of : NULL},
      {writing->leg_section, "path", writing->path}};
  char error[SF_CONFIG_ERROR_MAX] = "";
  int r = sf_config_edit(writing->file, edit, writing->leg_too ? 2 : 1, error);
  if (r < 0)
    fprintf(stderr, "surefootd: %s\n", error);
  return r;
}

static void
on_written(void *ctx, int error) {
  struct volume *volume = ctx;
  struct spare_use *use = &volume->spare;
  const char *leg = use->writing->leg_section + strlen("leg ");
  use->job = NULL;
  if (error)
    log_error(sfd_volume_name(volume),
              "%s could not be changed (%s): before surefootd itself starts again it must say: "
              "[leg %s] path = %s",
              use->writing->file, strerror(-error), leg, use->writing->path);
  else if (use->writing->leg_too)
    sfd_changed_legs_said(&volume->changed_legs, leg);
  free(use->writing);
  use->writing = NULL;
}

/* In a process of its own: the file may lie on a disk that hangs. */
static void
begin_writing(struct volume *volume, const struct sf_config_spare *spare, const char *leg,
              bool leg_too) {
  struct spare_use *use = &volume->spare;
  struct writing *writing = use->job ? NULL : calloc(1, sizeof *writing);
  int r = writing ? 0 : -EBUSY;
  if (r == 0) {
    snprintf(writing->file, sizeof writing->file, "%s", volume->plan->config.file);
    snprintf(writing->leg_section, sizeof writing->leg_section, "leg %s", leg);
    snprintf(writing->spare_section, sizeof writing->spare_section, "spare %s", spare->name);
    snprintf(writing->path, sizeof writing->path, "%s", sfd_plan_leg_path(volume->plan, leg));
    snprintf(writing->instead_of, sizeof writing->instead_of, "%s", spare->instead_of);
    writing->leg_too = leg_too;
    use->writing = writing;
    r = sfd_job_start(volume->volumes->event, WRITE_S * SECOND_US, write_file, writing, -1,
                      on_written, volume, &use->job);
  }
  if (r < 0) {
    log_error(sfd_volume_name(volume), "%s is not changed for leg %s: %s",
              volume->plan->config.file, leg, strerror(-r));
    free(writing);
    use->writing = NULL;
  }
}

/* ---- one is taken ---- */

static void
tell(struct volume *volume, const char *to, const char *reason) {
  sfd_events_spare(volume->volumes->events, sfd_volume_name(volume), volume->spare.leg, to, reason);
}

static void
refuse(struct volume *volume, const char *why) {
  struct spare_use *use = &volume->spare;
  char reason[SF_CONFIG_ERROR_MAX];
  use->under_way = false;
  note_refused(volume, why);
  snprintf(reason, sizeof reason, "spare %s (%.300s): %.500s", use->name, use->path, why);
  tell(volume, "refused", reason);
}

static void
on_asked(void *ctx, int error, json_t *reply) {
  struct volume *volume = ctx;
  volume->spare.call = NULL;
  if (error || !json_is_true(json_object_get(reply, "ok")))
    refuse(volume, error ? strerror(-error) : sfd_events_text(reply, "error"));
}

static bool
take(struct volume *volume, const char *leg) {
  const struct sf_config_spare *spare = choose(volume);
  struct spare_use *use = &volume->spare;
  if (spare == NULL)
    return false;
  use->under_way = true;
  snprintf(use->name, sizeof use->name, "%s", spare->name);
  snprintf(use->leg, sizeof use->leg, "%s", leg);
  snprintf(use->path, sizeof use->path, "%s", spare->path);
  snprintf(use->own, sizeof use->own, "%s", sfd_plan_leg_path(volume->plan, leg));
  log_notice(sfd_volume_name(volume), "leg %s: spare %s (%s) is to take its place", leg, use->name,
             use->path);
  int r = sfd_volume_ask(volume,
                         json_pack("{ss ss ss ss}", "command", "leg", "action", "replace", "leg",
                                   leg, "path", use->path),
                         ASK_S * SECOND_US, on_asked, volume, &use->call);
  if (r < 0)
    refuse(volume, strerror(-r));
  return true;
}

/* ---- is one needed? ---- */

/* All legs in sync must answer: a spare does not help a volume with no other leg, or with one that
 * hangs. */
static bool
may_take(const json_t *own) {
  json_t *leg;
  size_t i;
  unsigned well = 0;
  json_array_foreach(json_object_get(own, "legs"), i, leg) {
    if (strcmp(sfd_events_text(leg, "state"), "in-sync") != 0)
      continue;
    if (json_number_value(json_object_get(leg, "oldest_ms")) > ANSWERS_MOST_MS)
      return false;
    well++;
  }
  const char *state = sfd_events_text(own, "state");
  return well > 0 && (strcmp(state, "degraded") == 0 || strcmp(state, "suspended") == 0 ||
                      strcmp(state, "failed") == 0);
}

/* By our own clock: the host's may jump, and a server that starts again begins to count anew. */
static bool
is_out_for_long(struct volume *volume, const json_t *leg) {
  struct spare_out *out = volume->spare.out, *own = NULL, *empty = NULL;
  const char *name = sfd_events_text(leg, "name"), *state = sfd_events_text(leg, "state");
  bool is_out = strcmp(state, "faulty") == 0 || strcmp(state, "missing") == 0;
  for (unsigned i = 0; i < SF_LEGS_MAX; i++) {
    if (strcmp(out[i].leg, name) == 0)
      own = &out[i];
    else if (!out[i].leg[0])
      empty = &out[i];
  }
  if (!is_out && own)
    own->leg[0] = '\0';
  if (!is_out || (own == NULL && empty == NULL))
    return false;
  if (own == NULL) {
    own = empty;
    snprintf(own->leg, sizeof own->leg, "%s", name);
    own->since_us = sfd_volume_now_us(volume);
  }
  return (sfd_volume_now_us(volume) - own->since_us) * 1000 >= volume->plan->config.spare_after_ns;
}

void
sfd_spare_look(struct volume *volume, const json_t *own) {
  bool may = !volume->spare.under_way && volume_state(volume) == VOLUME_SERVING && may_take(own);
  json_t *leg;
  size_t i;
  if (volume->plan->config.spares == 0)
    return;
  json_array_foreach(json_object_get(own, "legs"), i, leg) {
    if (is_out_for_long(volume, leg) && may && take(volume, sfd_events_text(leg, "name")))
      may = false;
  }
}

/* ---- what became of it ---- */

static struct sf_config_spare *
find_spare(struct volume *volume, const char *name) {
  struct sf_config *config = &volume->plan->config;
  int i = sf_config_find_spare(config, name);
  return i < 0 ? NULL : &config->spare[i];
}

static void
taken(struct volume *volume) {
  struct spare_use *use = &volume->spare;
  struct sf_config_spare *spare = find_spare(volume, use->name);
  char reason[SF_CONFIG_ERROR_MAX];
  use->under_way = false;
  for (unsigned i = 0; i < SF_LEGS_MAX; i++)
    if (strcmp(use->out[i].leg, use->leg) == 0)
      use->out[i].leg[0] = '\0';
  snprintf(reason, sizeof reason, "spare %s (%.300s) instead of %.300s", use->name, use->path,
           use->own);
  tell(volume, "used", reason);
  if (spare == NULL) /* a reload has taken it away */
    return;
  if (!spare->instead_of[0])
    snprintf(spare->instead_of, sizeof spare->instead_of, "%s", use->own);
  begin_writing(volume, spare, use->leg, true);
}

/* The leg has another disk now, its own or a new one. */
static void
freed(struct volume *volume, struct sf_config_spare *spare, const char *leg) {
  char reason[SF_CONFIG_ERROR_MAX];
  bool own = strcmp(sfd_plan_leg_path(volume->plan, leg), spare->instead_of) == 0;
  snprintf(reason, sizeof reason, "spare %s (%.300s) is free", spare->name, spare->path);
  snprintf(volume->spare.leg, sizeof volume->spare.leg, "%s", leg);
  tell(volume, "free", reason);
  spare->instead_of[0] = '\0';
  begin_writing(volume, spare, leg, own);
}

void
sfd_spare_heard(struct volume *volume, const json_t *event) {
  struct spare_use *use = &volume->spare;
  struct sf_config *config = &volume->plan->config;
  const char *kind = sfd_events_text(event, "event"), *leg = sfd_events_text(event, "leg");
  const char *reason = sfd_events_text(event, "reason");
  bool is_ours = use->under_way && strcmp(leg, use->leg) == 0;
  bool replaced = strcmp(kind, "leg-replaced") == 0;
  if (is_ours && strcmp(kind, "change-failed") == 0)
    refuse(volume, reason);
  else if (is_ours && replaced && strcmp(reason, use->path) == 0)
    taken(volume);
  else if (replaced || strcmp(kind, "leg-removed") == 0)
    for (unsigned i = 0; i < config->spares; i++)
      if (config->spare[i].instead_of[0] && leg_at(volume, config->spare[i].path) == NULL)
        freed(volume, &config->spare[i], leg);
}

void
sfd_spare_forget(struct volume *volume) {
  sfd_call_cancel(volume->spare.call);
  volume->spare.call = NULL;
  volume->spare.under_way = false;
}

void
sfd_spare_end(struct volume *volume) {
  sfd_spare_forget(volume);
  sfd_job_cancel(volume->spare.job);
  free(volume->spare.writing);
  for (unsigned i = 0; i < SF_SPARES_MAX; i++)
    free(volume->spare.refused[i].path);
}

/* ---- the status ---- */

json_t *
sfd_spare_describe(const struct volume *volume) {
  const struct sf_config *config = &volume->plan->config;
  json_t *list = json_array();
  for (unsigned i = 0; i < config->spares; i++) {
    const struct sf_config_spare *spare = &config->spare[i];
    const struct volume *user = user_of(volume, spare->path);
    const struct spare_refused *refused = refusal_of(volume, spare->path);
    const char *leg = leg_at(volume, spare->path);
    json_array_append_new(
        list, json_pack("{ss so sb ss so so so so}", "name", spare->name, "path",
                        sf_text_to_json(spare->path), "shared", (int) spare->shared, "state",
                        user      ? "used"
                        : refused ? "refused"
                                  : "free",
                        "volume", sf_text_to_json(user ? sfd_volume_name(user) : ""), "leg",
                        sf_text_to_json(leg ? leg : ""), "instead_of",
                        sf_text_to_json(leg ? spare->instead_of : ""), "reason",
                        sf_text_to_json(user == NULL && refused ? refused->reason : "")));
  }
  return list;
}

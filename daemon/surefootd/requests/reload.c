#include "requests/reload.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <surefoot/wire.h>

#include "common/job.h"
#include "common/log.h"
#include "device/in_use.h"
#include "monitor/notify.h"
#include "requests/clients.h"
#include "state.h"
#include "volumes/volume.h"

/* surefootctl waits for ten seconds: twice for answers, as one setting may allow another, and once
 * for a device. */
#define ANSWER_US UINT64_C(4000000)
#define DEVICE_US UINT64_C(1000000)

struct change {
  enum plan_change_kind kind;
  bool settled, done;
  char volume[SF_VOLUME_NAME_MAX];
  char *key, *from, *to; /* "" where there is none */
  char message[SF_CONFIG_ERROR_MAX];
};

struct reload {
  struct daemon *daemon;
  struct reply *reply;
  bool dry_run;
  bool fatal; /* nothing is changed */
  struct settings settings;
  struct plan plan;
  json_t *problems;
  unsigned changes, size;
  struct change *change;
  unsigned open, done_in_round; /* sets under way, and taken in this round */
};

/* A question about one change. */
struct question {
  struct reload *reload;
  unsigned index;
};

static void
free_reload(struct reload *reload) {
  for (unsigned i = 0; i < reload->changes; i++) {
    free(reload->change[i].key);
    free(reload->change[i].from);
    free(reload->change[i].to);
  }
  free(reload->change);
  sfd_plan_clear(&reload->plan);
  json_decref(reload->problems);
  free(reload);
}

/* ---- what differs ---- */

/* One file's: the volume that runs by it goes on as it is. */
static void
note_problem(void *ctx, const char *line) {
  struct reload *reload = ctx;
  log_error(NULL, "%s", line);
  json_array_append_new(reload->problems, sf_text_to_json_string(line));
}

static void
note_fatal(struct reload *reload, const char *line) {
  reload->fatal = true;
  note_problem(reload, line);
}

static void
note_change(void *ctx, const struct plan_change *change) {
  struct reload *reload = ctx;
  if (reload->changes == reload->size) {
    unsigned size = reload->size ? 2 * reload->size : 16;
    struct change *larger = reallocarray(reload->change, size, sizeof *larger);
    if (larger == NULL) {
      note_fatal(reload, "out of memory");
      return;
    }
    reload->change = larger;
    reload->size = size;
  }
  struct change *made = &reload->change[reload->changes++];
  *made = (struct change){.kind = change->kind,
                          .key = strdup(change->key ? change->key : ""),
                          .from = strdup(change->from ? change->from : ""),
                          .to = strdup(change->to ? change->to : "")};
  snprintf(made->volume, sizeof made->volume, "%s", change->volume);
  if (made->key == NULL || made->from == NULL || made->to == NULL)
    note_fatal(reload, "out of memory");
}

/* A setting of the daemon itself that it cannot take while it runs. */
static void
note_fixed(struct reload *reload, const char *key, const char *from, const char *to) {
  if (strcmp(from, to) != 0)
    note_change(reload, &(struct plan_change){PLAN_RESTART, "", key, from, to});
}

static void
note_place(struct reload *reload, const char *key, const struct settings_place *from,
           const struct settings_place *to) {
  char before[96], after[96];
  snprintf(before, sizeof before, "%s:%u", from->address, from->port);
  snprintf(after, sizeof after, "%s:%u", to->address, to->port);
  note_fixed(reload, key, before, after);
}

static void
compare_settings(struct reload *reload) {
  const struct settings *old = &reload->daemon->settings, *now = &reload->settings;
  note_fixed(reload, "runtime", old->runtime, now->runtime);
  note_fixed(reload, "control", old->control, now->control);
  note_place(reload, "metrics", &old->metrics, &now->metrics);
  note_place(reload, "page", &old->page, &now->page);
}

struct behind {
  struct reload *reload;
  const char *volume;
};

static void
note_behind(void *ctx, const struct changed_leg *leg) {
  struct behind *behind = ctx;
  char key[SF_LEG_NAME_MAX + 16];
  snprintf(key, sizeof key, "leg.%s.path", leg->name);
  note_change(behind->reload,
              &(struct plan_change){PLAN_KEEP, behind->volume, key, leg->in_file, leg->now});
}

/* Its file has a mistake: it goes on as it is. */
static bool
stays(const struct reload *reload, const struct volume *volume) {
  return !volume->leaving && sfd_plan_is_broken(&reload->plan, volume->plan->config.file);
}

static void
add_wanted(struct reload *reload, struct plan *wanted, const struct plan_volume *from,
           const struct volume *volume) {
  struct plan_volume *copy = wanted->volumes < PLAN_VOLUMES_MAX ? sfd_plan_volume_copy(from) : NULL;
  if (copy == NULL ||
      (volume && sfd_changed_legs_apply(&volume->changed_legs, copy, NULL, NULL) < 0)) {
    note_fatal(reload, "out of memory");
    free(copy);
    return;
  }
  wanted->volume[wanted->volumes++] = copy;
}

static struct plan_volume *
in_force(const struct volume *volume) {
  return volume->running ? volume->running : volume->plan;
}

/* A copy of a running volume's file is not that volume's own. */
static bool
is_own_file(const struct volume *volume, const struct plan_volume *plan) {
  return volume && strcmp(volume->plan->config.file, plan->config.file) == 0;
}

/* What the files say together with what the volumes did with their legs.  In the order of
 * precedence where two want the same: volumes that stay as they are, the files of others that run,
 * other files. */
static void
copy_wanted(struct reload *reload, struct plan *wanted) {
  const struct volumes *volumes = &reload->daemon->volumes;
  *wanted = (struct plan){0};
  SF_LIST_EACH(entry, &volumes->list) {
    struct volume *volume = SF_LIST_ENTRY(entry, struct volume, entry);
    if (stays(reload, volume))
      add_wanted(reload, wanted, in_force(volume), NULL);
  }
  for (int other = 0; other <= 1; other++)
    for (unsigned i = 0; i < reload->plan.volumes; i++) {
      const struct plan_volume *plan = reload->plan.volume[i];
      const struct volume *volume = sfd_volumes_find(volumes, plan->config.name);
      if (volume && volume->leaving)
        volume = NULL;
      if (other == !is_own_file(volume, plan))
        add_wanted(reload, wanted, plan, volume);
    }
}

/* A file that is refused may be that of a volume that runs, which then stays as it is, and may be
 * in the way of others: so again, until none is refused. */
static void
settle_wanted(struct reload *reload, struct plan *wanted) {
  while (true) {
    copy_wanted(reload, wanted);
    sfd_plan_check(wanted, note_problem, reload);
    if (wanted->broken == 0 || reload->fatal)
      return;
    for (unsigned i = 0; i < wanted->broken; i++)
      sfd_plan_break(&reload->plan, wanted->broken_file[i]);
    sfd_plan_clear(wanted);
  }
}

/* What the volumes did with their legs, and their files do not say. */
static void
note_all_behind(struct reload *reload) {
  for (unsigned i = 0; i < reload->plan.volumes; i++) {
    struct plan_volume *copy = sfd_plan_volume_copy(reload->plan.volume[i]);
    const struct volume *volume =
        copy ? sfd_volumes_find(&reload->daemon->volumes, copy->config.name) : NULL;
    struct behind behind = {reload, copy ? copy->config.name : ""};
    if (volume && !volume->leaving)
      sfd_changed_legs_apply(&volume->changed_legs, copy, note_behind, &behind);
    free(copy);
  }
}

static void
compare_volumes(struct reload *reload) {
  struct plan running = {0}, wanted = {0};
  settle_wanted(reload, &wanted);
  note_all_behind(reload);
  SF_LIST_EACH(entry, &reload->daemon->volumes.list) {
    struct volume *volume = SF_LIST_ENTRY(entry, struct volume, entry);
    if (!volume->leaving && running.volumes < PLAN_VOLUMES_MAX)
      running.volume[running.volumes++] = in_force(volume);
  }
  if (!reload->fatal)
    sfd_plan_diff(&running, &wanted, note_change, reload);
  sfd_plan_clear(&wanted);
}

/* ---- the answer ---- */

static const char *const kind_name[] = {"add", "remove", "set", "restart", "keep"};

/* Explains a change that a reload never does. */
static void
explain(struct change *change) {
  if (change->kind == PLAN_KEEP)
    snprintf(change->message, sizeof change->message,
             "it was so changed while it ran, and stays so; its file must say it before surefootd "
             "itself starts again");
}

static json_t *
change_to_json(const struct change *change) {
  return json_pack("{ss ss so so so sb so}", "change", kind_name[change->kind], "volume",
                   change->volume, "key", *change->key ? json_string(change->key) : json_null(),
                   "from", *change->key ? json_string(change->from) : json_null(), "to",
                   *change->key ? json_string(change->to) : json_null(), "done", change->done,
                   "message", *change->message ? json_string(change->message) : json_null());
}

static void
log_change(const struct change *change) {
  const char *name = change->volume[0] ? change->volume : NULL;
  if (change->kind == PLAN_SET && change->done)
    log_notice(name, "%s is now %s", change->key, change->to);
  else if (change->kind == PLAN_SET || change->message[0])
    log_warning(name, "%s%s%s", change->key, *change->key ? ": " : "", change->message);
}

static void
finish(struct reload *reload) {
  size_t problems = json_array_size(reload->problems);
  json_t *list = json_array();
  for (unsigned i = 0; i < reload->changes; i++) {
    explain(&reload->change[i]);
    json_array_append_new(list, change_to_json(&reload->change[i]));
    if (!reload->dry_run)
      log_change(&reload->change[i]);
  }
  if (reload->fatal)
    log_error(NULL, "reload: nothing is changed");
  else if (!reload->dry_run)
    log_notice(NULL, "reloaded%s", problems ? ", but for the files with mistakes" : "");
  if (!reload->fatal && !reload->dry_run) {
    json_decref(reload->daemon->problems);
    reload->daemon->problems = json_incref(reload->problems);
  }
  if (reload->reply) {
    json_t *object = json_pack("{sb sb sb sO so}", "ok", problems == 0, "dry_run", reload->dry_run,
                               "applied", !reload->fatal && !reload->dry_run, "problems",
                               reload->problems, "changes", list);
    if (problems)
      json_object_set(object, "error", json_array_get(reload->problems, 0));
    sfd_reply_send(reload->reply, object);
  } else {
    json_decref(list);
  }
  reload->daemon->reloading = false;
  if (!reload->dry_run)
    sfd_notify_reloaded(&reload->daemon->volumes, reload->daemon->problems);
  free_reload(reload);
}

/* ---- the settings of running volumes ---- */

static void set_round(struct reload *reload);
static void look_at_removed(struct reload *reload);

static void
release_round(struct reload *reload) {
  if (--reload->open > 0)
    return;
  /* What one setting forbids, another that came after it may have allowed. */
  if (reload->done_in_round > 0) {
    set_round(reload);
    return;
  }
  look_at_removed(reload);
}

static void
on_set(void *ctx, int error, json_t *reply) {
  struct question *set = ctx;
  struct reload *reload = set->reload;
  struct change *change = &reload->change[set->index];
  struct volume *volume = sfd_volumes_find(&reload->daemon->volumes, change->volume);
  free(set);
  if (!error && json_is_true(json_object_get(reply, "ok"))) {
    change->settled = change->done = true;
    change->message[0] = '\0';
    reload->done_in_round++;
    if (volume)
      sfd_volume_note_setting(volume, change->key, change->to);
  } else {
    change->settled = error != 0; /* nor would it answer in the next round */
    snprintf(change->message, sizeof change->message, "not taken: %.400s",
             error ? strerror(-error) : sfd_events_text(reply, "error"));
  }
  release_round(reload);
}

static void
set_one(struct reload *reload, unsigned index) {
  struct change *change = &reload->change[index];
  struct volume *volume = sfd_volumes_find(&reload->daemon->volumes, change->volume);
  struct question *set = malloc(sizeof *set);
  struct call *call;
  reload->open++;
  int r = set && volume ? 0 : -ENOMEM;
  if (r == 0) {
    *set = (struct question){reload, index};
    r = sfd_volume_ask(
        volume, json_pack("{ss ss ss}", "command", "set", "key", change->key, "value", change->to),
        ANSWER_US, on_set, set, &call);
  }
  if (r < 0) {
    snprintf(change->message, sizeof change->message, "not taken: %s", strerror(-r));
    free(set);
    reload->open--;
  }
}

static void
set_round(struct reload *reload) {
  reload->open = 1;
  reload->done_in_round = 0;
  for (unsigned i = 0; i < reload->changes; i++) {
    struct change *change = &reload->change[i];
    struct volume *volume = sfd_volumes_find(&reload->daemon->volumes, change->volume);
    if (change->kind != PLAN_SET || change->settled)
      continue;
    if (volume && volume_state(volume) == VOLUME_SERVING) {
      set_one(reload, i);
    } else if (volume && volume_state(volume) == VOLUME_STARTING) { /* it has read it already */
      change->settled = true;
      snprintf(change->message, sizeof change->message,
               "not taken: it is just starting: reload again when it serves");
    } else { /* its next start reads it */
      change->settled = change->done = true;
    }
  }
  release_round(reload);
}

/* ---- everything else ---- */

static void
needed_for(const struct reload *reload, const char *volume, char *text, size_t size) {
  size_t used = 0;
  text[0] = '\0';
  for (unsigned i = 0; i < reload->changes && used < size; i++) {
    const struct change *change = &reload->change[i];
    bool needed = change->kind == PLAN_RESTART || (change->kind == PLAN_SET && !change->done);
    if (needed && strcmp(change->volume, volume) == 0)
      used += (size_t) snprintf(text + used, size - used, "%s%s", used ? " " : "", change->key);
  }
}

static void
add_volume(struct reload *reload, struct change *change) {
  for (unsigned i = 0; i < reload->plan.volumes; i++) {
    struct plan_volume *plan = reload->plan.volume[i];
    struct volume *volume;
    if (plan == NULL || strcmp(plan->config.name, change->volume) != 0)
      continue;
    if (sfd_volumes_find(&reload->daemon->volumes, change->volume)) {
      snprintf(change->message, sizeof change->message,
               "it is still stopping: reload again when it has ended");
      return;
    }
    int r = sfd_volume_create(&reload->daemon->volumes, plan, &volume);
    if (r < 0) {
      snprintf(change->message, sizeof change->message, "%s", strerror(-r));
      return;
    }
    reload->plan.volume[i] = NULL;
    sfd_volume_start(volume);
    change->done = volume->running != NULL;
    if (!change->done)
      snprintf(change->message, sizeof change->message, "not started yet: %s", volume->reason);
    return;
  }
}

static void
remove_volume(struct reload *reload, struct change *change) {
  struct volume *volume = sfd_volumes_find(&reload->daemon->volumes, change->volume);
  if (volume == NULL)
    return;
  if (change->message[0] || sfd_volume_in_use(volume, change->message)) {
    log_warning(change->volume, "its file is gone, but it goes on: %s", change->message);
    return;
  }
  change->done = true;
  sfd_volume_leave(volume);
}

/* Volumes that stay take their new text over. */
static void
replan(struct reload *reload) {
  char keys[128];
  for (unsigned i = 0; i < reload->plan.volumes; i++) {
    struct plan_volume *plan = reload->plan.volume[i];
    struct volume *volume =
        plan ? sfd_volumes_find(&reload->daemon->volumes, plan->config.name) : NULL;
    if (volume == NULL || volume->leaving)
      continue;
    needed_for(reload, plan->config.name, keys, sizeof keys);
    sfd_volume_replan(volume, plan, keys);
    reload->plan.volume[i] = NULL;
  }
}

static void
keep_fixed(struct settings *now, const struct settings *old) {
  memcpy(now->runtime, old->runtime, sizeof now->runtime);
  memcpy(now->control, old->control, sizeof now->control);
  now->metrics = old->metrics;
  now->page = old->page;
}

static bool
is_down(const struct reload *reload, const struct change *change) {
  const struct volume *volume = sfd_volumes_find(&reload->daemon->volumes, change->volume);
  return volume && volume->running == NULL && !sfd_volume_keeps_device(volume, change->key);
}

static void
apply_rest(struct reload *reload) {
  if (reload->daemon->stopping) {
    finish(reload);
    return;
  }
  keep_fixed(&reload->settings, &reload->daemon->settings);
  reload->daemon->settings = reload->settings;
  for (unsigned i = 0; i < reload->changes; i++) {
    struct change *change = &reload->change[i];
    if (change->kind == PLAN_ADD)
      add_volume(reload, change);
    else if (change->kind == PLAN_REMOVE)
      remove_volume(reload, change);
    else if (change->kind == PLAN_RESTART && is_down(reload, change))
      change->done = true; /* the next start reads it */
    else if (change->kind == PLAN_RESTART)
      snprintf(change->message, sizeof change->message, "needs a restart: %s%s",
               change->volume[0] ? "surefootctl restart " : "systemctl restart surefootd",
               change->volume);
  }
  replan(reload);
  finish(reload);
}

/* ---- are devices that are to go in use? ---- */

static void
release_look(struct reload *reload) {
  if (--reload->open == 0)
    apply_rest(reload);
}

static void
on_held(void *ctx, int error) {
  struct question *look = ctx;
  struct reload *reload = look->reload;
  struct change *change = &reload->change[look->index];
  free(look);
  if (error == -EBUSY || error == -ETIMEDOUT)
    snprintf(change->message, sizeof change->message, "%s",
             error == -EBUSY ? "its device is in use" : "its device does not answer");
  release_look(reload);
}

/* Not every mount shows what it stands on, and those of another namespace do not show at all. */
static void
look_at_removed(struct reload *reload) {
  reload->open = 1;
  for (unsigned i = 0; i < reload->changes; i++) {
    struct change *change = &reload->change[i];
    struct volume *volume = sfd_volumes_find(&reload->daemon->volumes, change->volume);
    if (change->kind != PLAN_REMOVE || volume == NULL || !sfd_device_is_ours(&volume->device))
      continue;
    struct question *look = malloc(sizeof *look);
    struct job *job;
    int r = look ? 0 : -ENOMEM;
    if (r == 0) {
      *look = (struct question){reload, i};
      r = sfd_job_start(reload->daemon->event, DEVICE_US, sfd_in_use_exclusively,
                        volume->device.path, -1, on_held, look, &job);
    }
    if (r == 0) {
      reload->open++;
    } else {
      free(look);
      snprintf(change->message, sizeof change->message, "its device cannot be looked at: %s",
               strerror(-r));
    }
  }
  release_look(reload);
}

/* ---- the whole ---- */

void
sfd_reload_run(struct daemon *daemon, bool dry_run, struct reply *reply) {
  struct reload *reload = daemon->reloading ? NULL : calloc(1, sizeof *reload);
  char error[SF_CONFIG_ERROR_MAX] = "";
  if (reload == NULL) {
    const char *why = daemon->reloading ? "a reload is under way" : "out of memory";
    log_warning(NULL, "no reload: %s", why);
    if (reply)
      sfd_reply_error(reply, "%s", why);
    return;
  }
  daemon->reloading = true;
  *reload = (struct reload){.daemon = daemon, .reply = reply, .dry_run = dry_run};
  reload->problems = json_array();
  if (!dry_run)
    sfd_notify_reloading();

  int r = sfd_settings_load(&reload->settings, daemon->settings_file, error);
  if (r == -ENOENT && !daemon->settings_given)
    sfd_settings_init(&reload->settings);
  else if (r < 0)
    note_fatal(reload, error);
  if (!reload->fatal && sfd_plan_load(reload->settings.volumes, daemon->settings.runtime,
                                      &reload->plan, note_problem, reload) < 0)
    reload->fatal = true;
  if (!reload->fatal) {
    compare_settings(reload);
    compare_volumes(reload);
  }
  if (dry_run || reload->fatal)
    finish(reload);
  else
    set_round(reload);
}

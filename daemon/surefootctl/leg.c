#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <surefoot/legfile.h>

#include "ctl.h"

enum { OPEN_TIMEOUT_S = 10, DISCARD_TRIES = 50 };

static const struct action {
  const char *name, *done;
} actions[] = {
    {"fail", "is taken out"},
    {"return", "is looked at again: `surefootctl status` tells what becomes of it"},
    {"discard", "is discarded: all of it will be copied"},
    {"replace", NULL},
    {"add", NULL},
    {"remove", NULL},
};

static const struct action *
find_action(const char *name) {
  for (unsigned i = 0; i < sizeof actions / sizeof actions[0]; i++)
    if (strcmp(actions[i].name, name) == 0)
      return &actions[i];
  return NULL;
}

static const json_t *
find_leg(const json_t *volume, const char *name) {
  const json_t *legs = json_object_get(volume, "legs");
  for (size_t i = 0; i < json_array_size(legs); i++)
    if (strcmp(ctl_json_text(json_array_get(legs, i), "name"), name) == 0)
      return json_array_get(legs, i);
  return NULL;
}

static const json_t *
find_volume(const json_t *reply, const char *name) {
  const json_t *volumes = json_object_get(reply, "volumes");
  for (size_t i = 0; i < json_array_size(volumes); i++)
    if (strcmp(ctl_json_text(json_array_get(volumes, i), "name"), name) == 0)
      return json_array_get(volumes, i);
  return NULL;
}

/* A path names the leg that has this file or disk; so does a link to it. */
int
ctl_leg_by_path(const char *socket, const char *volume, const char **leg,
                char name[SF_LEG_NAME_MAX]) {
  char *wanted, *real;
  json_t *own, *one;
  bool found = false;
  size_t i;
  if (!strchr(*leg, '/'))
    return CTL_DONE;
  own = ctl_ask_status(socket, volume);
  if (!own)
    return CTL_FAILED;
  wanted = realpath(*leg, NULL);
  json_array_foreach(json_object_get(own, "legs"), i, one) {
    const char *path = ctl_json_text(one, "path");
    real = wanted ? realpath(path, NULL) : NULL;
    if (!found && (strcmp(path, *leg) == 0 || (real && strcmp(real, wanted) == 0))) {
      snprintf(name, SF_LEG_NAME_MAX, "%s", ctl_json_text(one, "name"));
      found = true;
    }
    free(real);
  }
  free(wanted);
  json_decref(own);
  if (!found)
    return ctl_fail("%s: no leg of it is at %s", volume, *leg);
  *leg = name;
  return CTL_DONE;
}

/* It is done when the disk is opened next, which is tried at once; a disk that is not there, or is
 * not the leg's own, is not emptied. */
static int
wait_discarded(const char *path, const char *volume, const char *name) {
  const struct timespec pause = {.tv_nsec = 100000000};
  char state[CTL_TEXT_MAX] = "", reason[CTL_REASON_MAX] = "";
  for (unsigned i = 0; i < DISCARD_TRIES; i++) {
    json_t *reply = NULL;
    int status = ctl_ask(path, json_pack("{ss ss}", "command", "status", "volume", volume), &reply);
    if (status != CTL_DONE)
      return status;
    const json_t *leg = find_leg(find_volume(reply, volume), name);
    if (!leg) {
      json_decref(reply);
      return ctl_fail("%s: its server ended meanwhile; whether leg %s is discarded is not known: "
                      "`surefootctl status` shows it",
                      volume, name);
    }
    snprintf(state, sizeof state, "%s", ctl_json_text(leg, "state"));
    snprintf(reason, sizeof reason, "%s", ctl_json_text(leg, "reason"));
    json_decref(reply);
    if (strcmp(state, "missing") != 0)
      break;
    nanosleep(&pause, NULL);
  }
  if (strcmp(state, "faulty") == 0)
    return ctl_fail("%s: leg %s is not discarded: %s", volume, name, reason);
  if (strcmp(state, "missing") == 0)
    return ctl_fail(
        "%s: leg %s is not discarded yet, as it cannot be reached: %s; that is done when "
        "it can",
        volume, name, reason);
  printf("%s: leg %s is discarded: all of it will be copied\n", volume, name);
  return CTL_DONE;
}

/* ---- --wait ---- */

/* surefootd says of a volume without a server that it has no legs.  The next one copies on. */
static enum ctl_wait
look_for_server(const json_t *volume) {
  const json_t *service = json_object_get(volume, "service");
  const char *state = ctl_json_text(volume, "state"), *server = ctl_json_text(service, "state");
  const char *name = ctl_json_text(volume, "name");
  bool stops = strcmp(server, "stopping") == 0 || strcmp(state, "stopped") == 0;
  if (stops)
    ctl_fail("%s: it was stopped before that was done", name);
  else if (strcmp(state, "failed") == 0 && strcmp(server, "starting") == 0)
    ctl_fail("%s: its server ended before that was done, and does not start again: %s", name,
             ctl_json_text(service, "reason"));
  else
    return CTL_WAIT;
  return CTL_WAIT_FAILED;
}

static enum ctl_wait
look_for_sync(const json_t *volume, void *arg) {
  const char *name = arg;
  const json_t *leg = find_leg(volume, name);
  const char *state = ctl_json_text(leg, "state");
  if (strcmp(state, "in-sync") == 0)
    return CTL_WAIT_DONE;
  if (json_array_size(json_object_get(volume, "legs")) == 0)
    return look_for_server(volume);
  if (leg && strcmp(state, "faulty") != 0)
    return CTL_WAIT;
  ctl_fail("%s: leg %s %s%s%s", ctl_json_text(volume, "name"), name,
           leg ? "is faulty" : "is not there any more", leg ? ": " : "",
           ctl_json_text(leg, "reason"));
  return CTL_WAIT_FAILED;
}

/* Until the leg has caught up. */
static int
wait_for_sync(const char *path, const char *volume, const char *leg) {
  char name[SF_LEG_NAME_MAX];
  snprintf(name, sizeof name, "%s", leg);
  fflush(stdout);
  int status = ctl_wait_until(path, volume, look_for_sync, name);
  if (status == CTL_DONE)
    printf("%s: leg %s is in sync\n", volume, leg);
  return status;
}

static int
ask_volume(const struct ctl_command_call *call, const struct action *action, const char *volume,
           const char *leg, bool waits) {
  char path[SF_CONTROL_PATH_MAX], name[SF_LEG_NAME_MAX];
  int status = ctl_find_socket(call, volume, path);
  if (status == CTL_DONE)
    status = ctl_leg_by_path(path, volume, &leg, name);
  bool given = false;
  if (status == CTL_DONE && strcmp(action->name, "return") == 0 && ctl_is_daemon(path))
    status = ctl_give_back(path, volume, leg, &given);
  if (status == CTL_DONE && given)
    return waits ? wait_for_sync(path, volume, leg) : CTL_DONE;
  if (status != CTL_DONE)
    return status;
  status = ctl_ask(path,
                   json_pack("{ss ss ss ss}", "command", "leg", "volume", volume, "action",
                             action->name, "leg", leg),
                   NULL);
  if (status == CTL_DONE && strcmp(action->name, "discard") == 0)
    status = wait_discarded(path, volume, leg);
  else if (status == CTL_DONE)
    printf("%s: leg %s %s\n", volume, leg, action->done);
  return status == CTL_DONE && waits ? wait_for_sync(path, volume, leg) : status;
}

/* surefootd tells a server that starts again what the last one did with its legs, until it ends
 * itself. */
static const char *
when_needed(const char *path) {
  return ctl_is_daemon(path)
             ? "surefootd keeps to that while it runs; the configuration file must say "
               "so before surefootd itself starts again:"
             : "The configuration file must say so before the next start:";
}

/* ---- --write ---- */

/* The file, or NULL: it is not to be changed.  Looked for before anything is asked of the
 * volume. */
static const char *
file_to_write(const char *volume, bool writes, char path[PATH_MAX], int *status) {
  const char *file;
  if (!writes)
    return NULL;
  file = ctl_conf_file(volume, path);
  if (access(file, R_OK) == 0)
    return file;
  *status = ctl_fail("--write: %s: %s", file, strerror(errno));
  return NULL;
}

/* ---- the result of a change when its server ended ---- */

struct change {
  const char *leg, *path;
};

static bool
is_there(const json_t *volume, const void *arg) {
  const struct change *change = arg;
  const json_t *leg = find_leg(volume, change->leg);
  return leg && strcmp(ctl_json_text(leg, "path"), change->path) == 0;
}

static bool
is_gone(const json_t *volume, const void *arg) {
  const struct change *change = arg;
  return find_leg(volume, change->leg) == NULL;
}

/* ---- replace ---- */

static int
replace(const struct ctl_command_call *call, const char *volume, const char *leg,
        const char *new_path, bool waits, bool writes) {
  struct change change = {leg, new_path};
  const struct ctl_ending ending = {"leg-replaced", "change-failed", new_path ? is_there : NULL,
                                    &change};
  char path[SF_CONTROL_PATH_MAX], reason[CTL_REASON_MAX], name[SF_LEG_NAME_MAX], conf[PATH_MAX];
  int status = ctl_find_socket(call, volume, path);
  const char *file = file_to_write(volume, writes, conf, &status);
  if (status == CTL_DONE)
    status = ctl_leg_by_path(path, volume, &leg, name);
  change.leg = leg;
  if (status == CTL_DONE)
    status = ctl_ask_and_wait(path, volume,
                              json_pack("{ss ss ss ss ss*}", "command", "leg", "volume", volume,
                                        "action", "replace", "leg", leg, "path", new_path),
                              &ending, reason);
  if (status != CTL_DONE)
    return status;
  printf("%s: leg %s is another disk now; all of it is copied to it\n", volume, leg);
  if (new_path && file)
    status = ctl_edit_leg(file, leg, new_path);
  else if (new_path)
    printf("%s\n  [leg %s]\n  path = %s\n", when_needed(path), leg, new_path);
  if (status != CTL_DONE)
    return status;
  return waits ? wait_for_sync(path, volume, leg) : CTL_DONE;
}

/* ---- add, remove ---- */

static int
add(const struct ctl_command_call *call, const char *volume, const char *leg, const char *new_path,
    bool waits, bool writes) {
  const struct change change = {leg, new_path};
  const struct ctl_ending ending = {"leg-added", "change-failed", is_there, &change};
  char path[SF_CONTROL_PATH_MAX], reason[CTL_REASON_MAX], conf[PATH_MAX];
  int status = ctl_find_socket(call, volume, path);
  const char *file = file_to_write(volume, writes, conf, &status);
  if (status == CTL_DONE)
    status = ctl_ask_and_wait(path, volume,
                              json_pack("{ss ss ss ss ss}", "command", "leg", "volume", volume,
                                        "action", "add", "leg", leg, "path", new_path),
                              &ending, reason);
  if (status != CTL_DONE)
    return status;
  printf("%s: has one leg more, %s; all is copied to it\n", volume, leg);
  if (file)
    status = ctl_edit_leg(file, leg, new_path);
  else
    printf("%s\n  [leg %s]\n  path = %s\n", when_needed(path), leg, new_path);
  if (status != CTL_DONE)
    return status;
  return waits ? wait_for_sync(path, volume, leg) : CTL_DONE;
}

static int
remove_leg(const struct ctl_command_call *call, const char *volume, const char *leg, bool writes) {
  struct change change = {leg, NULL};
  const struct ctl_ending ending = {"leg-removed", "change-failed", is_gone, &change};
  char path[SF_CONTROL_PATH_MAX], reason[CTL_REASON_MAX], name[SF_LEG_NAME_MAX], conf[PATH_MAX];
  int status = ctl_find_socket(call, volume, path);
  const char *file = file_to_write(volume, writes, conf, &status);
  if (status == CTL_DONE)
    status = ctl_leg_by_path(path, volume, &leg, name);
  change.leg = leg;
  if (status == CTL_DONE)
    status = ctl_ask_and_wait(path, volume,
                              json_pack("{ss ss ss ss}", "command", "leg", "volume", volume,
                                        "action", "remove", "leg", leg),
                              &ending, reason);
  if (status == CTL_DONE && file) {
    printf("%s: leg %s is removed\n", volume, leg);
    return ctl_edit_leg(file, leg, NULL);
  }
  if (status == CTL_DONE)
    printf("%s: leg %s is removed; take its section [leg %s] out of the configuration file%s\n",
           volume, leg, leg, ctl_is_daemon(path) ? ", then: systemctl reload surefootd" : "");
  return status;
}

/* ---- discard without a running volume ---- */

struct offline {
  struct sf_config config;
  struct sf_leg_found found[SF_LEGS_MAX];
  struct sf_assembly assembly;
};

/* The legs are only looked at, and closed again: sf_leg_discard takes its own lock. */
static int
look(struct offline *offline) {
  static struct sf_leg_file file[SF_LEGS_MAX];
  static char leg_error[SF_LEGS_MAX][SF_CONFIG_ERROR_MAX];
  char error[SF_CONFIG_ERROR_MAX] = "";
  int rc = sf_leg_files_assemble(ctl_openers(), &offline->config, SF_LEG_READ_ONLY,
                                 OPEN_TIMEOUT_S * UINT64_C(1000000000), false, file, offline->found,
                                 leg_error, &offline->assembly, error);
  if (rc < 0)
    return ctl_fail("%s", *error ? error : strerror(-rc));
  for (unsigned i = 0; i < offline->config.legs; i++)
    sf_leg_file_close(&file[i]);
  return CTL_DONE;
}

/* No absent leg would help: the start waits for a decision, as in a split brain. */
static bool
only_decision_is_missing(const struct sf_assembly *assembly) {
  return !assembly->may_start && assembly->waits_for == 0;
}

/* What the volume is, as the other legs tell it.  Where they are of two lines of history any of
 * them will do: an empty leg says nothing of lines. */
static const struct sf_superblock *
find_reference(struct offline *offline, unsigned leg) {
  static struct sf_assembly others;
  struct sf_leg_found *found = offline->found, discarded = found[leg];
  const struct sf_superblock *reference = NULL;
  found[leg] = (struct sf_leg_found){.error = -ENOENT};
  sf_assemble(&offline->config, found, false, &others);
  found[leg] = discarded;
  if (others.reference >= 0)
    return &others.base;
  for (unsigned i = 0; i < offline->config.legs && !reference; i++)
    if (others.verdict[i] == SF_LEG_SPLIT_BRAIN)
      reference = &found[i].sb;
  if (!reference && offline->assembly.reference >= 0)
    reference = &offline->assembly.base;
  return reference;
}

static int
discard_offline(const char *conf, const char *name) {
  static struct offline offline;
  const struct sf_assembly *assembly = &offline.assembly;
  char error[SF_CONFIG_ERROR_MAX] = "";
  char file[PATH_MAX];
  int rc = sf_config_load(&offline.config, ctl_conf_file(conf, file), error);
  if (rc < 0)
    return ctl_fail("%s", *error ? error : strerror(-rc));
  if (sf_config_find_leg(&offline.config, name) < 0)
    return ctl_fail("%s: no leg '%s'", conf, name);
  int status = look(&offline);
  if (status != CTL_DONE)
    return status;
  int leg = sf_config_find_leg(&offline.config, name); /* its place in the volume */
  if (leg < 0)
    return ctl_fail("%s: the volume has no leg '%s': `surefootctl leg add`", offline.config.name,
                    name);
  const struct sf_superblock *reference = find_reference(&offline, (unsigned) leg);
  if (!reference)
    return ctl_fail("%s: no leg tells what the volume is: %s", offline.config.name,
                    assembly->reason);
  if (!only_decision_is_missing(assembly) &&
      (assembly->verdict[leg] == SF_LEG_CURRENT || assembly->reference == leg))
    return ctl_fail(
        "%s: leg %s is in the in-sync set: discarding it would lose acknowledged writes",
        offline.config.name, name);
  rc = sf_leg_discard(offline.config.leg[leg].path, reference, (unsigned) leg, true, error);
  if (rc < 0)
    return ctl_fail("%s", *error ? error : strerror(-rc));
  printf("%s: leg %s is discarded: all of it will be copied\n", offline.config.name, name);
  return CTL_DONE;
}

int
ctl_leg(struct ctl_command_call *call) {
  static const struct option options[] = {{"config", required_argument, NULL, 'C'},
                                          {"wait", no_argument, NULL, 'w'},
                                          {"write", no_argument, NULL, 'W'},
                                          {0}};
  const char *conf = NULL;
  bool waits = false, writes = false;
  int option;
  while ((option = ctl_next_option(call, options)) != -1) {
    if (option == '?')
      return CTL_USAGE;
    if (option == 'C')
      conf = optarg;
    waits = waits || option == 'w';
    writes = writes || option == 'W';
  }
  char **argv = call->argv + optind;
  int argc = call->argc - optind;
  if (argc == 0)
    return ctl_wrong_usage(call->command, "leg: fail, return, discard, replace, add or remove?");
  const struct action *action = find_action(argv[0]);
  if (!action)
    return ctl_wrong_usage(call->command, "leg: unknown action '%s'", argv[0]);
  if (conf && strcmp(action->name, "discard") != 0)
    return ctl_wrong_usage(call->command, "leg %s: --config is for discard only", action->name);
  bool replaces = strcmp(action->name, "replace") == 0;
  bool adds = strcmp(action->name, "add") == 0;
  if (adds && argc != 4)
    return ctl_wrong_usage(call->command, "leg add: VOLUME, NAME and PATH are needed");
  if (!adds && argc != (conf ? 2 : 3) && !(replaces && argc == 4))
    return ctl_wrong_usage(call->command, "leg %s: %sLEG %s needed", action->name,
                           conf ? "" : "VOLUME and ", conf ? "is" : "are");
  if (waits && (conf || strcmp(action->name, "fail") == 0 || strcmp(action->name, "remove") == 0))
    return ctl_wrong_usage(call->command, "leg %s: nothing is to be waited for: leave out --wait",
                           action->name);
  bool removes = strcmp(action->name, "remove") == 0;
  if (writes && !adds && !removes && !(replaces && argc == 4))
    return ctl_wrong_usage(call->command, "leg %s: --write: the file need not change",
                           action->name);
  if (replaces)
    return replace(call, argv[1], argv[2], argv[3], waits, writes);
  if (adds)
    return add(call, argv[1], argv[2], argv[3], waits, writes);
  if (removes)
    return remove_leg(call, argv[1], argv[2], writes);
  return conf ? discard_offline(conf, argv[1]) : ask_volume(call, action, argv[1], argv[2], waits);
}

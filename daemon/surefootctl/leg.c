#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"

enum { TRIES = 50 /* of 100 ms */ };

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

/* It is done when the disk is opened next, which is tried at once; a disk that is not there, or is
 * not the leg's own, is not emptied. */
static int
wait_discarded(const char *path, const char *volume, const char *name) {
  const struct timespec pause = {.tv_nsec = 100000000};
  char state[CTL_TEXT_MAX] = "", reason[CTL_REASON_MAX] = "";
  for (unsigned i = 0; i < TRIES; i++) {
    json_t *reply = NULL;
    int status = ctl_ask(path, json_pack("{ss ss}", "command", "status", "volume", volume), &reply);
    if (status != CTL_DONE)
      return status;
    const json_t *leg =
        ctl_find_leg(ctl_find_named(json_object_get(reply, "volumes"), volume), name);
    if (leg == NULL) {
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
  const json_t *leg = ctl_find_leg(volume, name);
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

static int
fail_by_force(const struct ctl_command_call *call, const char *volume, const char *leg, bool yes) {
  char path[SF_CONTROL_PATH_MAX], name[SF_LEG_NAME_MAX];
  int status = ctl_find_socket(call, volume, path);
  if (status == CTL_DONE)
    status = ctl_leg_by_path(path, volume, &leg, name);
  return status == CTL_DONE ? ctl_leg_fail_by_force(path, volume, leg, yes) : status;
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
  const json_t *leg = ctl_find_leg(volume, change->leg);
  return leg && strcmp(ctl_json_text(leg, "path"), change->path) == 0;
}

static bool
is_gone(const json_t *volume, const void *arg) {
  const struct change *change = arg;
  return ctl_find_leg(volume, change->leg) == NULL;
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

/* ---- replace --beside: the old one is kept until the new one is whole ---- */

struct beside {
  const struct ctl_command_call *call;
  const char *volume, *leg, *path, *name; /* of the old leg; of the new leg */
  bool writes;
};

static char left[1024]; /* to be done, were it ended now */

static void
note_left(const struct beside *beside, const char *what) {
  const char *write = beside->writes ? " --write" : "";
  char done[sizeof left];
  snprintf(done, sizeof done,
           "surefootctl: interrupted; %s.\n"
           "To go on:    surefootctl leg replace %s %s %s --beside %s%s\n"
           "To give up:  surefootctl leg fail %s %s; surefootctl leg remove %s %s%s\n",
           what, beside->volume, beside->leg, beside->path, beside->name, write, beside->volume,
           beside->name, beside->volume, beside->name, write);
  sigset_t signals, before;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &signals, &before);
  memcpy(left, done, sizeof left);
  sigprocmask(SIG_SETMASK, &before, NULL);
}

static void
on_interrupt(int signal) {
  ssize_t n = write(STDERR_FILENO, left, strlen(left));
  (void) n;
  _exit(128 + signal);
}

static void
tell_left_when_interrupted(void) {
  struct sigaction action = {.sa_handler = on_interrupt};
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
}

/* May it begin, or go on?  *has_new: it did begin.  *has_old: else it is done. */
static int
look_beside(const struct beside *beside, const char *socket, bool *has_old, bool *has_new) {
  json_t *own = ctl_ask_status(socket, beside->volume);
  if (own == NULL)
    return CTL_FAILED;
  const json_t *new_leg = ctl_find_leg(own, beside->name);
  int status = CTL_DONE;
  *has_old = ctl_find_leg(own, beside->leg);
  *has_new = new_leg;
  if (new_leg && strcmp(ctl_json_text(new_leg, "path"), beside->path) != 0)
    status = ctl_fail("%s: it has a leg %s already, at %s", beside->volume, beside->name,
                      ctl_json_text(new_leg, "path"));
  else if (!*has_old && new_leg == NULL)
    status = ctl_fail("%s: it has no leg %s", beside->volume, beside->leg);
  else if (new_leg == NULL && json_array_size(json_object_get(own, "legs")) == SF_LEGS_MAX)
    status = ctl_fail("%s: it has %d legs, and no place for one beside %s: leg replace without "
                      "--beside",
                      beside->volume, SF_LEGS_MAX, beside->leg);
  json_decref(own);
  return status;
}

/* Fails the leg and waits a while for its requests in flight.  If some remain, the removal reports
 * it. */
static int
take_out(const struct beside *beside, const char *socket) {
  const struct timespec pause = {.tv_nsec = 100000000};
  bool failed = false;
  for (unsigned i = 0; i < TRIES; i++) {
    json_t *own = ctl_ask_status(socket, beside->volume);
    const json_t *leg = ctl_find_leg(own, beside->leg);
    bool is_out = strcmp(ctl_json_text(leg, "state"), "faulty") == 0;
    bool is_idle = is_out && ctl_json_number(leg, "in_flight") == 0;
    json_decref(own);
    if (own == NULL)
      return CTL_FAILED;
    if (is_idle)
      return CTL_DONE;
    if (!is_out && !failed) {
      int status = ctl_ask(socket,
                           json_pack("{ss ss ss ss}", "command", "leg", "volume", beside->volume,
                                     "action", "fail", "leg", beside->leg),
                           NULL);
      if (status != CTL_DONE)
        return status;
      failed = true;
    }
    nanosleep(&pause, NULL);
  }
  return CTL_DONE;
}

static int
replace_beside(struct beside *beside) {
  char socket[SF_CONTROL_PATH_MAX], name[SF_LEG_NAME_MAX];
  bool has_old = false, has_new = false;
  int status = ctl_find_socket(beside->call, beside->volume, socket);
  if (status == CTL_DONE)
    status = ctl_leg_by_path(socket, beside->volume, &beside->leg, name);
  if (status == CTL_DONE)
    status = look_beside(beside, socket, &has_old, &has_new);
  if (status != CTL_DONE)
    return status;
  if (!has_old) {
    printf("%s: leg %s is removed already, and leg %s is there\n", beside->volume, beside->leg,
           beside->name);
    return CTL_DONE;
  }
  note_left(beside, "whether the new leg is there, surefootctl status tells");
  tell_left_when_interrupted();
  if (!has_new)
    status = add(beside->call, beside->volume, beside->name, beside->path, false, beside->writes);
  if (status != CTL_DONE)
    return status;
  note_left(beside, "the new leg goes on being copied, and the old one is kept");
  status = wait_for_sync(socket, beside->volume, beside->name);
  if (status != CTL_DONE)
    return ctl_fail("%s: leg %s is kept; when leg %s is well, the same command goes on",
                    beside->volume, beside->leg, beside->name);
  note_left(beside, "the new leg is in sync, and the old one is to be taken out and removed");
  status = take_out(beside, socket);
  if (status == CTL_DONE)
    status = remove_leg(beside->call, beside->volume, beside->leg, beside->writes);
  if (status != CTL_DONE)
    return ctl_fail("%s: leg %s is in sync, leg %s is not removed: the same command goes on",
                    beside->volume, beside->name, beside->leg);
  return CTL_DONE;
}

/* ---- the command ---- */

struct wish {
  const struct action *action;
  const char *conf, *beside;
  bool waits, writes, force, yes;
};

static bool
is_action(const struct wish *wish, const char *name) {
  return strcmp(wish->action->name, name) == 0;
}

/* Do the words fit the action? */
static int
check_wish(const struct ctl_command_call *call, const struct wish *wish, int argc) {
  const char *name = wish->action->name;
  bool has_path = argc == 4 && is_action(wish, "replace");
  if (wish->conf && !is_action(wish, "discard"))
    return ctl_wrong_usage(call->command, "leg %s: --config is for discard only", name);
  if (is_action(wish, "add") && argc != 4)
    return ctl_wrong_usage(call->command, "leg add: VOLUME, NAME and PATH are needed");
  if (!is_action(wish, "add") && argc != (wish->conf ? 2 : 3) && !has_path)
    return ctl_wrong_usage(call->command, "leg %s: %sLEG %s needed", name,
                           wish->conf ? "" : "VOLUME and ", wish->conf ? "is" : "are");
  if (wish->force && !is_action(wish, "fail"))
    return ctl_wrong_usage(call->command, "leg %s: --force is for fail only", name);
  if (wish->yes && !wish->force)
    return ctl_wrong_usage(call->command, "leg %s: --yes is for fail --force only", name);
  if (wish->beside && !has_path)
    return ctl_wrong_usage(call->command, "leg %s: --beside NAME: for leg replace VOLUME LEG PATH",
                           name);
  if (wish->waits && (wish->conf || is_action(wish, "fail") || is_action(wish, "remove")))
    return ctl_wrong_usage(call->command, "leg %s: nothing is to be waited for: leave out --wait",
                           name);
  if (wish->writes && !is_action(wish, "add") && !is_action(wish, "remove") && !has_path)
    return ctl_wrong_usage(call->command, "leg %s: --write: the file need not change", name);
  return CTL_DONE;
}

static int
run_action(struct ctl_command_call *call, const struct wish *wish, char **argv) {
  if (wish->beside) {
    struct beside beside = {call, argv[1], argv[2], argv[3], wish->beside, wish->writes};
    return replace_beside(&beside);
  }
  if (wish->force)
    return fail_by_force(call, argv[1], argv[2], wish->yes);
  if (is_action(wish, "replace"))
    return replace(call, argv[1], argv[2], argv[3], wish->waits, wish->writes);
  if (is_action(wish, "add"))
    return add(call, argv[1], argv[2], argv[3], wish->waits, wish->writes);
  if (is_action(wish, "remove"))
    return remove_leg(call, argv[1], argv[2], wish->writes);
  return wish->conf ? ctl_discard_offline(wish->conf, argv[1])
                    : ask_volume(call, wish->action, argv[1], argv[2], wish->waits);
}

int
ctl_leg(struct ctl_command_call *call) {
  static const struct option options[] = {{"config", required_argument, NULL, 'C'},
                                          {"wait", no_argument, NULL, 'w'},
                                          {"write", no_argument, NULL, 'W'},
                                          {"beside", required_argument, NULL, 'b'},
                                          {"force", no_argument, NULL, 'f'},
                                          {"yes", no_argument, NULL, 'y'},
                                          {0}};
  struct wish wish = {0};
  int option;
  while ((option = ctl_next_option(call, options)) != -1) {
    if (option == '?')
      return CTL_USAGE;
    if (option == 'C')
      wish.conf = optarg;
    if (option == 'b')
      wish.beside = optarg;
    wish.waits = wish.waits || option == 'w';
    wish.writes = wish.writes || option == 'W';
    wish.force = wish.force || option == 'f';
    wish.yes = wish.yes || option == 'y';
  }
  char **argv = call->argv + optind;
  int argc = call->argc - optind;
  if (argc == 0)
    return ctl_wrong_usage(call->command, "leg: fail, return, discard, replace, add or remove?");
  wish.action = find_action(argv[0]);
  if (wish.action == NULL)
    return ctl_wrong_usage(call->command, "leg: unknown action '%s'", argv[0]);
  int status = check_wish(call, &wish, argc);
  return status == CTL_DONE ? run_action(call, &wish, argv) : status;
}

/* Commands to surefootd itself. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"

static void
print_change(const json_t *change, bool dry_run) {
  const char *kind = ctl_json_text(change, "change"), *volume = ctl_json_text(change, "volume");
  const char *key = ctl_json_text(change, "key"), *message = ctl_json_text(change, "message");
  bool done = json_is_true(json_object_get(change, "done"));
  ctl_put(*volume ? volume : "surefootd");
  fputs(": ", stdout);
  if (*key) {
    ctl_put(key);
    fputs(": ", stdout);
    ctl_put(*ctl_json_text(change, "from") ? ctl_json_text(change, "from") : "(not set)");
    fputs(" -> ", stdout);
    ctl_put(*ctl_json_text(change, "to") ? ctl_json_text(change, "to") : "(not set)");
    if (strcmp(kind, "restart") == 0 && dry_run)
      fputs(", needs a restart", stdout);
  } else {
    fputs(strcmp(kind, "add") == 0 ? "is new" : "its file is gone", stdout);
  }
  if (*message) {
    fputs(": ", stdout);
    ctl_put(message);
  } else if (done && !*key) {
    fputs(strcmp(kind, "add") == 0 ? ": started" : ": stopped", stdout);
  }
  putchar('\n');
}

static void
print_reply(const json_t *reply) {
  bool dry_run = json_is_true(json_object_get(reply, "dry_run"));
  const json_t *changes = json_object_get(reply, "changes");
  size_t i;
  json_t *change;
  json_array_foreach(changes, i, change)
    print_change(change, dry_run);
  if (json_array_size(changes) == 0)
    puts("nothing has changed");
  else if (dry_run)
    puts("(nothing was done)");
}

/* Files with mistakes keep their own volumes as they are, and no others. */
static int
print_problems(json_t *reply) {
  const json_t *problems = json_object_get(reply, "problems");
  size_t count = json_array_size(problems);
  if (count == 0)
    return ctl_check_reply(reply);
  if (json_is_true(json_object_get(reply, "applied")) ||
      json_is_true(json_object_get(reply, "dry_run")))
    print_reply(reply);
  fflush(stdout);
  for (size_t i = 0; i < count; i++)
    ctl_fail("%s", json_string_value(json_array_get(problems, i)));
  return json_is_true(json_object_get(reply, "applied"))
             ? ctl_fail("these files are not applied; their volumes go on as they were")
             : ctl_fail("nothing is changed");
}

int
ctl_reload(struct ctl_command_call *call) {
  static const struct option options[] = {
      {"dry-run", no_argument, NULL, 'n'},
      {"json", no_argument, NULL, 'j'},
      {0},
  };
  bool dry_run = false, json = false;
  int option;
  while ((option = ctl_next_option(call, options)) != -1) {
    if (option == '?')
      return CTL_USAGE;
    dry_run = dry_run || option == 'n';
    json = json || option == 'j';
  }
  if (call->argc != optind)
    return ctl_wrong_usage(call->command, "reload: is about all volumes");

  char path[SF_CONTROL_PATH_MAX];
  json_t *reply = NULL;
  int status = ctl_find_daemon(call, path);
  if (status != CTL_DONE)
    return status;
  json_t *request = json_pack("{ss sb}", "command", "reload", "dry_run", (int) dry_run);
  int r = request ? sf_control_call(path, request, CTL_REPLY_TIMEOUT_MS, &reply) : -ENOMEM;
  json_decref(request);
  if (r < 0)
    return ctl_fail_to_reach(path, r);
  if (json) {
    status = ctl_print_json(reply);
    if (!json_is_true(json_object_get(reply, "ok")))
      status = CTL_FAILED;
  } else if (json_is_true(json_object_get(reply, "ok"))) {
    print_reply(reply);
  } else {
    status = print_problems(reply);
  }
  json_decref(reply);
  return status;
}

static json_int_t
server_of(const json_t *volume) {
  return (json_int_t) ctl_json_number(json_object_get(volume, "service"), "pid");
}

/* The next server serves, or was not able to start. */
static enum ctl_wait
look_for_server(const json_t *volume, void *arg) {
  const json_int_t *before = arg;
  const json_t *service = json_object_get(volume, "service");
  if (strcmp(ctl_json_text(service, "state"), "serving") == 0 && server_of(volume) != *before)
    return CTL_WAIT_DONE;
  if (strcmp(ctl_json_text(volume, "state"), "failed") != 0 || server_of(volume) == *before)
    return CTL_WAIT;
  ctl_fail("%s: its server does not start: %s", ctl_json_text(volume, "name"),
           ctl_json_text(service, "reason"));
  return CTL_WAIT_FAILED;
}

int
ctl_restart(struct ctl_command_call *call) {
  bool waits;
  if (ctl_take_flag(call, "wait", &waits) != CTL_DONE)
    return CTL_USAGE;
  if (call->argc - optind != 1)
    return ctl_wrong_usage(call->command, "restart: VOLUME is needed");
  const char *volume = call->argv[optind];
  char path[SF_CONTROL_PATH_MAX];
  int status = ctl_find_daemon(call, path);
  if (status != CTL_DONE)
    return status;
  json_t *own = waits ? ctl_ask_status(path, volume) : NULL;
  json_int_t before = server_of(own);
  json_decref(own);
  if (waits && own == NULL)
    return CTL_FAILED;
  status = ctl_ask(path, json_pack("{ss ss}", "command", "restart", "volume", volume), NULL);
  if (status == CTL_DONE && !waits)
    printf("%s: is being restarted: see `surefootctl status`\n", volume);
  if (status == CTL_DONE && waits)
    status = ctl_wait_until(path, volume, look_for_server, &before);
  if (status == CTL_DONE && waits)
    printf("%s: is restarted\n", volume);
  return status;
}

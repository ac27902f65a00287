/* A volume of surefootd's is stopped and started. */
#include <stdio.h>
#include <string.h>

#include "ctl.h"

static const char *
service_state(const json_t *volume) {
  return ctl_json_text(json_object_get(volume, "service"), "state");
}

static enum ctl_wait
look_for_stop(const json_t *volume, void *arg) {
  (void) arg;
  return strcmp(ctl_json_text(volume, "state"), "stopped") == 0 ? CTL_WAIT_DONE : CTL_WAIT;
}

static enum ctl_wait
look_for_start(const json_t *volume, void *arg) {
  (void) arg;
  if (strcmp(service_state(volume), "serving") == 0)
    return CTL_WAIT_DONE;
  if (strcmp(service_state(volume), "down") != 0)
    return CTL_WAIT;
  ctl_fail("%s: does not start: %s", ctl_json_text(volume, "name"),
           ctl_json_text(json_object_get(volume, "service"), "reason"));
  return CTL_WAIT_FAILED;
}

int
ctl_stop(struct ctl_command_call *call) {
  bool waits;
  char path[SF_CONTROL_PATH_MAX];
  if (ctl_take_flag(call, "wait", &waits) != CTL_DONE)
    return CTL_USAGE;
  if (call->argc - optind != 1)
    return ctl_wrong_usage(call->command, "stop: VOLUME is needed");
  const char *volume = call->argv[optind];
  int status = ctl_find_socket(call, volume, path);
  if (status == CTL_DONE)
    status = ctl_ask(path, json_pack("{ss ss}", "command", "stop", "volume", volume), NULL);
  if (status != CTL_DONE)
    return status;
  if (waits && ctl_is_daemon(path))
    status = ctl_wait_until(path, volume, look_for_stop, NULL);
  if (status == CTL_DONE)
    printf("%s: %s\n", volume,
           !ctl_is_daemon(path) ? "ends"
           : waits              ? "is stopped"
                                : "is being stopped: `surefootctl start` starts it again");
  return status;
}

int
ctl_start(struct ctl_command_call *call) {
  static const struct option options[] = {
      {"force", no_argument, NULL, 'f'}, {"wait", no_argument, NULL, 'w'}, {0}};
  bool force = false, waits = false;
  char path[SF_CONTROL_PATH_MAX];
  int option;
  while ((option = ctl_next_option(call, options)) != -1) {
    if (option == '?')
      return CTL_USAGE;
    force = force || option == 'f';
    waits = waits || option == 'w';
  }
  if (call->argc - optind != 1)
    return ctl_wrong_usage(call->command, "start: VOLUME is needed");
  const char *volume = call->argv[optind];
  int status = ctl_find_daemon(call, path);
  if (status == CTL_DONE)
    status = ctl_ask(
        path, json_pack("{ss ss sb}", "command", "start", "volume", volume, "force", (int) force),
        NULL);
  if (status != CTL_DONE)
    return status;
  if (!waits) {
    printf("%s: is being started%s\n", volume, force ? " by force" : "");
    return CTL_DONE;
  }
  status = ctl_wait_until(path, volume, look_for_start, NULL);
  if (status == CTL_DONE)
    printf("%s: serves\n", volume);
  return status;
}

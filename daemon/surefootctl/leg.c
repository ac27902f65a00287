#include <stdio.h>
#include <string.h>

#include <surefoot/legfile.h>

#include "ctl.h"

enum { OPEN_TIMEOUT_S = 10 };

static const struct action {
  const char *name, *done;
} actions[] = {
    {"fail", "is taken out"},
    {"return", "is taken back"},
    {"discard", "is discarded: all of it will be copied"},
    {"replace", NULL},
};

static const struct action *
find_action(const char *name) {
  for (unsigned i = 0; i < sizeof actions / sizeof actions[0]; i++)
    if (strcmp(actions[i].name, name) == 0)
      return &actions[i];
  return NULL;
}

static int
ask_volume(const struct ctl_command_call *call, const struct action *action, const char *volume,
           const char *leg) {
  char path[SF_CONTROL_PATH_MAX];
  int status = ctl_find_socket(call, volume, path);
  if (status != CTL_DONE)
    return status;
  status = ctl_ask(path,
                   json_pack("{ss ss ss ss}", "command", "leg", "volume", volume, "action",
                             action->name, "leg", leg),
                   NULL);
  if (status == CTL_DONE)
    printf("%s: leg %s %s\n", volume, leg, action->done);
  return status;
}

/* ---- replace ---- */

static int
replace(const struct ctl_command_call *call, const char *volume, const char *leg,
        const char *new_path) {
  static const struct ctl_ending ending = {"leg-replaced", "change-failed"};
  char path[SF_CONTROL_PATH_MAX], reason[CTL_REASON_MAX];
  int status = ctl_find_socket(call, volume, path);
  if (status == CTL_DONE)
    status = ctl_ask_and_wait(path, volume,
                              json_pack("{ss ss ss ss ss*}", "command", "leg", "volume", volume,
                                        "action", "replace", "leg", leg, "path", new_path),
                              &ending, reason);
  if (status != CTL_DONE)
    return status;
  printf("%s: leg %s is another disk now; all of it is copied to it\n", volume, leg);
  if (new_path)
    printf("The configuration file must say so before the next start:\n  [leg %s]\n  path = %s\n",
           leg, new_path);
  return CTL_DONE;
}

/* ---- discard without a running volume ---- */

static int
find_leg(const struct sf_config *config, const char *name) {
  for (unsigned i = 0; i < config->legs; i++)
    if (strcmp(config->leg[i].name, name) == 0)
      return (int) i;
  return -1;
}

/* The legs are only looked at, and closed again: sf_leg_discard takes its own lock. */
static int
assemble(const struct sf_config *config, struct sf_assembly *assembly) {
  static struct sf_leg_file file[SF_LEGS_MAX];
  static struct sf_leg_found found[SF_LEGS_MAX];
  static char leg_error[SF_LEGS_MAX][SF_CONFIG_ERROR_MAX];
  char error[SF_CONFIG_ERROR_MAX] = "";
  int rc = sf_leg_files_open(NULL, config, SF_LEG_READ_ONLY, OPEN_TIMEOUT_S * UINT64_C(1000000000),
                             file, found, leg_error, error);
  if (rc < 0)
    return ctl_fail("%s", *error ? error : strerror(-rc));
  for (unsigned i = 0; i < config->legs; i++)
    sf_leg_file_close(&file[i]);
  sf_assemble(config, found, false, assembly);
  return CTL_DONE;
}

static int
discard_offline(const char *conf, const char *name) {
  static struct sf_config config;
  static struct sf_assembly assembly;
  char error[SF_CONFIG_ERROR_MAX] = "";
  int rc = sf_config_load(&config, conf, error);
  if (rc < 0)
    return ctl_fail("%s", *error ? error : strerror(-rc));
  int leg = find_leg(&config, name);
  if (leg < 0)
    return ctl_fail("%s: no leg '%s'", conf, name);
  int status = assemble(&config, &assembly);
  if (status != CTL_DONE)
    return status;
  if (assembly.reference < 0)
    return ctl_fail("%s: no leg tells what the volume is: %s", config.name, assembly.reason);
  if (assembly.verdict[leg] == SF_LEG_CURRENT || assembly.reference == leg)
    return ctl_fail(
        "%s: leg %s is in the in-sync set: discarding it would lose acknowledged writes",
        config.name, name);
  rc = sf_leg_discard(config.leg[leg].path, &assembly.base, (unsigned) leg, error);
  if (rc < 0)
    return ctl_fail("%s", *error ? error : strerror(-rc));
  printf("%s: leg %s is discarded: all of it will be copied\n", config.name, name);
  return CTL_DONE;
}

int
ctl_leg(struct ctl_command_call *call) {
  static const struct option options[] = {{"config", required_argument, NULL, 'C'}, {0}};
  const char *conf = NULL;
  int option;
  while ((option = ctl_next_option(call, options)) != -1) {
    if (option == '?')
      return CTL_USAGE;
    conf = optarg;
  }
  char **argv = call->argv + optind;
  int argc = call->argc - optind;
  if (argc == 0)
    return ctl_wrong_usage(call->command, "leg: fail, return, discard or replace?");
  const struct action *action = find_action(argv[0]);
  if (!action)
    return ctl_wrong_usage(call->command, "leg: unknown action '%s'", argv[0]);
  if (conf && strcmp(action->name, "discard") != 0)
    return ctl_wrong_usage(call->command, "leg %s: --config is for discard only", action->name);
  bool replaces = strcmp(action->name, "replace") == 0;
  if (argc != (conf ? 2 : 3) && !(replaces && argc == 4))
    return ctl_wrong_usage(call->command, "leg %s: %sLEG %s needed", action->name,
                           conf ? "" : "VOLUME and ", conf ? "is" : "are");
  if (replaces)
    return replace(call, argv[1], argv[2], argv[3]);
  return conf ? discard_offline(conf, argv[1]) : ask_volume(call, action, argv[1], argv[2]);
}

/* A volume gets another name: on its legs, and in its file. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <surefoot/legfile.h>

#include "base/units.h"
#include "config/value.h"
#include "ctl.h"

enum { OPEN_TIMEOUT_S = 10 };

/* surefootd would start it again, or serves it.  A volume served by hand holds its legs, so that
 * the renaming fails. */
static int
check_stopped(const struct ctl_command_call *call, const char *volume) {
  struct ctl_sockets sockets;
  json_t *volumes = json_array(), *problems = NULL, *one;
  int status = CTL_DONE;
  size_t i;
  char path[SF_CONTROL_PATH_MAX];
  if (ctl_daemon_is_there(call, path)) {
    sockets.count = 1;
    memcpy(sockets.path[0], path, sizeof path);
    status = ctl_collect_status(&sockets, NULL, volumes, &problems);
  }
  json_array_foreach(volumes, i, one) {
    if (strcmp(ctl_json_text(one, "name"), volume) == 0 &&
        strcmp(ctl_json_text(one, "state"), "stopped") != 0)
      status = ctl_fail("%s: is to be stopped first, with what uses it: surefootctl stop %s --wait",
                        volume, volume);
  }
  json_decref(volumes);
  json_decref(problems);
  return status;
}

/* "/etc/.../vol0.conf" is named after the volume, and follows. */
static int
new_file(const char *file, const char *from, const char *to, char made[PATH_MAX]) {
  const char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file;
  size_t len = strlen(from);
  bool follows = strncmp(base, from, len) == 0 && strcmp(base + len, ".conf") == 0;
  int n = follows ? snprintf(made, PATH_MAX, "%.*s%s.conf", (int) (base - file), file, to)
                  : snprintf(made, PATH_MAX, "%s", file);
  if (n >= PATH_MAX)
    return ctl_fail("%s: the name would be too long", file);
  if (follows && access(made, F_OK) == 0)
    return ctl_fail("%s is there already", made);
  return CTL_DONE;
}

static int
rename_file(const char *file, const char *made, const char *to) {
  const struct sf_config_edit edit = {"volume", "name", to};
  char error[SF_CONFIG_ERROR_MAX] = "";
  if (sf_config_edit(file, &edit, 1, error) < 0)
    return ctl_fail("%s: its legs have the new name: say `rename` again", error);
  if (strcmp(file, made) != 0 && rename(file, made) < 0)
    return ctl_fail("%s: %s; it says the new name: move it yourself", file, strerror(errno));
  return CTL_DONE;
}

int
ctl_rename(struct ctl_command_call *call) {
  static const struct option options[] = {{0}};
  static struct sf_config config;
  char found[PATH_MAX], made[PATH_MAX], error[SF_CONFIG_ERROR_MAX] = "";
  if (ctl_next_option(call, options) != -1)
    return CTL_USAGE;
  if (call->argc - optind != 2)
    return ctl_wrong_usage(call->command, "rename: VOLUME and NEW are needed");
  const char *volume = call->argv[optind], *to = call->argv[optind + 1];
  const char *file = ctl_conf_file(volume, found);
  if (!sf_value_is_name(to, SF_VOLUME_NAME_MAX - 1))
    return ctl_fail("\"%.80s\" is not a name: 1 to %d of A-Z a-z 0-9 _ -", to,
                    SF_VOLUME_NAME_MAX - 1);
  if (sf_config_load(&config, file, error) < 0)
    return ctl_fail("%s", error);
  if (strcmp(config.name, to) == 0)
    return ctl_fail("%s: that is its name", to);
  int status = new_file(file, config.name, to, made);
  if (status == CTL_DONE)
    status = check_stopped(call, config.name);
  if (status != CTL_DONE)
    return status;
  int r = sf_legs_rename(ctl_openers(), &config, to, OPEN_TIMEOUT_S * SF_S, error);
  if (r < 0)
    return ctl_fail("%s: %s", config.name, *error ? error : strerror(-r));
  status = rename_file(file, made, to);
  if (status == CTL_DONE)
    printf("%s is %s now, in %s.  surefootd takes it over by: surefootctl reload\n"
           "What names it otherwise is to follow: sockets and /dev/surefoot/%s, monitoring, "
           "scripts%s\n",
           config.name, to, made, config.name, config.device[0] ? "; its device stays" : "");
  return status;
}

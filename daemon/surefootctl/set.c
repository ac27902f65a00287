#include <stdio.h>
#include <string.h>

#include "ctl.h"

int
ctl_set(struct ctl_command_call *call) {
  static const struct option options[] = {{0}};
  if (ctl_next_option(call, options) != -1)
    return CTL_USAGE;
  if (call->argc - optind != 2)
    return ctl_wrong_usage(call->command, "set: VOLUME and KEY=VALUE are needed");
  const char *volume = call->argv[optind], *setting = call->argv[optind + 1];
  const char *equals = strchr(setting, '=');
  if (equals == NULL || equals == setting)
    return ctl_wrong_usage(call->command, "set: '%s' is not KEY=VALUE", setting);

  char path[SF_CONTROL_PATH_MAX];
  int status = ctl_find_socket(call, volume, path);
  if (status != CTL_DONE)
    return status;
  int key_len = (int) (equals - setting);
  status = ctl_ask(path,
                   json_pack("{ss ss ss% ss}", "command", "set", "volume", volume, "key", setting,
                             (size_t) key_len, "value", equals + 1),
                   NULL);
  if (status == CTL_DONE)
    printf("%s: %.*s is now %s\n", volume, key_len, setting, equals + 1);
  return status;
}

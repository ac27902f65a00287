/* The settings in force, and where each comes from. */
#include <stdio.h>
#include <string.h>

#include "ctl.h"

static void
print_settings(json_t *settings) {
  int key_width = 0, value_width = 0;
  const char *key;
  json_t *setting;
  json_object_foreach(settings, key, setting) {
    int len = (int) strlen(key), value = (int) strlen(ctl_json_text(setting, "value"));
    key_width = len > key_width ? len : key_width;
    if (value <= 24)
      value_width = value > value_width ? value : value_width;
  }
  printf("%-*s  %-*s  FROM\n", key_width, "SETTING", value_width, "VALUE");
  json_object_foreach(settings, key, setting) {
    const char *value = ctl_json_text(setting, "value");
    printf("%-*s  ", key_width, key);
    ctl_put(*value ? value : "-");
    int padding = value_width - (int) (*value ? strlen(value) : 1);
    printf("%*s  %s\n", padding > 0 ? padding : 0, "", ctl_json_text(setting, "source"));
  }
}

int
ctl_show(struct ctl_command_call *call) {
  bool json;
  if (ctl_take_flag(call, "json", &json) != CTL_DONE)
    return CTL_USAGE;
  if (call->argc - optind != 1)
    return ctl_wrong_usage(call->command, "show: one VOLUME is needed");
  const char *volume = call->argv[optind];
  char path[SF_CONTROL_PATH_MAX];
  int status = ctl_find_socket(call, volume, path);
  if (status != CTL_DONE)
    return status;
  json_t *own = ctl_ask_status(path, volume);
  if (own == NULL)
    return CTL_FAILED;
  json_t *settings = json_object_get(own, "settings");
  if (!json_is_object(settings))
    status =
        ctl_fail("%s: it is %s and tells no settings now", volume, ctl_json_text(own, "state"));
  else if (json)
    status = ctl_print_json(settings);
  else
    print_settings(settings);
  json_decref(own);
  return status;
}

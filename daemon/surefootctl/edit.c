/* Writes a change of a volume's legs into its file. */
#include <stdio.h>

#include "ctl.h"

int
ctl_edit_leg(const char *file, const char *leg, const char *path) {
  char section[SF_LEG_NAME_MAX + 8], error[SF_CONFIG_ERROR_MAX] = "";
  const struct sf_config_edit edit = {section, path ? "path" : NULL, path};
  snprintf(section, sizeof section, "leg %s", leg);
  if (sf_config_edit(file, &edit, 1, error) < 0)
    return ctl_fail("%s", error);
  printf("%s says so now; as it was: %s.old\n", file, file);
  return CTL_DONE;
}

/* The leg that is meant, by its name or its path. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

const json_t *
ctl_find_named(const json_t *array, const char *name) {
  for (size_t i = 0; i < json_array_size(array); i++)
    if (strcmp(ctl_json_text(json_array_get(array, i), "name"), name) == 0)
      return json_array_get(array, i);
  return NULL;
}

const json_t *
ctl_find_leg(const json_t *volume, const char *name) {
  return ctl_find_named(json_object_get(volume, "legs"), name);
}

/* A path names the leg that has this file or disk; so does a link to it. */
int
ctl_leg_by_path(const char *socket, const char *volume, const char **leg,
                char name[SF_LEG_NAME_MAX]) {
  char *wanted, *real;
  json_t *own, *one;
  bool found = false;
  size_t i;
  if (strchr(*leg, '/') == NULL)
    return CTL_DONE;
  own = ctl_ask_status(socket, volume);
  if (own == NULL)
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

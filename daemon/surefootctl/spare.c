/* `leg return` of a leg that a spare stands for: its own disk takes the place again. */
#include <stdio.h>
#include <string.h>

#include "ctl.h"

static const json_t *
find_by(const json_t *list, const char *key, const char *value) {
  for (size_t i = 0; i < json_array_size(list); i++)
    if (strcmp(ctl_json_text(json_array_get(list, i), key), value) == 0)
      return json_array_get(list, i);
  return NULL;
}

/* The disk that the leg had, and the spare; false: no spare stands for it, or it is the spare that
 * is to come back. */
static bool
find_own(const json_t *volume, const char *name, char own[PATH_MAX], char spare[SF_LEG_NAME_MAX]) {
  const json_t *leg = find_by(json_object_get(volume, "legs"), "name", name);
  const json_t *used =
      find_by(json_object_get(json_object_get(volume, "service"), "spares"), "leg", name);
  const char *state = ctl_json_text(leg, "state"), *path = ctl_json_text(used, "instead_of");
  bool is_out = strcmp(state, "faulty") == 0 || strcmp(state, "missing") == 0;
  bool is_noted = strcmp(state, "in-sync") == 0 && *ctl_json_text(leg, "reason");
  if (leg == NULL || !*path || is_out || is_noted)
    return false;
  snprintf(own, PATH_MAX, "%s", path);
  snprintf(spare, SF_LEG_NAME_MAX, "%s", ctl_json_text(used, "name"));
  return true;
}

static int
act(const char *path, const char *volume, const char *action, const char *leg) {
  return ctl_ask(
      path,
      json_pack("{ss ss ss ss}", "command", "leg", "volume", volume, "action", action, "leg", leg),
      NULL);
}

struct change {
  const char *leg, *path;
};

static bool
is_there(const json_t *volume, const void *arg) {
  const struct change *change = arg;
  const json_t *leg = find_by(json_object_get(volume, "legs"), "name", change->leg);
  return leg && strcmp(ctl_json_text(leg, "path"), change->path) == 0;
}

int
ctl_give_back(const char *path, const char *volume, const char *leg, bool *given) {
  char own[PATH_MAX], spare[SF_LEG_NAME_MAX], reason[CTL_REASON_MAX];
  const struct change change = {leg, own};
  const struct ctl_ending ending = {"leg-replaced", "change-failed", is_there, &change};
  json_t *status = ctl_ask_status(path, volume);
  if (status == NULL)
    return CTL_FAILED;
  *given = find_own(status, leg, own, spare);
  json_decref(status);
  if (!*given)
    return CTL_DONE;
  if (act(path, volume, "fail", leg) != CTL_DONE)
    return CTL_FAILED;
  if (ctl_ask_and_wait(path, volume,
                       json_pack("{ss ss ss ss ss}", "command", "leg", "volume", volume, "action",
                                 "replace", "leg", leg, "path", own),
                       &ending, reason) != CTL_DONE) {
    if (act(path, volume, "return", leg) == CTL_DONE)
      ctl_fail("%s: leg %s stays on spare %s", volume, leg, spare);
    return CTL_FAILED;
  }
  printf("%s: leg %s is on its own disk again, %s; all is copied to it, and spare %s is free: what "
         "it holds is to "
         "be erased before it can stand for another leg\n",
         volume, leg, own, spare);
  return CTL_DONE;
}

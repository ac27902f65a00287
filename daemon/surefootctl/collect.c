/* One status of what all the sockets say: surefootd's, and those of volumes that are served without
 * it. */
#include <string.h>

#include "ctl.h"

void
ctl_add_volumes(json_t *volumes, const json_t *more) {
  size_t i, j;
  json_t *volume, *known;
  json_array_foreach(more, i, volume) {
    bool there = false;
    json_array_foreach(volumes, j, known)
      there = there || strcmp(ctl_json_text(known, "name"), ctl_json_text(volume, "name")) == 0;
    if (!there)
      json_array_append(volumes, volume);
  }
}

/* The socket of a server that was killed, of a volume that surefootd has told of. */
static bool
is_left_over(const char *path, const json_t *volumes) {
  const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path;
  size_t i;
  json_t *volume;
  json_array_foreach(volumes, i, volume) {
    const char *name = ctl_json_text(volume, "name");
    size_t len = strlen(name);
    if (strncmp(file, name, len) == 0 && strcmp(file + len, ".ctl") == 0)
      return sf_control_is_abandoned(path);
  }
  return false;
}

/* One document of what all the sockets say. */
int
ctl_collect_status(const struct ctl_sockets *sockets, const char *volume, json_t *volumes,
                   json_t **problems) {
  int status = CTL_DONE;
  for (unsigned i = 0; i < sockets->count; i++) {
    if (is_left_over(sockets->path[i], volumes))
      continue;
    json_t *request = json_pack("{ss ss*}", "command", "status", "volume", volume), *reply;
    if (ctl_ask(sockets->path[i], request, &reply) != CTL_DONE) {
      status = CTL_FAILED;
      continue;
    }
    ctl_add_volumes(volumes, json_object_get(reply, "volumes"));
    json_t *wrong = json_object_get(reply, "problems");
    if (wrong && *problems == NULL)
      *problems = json_incref(wrong);
    json_decref(reply);
  }
  return status;
}

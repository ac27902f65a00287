/* Growing takes as long as the legs take, so the volume tells its end by an event: we listen first, then
 * ask. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

struct grow {
  const char *path, *volume, *size;
  bool listening, ended;
  int status;
};

static bool
ask(struct grow *grow) {
  grow->status = ctl_ask(
      grow->path,
      json_pack("{ss ss ss*}", "command", "grow", "volume", grow->volume, "size", grow->size),
      NULL);
  return grow->status == CTL_DONE;
}

static bool
on_line(void *arg, json_t *object) {
  struct grow *grow = arg;
  const char *kind = ctl_json_text(object, "event"), *reason = ctl_json_text(object, "reason");
  char size[CTL_TEXT_MAX];
  if (!grow->listening) {
    grow->listening = true;
    grow->status = ctl_check_reply(object);
    return grow->status == CTL_DONE && ask(grow);
  }
  grow->ended = true;
  if (strcmp(kind, "grown") == 0)
    printf("%s: has grown to %s (%s bytes); clients see it when they connect anew\n", grow->volume,
           ctl_size(strtoull(reason, NULL, 10), size), reason);
  else if (strcmp(kind, "grow-failed") == 0)
    grow->status = ctl_fail("%s: %s", grow->volume, reason);
  else if (strcmp(kind, "stopped") == 0)
    grow->status = ctl_fail("%s: it stopped before the new size was durable", grow->volume);
  else
    grow->ended = false;
  return !grow->ended;
}

int
ctl_grow(struct ctl_command_call *call) {
  static const struct option options[] = {{0}};
  while (ctl_next_option(call, options) != -1)
    return CTL_USAGE;
  int argc = call->argc - optind;
  if (argc < 1 || argc > 2)
    return ctl_wrong_usage(call->command, "grow: VOLUME, and perhaps its new SIZE");

  char path[SF_CONTROL_PATH_MAX];
  struct grow grow = {.path = path, .volume = call->argv[optind], .status = CTL_FAILED};
  uint64_t bytes;
  if (argc == 2) {
    grow.size = call->argv[optind + 1];
    if (sf_parse_size(grow.size, &bytes) < 0 || bytes == 0)
      return ctl_wrong_usage(call->command, "grow: %s: not a size (for example 10G)", grow.size);
  }
  int status = ctl_find_socket(call, grow.volume, path);
  if (status != CTL_DONE)
    return status;
  json_t *request =
      json_pack("{ss sb ss}", "command", "events", "follow", 1, "volume", grow.volume);
  if (!request)
    return ctl_fail("an argument is not valid UTF-8");
  int rc = sf_control_follow(path, request, on_line, &grow);
  json_decref(request);
  if (rc < 0)
    return ctl_fail_to_reach(path, rc);
  if (grow.status == CTL_DONE && !grow.ended)
    return ctl_fail("%s: the connection ended; `surefootctl status` tells the size", path);
  return grow.status;
}

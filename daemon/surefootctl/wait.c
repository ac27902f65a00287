/* Some requests are only begun by their answer, and an event tells their end: we listen first, then
 * ask. */
#include <stdio.h>
#include <string.h>

#include "ctl.h"

struct wait {
  const char *path, *volume;
  json_t *request;
  const struct ctl_ending *ending;
  char *reason;
  bool listening, ended;
  int status;
};

static bool
ask(struct wait *wait) {
  json_t *request = wait->request;
  wait->request = NULL;
  wait->status = ctl_ask(wait->path, request, NULL);
  return wait->status == CTL_DONE;
}

static bool
on_line(void *arg, json_t *object) {
  struct wait *wait = arg;
  const char *kind = ctl_json_text(object, "event"), *reason = ctl_json_text(object, "reason");
  if (!wait->listening) {
    wait->listening = true;
    wait->status = ctl_check_reply(object);
    return wait->status == CTL_DONE && ask(wait);
  }
  wait->ended = true;
  if (strcmp(kind, wait->ending->done) == 0)
    snprintf(wait->reason, CTL_REASON_MAX, "%s", reason);
  else if (strcmp(kind, wait->ending->failed) == 0)
    wait->status = ctl_fail("%s: %s", wait->volume, reason);
  else if (strcmp(kind, "stopped") == 0)
    wait->status = ctl_fail("%s: it stopped before that was durable", wait->volume);
  else
    wait->ended = false;
  return !wait->ended;
}

int
ctl_ask_and_wait(const char *path, const char *volume, json_t *request,
                 const struct ctl_ending *ending, char reason[CTL_REASON_MAX]) {
  struct wait wait = {.path = path,
                      .volume = volume,
                      .request = request,
                      .ending = ending,
                      .reason = reason,
                      .status = CTL_FAILED};
  json_t *events = json_pack("{ss sb ss}", "command", "events", "follow", 1, "volume", volume);
  if (!events || !request) {
    json_decref(events);
    json_decref(request);
    return ctl_fail("an argument is not valid UTF-8");
  }
  int rc = sf_control_follow(path, events, on_line, &wait);
  json_decref(events);
  json_decref(wait.request);
  if (rc < 0)
    return ctl_fail_to_reach(path, rc);
  if (wait.status == CTL_DONE && !wait.ended)
    return ctl_fail("%s: the connection ended; `surefootctl status` tells what became of it", path);
  return wait.status;
}

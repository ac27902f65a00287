/* Some requests are only begun by their answer, and an event tells their end: we listen first, then
 * ask.  When the server ends before it tells, surefootd's events say so, and what became of the
 * request is seen from the volume when the next server serves it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"

struct wait {
  const char *path, *volume;
  json_t *request;
  const struct ctl_ending *ending;
  char *reason;
  bool listening, ended;
  char server_ended[256]; /* why; "": it has not */
  bool server_is_back;
  int status;
};

static bool
ask(struct wait *wait) {
  json_t *request = wait->request;
  wait->request = NULL;
  wait->status = ctl_ask(wait->path, request, NULL);
  return wait->status == CTL_DONE;
}

/* surefootd's own events.  False: there is no more to wait for. */
static bool
take_service(struct wait *wait, const char *to, const char *reason) {
  if (strcmp(to, "down") == 0 && wait->server_ended[0]) {
    wait->ended = true;
    wait->status =
        ctl_fail("%s: its server ended before that was told, and does not start again: %s",
                 wait->volume, reason);
  } else if (strcmp(to, "down") == 0) {
    snprintf(wait->server_ended, sizeof wait->server_ended, "%s", *reason ? reason : "no reason");
  } else if (strcmp(to, "gone") == 0) {
    wait->ended = true;
    wait->status = ctl_fail("%s: it stopped before that was told", wait->volume);
  } else if (strcmp(to, "serving") == 0 && wait->server_ended[0]) {
    wait->server_is_back = true;
  }
  return !wait->ended && !wait->server_is_back;
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
  if (strcmp(kind, "service") == 0)
    return take_service(wait, ctl_json_text(object, "to"), reason);
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

json_t *
ctl_ask_status(const char *path, const char *volume) {
  json_t *reply;
  if (ctl_ask(path, json_pack("{ss ss}", "command", "status", "volume", volume), &reply) !=
      CTL_DONE)
    return NULL;
  json_t *own = json_incref(json_array_get(json_object_get(reply, "volumes"), 0));
  json_decref(reply);
  if (own == NULL)
    ctl_fail("%s: its status is not understood", volume);
  return own;
}

/* The server that was asked is gone, and the next one serves. */
static int
see_what_became(const struct wait *wait) {
  if (wait->ending->is_done == NULL)
    return ctl_fail(
        "%s: its server ended meanwhile (%s); it serves again, but whether that is done is "
        "not known: `surefootctl status` shows its legs",
        wait->volume, wait->server_ended);
  json_t *own = ctl_ask_status(wait->path, wait->volume);
  if (own == NULL)
    return CTL_FAILED;
  bool done = wait->ending->is_done(own, wait->ending->arg);
  json_decref(own);
  wait->reason[0] = '\0';
  if (done)
    return CTL_DONE;
  return ctl_fail(
      "%s: its server ended meanwhile (%s); it serves again, and that is not done: ask again",
      wait->volume, wait->server_ended);
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
  if (events == NULL || request == NULL) {
    json_decref(events);
    json_decref(request);
    return ctl_fail("an argument is not valid UTF-8");
  }
  int r = sf_control_follow(path, events, on_line, &wait);
  json_decref(events);
  json_decref(wait.request);
  if (r < 0)
    return ctl_fail_to_reach(path, r);
  if (wait.status == CTL_DONE && wait.server_is_back)
    return see_what_became(&wait);
  if (wait.status == CTL_DONE && !wait.ended)
    return ctl_fail("%s: the connection ended; `surefootctl status` tells what became of it", path);
  return wait.status;
}

/* ---- until the status says so ---- */

struct until {
  const char *path, *volume;
  enum ctl_wait (*look)(const json_t *volume, void *arg);
  void *arg;
  enum ctl_wait result;
  int status;
};

static bool
look_again(void *arg, json_t *object) {
  struct until *until = arg;
  json_t *own;
  if (json_object_get(object, "event") == NULL &&
      (until->status = ctl_check_reply(object)) != CTL_DONE)
    return false;
  own = ctl_ask_status(until->path, until->volume);
  if (own == NULL) {
    until->status = CTL_FAILED;
    return false;
  }
  until->result = until->look(own, until->arg);
  json_decref(own);
  return until->result == CTL_WAIT;
}

int
ctl_wait_until(const char *path, const char *volume,
               enum ctl_wait (*look)(const json_t *volume, void *arg), void *arg) {
  struct until until = {.path = path, .volume = volume, .look = look, .arg = arg};
  json_t *events = json_pack("{ss sb ss}", "command", "events", "follow", 1, "volume", volume);
  int r = events ? sf_control_follow(path, events, look_again, &until) : -ENOMEM;
  json_decref(events);
  if (r < 0)
    return ctl_fail_to_reach(path, r);
  if (until.status != CTL_DONE || until.result == CTL_WAIT_FAILED)
    return CTL_FAILED;
  if (until.result == CTL_WAIT)
    return ctl_fail("%s: the connection ended; `surefootctl status` tells how it goes on", path);
  return CTL_DONE;
}

#include "requests/answers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "requests/reload.h"
#include "state.h"
#include "volumes/gather.h"
#include "volumes/volume.h"

#define ANSWER_US UINT64_C(8000000) /* surefootctl waits for ten seconds */

/* ---- status ---- */

static void
on_gathered(void *ctx, json_t *volumes) {
  struct reply *reply = ctx;
  reply_send(reply, volumes ? json_pack("{sb si so}", "ok", 1, "version", SF_CONTROL_VERSION,
                                        "volumes", volumes)
                            : NULL);
}

/* ---- what a volume itself must do ---- */

struct forwarded {
  const struct volumes *volumes;
  struct reply *reply;
  char volume[SF_VOLUME_NAME_MAX];
  json_t *request; /* as it was sent */
};

static void
on_forwarded(void *ctx, int error, json_t *answer) {
  struct forwarded *forwarded = ctx;
  struct volume *volume = volumes_find(forwarded->volumes, forwarded->volume);
  const char *key = events_text(forwarded->request, "key");
  if (error) {
    reply_error(forwarded->reply, "%s: no answer from its server: %s", forwarded->volume,
                strerror(-error));
  } else {
    if (json_is_true(json_object_get(answer, "ok")) && *key && volume)
      volume_note_setting(volume, key, events_text(forwarded->request, "value"));
    reply_send(forwarded->reply, json_incref(answer));
  }
  json_decref(forwarded->request);
  free(forwarded);
}

static void
forward(struct volume *volume, const struct sf_control_request *request, struct reply *reply) {
  if (volume_state(volume) != VOLUME_SERVING) {
    reply_error(reply, "%s does not run: it is %s%s%s", volume_name(volume),
                sf_sm_state_name(&volume->sm), volume->reason[0] ? ": " : "", volume->reason);
    return;
  }
  struct forwarded *forwarded = calloc(1, sizeof *forwarded);
  struct call *call;
  if (!forwarded) {
    reply_send(reply, NULL);
    return;
  }
  forwarded->volumes = volume->volumes;
  forwarded->reply = reply;
  forwarded->request = json_incref(request->document);
  snprintf(forwarded->volume, sizeof forwarded->volume, "%s", volume_name(volume));
  int r =
      volume_ask(volume, json_incref(request->document), ANSWER_US, on_forwarded, forwarded, &call);
  if (r < 0)
    on_forwarded(forwarded, r, NULL);
}

/* ---- which ---- */

void
answers_request(void *ctx, const struct sf_control_request *request, struct reply *reply) {
  struct daemon *daemon = ctx;
  struct volume *volume = request->volume ? volumes_find(&daemon->volumes, request->volume) : NULL;
  if (request->volume && !volume) {
    reply_error(reply, "there is no volume \"%.64s\"", request->volume);
    return;
  }
  if (daemon->stopping && request->command != SF_COMMAND_STATUS &&
      request->command != SF_COMMAND_EVENTS) {
    reply_error(reply, "surefootd is stopping");
    return;
  }
  switch (request->command) {
  case SF_COMMAND_STATUS:
    gather_status(&daemon->volumes, request->volume, on_gathered, reply);
    break;
  case SF_COMMAND_EVENTS: {
    json_t *object = json_pack("{sb si so}", "ok", 1, "version", SF_CONTROL_VERSION, "events",
                               events_list(&daemon->events, request->volume));
    if (request->follow)
      reply_follow(reply, object, request->volume);
    else
      reply_send(reply, object);
    break;
  }
  case SF_COMMAND_SET:
  case SF_COMMAND_LEG:
  case SF_COMMAND_GROW:
    forward(volume, request, reply);
    break;
  case SF_COMMAND_RESTART:
    log_notice(volume_name(volume), "restart asked for");
    if (volume_restart(volume) < 0)
      reply_error(reply, "%s is stopping: its file is gone", volume_name(volume));
    else
      reply_send(reply, json_pack("{sb}", "ok", 1));
    break;
  case SF_COMMAND_RELOAD:
    reload_run(daemon, request->dry_run, reply);
    break;
  case SF_COMMAND_STOP:
    reply_error(reply, "stop is for a volume's own socket");
    break;
  }
}

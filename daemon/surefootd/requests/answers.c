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

struct asked {
  const struct daemon *daemon;
  struct reply *reply;
};

static void
on_gathered(void *ctx, json_t *volumes) {
  struct asked *asked = ctx;
  reply_send(asked->reply, volumes
                               ? json_pack("{sb si so sO}", "ok", 1, "version", SF_CONTROL_VERSION,
                                           "volumes", volumes, "problems", asked->daemon->problems)
                               : NULL);
  free(asked);
}

static void
answer_status(const struct daemon *daemon, const char *volume, struct reply *reply) {
  struct asked *asked = malloc(sizeof *asked);
  if (!asked) {
    reply_send(reply, NULL);
    return;
  }
  *asked = (struct asked){daemon, reply};
  gather_status(&daemon->volumes, volume, on_gathered, asked);
}

/* Perhaps its file is one of those that are left out. */
static void
refuse_unknown(const struct daemon *daemon, const char *volume, struct reply *reply) {
  size_t wrong = json_array_size(daemon->problems);
  const char *first = json_string_value(json_array_get(daemon->problems, 0));
  reply_error(reply, "there is no volume \"%.64s\"%s%.300s%s", volume, wrong ? "; " : "",
              wrong ? first : "", wrong > 1 ? " ..." : "");
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
    refuse_unknown(daemon, request->volume, reply);
    return;
  }
  if (daemon->stopping && request->command != SF_COMMAND_STATUS &&
      request->command != SF_COMMAND_EVENTS) {
    reply_error(reply, "surefootd is stopping");
    return;
  }
  switch (request->command) {
  case SF_COMMAND_STATUS:
    answer_status(daemon, request->volume, reply);
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
  case SF_COMMAND_SCRUB:
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

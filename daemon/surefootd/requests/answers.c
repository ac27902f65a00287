#include "requests/answers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/job.h"
#include "common/log.h"
#include "device/in_use.h"
#include "requests/reload.h"
#include "state.h"
#include "volumes/collect.h"
#include "volumes/volume.h"

#define ANSWER_US UINT64_C(8000000) /* surefootctl waits for ten seconds */
#define DEVICE_US UINT64_C(1000000)

/* ---- status ---- */

struct asked {
  const struct daemon *daemon;
  struct reply *reply;
};

static void
on_gathered(void *ctx, json_t *volumes) {
  struct asked *asked = ctx;
  sfd_reply_send(asked->reply,
                 volumes ? json_pack("{sb si so sO}", "ok", 1, "version", SF_CONTROL_VERSION,
                                     "volumes", volumes, "problems", asked->daemon->problems)
                         : NULL);
  free(asked);
}

static void
answer_status(const struct daemon *daemon, const char *volume, struct reply *reply) {
  struct asked *asked = malloc(sizeof *asked);
  if (asked == NULL) {
    sfd_reply_send(reply, NULL);
    return;
  }
  *asked = (struct asked){daemon, reply};
  sfd_collect_status(&daemon->volumes, volume, on_gathered, asked);
}

/* Perhaps its file is left out for a mistake. */
static void
refuse_unknown(const struct daemon *daemon, const char *volume, struct reply *reply) {
  size_t wrong = json_array_size(daemon->problems);
  const char *first = json_string_value(json_array_get(daemon->problems, 0));
  sfd_reply_error(reply, "there is no volume \"%.64s\"%s%.300s%s", volume, wrong ? "; " : "",
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
  struct volume *volume = sfd_volumes_find(forwarded->volumes, forwarded->volume);
  const char *key = sfd_events_text(forwarded->request, "key");
  if (error) {
    sfd_reply_error(forwarded->reply, "%s: no answer from its server: %s", forwarded->volume,
                    strerror(-error));
  } else {
    if (json_is_true(json_object_get(answer, "ok")) && *key && volume)
      sfd_volume_note_setting(volume, key, sfd_events_text(forwarded->request, "value"));
    sfd_reply_send(forwarded->reply, json_incref(answer));
  }
  json_decref(forwarded->request);
  free(forwarded);
}

static void
forward(struct volume *volume, const struct sf_control_request *request, struct reply *reply) {
  if (volume_state(volume) != VOLUME_SERVING) {
    sfd_reply_error(reply, "%s does not run: it is %s%s%s", sfd_volume_name(volume),
                    sf_state_name(&volume->machine), volume->reason[0] ? ": " : "", volume->reason);
    return;
  }
  struct forwarded *forwarded = calloc(1, sizeof *forwarded);
  struct call *call;
  if (forwarded == NULL) {
    sfd_reply_send(reply, NULL);
    return;
  }
  forwarded->volumes = volume->volumes;
  forwarded->reply = reply;
  forwarded->request = json_incref(request->document);
  snprintf(forwarded->volume, sizeof forwarded->volume, "%s", sfd_volume_name(volume));
  int r = sfd_volume_ask(volume, json_incref(request->document), ANSWER_US, on_forwarded, forwarded,
                         &call);
  if (r < 0)
    on_forwarded(forwarded, r, NULL);
}

/* A server that is to do without a leg that it needs is started anew. */
static void
fail_by_force(struct volume *volume, const struct sf_control_request *request,
              struct reply *reply) {
  char error[SF_CONFIG_ERROR_MAX] = "";
  if (sfd_volume_fail_by_force(volume, request->leg, request->with, error) < 0)
    sfd_reply_error(reply, "%s: %s", sfd_volume_name(volume), error);
  else
    sfd_reply_send(reply, json_pack("{sb}", "ok", 1));
}

/* ---- stopped and started by the operator ---- */

struct stopping {
  const struct volumes *volumes;
  struct reply *reply;
  char volume[SF_VOLUME_NAME_MAX];
};

static void
on_looked(void *ctx, int error) {
  struct stopping *stopping = ctx;
  struct volume *volume = sfd_volumes_find(stopping->volumes, stopping->volume);
  int r = error == -EBUSY || error == -ETIMEDOUT ? error
          : volume                               ? sfd_volume_hold(volume)
                                                 : -ESHUTDOWN;
  if (r == -EBUSY)
    sfd_reply_error(stopping->reply, "%s: its device is in use", stopping->volume);
  else if (r == -ETIMEDOUT)
    sfd_reply_error(stopping->reply, "%s: its device does not answer", stopping->volume);
  else if (r < 0)
    sfd_reply_error(stopping->reply, "%s is stopping already", stopping->volume);
  else
    sfd_reply_send(stopping->reply, json_pack("{sb}", "ok", 1));
  free(stopping);
}

/* Not while its device is open: not every mount shows in /proc, so the kernel is asked too. */
static void
stop(const struct daemon *daemon, struct volume *volume, struct reply *reply) {
  char why[SF_CONFIG_ERROR_MAX];
  struct stopping *stopping = malloc(sizeof *stopping);
  struct job *job;
  int r = 0;
  if (stopping == NULL) {
    sfd_reply_send(reply, NULL);
    return;
  }
  if (volume->held || sfd_volume_in_use(volume, why)) {
    free(stopping);
    sfd_reply_error(reply, "%s: %s", sfd_volume_name(volume),
                    volume->held ? "is stopped already" : why);
    return;
  }
  *stopping = (struct stopping){.volumes = &daemon->volumes, .reply = reply};
  snprintf(stopping->volume, sizeof stopping->volume, "%s", sfd_volume_name(volume));
  if (sfd_device_is_ours(&volume->device))
    r = sfd_job_start(daemon->event, DEVICE_US, sfd_in_use_exclusively, volume->device.path, -1,
                      on_looked, stopping, &job);
  if (r < 0 || !sfd_device_is_ours(&volume->device))
    on_looked(stopping, r < 0 ? -ETIMEDOUT : 0);
}

static void
start(struct volume *volume, bool force, struct reply *reply) {
  int r = sfd_volume_resume(volume, force);
  if (r == -EALREADY)
    sfd_reply_error(reply, "%s: is %s already", sfd_volume_name(volume),
                    sf_state_name(&volume->machine));
  else if (r < 0)
    sfd_reply_error(reply, "%s: is stopping: say it again when it is stopped",
                    sfd_volume_name(volume));
  else
    sfd_reply_send(reply, json_pack("{sb}", "ok", 1));
}

/* ---- how long the legs took ---- */

static void
answer_latency(const struct volume *volume, const char *since, struct reply *reply) {
  uint64_t since_ns;
  if (sf_parse_duration(since, &since_ns) < 0 || since_ns == 0) {
    sfd_reply_error(reply, "since %.64s: not a time (for example 10m)", since);
    return;
  }
  json_t *told = sfd_volume_latencies(volume, since_ns / 1000);
  if (told)
    json_object_update_new(told,
                           json_pack("{sb si}", "ok", 1, "version", (int) SF_CONTROL_VERSION));
  sfd_reply_send(reply, told);
}

/* ---- which ---- */

void
sfd_answers_request(void *ctx, const struct sf_control_request *request, struct reply *reply) {
  struct daemon *daemon = ctx;
  struct volume *volume =
      request->volume ? sfd_volumes_find(&daemon->volumes, request->volume) : NULL;
  if (request->volume && volume == NULL) {
    refuse_unknown(daemon, request->volume, reply);
    return;
  }
  if (daemon->stopping && request->command != SF_COMMAND_STATUS &&
      request->command != SF_COMMAND_EVENTS) {
    sfd_reply_error(reply, "surefootd is stopping");
    return;
  }
  switch (request->command) {
  case SF_COMMAND_STATUS:
    answer_status(daemon, request->volume, reply);
    break;
  case SF_COMMAND_EVENTS: {
    json_t *object = json_pack("{sb si so}", "ok", 1, "version", SF_CONTROL_VERSION, "events",
                               sfd_events_list(&daemon->events, request->volume));
    if (request->follow)
      sfd_reply_follow(reply, object, request->volume);
    else
      sfd_reply_send(reply, object);
    break;
  }
  case SF_COMMAND_SET:
  case SF_COMMAND_LEG:
  case SF_COMMAND_GROW:
  case SF_COMMAND_SCRUB:
  case SF_COMMAND_DRILL:
    if (request->command == SF_COMMAND_LEG && request->force)
      fail_by_force(volume, request, reply);
    else
      forward(volume, request, reply);
    break;
  case SF_COMMAND_LATENCY:
    answer_latency(volume, request->since, reply);
    break;
  case SF_COMMAND_RESTART:
    log_notice(sfd_volume_name(volume), "restart asked for");
    if (sfd_volume_restart(volume) < 0)
      sfd_reply_error(reply, "%s is stopping: its file is gone", sfd_volume_name(volume));
    else
      sfd_reply_send(reply, json_pack("{sb}", "ok", 1));
    break;
  case SF_COMMAND_RELOAD:
    sfd_reload_run(daemon, request->dry_run, reply);
    break;
  case SF_COMMAND_STOP:
    log_notice(sfd_volume_name(volume), "stop asked for");
    stop(daemon, volume, reply);
    break;
  case SF_COMMAND_START:
    log_notice(sfd_volume_name(volume), "start asked for%s", request->force ? ", by force" : "");
    start(volume, request->force, reply);
    break;
  }
}

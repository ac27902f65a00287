#include "volumes/collect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "volumes/volume.h"

#define ANSWER_US UINT64_C(2000000)

struct gather {
  void (*done)(void *ctx, json_t *volumes);
  void *ctx;
  unsigned open;
  json_t *list; /* in the order of the volumes */
};

/* A volume's name, not the volume: it may be gone when the answer comes. */
struct question {
  struct gather *gather;
  const struct volumes *volumes;
  char name[SF_VOLUME_NAME_MAX];
  size_t place;
};

static void
release(struct gather *gather) {
  if (--gather->open > 0)
    return;
  gather->done(gather->ctx, gather->list);
  free(gather);
}

static void
on_answer(void *ctx, int error, json_t *reply) {
  struct question *question = ctx;
  struct gather *gather = question->gather;
  struct volume *volume = sfd_volumes_find(question->volumes, question->name);
  json_t *own = json_array_get(json_object_get(reply, "volumes"), 0);
  char reason[SF_CONFIG_ERROR_MAX] = "";
  if (own == NULL)
    snprintf(reason, sizeof reason, "no answer from its server: %s",
             error ? strerror(-error) : sfd_events_text(reply, "error"));
  json_t *described = volume ? sfd_volume_describe(volume, own, reason) : NULL;
  if (described)
    json_array_set_new(gather->list, question->place, described);
  free(question);
  release(gather);
}

static void
ask(struct gather *gather, struct volume *volume) {
  size_t place = json_array_size(gather->list);
  json_array_append_new(gather->list, sfd_volume_describe(volume, NULL, ""));
  if (volume_state(volume) != VOLUME_SERVING && volume_state(volume) != VOLUME_STOPPING)
    return;
  struct question *question = calloc(1, sizeof *question);
  struct call *call;
  if (question == NULL)
    return;
  question->gather = gather;
  question->volumes = volume->volumes;
  question->place = place;
  snprintf(question->name, sizeof question->name, "%s", sfd_volume_name(volume));
  gather->open++;
  int r = sfd_volume_ask(volume, json_pack("{ss}", "command", "status"), ANSWER_US, on_answer,
                         question, &call);
  if (r < 0)
    on_answer(question, r, NULL);
}

void
sfd_collect_status(const struct volumes *volumes, const char *name,
                   void (*done)(void *ctx, json_t *volumes), void *ctx) {
  struct gather *gather = calloc(1, sizeof *gather);
  json_t *list = json_array();
  if (gather == NULL || list == NULL) {
    free(gather);
    json_decref(list);
    done(ctx, NULL);
    return;
  }
  *gather = (struct gather){.done = done, .ctx = ctx, .open = 1, .list = list};
  SF_LIST_EACH(entry, &volumes->list) {
    struct volume *volume = SF_LIST_ENTRY(entry, struct volume, entry);
    if (name == NULL || strcmp(name, sfd_volume_name(volume)) == 0)
      ask(gather, volume);
  }
  release(gather);
}

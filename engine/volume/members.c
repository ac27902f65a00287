/* Who the legs are.  Names and uuids are part of the identity that stands beside the record, as the
 * size is (grow.c): a change of them is a new record, and a start believes a disk to be a leg only if
 * the superblock whose record it starts from says so.  So the disk that a leg had before it was
 * replaced is foreign from that record on, however good its own superblock is. */
#include "volume/internal.h"

#include <errno.h>
#include <stdio.h>

static bool
is_out(const struct sf_volume *v, unsigned index) {
  const struct leg *leg = &v->leg[index];
  enum sf_leg_state state = leg_state(leg);

  return (state == SF_STATE_FAULTY || state == SF_STATE_MISSING) && leg->running == 0 &&
         !leg->opening && !((v->needs | v->durable.in_sync | v->latest.in_sync) & legbit(index));
}

static bool
may_change(const struct sf_volume *v) {
  return v->phase == PHASE_SERVING && !v->change.under_way && v->grow.step == GROW_NONE;
}

/* With the new identity in place. */
static void
begin(struct sf_volume *v, enum sf_volume_event_kind event, unsigned leg, legset faulty) {
  v->change = (struct member_change){.under_way = true, .event = event, .leg = leg};
  record_change(v, v->latest.in_sync, faulty, false);
}

static void
end(struct sf_volume *v, enum sf_volume_event_kind event, const char *reason) {
  v->change.under_way = false;
  volume_event(v, event, (int) v->change.leg, NULL, NULL, reason);
  v->dirty = true;
}

void
members_record_is_durable(struct sf_volume *v) {
  if (v->change.under_way)
    end(v, v->change.event, v->config.leg[v->change.leg].path);
}

void
members_stopped(struct sf_volume *v) {
  if (v->change.under_way)
    end(v, SF_EVENT_CHANGE_FAILED, "the volume was stopped before it was durable");
}

/* Nothing of what it may hold is known. */
static void
forget(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  leg->device = NULL;
  leg->meta.done = 0;
  map_leg_left(v, index);
  sf_map_fill(&leg->stale);
}

int
sf_volume_leg_replace(struct sf_volume *v, unsigned index, const struct sf_uuid *uuid,
                      const char *path, uint64_t now_ns) {
  struct sf_config_leg *config;
  int r = 0;

  if (index >= v->legs)
    return -ENOENT;
  volume_enter(v, now_ns);
  config = &v->config.leg[index];
  if (!may_change(v) || !is_out(v, index)) {
    r = -EBUSY;
  } else {
    if (path != NULL)
      snprintf(config->path, sizeof config->path, "%s", path);
    v->identity.leg_uuid[index] = *uuid;
    forget(v, index);
    begin(v, SF_EVENT_LEG_REPLACED, index, v->latest.faulty & (legset) ~legbit(index));
    leg_move(v, index, SF_STATE_MISSING, "replaced by the operator");
    v->leg[index].open_at_ns = now_ns;
    volume_arm(v, now_ns);
  }
  volume_settle(v);
  pthread_mutex_unlock(&v->lock);
  return r;
}

void
sf_volume_leg_path(struct sf_volume *v, unsigned leg, char path[PATH_MAX]) {
  pthread_mutex_lock(&v->lock);
  snprintf(path, PATH_MAX, "%s", v->config.leg[leg].path);
  pthread_mutex_unlock(&v->lock);
}

/* The members.  Names and uuids are part of the identity that stands beside the record, as the size
 * is (grow.c): a change of them is a new record, and a start believes a disk to be a leg only if
 * the superblock that it starts from says so.  So the disk that a leg had before it was replaced is
 * foreign from that record on, however good its own superblock is. */
#include "volume/change/members.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "volume/change/scrub.h"
#include "volume/ground/deadline.h"
#include "volume/ground/facts.h"
#include "volume/ground/flush_lost.h"
#include "volume/ground/host.h"
#include "volume/ground/leg_io.h"
#include "volume/ground/leg_memory.h"
#include "volume/set/leg.h"
#include "volume/set/map_pages.h"
#include "volume/set/record.h"

static bool
is_out(const struct sf_volume *v, unsigned index) {
  const struct leg *leg = &v->leg[index];
  enum sf_leg_state state = sf_leg_state(leg);

  return (state == SF_STATE_FAULTY || state == SF_STATE_MISSING) && leg->running == 0 &&
         !leg->opening && !((v->ack_legs | v->durable.in_sync | v->latest.in_sync) & legbit(index));
}

static bool
may_change(const struct sf_volume *v) {
  return v->phase == PHASE_SERVING && !v->change.under_way && v->grow.step == GROW_NONE;
}

/* With the new identity in place. */
static void
begin(struct sf_volume *v, enum sf_volume_event_kind event, unsigned leg, legset faulty) {
  v->change = (struct member_change){.under_way = true, .event = event, .leg = leg};
  sf_record_change(v, v->latest.in_sync, faulty, false);
  v->change.version = v->version;
}

static void
end(struct sf_volume *v, enum sf_volume_event_kind event, const char *reason) {
  v->change.under_way = false;
  sf_vol_event(v, event, (int) v->change.leg, NULL, NULL, reason);
  v->dirty = true;
}

void
sf_members_settle(struct sf_volume *v) {
  unsigned leg = v->change.leg;

  if (!v->change.under_way || !sf_record_is_reached(v, v->change.version))
    return;
  end(v, v->change.event, v->config.leg[leg].path);
  if (v->change.event == SF_EVENT_LEG_REMOVED)
    v->config.leg[leg] = (struct sf_config_leg){0};
  else
    sf_vol_arm(v, v->now_ns); /* its disk waits to be opened */
}

void
sf_members_stopped(struct sf_volume *v) {
  if (v->change.under_way)
    end(v, SF_EVENT_CHANGE_FAILED, "the volume was stopped before it was durable");
}

/* Forgets all that is known of the disk's contents, and all that was planned for it. */
static void
forget(struct sf_volume *v, unsigned index, enum sf_leg_blank blank) {
  struct leg *leg = &v->leg[index];

  leg->device = NULL;
  leg->gone_look = 0; /* of its device: a leg that is removed stays faulty */
  leg->blank = blank;
  leg->meta.done = 0;
  sf_map_leg_left(v, index);
  sf_flush_failure_left(v, index);
  sf_map_fill(&leg->stale);
  sf_deadline_forget(v, index);
  sf_medium_forget(&v->leg[index]);
  sf_leg_io_forget(&v->leg[index]);
  sf_scrub_leg_is_another(v, index);
}

int
sf_member_replace(struct sf_volume *v, unsigned index, const struct sf_uuid *uuid,
                  const char *path) {
  if (!sf_leg_is_member(v, index))
    return -ENOENT;
  if (!may_change(v) || !is_out(v, index))
    return -EBUSY;
  if (path != NULL)
    snprintf(v->config.leg[index].path, sizeof v->config.leg[index].path, "%s", path);
  v->identity.leg_uuid[index] = *uuid;
  forget(v, index, SF_BLANK_NEW);
  begin(v, SF_EVENT_LEG_REPLACED, index, v->latest.faulty & (legset) ~legbit(index));
  sf_leg_look_for(v, index, "replaced by the operator");
  return 0;
}

/* ---- one more, one less ---- */

int
sf_member_find(const struct sf_volume *v, const char *name) {
  EACH_LEG(leg, sf_members(v))
    if (strcmp(v->identity.leg_name[leg], name) == 0)
      return (int) leg;
  return -ENOENT;
}

int
sf_member_free_place(const struct sf_volume *v) {
  legset empty = v->identity.removed;

  if (empty != 0)
    return __builtin_ctz(empty);
  return v->legs < SF_LEGS_MAX ? (int) v->legs : -ENOSPC;
}

/* What a place needs that never had a leg. */
static int
make_place(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];
  int r;

  if (index < v->legs)
    return 0;
  *leg = (struct leg){.index = index};
  sf_leg_io_init(leg);
  r = sf_leg_init_memory(v, index);
  if (r < 0) {
    sf_leg_free_memory(v, index);
    return r;
  }
  sf_state_init(&leg->machine, &sf_leg_table, index, SF_STATE_FAULTY);
  v->legs = v->config.legs = index + 1;
  v->identity.legs = (uint8_t) v->legs;
  v->identity.removed |= legbit(index);
  return 0;
}

int
sf_member_add(struct sf_volume *v, const char *name, const char *path, const struct sf_uuid *uuid,
              unsigned *index) {
  struct sf_config_leg *config;
  int place = sf_member_free_place(v), r;

  if (!may_change(v))
    return -EBUSY;
  if (sf_member_find(v, name) >= 0)
    return -EEXIST;
  if (place < 0)
    return place;
  if ((unsigned) place < v->legs && !is_out(v, (unsigned) place))
    return -EBUSY; /* what the removed leg held in the kernel has not ended */
  r = make_place(v, (unsigned) place);
  if (r < 0)
    return r;
  *index = (unsigned) place;
  v->identity.removed &= (legset) ~legbit(*index);
  v->identity.leg_uuid[*index] = *uuid;
  snprintf(v->identity.leg_name[*index], SF_LEG_NAME_MAX, "%s", name);
  config = &v->config.leg[*index];
  *config = (struct sf_config_leg){0};
  snprintf(config->name, sizeof config->name, "%s", name);
  snprintf(config->path, sizeof config->path, "%s", path);
  forget(v, *index, SF_BLANK_NEW);
  begin(v, SF_EVENT_LEG_ADDED, *index, v->latest.faulty);
  sf_leg_look_for(v, *index, "added by the operator");
  return 0;
}

int
sf_member_remove(struct sf_volume *v, unsigned index) {
  unsigned least = v->config.min_legs > v->min_legs ? v->config.min_legs : v->min_legs;
  legset bit = legbit(index);

  if (!sf_leg_is_member(v, index))
    return -ENOENT;
  if (!may_change(v) || !is_out(v, index))
    return -EBUSY;
  if (legcount(sf_members(v)) <= least)
    return -EPERM;
  forget(v, index, SF_BLANK_NOT);
  if (sf_leg_state(&v->leg[index]) != SF_STATE_FAULTY)
    sf_leg_move(v, index, SF_STATE_FAULTY, "removed by the operator");
  v->identity.removed |= bit;
  begin(v, SF_EVENT_LEG_REMOVED, index, v->latest.faulty & (legset) ~bit);
  return 0;
}

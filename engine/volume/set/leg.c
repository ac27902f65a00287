/* A leg's standing: in sync, late, back again (R4, R5, R14). */
#include "volume/set/leg.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "volume/ground/copying.h"
#include "volume/ground/facts.h"
#include "volume/ground/flush_lost.h"
#include "volume/ground/host.h"
#include "volume/ground/leg_io.h"
#include "volume/ground/penalty.h"
#include "volume/ground/silence.h"
#include "volume/set/map_pages.h"
#include "volume/set/record.h"

enum {
  ROOM_LEAST_S = 5, /* a leg without room is not tried before */
  ROOM_MOST_S = 60,
};

const struct sf_state_table sf_leg_table = {
    .machine = "leg",
    .states = SF_LEG_STATES,
    .name = {"in-sync", "late", "probing", "catching-up", "missing", "faulty"},
    .moves =
        {
            [SF_STATE_IN_SYNC] = SF_MOVE_TO(SF_STATE_LATE) | SF_MOVE_TO(SF_STATE_MISSING) |
                                 SF_MOVE_TO(SF_STATE_FAULTY),
            [SF_STATE_LATE] = SF_MOVE_TO(SF_STATE_PROBING) | SF_MOVE_TO(SF_STATE_FAULTY),
            [SF_STATE_PROBING] = SF_MOVE_TO(SF_STATE_CATCHING_UP) | SF_MOVE_TO(SF_STATE_LATE) |
                                 SF_MOVE_TO(SF_STATE_MISSING) | SF_MOVE_TO(SF_STATE_FAULTY),
            [SF_STATE_CATCHING_UP] = SF_MOVE_TO(SF_STATE_IN_SYNC) | SF_MOVE_TO(SF_STATE_LATE) |
                                     SF_MOVE_TO(SF_STATE_MISSING) | SF_MOVE_TO(SF_STATE_FAULTY),
            [SF_STATE_MISSING] = SF_MOVE_TO(SF_STATE_PROBING) | SF_MOVE_TO(SF_STATE_FAULTY),
            [SF_STATE_FAULTY] = SF_MOVE_TO(SF_STATE_PROBING) | SF_MOVE_TO(SF_STATE_MISSING),
        },
};

_Static_assert(SF_LEG_STATES <= SF_STATES_MAX, "the leg's states fit a table");

const char *
sf_leg_state_name(enum sf_leg_state state) {
  return sf_leg_table.name[state];
}

/* It is out for want of room, which probes do not show: they write where it has some.  So it is
 * tried again with pauses, and not in a circle of copies that end where the room does. */
static void
wait_for_room(struct sf_volume *v, struct leg *leg, enum sf_leg_state from) {
  if (leg->no_room_ns == 0 || v->now_ns - leg->no_room_ns > SF_S)
    return;
  if (from == SF_STATE_IN_SYNC && v->now_ns - leg->state_ns > ROOM_MOST_S * SF_S)
    leg->room_pause_ns = 0;
  leg->room_pause_ns *= 2;
  if (leg->room_pause_ns < ROOM_LEAST_S * SF_S)
    leg->room_pause_ns = ROOM_LEAST_S * SF_S;
  if (leg->room_pause_ns > ROOM_MOST_S * SF_S)
    leg->room_pause_ns = ROOM_MOST_S * SF_S;
  leg->room_at_ns = v->now_ns + leg->room_pause_ns;
}

static void
check_move(void *owner, const struct sf_state_machine *machine) {
  const struct sf_volume *v = owner;
  const struct leg *leg = &v->leg[machine->id];

  if (sf_leg_state(leg) == SF_STATE_IN_SYNC) {
    SF_ASSERT(leg->device != NULL);
    SF_ASSERT(leg->stale.set == 0);
  }
}

/* It is another disk, or the operator has taken it back. */
void
sf_medium_forget(struct leg *leg) {
  leg->medium.errors = 0;
  leg->medium.told = false;
}

/* It is compared anew. */
void
sf_pace_forget(struct leg *leg) {
  leg->pace = (struct pace){0};
}

void
sf_leg_move(struct sf_volume *v, unsigned index, enum sf_leg_state to, const char *reason) {
  struct leg *leg = &v->leg[index];
  enum sf_leg_state from = sf_leg_state(leg);
  struct sf_state_hooks hooks = sf_volume_hooks;

  hooks.invariant = check_move;
  if (from == to)
    return;
  snprintf(leg->reason, sizeof leg->reason, "%s", reason);
  sf_state_move(&leg->machine, to, &hooks, v);
  leg->erred = to == SF_STATE_FAULTY && leg->troubled_ns != 0;
  leg->drain_until_ns = 0;
  leg->ready = false;
  leg->gone_look = 0; /* its disk may be another one when the answer comes */
  if (to == SF_STATE_LATE)
    wait_for_room(v, leg, from);
  leg->state_ns = v->now_ns;
  sf_vol_event(v, SF_EVENT_LEG_STATE, (int) index, sf_leg_state_name(from), sf_leg_state_name(to),
               reason);
  if (to == SF_STATE_LATE || to == SF_STATE_MISSING || to == SF_STATE_FAULTY)
    sf_leg_io_drop_of_leg(v, index);
  if (to == SF_STATE_FAULTY)
    sf_medium_forget(leg);
  if (to == SF_STATE_IN_SYNC) {
    leg->avoid = false;
    sf_pace_forget(leg);
  }
  sf_penalty_moved(v, index, from);
  if (to == SF_STATE_MISSING)
    leg->open_at_ns = v->now_ns;
  v->dirty = true;
}

void
sf_leg_is_opened(struct sf_volume *v, unsigned index, struct sf_tio_device *device,
                 const struct sf_superblock *sb, uint64_t bytes) {
  struct leg *leg = &v->leg[index];

  leg->device = device;
  leg->bytes = bytes;
  leg->mark_seen = false;
  leg->sb = *sb;
  leg->opened_serial = sb->serial;
  /* What the other copy says is not known, and a start may find that one alone. */
  leg->meta.untold = (1u << SF_SUPERBLOCK_COPIES) - 1;
  if (!(sb->record.in_sync & legbit(index)))
    leg->meta.untold &= ~(1u << sb->serial % SF_SUPERBLOCK_COPIES);
}

/* R14: a leg that was taken out for its errors or by the operator stays out over a restart, and one
 * that was taken back stays in, so the record says it. */
void
sf_leg_record_faulty(struct sf_volume *v, unsigned index, bool is_faulty) {
  legset bit = legbit(index);
  legset faulty = is_faulty ? v->latest.faulty | bit : v->latest.faulty & (legset) ~bit;

  if (faulty == v->latest.faulty || v->phase == PHASE_STOPPED)
    return;
  if (v->phase == PHASE_CLAIMING)
    v->latest.faulty = faulty; /* the first record of the term takes it along */
  else
    sf_record_change(v, v->latest.in_sync, faulty, false);
}

/* Missing, whatever it was, and opened as soon as it may be. */
void
sf_leg_look_for(struct sf_volume *v, unsigned index, const char *reason) {
  struct leg *leg = &v->leg[index];

  if (sf_leg_state(leg) != SF_STATE_MISSING)
    sf_leg_move(v, index, SF_STATE_MISSING, reason);
  else
    snprintf(leg->reason, sizeof leg->reason, "%s", reason);
  leg->open_at_ns = v->now_ns;
  sf_vol_arm(v, v->now_ns);
}

void
sf_leg_mark_stale(struct sf_volume *v, unsigned index, uint64_t offset, uint64_t length) {
  sf_map_set_range(&v->leg[index].stale, extent_of(v, offset), extent_of(v, offset + length - 1));
}

/* Is its copy of any of this good, so that the write must reach it too? */
bool
sf_leg_wants(const struct sf_volume *v, unsigned index, uint64_t offset, uint64_t length) {
  uint64_t last = extent_of(v, offset + length - 1);

  for (uint64_t e = extent_of(v, offset); e <= last; e++)
    if (!sf_map_test(&v->leg[index].stale, e) || sf_copier_has_piece(v, index, e, offset, length))
      return true;
  return false;
}

/* Reading 13: legs that lack what this one has, as a flush failed there, are not among the rest
 * that must stay; unit/volume-flush-failure, the_leg_that_has_the_data_does_not_leave, holds it.
 * Not while a term is claimed: a start may do without a leg's claim only as claim_can_spare() has
 * it. */
bool
sf_leg_can_leave(const struct sf_volume *v, unsigned index) {
  legset rest = sf_insync_legs(v) & (legset) ~(legbit(index) | sf_flush_failure_lacking(v, index));

  return v->phase != PHASE_CLAIMING && (v->latest.in_sync & legbit(index)) && rest != 0 &&
         legcount(rest) >= v->min_legs;
}

static void
stop_waiting_for_fua(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  if (leg->flush_waiting == NULL)
    return;
  leg->flush_waiting->pending &= (legset) ~legbit(index);
  leg->flush_waiting = NULL;
  v->dirty = true;
}

/* For any reason to leave: extents with writes in flight there, unflushed ones, and ones not yet
 * made equal after a crash are stale there from now on. */
static void
go_stale(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];
  legset bit = legbit(index);

  sf_map_unite(&leg->stale, &leg->unflushed);
  sf_map_unite(&leg->stale, &leg->flushing);
  sf_map_unite(&leg->stale, &leg->lost);
  sf_map_unite(&leg->stale, &v->unconverged);
  sf_map_zero(&leg->unflushed);
  sf_map_zero(&leg->flushing);
  leg->flush_op = NULL;
  stop_waiting_for_fua(v, index);
  sf_flush_failure_left(v, index); /* all that it stood for is stale now */
  sf_map_leg_left(v, index);
  if (v->flush_leader != NULL)
    v->flush_leader->failed &= (legset) ~bit;
  EACH_ACTIVE(op, v) {
    bool writes = op->kind->writes || (op->writing & bit);

    op->failed &= (legset) ~bit; /* it says nothing of the leg when it is back */
    if (!writes || !(op->sent & bit) || (op->ok & bit))
      continue;
    sf_leg_mark_stale(v, index, op->offset, op->length);
    if (op->kind->reads || op->scrubs) /* a repair: no intent stands for what it may have torn */
      for (uint64_t p = map_page_of(extent_of(v, op->offset));
           p <= map_page_of(extent_of(v, op->offset + op->length - 1)); p++)
        sf_map_changed(v, p, true);
  }
  sf_copier_leg_left(v, index);
}

/* It may have dropped what it has not flushed, unseen or unheard: then what a leg that catches up
 * was given of that is what it had before. */
void
sf_leg_doubt_copies(struct sf_volume *v, unsigned index) {
  const struct sf_map *const unflushed[] = {&v->leg[index].unflushed, &v->leg[index].flushing};

  for (unsigned i = 0; i < 2; i++)
    for (uint64_t e = sf_map_next(unflushed[i], 0); e < v->extents;
         e = sf_map_next(unflushed[i], e + 1))
      sf_copier_doubt_resync(v, e);
  /* A promotion is undone by the record that takes this leg out. */
  if (v->joining >= 0 && v->promoting < 0 && v->leg[v->joining].stale.set > 0)
    sf_record_drop_newcomer(v);
}

void
sf_leg_demote(struct sf_volume *v, unsigned index, enum sf_leg_state to, const char *reason) {
  legset bit = legbit(index), faulty = v->latest.faulty;

  SF_ASSERT(sf_leg_can_leave(v, index));
  sf_leg_doubt_copies(v, index);
  go_stale(v, index);
  sf_leg_move(v, index, to, reason);
  if (to == SF_STATE_FAULTY)
    faulty |= bit;
  sf_record_change(v, v->latest.in_sync & (legset) ~bit, faulty, false);
}

void
sf_leg_lost_its_place(struct sf_volume *v, unsigned index, unsigned to) {
  char reason[128];

  snprintf(reason, sizeof reason, "it did not answer for %" PRIu64 " s, and leg %s took its place",
           sf_insync_silent_ns(v, index) / SF_S, v->config.leg[to].name);
  sf_leg_doubt_copies(v, index);
  go_stale(v, index);
  sf_leg_move(v, index, SF_STATE_LATE, reason);
}

/* Out of catching-up, or of the moments before its promotion is durable: no answer relies on it
 * yet, so no evidence and no count is asked. */
void
sf_leg_fall_back(struct sf_volume *v, unsigned index, enum sf_leg_state to, const char *reason) {
  legset bit = legbit(index);
  enum sf_leg_state from = sf_leg_state(&v->leg[index]);

  if (from != SF_STATE_CATCHING_UP && from != SF_STATE_PROBING)
    return;
  go_stale(v, index);
  sf_leg_move(v, index, to, reason);
  if (v->joining == (int) index)
    sf_record_drop_newcomer(v);
  if (v->latest.in_sync & bit)
    sf_record_change(v, v->latest.in_sync & (legset) ~bit, v->latest.faulty, false);
  if (to == SF_STATE_FAULTY)
    sf_leg_record_faulty(v, index, true);
}

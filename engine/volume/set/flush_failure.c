/* A flush that failed (R9), whatever carried it: a client's FLUSH, a write with FUA, a page of the
 * maps, a superblock.  The disk may have dropped all that it had not made stable, and a later flush
 * that succeeds says nothing of that.  Unflushed data on the leg are `lost` there from now on:
 *
 *   - the leg leaves the set as soon as others that lost nothing have shown since that they answer;
 *   - until then it is read only where there is no other leg, it is no reason for a leg to leave
 *     that has what it lacks (reading 13), and no client's flush succeeds that needs it;
 *   - a leg that cannot leave is made whole: what another leg has is converged from there (R11),
 *     written even where it reads alike, since a cache may still show what the disk will never get,
 *     and flushed;
 *   - what no leg has for certain stays lost, also on a leg that is copied from such a one.  The
 *     legs are made equal there, and clients' flushes fail until the operator has taken note (`leg
 *     return`): then the content of the legs is made stable, and is taken for right.
 *
 * The superblock names such legs, so that a start knows: then all that has intent counts as lost
 * there.
 *
 * A leg that had flushed everything has lost nothing, and a flush that was never carried out,
 * because there was no path or no memory, has dropped nothing: both are tried again like any other
 * request. */
#include "volume/set/flush_failure.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "volume/ground/copying.h"
#include "volume/ground/facts.h"
#include "volume/ground/fault.h"
#include "volume/ground/flush_lost.h"
#include "volume/ground/scrub_state.h"
#include "volume/ground/silence.h"
#include "volume/ground/trouble.h"
#include "volume/set/insync.h"
#include "volume/set/leg.h"
#include "volume/set/map_pages.h"
#include "volume/set/record.h"
#include "volume/set/sample.h"

/* ---- lost extents ---- */

/* On the legs, with the next superblock.  While a term is claimed the claim is written anew: its
 * record is that of the term before. */
static void
tell_legs(struct sf_volume *v, unsigned index, bool is_lost) {
  legset bit = legbit(index);
  legset lost = is_lost ? v->identity.lost | bit : v->identity.lost & (legset) ~bit;

  if (lost == v->identity.lost || v->phase == PHASE_STOPPED)
    return;
  v->identity.lost = lost;
  v->dirty = true;
  if (v->phase == PHASE_CLAIMING)
    v->version++;
  else
    sf_record_change(v, v->latest.in_sync, v->latest.faulty, false);
}

static bool
is_of_op(const struct sf_op *op, const struct leg_io *io) {
  return io >= op->io && io < op->io + SF_LEGS_MAX;
}

static bool
drops_the_cache(int error) {
  enum fault fault = sf_fault_of(error);

  return fault != FAULT_PATH && fault != FAULT_OURS;
}

/* What was never written cannot be lost: its zeros are written anew (R17). */
static void
drop_unwritten(struct sf_volume *v, struct leg *leg) {
  const struct sf_map *zeroing = &v->copier.zeroing;

  sf_map_subtract(&v->suspect, &v->unwritten);
  sf_map_subtract(&leg->unsure, &v->unwritten);
  for (uint64_t e = sf_map_next(zeroing, 0); e < v->extents; e = sf_map_next(zeroing, e + 1))
    sf_copier_spoil(v, e);
}

/* Not only waits to be sent. */
static bool
has_got(const struct sf_op *op, unsigned index) {
  for (unsigned i = 0; i < op->ios; i++)
    for (unsigned p = 0; op->io[i].running > 0 && p < op->io[i].regions; p++)
      if (op->io[i].part[p].leg == index && op->io[i].part[p].state == PART_SENT)
        return true;
  return false;
}

/* A write that still runs may have reached the disk before the flush did.  The write that carried
 * the flush is not acknowledged; but what shows of it may vanish again. */
static void
collect(struct sf_volume *v, unsigned index, const struct leg_io *io) {
  struct leg *leg = &v->leg[index];

  leg->dropped_seq = v->io_seq;
  sf_map_unite(&v->suspect, &leg->unflushed);
  sf_map_unite(&v->suspect, &leg->flushing);
  EACH_ACTIVE(op, v) {
    bool writes = op->kind->writes || (op->writing & legbit(index));

    if (!writes || !(op->running & legbit(index)) || (!is_of_op(op, io) && !has_got(op, index)))
      continue;
    sf_map_set_range(is_of_op(op, io) ? &leg->unsure : &v->suspect, extent_of(v, op->offset),
                     extent_of(v, op->offset + op->length - 1));
  }
  drop_unwritten(v, leg);
  sf_map_unite(&leg->unsure, &v->suspect);
}

void
sf_flush_failure_collect(struct sf_volume *v, unsigned index, const struct leg_io *io, int error) {
  enum sf_leg_state state = sf_leg_state(&v->leg[index]);

  v->suspect_is_copied = state != SF_STATE_CATCHING_UP && state != SF_STATE_PROBING;
  sf_map_zero(&v->suspect);
  if (drops_the_cache(error))
    collect(v, index, io);
}

static bool
another_has(const struct sf_volume *v, unsigned index, uint64_t extent) {
  EACH_LEG(other, sf_insync_legs(v) & (legset) ~legbit(index)) {
    if (!sf_map_test(&v->leg[other].lost, extent))
      return true;
  }
  return false;
}

/* Extents that were to be made whole from the leg that lost them now. */
static void
cannot_heal(struct sf_volume *v, unsigned index) {
  const struct sf_map *suspect = &v->suspect;

  for (uint64_t e = sf_map_next(suspect, 0); e < v->extents; e = sf_map_next(suspect, e + 1))
    if (!another_has(v, index, e))
      sf_map_clear(&v->leg[index].healing, e);
}

/* Until the failure was heard, copies were made of what the leg had dropped already.  Which of
 * them, no event tells: a leg that catches up lacks all of it, and where a convergence has written
 * all legs may. */
static void
doubt_copies(struct sf_volume *v) {
  const struct sf_map *suspect = &v->suspect;

  for (uint64_t e = sf_map_next(suspect, 0); e < v->extents; e = sf_map_next(suspect, e + 1)) {
    bool was_the_word = sf_scrub_loses_word(v, e);

    sf_copier_doubt_resync(v, e);
    if (was_the_word || sf_copier_has_converged(v, e))
      sf_flush_failure_spread(v, e);
  }
  if (v->promoting >= 0) /* undone by the very next record, not forgotten */
    sf_record_change(v, v->latest.in_sync, v->latest.faulty, false);
  else if (v->joining >= 0)
    sf_record_drop_newcomer(v);
}

/* The extents in v->suspect are lost there. */
static void
lose(struct sf_volume *v, unsigned index, int error) {
  struct leg *leg = &v->leg[index];
  const struct sf_map *suspect = &v->suspect;

  sf_map_unite(&leg->lost, suspect);
  /* A convergence that wrote there, or read there, is worth nothing. */
  for (uint64_t e = sf_map_next(suspect, 0); e < v->extents; e = sf_map_next(suspect, e + 1))
    if (sf_map_test(&v->unconverged, e))
      sf_copier_spoil(v, e);
  for (unsigned i = 0; i < v->legs; i++)
    if (i != index)
      cannot_heal(v, i);
  leg->flush_failed = true;
  leg->heals = false;
  leg->flush_failed_ns = v->now_ns;
  leg->flush_error = error;
  sf_map_write_again(v, index);
  sf_record_doubt(v, index);
  tell_legs(v, index, true);
  v->dirty = true;
}

/* Nothing else was unflushed, and pages may have gone to the leg beside it. */
static void
note_for_pages(struct sf_volume *v, unsigned index, int error) {
  if (!drops_the_cache(error) || !(sf_map_targets(v) & legbit(index)))
    return;
  sf_map_write_again(v, index);
  sf_record_doubt(v, index);
}

void
sf_flush_failure_note(struct sf_volume *v, unsigned index, int error) {
  char reason[128];

  if (v->phase == PHASE_STOPPED)
    return;
  if (v->suspect.set == 0) {
    note_for_pages(v, index, error);
    return;
  }
  snprintf(reason, sizeof reason, "a flush failed: %s", strerror(-error));
  if (v->suspect_is_copied)
    doubt_copies(v);
  if ((sf_insync_legs(v) | v->exchange.leaving) & legbit(index)) {
    lose(v, index, error);
    if (!sf_insync_is_blamed(v, index))
      sf_leg_trouble(v, index, reason);
  } else {
    if (v->phase == PHASE_CLAIMING)
      tell_legs(v, index, true); /* the start goes on without it, and no record says so yet */
    sf_leg_fall_back(v, index, sf_leg_state_for(error), reason);
  }
}

/* The disk behind the path now may have been without power meanwhile, or be another cache. */
void
sf_flush_failure_reopened(struct sf_volume *v, unsigned index) {
  v->suspect_is_copied = true;
  sf_map_zero(&v->suspect);
  collect(v, index, NULL);
  sf_flush_failure_note(v, index, -ENODEV);
}

/* With the maps loaded. */
void
sf_flush_failure_load(struct sf_volume *v, const struct sf_volume_params *params) {
  legset current = params->assembly->current, lost = 0;

  EACH_LEG(index, current) {
    lost |= params->leg[index].sb.lost;
  }
  /* Of legs that are absent it is kept until there is a record that takes them out. */
  v->identity.lost |= lost;
  if (v->maps.intent.set == 0)
    v->identity.lost &= (legset) ~current;
  EACH_LEG(index, v->identity.lost & current) {
    struct leg *leg = &v->leg[index];

    sf_map_unite(&leg->lost, &v->maps.intent);
    sf_map_unite(&leg->unsure, &v->maps.intent);
    leg->flush_failed = true;
    leg->flush_failed_ns = v->now_ns;
    leg->flush_error = -EIO;
    snprintf(leg->reason, sizeof leg->reason, "a flush failed before this start");
  }
}

/* ---- what becomes of it ---- */

static void
begin_healing(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  for (uint64_t e = sf_map_next(&leg->lost, 0); e < v->extents;
       e = sf_map_next(&leg->lost, e + 1)) {
    if (another_has(v, index, e))
      sf_map_set(&leg->healing, e);
    if (sf_map_set(&v->unconverged, e))
      sf_copier_spoil(v, e);
  }
  leg->heals = true;
  v->dirty = true;
}

static void
heal(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  for (uint64_t e = sf_map_next(&leg->healing, 0); e < v->extents;
       e = sf_map_next(&leg->healing, e + 1))
    if (!sf_map_test(&v->unconverged, e)) {
      sf_map_clear(&leg->healing, e);
      sf_map_clear(&leg->lost, e);
    }
  if (leg->lost.set > 0)
    return;
  leg->flush_failed = leg->heals = false;
  sf_leg_well(v, index);
  tell_legs(v, index, false);
  v->dirty = true;
}

static legset
good_ones(const struct sf_volume *v, unsigned index) {
  return sf_insync_legs(v) & (legset) ~(sf_flush_failure_legs(v) | legbit(index));
}

/* Not for a leg that lost as much itself. */
static bool
may_leave_for_good_ones(const struct sf_volume *v, unsigned index) {
  legset good = good_ones(v, index);

  return sf_leg_can_leave(v, index) && good != 0 && legcount(good) >= v->min_legs;
}

void
sf_flush_failure_settle(struct sf_volume *v) {
  char reason[128];

  EACH_LEG(index, sf_flush_failure_legs(v)) {
    struct leg *leg = &v->leg[index];

    if (may_leave_for_good_ones(v, index) && !(leg->heals && leg->healing.set == leg->lost.set)) {
      if (!sf_insync_leg_is_alone(v, index, leg->flush_failed_ns + 1)) {
        sf_probe_ask_for_word(v, good_ones(v, index)); /* they have not been heard since */
        continue;
      }
      snprintf(reason, sizeof reason, "a flush failed: %s", strerror(-leg->flush_error));
      sf_leg_demote(v, index, sf_leg_state_for(leg->flush_error), reason);
    } else if (v->phase == PHASE_SERVING) {
      if (!leg->heals && legcount(sf_insync_legs(v)) > 1)
        begin_healing(v, index);
      if (leg->heals)
        heal(v, index);
    }
  }
}

/* Everything that it may lack is on its way from another leg, or it leaves. */
bool
sf_flush_failure_heals(const struct sf_volume *v, unsigned index) {
  const struct leg *leg = &v->leg[index];

  return may_leave_for_good_ones(v, index) || (leg->heals && leg->healing.set == leg->lost.set);
}

/* The operator knows: what no leg has is lost.  What the legs have instead is written and
 * flushed. */
void
sf_flush_failure_forgive(struct sf_volume *v, unsigned index) {
  if (!(sf_flush_failure_legs(v) & legbit(index)) || v->phase != PHASE_SERVING)
    return;
  EACH_LEG(other, sf_flush_failure_legs(v)) {
    struct leg *leg = &v->leg[other];

    begin_healing(v, other);
    sf_map_unite(&leg->healing, &leg->lost);
  }
}

bool
sf_flush_failure_is_inherited(const struct sf_volume *v) {
  EACH_LEG(leg, sf_flush_failure_legs(v)) {
    if (!sf_flush_failure_heals(v, leg))
      return true;
  }
  return false;
}

void
sf_flush_failure_inherit(struct sf_volume *v, unsigned index) {
  struct leg *joined = &v->leg[index];

  EACH_LEG(other, sf_flush_failure_legs(v)) {
    struct leg *leg = &v->leg[other];

    sf_map_zero(&v->suspect);
    sf_map_unite(&v->suspect, &leg->lost);
    sf_map_subtract(&v->suspect, &leg->healing);
    sf_map_unite(&joined->lost, &v->suspect);
    joined->flush_error = leg->flush_error;
  }
  if (joined->lost.set == 0) {
    v->identity.lost &= (legset) ~legbit(index);
    return;
  }
  joined->flush_failed = true;
  joined->heals = false;
  joined->flush_failed_ns = v->now_ns;
  snprintf(joined->reason, sizeof joined->reason, "copied from a leg on which a flush failed");
}

void
sf_flush_failure_spread(struct sf_volume *v, uint64_t extent) {
  EACH_LEG(index, sf_insync_legs(v)) {
    struct leg *leg = &v->leg[index];

    sf_map_clear(&leg->healing, extent);
    if (!sf_map_set(&leg->lost, extent) || leg->flush_failed)
      continue;
    leg->flush_failed = true;
    leg->heals = false;
    leg->flush_failed_ns = v->now_ns;
    leg->flush_error = -EIO;
    tell_legs(v, index, true);
  }
  v->dirty = true;
}

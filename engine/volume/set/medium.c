/* Blocks that a leg could not read for a medium error and another leg could: counted, told, and
 * past a bound the leg is faulty.
 *
 * The mirror mends a disk that cannot read a block here and there, and the operator is to know; a
 * disk that goes on so is failing, and every read of it costs clients a second one.  As md has it
 * (max_read_errors): more than so many within about an hour, and the leg is faulty, if the others
 * can do without it.  The count halves each hour.
 *
 * One event tells many: the first at once, later ones together, after ten seconds. */
#include "volume/set/medium.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "volume/ground/facts.h"
#include "volume/ground/fault.h"
#include "volume/ground/flush_lost.h"
#include "volume/ground/host.h"
#include "volume/ground/outbox.h"
#include "volume/ground/silence.h"
#include "volume/ground/unwritten.h"
#include "volume/set/leg.h"

enum {
  HOUR_S = 3600,
  TELL_S = 10,
  HEARD_S = 5, /* a leg in sync is read so often at least, if only for its holder */
};

/* ---- told ---- */

static void
tell(struct sf_volume *v, enum sf_volume_event_kind kind, int leg, struct tally *tally) {
  char reason[192];
  struct sf_volume_event event = {
      .kind = kind,
      .leg = leg,
      .reason = reason,
      .offset = tally->offset,
      .length = tally->length,
      .error = tally->error,
      .count = tally->untold,
  };
  int n = 0;

  if (tally->untold > 1)
    n = snprintf(reason, sizeof reason, "%" PRIu64 " more, the last of them ", tally->untold);
  snprintf(reason + n, sizeof reason - (size_t) n, "%" PRIu64 " bytes at %" PRIu64 ": %s",
           tally->length, tally->offset, strerror(-tally->error));
  tally->untold = 0;
  tally->told_ns = v->now_ns;
  sf_vol_tell(v, &event);
}

static bool
is_time_to_tell(const struct sf_volume *v, const struct tally *tally) {
  return tally->untold > 0 && sf_outbox_has_room(&v->outbox) &&
         (tally->told_ns == 0 || v->now_ns - tally->told_ns >= TELL_S * SF_S);
}

static void
add(struct sf_volume *v, enum sf_volume_event_kind kind, int leg, struct tally *tally,
    const struct tally *what) {
  tally->untold++;
  tally->offset = what->offset;
  tally->length = what->length;
  tally->error = what->error;
  if (is_time_to_tell(v, tally))
    tell(v, kind, leg, tally);
}

void
sf_medium_repaired(struct sf_volume *v, unsigned leg, uint64_t offset, uint64_t length, int error) {
  struct medium *medium = &v->leg[leg].medium;
  struct tally what = {.offset = offset, .length = length, .error = error};

  medium->repairs++;
  add(v, SF_EVENT_READ_REPAIRED, (int) leg, &medium->repaired, &what);
}

void
sf_medium_read_failed(struct sf_volume *v, uint64_t offset, uint64_t length, int error) {
  struct tally what = {.offset = offset, .length = length, .error = error};

  if (error != -ESHUTDOWN) /* given up, or a stop: no leg failed */
    add(v, SF_EVENT_READ_FAILED, -1, &v->read_failed, &what);
}

static void
tell_all(struct sf_volume *v, bool at_once) {
  for (unsigned i = 0; i < v->legs; i++) {
    struct tally *repaired = &v->leg[i].medium.repaired;

    if (is_time_to_tell(v, repaired) || (at_once && repaired->untold > 0))
      tell(v, SF_EVENT_READ_REPAIRED, (int) i, repaired);
  }
  if (is_time_to_tell(v, &v->read_failed) || (at_once && v->read_failed.untold > 0))
    tell(v, SF_EVENT_READ_FAILED, -1, &v->read_failed);
}

void
sf_medium_stopped(struct sf_volume *v) {
  tell_all(v, true);
}

/* ---- counted ---- */

static void
fade(const struct sf_volume *v, struct medium *medium) {
  uint64_t hours = (v->now_ns - medium->since_ns) / (HOUR_S * SF_S);

  if (hours == 0)
    return;
  medium->errors = hours < 32 ? medium->errors >> hours : 0;
  medium->since_ns += hours * HOUR_S * SF_S;
}

void
sf_medium_failed(struct sf_volume *v, unsigned leg, uint64_t offset, int error) {
  struct medium *medium = &v->leg[leg].medium;

  if (sf_fault_of(error) != FAULT_MEDIUM || !(sf_insync_legs(v) & legbit(leg)))
    return;
  if (medium->errors == 0)
    medium->since_ns = v->now_ns;
  fade(v, medium);
  if (medium->errors < UINT32_MAX)
    medium->errors++;
  medium->offset = offset;
  medium->error = error;
  v->dirty = true;
}

static bool
is_over(const struct sf_volume *v, unsigned leg) {
  return v->config.max_read_errors > 0 && v->leg[leg].medium.errors > v->config.max_read_errors;
}

static void
describe(const struct sf_volume *v, unsigned index, char *text, size_t size) {
  const struct medium *medium = &v->leg[index].medium;
  char where[32] = "in its head";

  if (medium->offset != MEDIUM_HEAD)
    snprintf(where, sizeof where, "at %" PRIu64, medium->offset);
  snprintf(text, size, "%" PRIu32 " read errors within an hour, the last %s: %s", medium->errors,
           where, strerror(-medium->error));
}

/* Legs that are over the bound too are no reason to do without this one; nor is it spared while
 * legs are made equal after a crash, when it may be the only one that can read a block. */
static bool
may_leave(const struct sf_volume *v, unsigned index) {
  legset rest = sf_insync_legs(v) & (legset) ~(legbit(index) | sf_flush_failure_lacking(v, index));
  unsigned sound = 0;

  EACH_LEG(leg, rest) {
    sound += !is_over(v, leg);
  }
  return sf_leg_can_leave(v, index) && sound > 0 && sound >= v->min_legs &&
         sf_unwritten_others(v) == 0;
}

static bool
others_are_well(const struct sf_volume *v, unsigned index) {
  EACH_LEG(leg, sf_insync_legs(v) & (legset) ~legbit(index)) {
    if (v->leg[leg].troubled_ns != 0)
      return false;
  }
  return true;
}

/* One more place where the leg's errors lead to faulty (R14): not one of them, but that they go
 * on. */
static void
judge(struct sf_volume *v, unsigned index) {
  struct medium *medium = &v->leg[index].medium;
  uint64_t since = v->now_ns > HEARD_S * SF_S ? v->now_ns - HEARD_S * SF_S : 0;
  bool may = may_leave(v, index);
  char reason[192];

  /* Settled with each event: nothing is put in words that is not told. */
  if (may ? !others_are_well(v, index) || !sf_insync_leg_is_alone(v, index, since) : medium->told)
    return;
  describe(v, index, reason, sizeof reason);
  if (may) {
    sf_leg_demote(v, index, SF_STATE_FAULTY, reason);
  } else {
    sf_vol_event(v, SF_EVENT_LEG_TROUBLE, (int) index, NULL, NULL, reason);
    medium->told = true;
  }
}

void
sf_medium_settle(struct sf_volume *v) {
  EACH_LEG(leg, sf_insync_legs(v)) {
    if (is_over(v, leg))
      judge(v, leg);
  }
}

void
sf_medium_tick(struct sf_volume *v) {
  for (unsigned i = 0; i < v->legs; i++) {
    struct medium *medium = &v->leg[i].medium;

    if (medium->errors > 0)
      fade(v, medium);
    if (!is_over(v, i))
      medium->told = false;
  }
  tell_all(v, false);
}

void
sf_medium_reason(const struct sf_volume *v, unsigned leg, char *text, size_t size) {
  if (sf_leg_state(&v->leg[leg]) == SF_STATE_IN_SYNC && is_over(v, leg) && text[0] == '\0')
    describe(v, leg, text, size);
}

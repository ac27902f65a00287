/* Waiting for the record: a leg that misses it is judged, until all that it names have it. */
#include "volume/set/record_wait.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "volume/ground/copying.h"
#include "volume/ground/deadline.h"
#include "volume/ground/facts.h"
#include "volume/ground/flush_lost.h"
#include "volume/ground/host.h"
#include "volume/ground/silence.h"
#include "volume/ground/steps.h"
#include "volume/set/flush_failure.h"
#include "volume/set/insync.h"
#include "volume/set/leg.h"
#include "volume/set/record.h"

enum { TAKE_LOOKS = 3 };

/* A start may go on without a claimant if R12 would have let it start without that leg. */
static bool
claim_can_spare(const struct sf_volume *v, unsigned index) {
  legset rest = v->latest.in_sync & (legset) ~legbit(index);

  return rest != 0 && legcount(rest & v->base.record.in_sync) >= v->base.record.min_legs &&
         legcount(v->base.record.in_sync & (legset) ~rest) < v->base.record.min_legs;
}

static void
spare_claimant(struct sf_volume *v, unsigned index, enum sf_leg_state to, const char *reason) {
  v->latest.in_sync &= (legset) ~legbit(index);
  v->durable.in_sync = v->latest.in_sync;
  sf_leg_record_faulty(v, index, to == SF_STATE_FAULTY);
  sf_flush_failure_left(v, index);
  sf_map_fill(&v->leg[index].stale);
  sf_leg_move(v, index, to, reason);
}

/* A newcomer that has the record of its promotion is no evidence yet (reading 4). */
static legset
have_the_record(const struct sf_volume *v) {
  legset set = 0;

  EACH_LEG(leg, sf_insync_legs(v)) {
    if (v->leg[leg].meta.done == v->version)
      set |= legbit(leg);
  }
  return set;
}

void
sf_record_judge(struct sf_volume *v, unsigned index) {
  struct meta *meta = &v->leg[index].meta;
  char reason[128];
  struct miss miss = {.leg = index,
                      .kind = SF_WRITE_KIND,
                      .failed = meta->failed,
                      .error = meta->error,
                      .witnesses = have_the_record(v),
                      .reason = reason};

  if (!miss.failed && !sf_insync_leg_hangs(v, index, miss.kind))
    return;
  if (miss.failed)
    snprintf(reason, sizeof reason, "superblock write: %s", strerror(-miss.error));
  else
    snprintf(reason, sizeof reason, "superblock write not answered in %" PRIu64 " ms",
             sf_deadline_of(v, index, miss.kind) / SF_MS);
  if (v->phase != PHASE_CLAIMING)
    sf_insync_judge(v, &miss);
  else if (sf_insync_evidence(v, &miss) >= v->min_legs && claim_can_spare(v, index))
    spare_claimant(v, index, sf_insync_becomes(&miss), reason);
}

static void
has_joined(struct sf_volume *v, unsigned joined) {
  legset leaves = v->exchange.leaving;
  char reason[128] = "";

  EACH_LEG(leg, leaves) {
    snprintf(reason, sizeof reason,
             "in the place of leg %s, which did not answer for %" PRIu64 " s",
             v->config.leg[leg].name, sf_insync_silent_ns(v, leg) / SF_S);
  }
  v->exchange.leaving = 0;
  v->promoting = v->joining = -1;
  sf_join_move(v, JOIN_NONE);
  v->counted = 0;
  sf_leg_move(v, joined, SF_STATE_IN_SYNC, reason);
  v->leg[joined].reason[0] = '\0';
  EACH_LEG(leg, leaves)
    sf_leg_lost_its_place(v, leg, joined);
  sf_copier_try_again(v, 0, v->size_bytes); /* it may have what the others cannot read */
  if (v->identity.lost & legbit(joined))
    sf_flush_failure_inherit(v, joined);
}

static void
became_durable(struct sf_volume *v) {
  int joined = v->promoting;

  v->durable = v->latest;
  v->durable_version = v->version;
  v->durable_ns = v->now_ns;
  v->exchange.promoted = 0;
  for (unsigned i = 0; i < v->legs; i++)
    v->leg[i].meta.second_ns = 0;
  v->min_legs = v->latest.min_legs;
  sf_vol_trace(v, "record %" PRIu64 ".%" PRIu64 " durable: in-sync 0x%x", v->latest.term,
               v->latest.change, v->latest.in_sync);
  if (joined >= 0)
    has_joined(v, (unsigned) joined);
  v->ack_legs = v->latest.in_sync | v->counted;
  if (v->phase == PHASE_RECORDING && v->latest.min_legs > v->config.min_legs) {
    sf_record_change(v, v->latest.in_sync, v->latest.faulty, false); /* now the count in the file */
  } else if (v->phase == PHASE_RECORDING) {
    sf_phase_move(v, PHASE_SERVING);
    sf_vol_event(v, SF_EVENT_STARTED, -1, NULL, NULL, "");
  }
  v->dirty = true;
}

/* The previous holder looks at one copy of the superblocks at a time, and a claim is in one of
 * them. */
static bool
may_go_on(struct sf_volume *v) {
  uint64_t until;

  if (v->claimed_ns == 0)
    v->claimed_ns = v->now_ns;
  until = v->claimed_ns + TAKE_LOOKS * SF_LOOK_MS * SF_MS;
  if (!v->takes || v->now_ns >= until)
    return true;
  sf_vol_arm(v, until);
  return false;
}

static legset
lack_it(const struct sf_volume *v, legset legs) {
  EACH_LEG(leg, legs)
    if (sf_record_is_on(v, leg))
      legs &= (legset) ~legbit(leg);
  return legs;
}

/* Reading 14: without a silent leg it counts when a start from the legs that lack it cannot come
 * about.  A start from any record since the durable one needs as many legs as this one names. */
static bool
is_on_enough(const struct sf_volume *v) {
  legset lack = lack_it(v, sf_record_asks(v));

  return (lack & v->latest.in_sync) == 0 &&
         legcount(lack | v->exchange.unasked) < legcount(v->latest.in_sync);
}

void
sf_record_settle(struct sf_volume *v) {
  if (sf_record_is_durable(v))
    return;
  EACH_LEG(leg, v->latest.in_sync) {
    struct meta *meta = &v->leg[leg].meta;

    if ((meta->overdue || meta->failed) && (v->latest.in_sync & legbit(leg)))
      sf_record_judge(v, leg);
  }
  if (!is_on_enough(v) && lack_it(v, v->latest.in_sync) != 0) {
    sf_record_drive(v);
    return;
  }
  if (v->phase == PHASE_CLAIMING) {
    if (!may_go_on(v))
      return;
    sf_phase_move(v, PHASE_RECORDING);
    v->identity.lost &= v->latest.in_sync;
    sf_vol_trace(v, "term %" PRIu64 " claimed by 0x%x", v->claim, v->latest.in_sync);
    sf_record_change(v, v->latest.in_sync, v->latest.faulty, false);
    sf_record_begins_line(v);
    v->dirty = true;
    return;
  }
  became_durable(v);
}

/* What a start finds on a leg that is being copied to: its blocks are of two times, and a start that
 * does not meet the legs that went on must not take it for whole, by force or without.
 *
 * A leg that comes back may show a record that names it.  Before it gets anything it is given the
 * durable record, which does not: from then on it is behind, and lacks what the maps say.
 *
 * A leg that lacks everything, as it was emptied, put in another's place, or comes from an earlier
 * line of history or an older state of itself, is said to be blank: a start copies the whole of it.
 * So that a copy of many hours need not begin again at each start, the maps take over what the
 * superblock says: when they are on every leg of the set and call all of the leg stale, it is given
 * the durable record too.  Never before: a start that finds it must find its stale bits. */
#include "volume/change/newcomer.h"

#include "assembly/blank.h"
#include "volume/ground/facts.h"
#include "volume/ground/penalty.h"
#include "volume/set/leg.h"
#include "volume/set/map_pages.h"
#include "volume/set/record.h"
#include "volume/set/record_wait.h"

static bool
lacks_all(const struct sf_volume *v, const struct leg *leg) {
  return leg->is_older || sf_leg_needs_whole_copy(&v->identity, &leg->sb);
}

bool
sf_newcomer_lacks_all(const struct sf_volume *v, unsigned index) {
  return lacks_all(v, &v->leg[index]);
}

/* No stale map knows of it. */
static void
arrived(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  sf_map_fill(&leg->stale);
  for (uint64_t p = 0; p < v->maps.pages; p++) {
    sf_map_changed(v, p, false);
    v->maps.page[p].lacks_all[index] = v->maps.page[p].version;
  }
}

/* A record that does not name it will not do either: it says that the maps know what the leg lacks. */
void
sf_newcomer_trust_no_copy(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  if (!sf_leg_is_blank(&leg->sb))
    leg->meta.untold = (1u << SF_SUPERBLOCK_COPIES) - 1;
}

void
sf_newcomer_opened(struct sf_volume *v, unsigned index, bool is_older) {
  struct leg *leg = &v->leg[index];

  leg->is_older |= is_older; /* till it is told: it may be opened twice before */
  if (!lacks_all(v, leg))
    return;
  sf_newcomer_trust_no_copy(v, index);
  arrived(v, index);
}

static bool
is_on_disk(const struct sf_volume *v, unsigned index) {
  for (uint64_t p = 0; p < v->maps.pages; p++)
    if (!sf_map_is_durable(v, p, v->maps.page[p].lacks_all[index]))
      return false;
  return true;
}

/* A leg that is told is out: what its superblock write misses is judged as of one that catches up. */
static void
judge(struct sf_volume *v, unsigned index) {
  struct meta *meta = &v->leg[index].meta;

  sf_record_judge(v, index);
  meta->failed = false; /* it may come back */
  meta->overdue = meta->overdue && meta->busy;
}

bool
sf_newcomer_is_told(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  if (leg->meta.failed || leg->meta.overdue) {
    judge(v, index);
    return false;
  }
  /* Nor beside a probe: its flush may fail and take along what tells it, and it is to be heard. */
  if (leg->meta.busy || leg->probe_io.running > 0)
    return false;
  if (leg->meta.untold == 0 && (!lacks_all(v, leg) || sf_leg_is_blank(&leg->sb))) {
    leg->is_older = false;
    return true;
  }
  if (sf_record_is_as_good_as_durable(v) && v->phase == PHASE_SERVING)
    sf_record_tell(v, index, lacks_all(v, leg));
  return false;
}

/* The record that was to promote it names it, and counts no more.  Not behind a clean record, which
 * nothing is written after. */
static bool
is_to_be_told_anew(const struct sf_volume *v, unsigned index) {
  bool may_write =
      v->phase == PHASE_SERVING || (v->phase == PHASE_STOPPING && v->stop_step != STOP_RECORD);

  return may_write && sf_leg_state(&v->leg[index]) == SF_STATE_CATCHING_UP &&
         v->leg[index].meta.untold != 0 &&
         !((v->latest.in_sync | v->durable.in_sync) & legbit(index));
}

void
sf_newcomer_settle(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  if (is_to_be_told_anew(v, index)) {
    sf_leg_fall_back(v, index, SF_STATE_LATE,
                     "it is well, but another record came before that of its promotion: once more");
    sf_penalty_was_well(v, index);
  }
  if (v->phase != PHASE_SERVING || sf_leg_state(leg) != SF_STATE_CATCHING_UP ||
      v->joining == (int) index || !lacks_all(v, leg))
    return;
  if (leg->meta.failed || leg->meta.overdue) {
    judge(v, index);
  } else if (!leg->meta.busy && sf_record_is_durable(v) && v->grow.step == GROW_NONE &&
             is_on_disk(v, index)) {
    sf_record_tell(v, index, false);
  }
}

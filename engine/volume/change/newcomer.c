/* Legs that lack everything, as their own superblock says: a leg that was emptied, that was put in
 * another's place, or from an earlier line of history.  A start copies the whole of such a leg.
 *
 * So that a copy of many hours need not begin again at each start, the maps take over what the
 * superblock says: when they are on every leg of the set and call all of the leg stale, it is given
 * the durable record, which does not name it; from then on it is a leg behind, like one that was
 * late, and lacks what the maps say.  Never before: a start that finds it must find its stale bits
 * too. */
#include "volume/change/newcomer.h"

#include "assembly/blank.h"
#include "volume/ground/facts.h"
#include "volume/set/map_pages.h"
#include "volume/set/record.h"
#include "volume/set/record_wait.h"

bool
sf_newcomer_lacks_all(const struct sf_volume *v, const struct sf_superblock *sb) {
  return sf_leg_needs_whole_copy(&v->identity, sb);
}

/* Also for a leg that is older than we left it: its superblock does not show at the next start what
 * it lacks, so the maps on disk say it at once. */
void
sf_newcomer_arrived(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  sf_map_fill(&leg->stale);
  leg->meta.failed = leg->meta.overdue = false; /* of the leg that was in its place */
  for (uint64_t p = 0; p < v->maps.pages; p++) {
    sf_map_changed(v, p, false);
    v->maps.page[p].lacks_all[index] = v->maps.page[p].version;
  }
}

static bool
is_on_disk(const struct sf_volume *v, unsigned index) {
  for (uint64_t p = 0; p < v->maps.pages; p++)
    if (!sf_map_is_durable(v, p, v->maps.page[p].lacks_all[index]))
      return false;
  return true;
}

void
sf_newcomer_settle(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  if (v->phase != PHASE_SERVING || sf_leg_state(leg) != SF_STATE_CATCHING_UP ||
      v->joining == (int) index || !sf_newcomer_lacks_all(v, &leg->sb))
    return;
  if (leg->meta.failed || leg->meta.overdue) {
    sf_record_judge(v, index);
    leg->meta.failed = false; /* it may come back */
    leg->meta.overdue = leg->meta.overdue && leg->meta.busy;
  } else if (!leg->meta.busy && sf_record_is_durable(v) && v->grow.step == GROW_NONE &&
             is_on_disk(v, index)) {
    sf_record_tell(v, index);
  }
}

/* Legs that lack everything, as their own superblock says: one that was emptied, one that was put in
 * another's place, one from an earlier line of history.  A start copies the whole of such a leg.
 *
 * So that a copy of many hours need not begin again at each start, the maps take over what the
 * superblock says: when they are on every leg of the set and call all of the leg stale, it is given the
 * durable record.  That one does not name it; from then on it is a leg behind, like one that was late,
 * and lacks what the maps say.  Never before: a start that finds it must find its stale bits too. */
#include "volume/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "assembly/blank.h"

bool
newcomer_lacks_all(const struct sf_volume *v, const struct sf_superblock *sb) {
  return sf_leg_needs_whole_copy(&v->identity, sb);
}

void
newcomer_arrived(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  sf_map_fill(&leg->stale);
  leg->meta.failed = leg->meta.overdue = false; /* of what was in its place */
  for (uint64_t p = 0; p < v->maps.pages; p++) {
    map_changed(v, p, false);
    v->maps.page[p].lacks_all[index] = v->maps.page[p].version;
  }
}

static bool
is_on_disk(const struct sf_volume *v, unsigned index) {
  for (uint64_t p = 0; p < v->maps.pages; p++) {
    const struct map_page *page = &v->maps.page[p];
    uint64_t version = page->lacks_all[index] != 0 ? page->lacks_all[index] : 1;

    EACH_LEG(leg, v->needs)
    if (page->done[leg] < version)
      return false;
  }
  return true;
}

/* It holds a request that is late, or cannot keep a superblock: not one to copy to. */
static void
fall_back(struct sf_volume *v, unsigned index) {
  struct meta *meta = &v->leg[index].meta;
  enum sf_leg_state to = meta->failed ? leg_state_for(meta->error) : SF_STATE_LATE;
  char reason[128];

  if (meta->failed)
    snprintf(reason, sizeof reason, "superblock write: %s", strerror(-meta->error));
  else
    snprintf(reason, sizeof reason, "superblock write not answered in %" PRIu64 " ms",
             sf_config_timeout(&v->config, index, SF_WRITE_KIND) / SF_MS);
  meta->failed = meta->overdue = false;
  leg_fall_back(v, index, to, reason);
}

void
newcomer_settle(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  if (v->phase != PHASE_SERVING || leg_state(leg) != SF_STATE_CATCHING_UP ||
      v->joining == (int) index || !newcomer_lacks_all(v, &leg->sb))
    return;
  if (leg->meta.failed || leg->meta.overdue)
    fall_back(v, index);
  else if (!leg->meta.busy && record_is_durable(v) && v->grow.step == GROW_NONE &&
           is_on_disk(v, index))
    record_tell(v, index);
}

/* Extents lost on a leg since a flush failed there (flush_failure.c says what follows). */
#include "volume/ground/flush_lost.h"

#include "volume/ground/facts.h"

legset
sf_flush_failure_legs(const struct sf_volume *v) {
  legset set = 0;

  EACH_LEG(leg, sf_insync_legs(v)) {
    if (v->leg[leg].flush_failed)
      set |= legbit(leg);
  }
  return set;
}

legset
sf_flush_failure_lacking(const struct sf_volume *v, unsigned index) {
  legset set = 0;

  EACH_LEG(leg, sf_flush_failure_legs(v)) {
    if (!sf_map_is_subset(&v->leg[leg].lost, &v->leg[index].lost))
      set |= legbit(leg);
  }
  return set;
}

static legset
with_any(const struct sf_volume *v, size_t map, uint64_t offset, uint64_t length) {
  uint64_t first = extent_of(v, offset), last = extent_of(v, offset + length - 1);
  legset set = 0;

  EACH_LEG(leg, sf_insync_legs(v)) {
    const struct sf_map *of_leg = (const void *) ((const char *) &v->leg[leg] + map);

    if (of_leg->set > 0 && sf_map_any(of_leg, first, last))
      set |= legbit(leg);
  }
  return set;
}

/* R13, more strictly: a catching-up leg is never read, not even where it is clean.  It is in sync
 * when that is decided and durable.  Held by the mutants read-while-catching-up and
 * torn-promotion-serves. */
legset
sf_vol_sources(const struct sf_volume *v, uint64_t offset, uint64_t length) {
  legset lost = with_any(v, offsetof(struct leg, lost), offset, length);
  legset good = sf_insync_legs(v) & (legset) ~lost;

  return good != 0 ? good : sf_insync_legs(v);
}

legset
sf_flush_failure_unsure(const struct sf_volume *v, uint64_t offset, uint64_t length) {
  return with_any(v, offsetof(struct leg, unsure), offset, length);
}

/* All that it stood for is stale now, or gone.  The record that says that it left says this too.  A
 * claim says nothing of that: the record that it carries may name the leg, so it says what was lost. */
void
sf_flush_failure_left(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  sf_map_zero(&leg->lost);
  sf_map_zero(&leg->healing);
  sf_map_zero(&leg->unsure);
  leg->flush_failed = leg->heals = false;
  if (v->phase != PHASE_CLAIMING)
    v->identity.lost &= (legset) ~legbit(index);
}

/* Written and flushed on all. */
void
sf_flush_failure_converged(struct sf_volume *v, uint64_t extent) {
  for (unsigned i = 0; i < v->legs; i++)
    sf_map_clear(&v->leg[i].unsure, extent);
}

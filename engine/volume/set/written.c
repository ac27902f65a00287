/* The end of what was never written (R17).  An extent's bit is cleared when zeros are stable there on
 * every leg that an answer needs; the page that says so goes before the first write, as intent is
 * set only after that (R8) and stands in the same page. */
#include "volume/set/written.h"

#include "volume/ground/facts.h"
#include "volume/ground/unwritten.h"
#include "volume/set/map_pages.h"
#include "volume/set/record.h"

/* One that was not given the zeros lacks them from now on.  One that catches up and has them is as
 * those in sync are; what it has not flushed of them the page calls stale (map_pages.c), and is to
 * call so no longer than that. */
static void
leave_outside(struct leg *leg, uint64_t extent) {
  if (sf_map_clear(&leg->zeroed, extent)) {
    sf_map_clear(&leg->stale, extent);
    sf_map_set(&leg->settled, map_page_of(extent));
  } else {
    sf_map_set(&leg->stale, extent);
  }
}

void
sf_written_first(struct sf_volume *v, uint64_t extent) {
  uint64_t page = map_page_of(extent), first = page * SF_MAP_EXTENTS;
  uint64_t last = first + SF_MAP_EXTENTS - 1;

  SF_ASSERT(v->joining < 0 && v->promoting < 0);
  if (!sf_map_clear(&v->unwritten, extent))
    return;
  sf_map_clear(&v->copier.zeroing, extent);
  sf_map_clear(&v->copier.counted, extent);
  sf_unwritten_advances(v, extent);
  for (unsigned i = 0; i < v->legs; i++)
    if (!(sf_insync_legs(v) & legbit(i)))
      leave_outside(&v->leg[i], extent);
  sf_map_changed(v, page, false);
  if (!sf_map_any(&v->unwritten, first, last))
    v->maps.page[page].written = v->maps.page[page].version;
}

static bool
is_on_disk(const struct sf_volume *v) {
  for (uint64_t p = 0; p < v->maps.pages; p++)
    if (!sf_map_is_durable(v, p, v->maps.page[p].written))
      return false;
  return true;
}

/* Pages go on being written twice until no start can take the record before. */
void
sf_written_settle(struct sf_volume *v) {
  if (v->phase != PHASE_SERVING || !v->maps.twice || v->unwritten.set > 0)
    return;
  if (!v->identity.unwritten) {
    v->maps.twice = !sf_record_is_reached(v, v->maps.once_version);
    return;
  }
  if (v->joining >= 0 || v->promoting >= 0 || v->grow.step != GROW_NONE ||
      !sf_record_is_durable(v) || !is_on_disk(v))
    return;
  v->identity.unwritten = false;
  sf_record_change(v, v->latest.in_sync, v->latest.faulty, false);
  v->maps.once_version = v->version;
}

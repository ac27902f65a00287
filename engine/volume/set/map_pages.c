/* The pages of the maps (R8): their contents, the legs that are to have them, and pages to be
 * written. */
#include "volume/set/map_pages.h"

#include "volume/ground/facts.h"

enum { PAGE_WORDS = SF_MAP_EXTENTS / 64 };

static void
put_words(const struct sf_map *map, uint64_t page, uint8_t bits[SF_MAP_BYTES]) {
  uint64_t words = (map->extents + 63) / 64, first = page * PAGE_WORDS;

  for (unsigned i = 0; i < PAGE_WORDS && first + i < words; i++)
    for (unsigned k = 0; k < 8; k++)
      bits[8 * i + k] |= (uint8_t) (map->words[first + i] >> 8 * k);
}

/* A leg outside the set lacks its stale extents, and may lack its unflushed ones; a leg in it lacks
 * nothing, and its unflushed extents have intent. */
void
sf_map_encode(const struct sf_volume *v, uint64_t index, uint8_t bytes[SF_PAGE_BYTES]) {
  struct sf_map_page page = {.volume = v->identity.volume,
                             .page = (uint32_t) index,
                             .number = v->maps.page[index].version};
  legset inside = sf_insync_legs(v);

  put_words(&v->maps.intent, index, page.intent);
  put_words(&v->unwritten, index, page.unwritten);
  for (unsigned i = 0; i < v->legs; i++) {
    if (inside & legbit(i))
      continue;
    put_words(&v->leg[i].stale, index, page.stale[i]);
    put_words(&v->leg[i].unflushed, index, page.stale[i]);
    put_words(&v->leg[i].flushing, index, page.stale[i]);
  }
  sf_map_page_encode(&page, bytes);
}

/* ---- the legs that are to have it ---- */

legset
sf_map_targets(const struct sf_volume *v) {
  legset set = sf_set_legs(v) | v->counted;

  if (v->join_step == JOIN_CARRY)
    set |= legbit((unsigned) v->joining);
  return set;
}

legset
sf_map_lacking(const struct sf_volume *v, const struct map_page *page, uint64_t version) {
  legset set = 0;

  EACH_LEG(leg, sf_map_targets(v))
    if (page->done[leg] < version)
      set |= legbit(leg);
  return set;
}

bool
sf_map_is_durable(const struct sf_volume *v, uint64_t page, uint64_t version) {
  EACH_LEG(leg, v->ack_legs)
    if (v->maps.page[page].done[leg] < version)
      return false;
  return true;
}

/* ---- pages to be written ---- */

void
sf_map_need(struct sf_volume *v, uint64_t index, uint64_t version) {
  struct map_page *page = &v->maps.page[index];
  legset lack = sf_map_lacking(v, page, version);

  if (page->must < version)
    page->must = version;
  /* A leg that an answer still needs and that is on its way out gets nothing more. */
  if (lack != 0 && sf_map_set(&v->maps.urgent, index))
    v->dirty = true;
}

void
sf_map_changed(struct sf_volume *v, uint64_t index, bool urgent) {
  uint64_t version = ++v->maps.page[index].version;

  if (urgent)
    sf_map_need(v, index, version);
  else
    sf_map_set(&v->maps.lazy, index);
  v->dirty = true;
}

void
sf_map_leg_left(struct sf_volume *v, unsigned leg) {
  for (uint64_t p = 0; p < v->maps.pages; p++) {
    v->maps.page[p].done[leg] = v->maps.page[p].sent[leg] = v->maps.page[p].first[leg] = 0;
    v->maps.page[p].read &= (legset) ~legbit(leg);
    v->maps.page[p].overdue &= (legset) ~legbit(leg);
    v->maps.page[p].failed &= (legset) ~legbit(leg);
  }
  sf_map_zero(&v->leg[leg].settled);
  sf_map_zero(&v->leg[leg].settling);
  v->maps.retry_ns[leg] = 0;
}

/* But for those that were read from there at the start, and not written since. */
void
sf_map_write_again(struct sf_volume *v, unsigned leg) {
  for (uint64_t p = 0; p < v->maps.pages; p++) {
    struct map_page *page = &v->maps.page[p];

    if (page->done[leg] == 0 || (page->read & legbit(leg)))
      continue;
    page->done[leg] = page->first[leg] = 0;
    sf_map_need(v, p, page->version);
  }
}

void
sf_map_carry(struct sf_volume *v, unsigned leg) {
  for (uint64_t p = 0; p < v->maps.pages; p++) {
    struct map_page *page = &v->maps.page[p];

    page->carry = page->version;
    if (page->done[leg] < page->version)
      sf_map_need(v, p, page->version);
  }
}

/* Not "is nothing under way there": clients that write to ever new extents would keep it
 * waiting. */
bool
sf_map_is_carried(const struct sf_volume *v, unsigned leg) {
  for (uint64_t p = 0; p < v->maps.pages; p++)
    if (v->maps.page[p].done[leg] < v->maps.page[p].carry)
      return false;
  return true;
}

void
sf_map_leg_flushed(struct sf_volume *v, unsigned index) {
  struct sf_map *settling = &v->leg[index].settling;

  for (uint64_t p = sf_map_next(settling, 0); p < v->maps.pages; p = sf_map_next(settling, p + 1))
    sf_map_changed(v, p, false);
  sf_map_zero(settling);
}

bool
sf_map_is_quiet(const struct sf_volume *v) {
  return v->maps.urgent.set == 0 && v->maps.lazy.set == 0 && v->maps.troubled.set == 0 &&
         v->maps.intent.set == 0;
}

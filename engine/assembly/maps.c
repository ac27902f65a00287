/* What a start takes from the maps on the legs (R11; readings 9 and 11 of the rules). */
#include <string.h>

#include "assembly/look.h"
#include "base/assert.h"

static void
unite(uint8_t into[SF_MAP_BYTES], const uint8_t from[SF_MAP_BYTES]) {
  for (unsigned i = 0; i < SF_MAP_BYTES; i++)
    into[i] |= from[i];
}

/* What one leg calls written is: zeros had been made stable on all in sync before its bit was
 * cleared, and no write may have been sent before it was cleared on every leg of the set.  So any
 * leg's page tells, and where none does all counts as written. */
static void
take_unwritten(const struct sf_map_page *page, bool first, struct sf_map_page *united) {
  for (unsigned i = 0; i < SF_MAP_BYTES; i++)
    united->unwritten[i] = first ? page->unwritten[i] : united->unwritten[i] & page->unwritten[i];
}

/* Nothing is lacked of what no leg has to hold. */
static void
drop_unwritten(struct sf_map_page *united, uint8_t bits[SF_MAP_BYTES]) {
  for (unsigned i = 0; i < SF_MAP_BYTES; i++)
    bits[i] &= (uint8_t) ~united->unwritten[i];
}

uint16_t
sf_assembly_map_page(const struct sf_assembly *assembly, uint16_t current,
                     const uint8_t *const bytes[SF_LEGS_MAX], uint32_t index,
                     struct sf_map_page *united) {
  static const uint8_t nothing[SF_PAGE_BYTES];
  const struct sf_record *record = &assembly->base.record;
  const struct sf_uuid *volume = &assembly->base.volume;
  uint16_t damaged = 0;
  bool told = false;

  SF_ASSERT(assembly->reference >= 0 && assembly->legs <= SF_LEGS_MAX);
  *united = (struct sf_map_page){.volume = *volume, .page = index};
  for (unsigned leg = 0; leg < assembly->legs; leg++) {
    struct sf_map_page page;
    if (!SF_LEG_IN(current, leg))
      continue;
    if (!sf_map_page_decode(bytes[leg] ? bytes[leg] : nothing, volume, index, &page))
      damaged |= SF_LEG_BIT(leg);
    if (assembly->base.unwritten && !SF_LEG_IN(damaged, leg)) {
      take_unwritten(&page, !told, united);
      told = true;
    }
    if (!record->clean)
      unite(united->intent, page.intent);
    for (unsigned i = 0; i < assembly->legs; i++)
      if (!SF_LEG_IN(record->in_sync | current, i))
        unite(united->stale[i], page.stale[i]);
  }
  /* Then legs may hold anything where nothing was written, after a clean stop as well. */
  if (assembly->base.unwritten && current != 0 && !told)
    memset(united->intent, 0xff, SF_MAP_BYTES);
  drop_unwritten(united, united->intent);
  for (unsigned i = 0; i < assembly->legs; i++) {
    if (SF_LEG_IN(assembly->whole, i))
      memset(united->stale[i], 0xff, SF_MAP_BYTES);
    else if (!SF_LEG_IN(current, i))
      unite(united->stale[i], united->intent);
    drop_unwritten(united, united->stale[i]);
  }
  return damaged;
}

/* What a start takes from the maps on the legs (R11; readings 9 and 11 of the rules). */
#include <string.h>

#include "assembly/look.h"
#include "base/assert.h"

static void
unite(uint8_t into[SF_MAP_BYTES], const uint8_t from[SF_MAP_BYTES]) {
  for (unsigned i = 0; i < SF_MAP_BYTES; i++)
    into[i] |= from[i];
}

uint16_t
sf_assembly_map_page(const struct sf_assembly *assembly, uint16_t current,
                     const uint8_t *const bytes[SF_LEGS_MAX], uint32_t index,
                     struct sf_map_page *united) {
  static const uint8_t nothing[SF_PAGE_BYTES];
  const struct sf_record *record = &assembly->base.record;
  const struct sf_uuid *volume = &assembly->base.volume;
  uint16_t damaged = 0;

  SF_ASSERT(assembly->reference >= 0 && assembly->legs <= SF_LEGS_MAX);
  *united = (struct sf_map_page){.volume = *volume, .page = index};
  for (unsigned leg = 0; leg < assembly->legs; leg++) {
    struct sf_map_page page;
    if (!SF_LEG_IN(current, leg))
      continue;
    if (!sf_map_page_decode(bytes[leg] ? bytes[leg] : nothing, volume, index, &page))
      damaged |= SF_LEG_BIT(leg);
    if (!record->clean)
      unite(united->intent, page.intent);
    for (unsigned i = 0; i < assembly->legs; i++)
      if (!SF_LEG_IN(record->in_sync | current, i))
        unite(united->stale[i], page.stale[i]);
  }
  for (unsigned i = 0; i < assembly->legs; i++) {
    if (SF_LEG_IN(assembly->whole, i))
      memset(united->stale[i], 0xff, SF_MAP_BYTES);
    else if (!SF_LEG_IN(current, i))
      unite(united->stale[i], united->intent);
  }
  return damaged;
}

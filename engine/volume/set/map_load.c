/* What the maps on the legs say at a start (readings 9 and 11 of the rules).
 *
 * Intent and stale bits are united over the in-sync legs that start.  After a clean stop no intent
 * counts.  After anything else an extent with intent is to be converged, counts as unflushed on
 * every leg, and as stale on every leg outside the set.  What a page says of a leg that the record
 * names in sync means nothing: such a leg lacks nothing. */
#include "volume/set/map_load.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "volume/ground/host.h"
#include "volume/set/map_pages.h"
#include "volume/set/map_write.h"

static void
unite_bits(struct sf_map *map, uint64_t page, const uint8_t bits[SF_MAP_BYTES]) {
  uint64_t first = page * SF_MAP_EXTENTS;

  for (unsigned k = 0; k < SF_MAP_EXTENTS && first + k < map->extents; k++) {
    if (k % 8 == 0 && bits[k / 8] == 0)
      k += 7;
    else if (bits[k / 8] >> (k % 8) & 1)
      sf_map_set(map, first + k);
  }
}

static const uint8_t *
copy_of(const struct sf_volume_leg *leg, const uint8_t *copies, uint64_t page) {
  return copies != NULL && page < leg->map_pages ? copies + page * SF_PAGE_BYTES : NULL;
}

/* The copy that counts; NULL: it cannot be read.  Where there is one only, it is decoded once, by the
 * assembly. */
static const uint8_t *
page_of(const struct sf_volume *v, const struct sf_volume_leg *leg, uint64_t page) {
  const uint8_t *first = copy_of(leg, leg->maps, page);

  return v->maps.twice ? sf_map_page_choose(first, copy_of(leg, leg->second, page),
                                            &v->identity.volume, (uint32_t) page)
                       : first;
}

static void
read_pages(struct sf_volume *v, const struct sf_volume_params *params) {
  legset current = params->assembly->current;

  for (uint64_t p = 0; p < v->maps.pages; p++) {
    const uint8_t *bytes[SF_LEGS_MAX] = {NULL};
    struct sf_map_page united;

    EACH_LEG(leg, current)
      bytes[leg] = page_of(v, &params->leg[leg], p);
    legset damaged = sf_assembly_map_page(params->assembly, current, bytes, (uint32_t) p, &united);
    EACH_LEG(leg, damaged)
      sf_vol_trace(v, "leg %u: page %" PRIu64 " of the maps is damaged: all set", leg, p);
    v->maps.untold += v->maps.twice && (current & (legset) ~damaged) == 0;
    unite_bits(&v->maps.intent, p, united.intent);
    unite_bits(&v->unwritten, p, united.unwritten);
    for (unsigned i = 0; i < v->legs; i++)
      if (!(current & legbit(i)))
        unite_bits(&v->leg[i].stale, p, united.stale[i]);
  }
}

static bool
says_the_same(const struct sf_volume *v, const uint8_t *bytes, uint64_t page,
              const struct sf_map_page *wanted) {
  struct sf_map_page held;

  return bytes != NULL && sf_map_page_decode(bytes, &v->identity.volume, (uint32_t) page, &held) &&
         memcmp(held.intent, wanted->intent, sizeof held.intent) == 0 &&
         memcmp(held.stale, wanted->stale, sizeof held.stale) == 0 &&
         memcmp(held.unwritten, wanted->unwritten, sizeof held.unwritten) == 0;
}

/* A second copy that differs is written anew like the first. */
static bool
holds(const struct sf_volume *v, const struct sf_volume_leg *leg, uint64_t page,
      const struct sf_map_page *wanted) {
  return says_the_same(v, copy_of(leg, leg->maps, page), page, wanted) &&
         (!v->maps.twice || says_the_same(v, copy_of(leg, leg->second, page), page, wanted));
}

/* Which legs hold a page as it now is in memory? */
static void
compare_pages(struct sf_volume *v, const struct sf_volume_params *params) {
  for (uint64_t p = 0; p < v->maps.pages; p++) {
    struct map_page *page = &v->maps.page[p];
    struct sf_map_page wanted;
    uint8_t bytes[SF_PAGE_BYTES];
    uint64_t first = p * SF_MAP_EXTENTS, last = first + SF_MAP_EXTENTS - 1;

    page->version = 1;
    for (unsigned i = 0; i < SF_LEGS_MAX; i++)
      page->lacks_all[i] = page->version;
    page->had_intent = sf_map_any(&v->maps.intent, first, last);
    sf_map_encode(v, p, bytes);
    SF_ASSERT(sf_map_page_decode(bytes, &v->identity.volume, (uint32_t) p, &wanted));
    EACH_LEG(leg, params->assembly->current)
      if (holds(v, &params->leg[leg], p, &wanted)) {
        page->done[leg] = page->sent[leg] = page->first[leg] = page->version;
        page->read |= legbit(leg);
      } else {
        sf_map_set(&v->maps.lazy, p);
      }
  }
  for (uint64_t e = sf_map_next(&v->maps.intent, 0); e < v->extents;
       e = sf_map_next(&v->maps.intent, e + 1))
    v->maps.intent_version[e] = 1;
}

static int
allocate(struct sf_volume *v) {
  struct maps *maps = &v->maps;

  maps->writes = MAP_WRITES_MOST * (SF_LEGS_MAX + 1); /* a leg may be added */
  maps->page = calloc(maps->pages, sizeof *maps->page);
  maps->write = calloc(maps->writes, sizeof *maps->write);
  maps->intent_version = calloc(v->extents, sizeof *maps->intent_version);
  if (maps->page == NULL || maps->write == NULL || maps->intent_version == NULL)
    return -ENOMEM;
  for (unsigned i = 0; i < maps->writes; i++)
    sf_state_init(&maps->write[i].machine, &sf_map_write_table, i, MAP_IDLE);
  return 0;
}

int
sf_maps_load(struct sf_volume *v, const struct sf_volume_params *params) {
  int r = allocate(v);

  if (r < 0)
    return r;
  v->maps.twice = v->identity.unwritten;
  read_pages(v, params);
  for (unsigned i = 0; i < v->legs; i++)
    sf_map_subtract(&v->leg[i].stale, &v->unwritten); /* of a leg that lacks all */
  sf_map_unite(&v->unconverged, &v->maps.intent);
  EACH_LEG(leg, params->assembly->current)
    sf_map_unite(&v->leg[leg].unflushed, &v->maps.intent);
  compare_pages(v, params);
  return 0;
}

void
sf_maps_destroy(struct sf_volume *v) {
  struct maps *maps = &v->maps;

  for (unsigned i = 0; i < maps->writes && maps->write != NULL; i++)
    if (maps->write[i].buffer != NULL)
      v->host.buffer_put(v->ctx, maps->write[i].buffer);
  free(maps->page);
  free(maps->write);
  free(maps->intent_version);
}

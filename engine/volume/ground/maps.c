/* All maps: of extents, or of the pages of the maps on disk.  A map that is not named here is made
 * nowhere, so that none can be forgotten when the volume grows. */
#include "volume/ground/maps.h"

#include <errno.h>

struct place {
  size_t at;
  bool of_pages;
};

#define OF_VOLUME(member) offsetof(struct sf_volume, member)
#define OF_LEG(member)    offsetof(struct leg, member)

static const struct place of_volume[] = {
    {.at = OF_VOLUME(unconverged)},
    {.at = OF_VOLUME(suspect)},
    {.at = OF_VOLUME(unwritten)},
    {.at = OF_VOLUME(copier.by_block)},
    {.at = OF_VOLUME(copier.put_off)},
    {.at = OF_VOLUME(copier.copied)},
    {.at = OF_VOLUME(copier.zeroing)},
    {.at = OF_VOLUME(copier.counted)},
    {.at = OF_VOLUME(copier.flushing_copied)},
    {.at = OF_VOLUME(scrub.todo)},
    {.at = OF_VOLUME(scrub.guessed)},
    {.at = OF_VOLUME(scrub.voted)},
    {.at = OF_VOLUME(maps.intent)},
    {.at = OF_VOLUME(maps.touched)},
    {.at = OF_VOLUME(maps.idle)},
    {.at = OF_VOLUME(maps.busy)},
    {.at = OF_VOLUME(maps.urgent), .of_pages = true},
    {.at = OF_VOLUME(maps.lazy), .of_pages = true},
    {.at = OF_VOLUME(maps.troubled), .of_pages = true},
};

static const struct place of_leg[] = {
    {.at = OF_LEG(stale)},
    {.at = OF_LEG(zeroed)},
    {.at = OF_LEG(unflushed)},
    {.at = OF_LEG(flushing)},
    {.at = OF_LEG(lost)},
    {.at = OF_LEG(healing)},
    {.at = OF_LEG(unsure)},
    {.at = OF_LEG(settled), .of_pages = true},
    {.at = OF_LEG(settling), .of_pages = true},
};

struct maps_of { /* a struct that has maps, and where */
  void *base;
  const struct place *place;
  unsigned places;
};

static struct maps_of
its_own(struct sf_volume *v) {
  return (struct maps_of){v, of_volume, sizeof of_volume / sizeof of_volume[0]};
}

static struct maps_of
of_one_leg(struct sf_volume *v, unsigned leg) {
  return (struct maps_of){&v->leg[leg], of_leg, sizeof of_leg / sizeof of_leg[0]};
}

static struct sf_map *
map_at(struct maps_of its, unsigned i) {
  return (struct sf_map *) ((uintptr_t) its.base + its.place[i].at);
}

static int
init(struct maps_of its, uint64_t extents, uint64_t pages) {
  int r = 0;

  for (unsigned i = 0; r == 0 && i < its.places; i++)
    r = sf_map_init(map_at(its, i), its.place[i].of_pages ? pages : extents);
  return r;
}

static void
free_all(struct maps_of its) {
  for (unsigned i = 0; i < its.places; i++)
    sf_map_destroy(map_at(its, i));
}

static int
reserve(struct maps_of its, uint64_t extents, uint64_t pages) {
  int r = 0;

  for (unsigned i = 0; r == 0 && i < its.places; i++)
    r = sf_map_reserve(map_at(its, i), its.place[i].of_pages ? pages : extents);
  return r;
}

static void
extend(struct maps_of its, uint64_t extents, uint64_t pages) {
  for (unsigned i = 0; i < its.places; i++)
    sf_map_extend(map_at(its, i), its.place[i].of_pages ? pages : extents);
}

int
sf_maps_init(struct sf_volume *v) {
  return init(its_own(v), v->extents, v->maps.pages);
}

void
sf_maps_free(struct sf_volume *v) {
  free_all(its_own(v));
}

int
sf_maps_init_leg(struct sf_volume *v, unsigned leg) {
  return init(of_one_leg(v, leg), v->extents, v->maps.pages);
}

void
sf_maps_free_leg(struct sf_volume *v, unsigned leg) {
  free_all(of_one_leg(v, leg));
}

int
sf_maps_reserve(struct sf_volume *v, uint64_t extents, uint64_t pages) {
  int r = reserve(its_own(v), extents, pages);

  for (unsigned i = 0; r == 0 && i < v->legs; i++)
    r = reserve(of_one_leg(v, i), extents, pages);
  return r;
}

void
sf_maps_extend(struct sf_volume *v, uint64_t extents, uint64_t pages) {
  extend(its_own(v), extents, pages);
  for (unsigned i = 0; i < v->legs; i++)
    extend(of_one_leg(v, i), extents, pages);
}

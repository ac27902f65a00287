/* A set of extents: one bit each, with its count, so that "empty" costs nothing to ask. */
#ifndef SF_VOLUME_MAP_H
#define SF_VOLUME_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sf_map {
  uint64_t *words;
  uint64_t extents;
  uint64_t set; /* how many bits are one */
};

int sf_map_init(struct sf_map *map, uint64_t extents);
void sf_map_destroy(struct sf_map *map);
/* To grow: first the memory, which may fail and changes nothing that can be seen; then the extents,
 * with no bit set. */
int sf_map_reserve(struct sf_map *map, uint64_t extents);
void sf_map_extend(struct sf_map *map, uint64_t extents);

bool sf_map_test(const struct sf_map *map, uint64_t extent);
bool sf_map_any(const struct sf_map *map, uint64_t first, uint64_t last); /* last included */
bool sf_map_set(struct sf_map *map, uint64_t extent);                     /* true: it was zero */
bool sf_map_clear(struct sf_map *map, uint64_t extent);                   /* true: it was one */
void sf_map_set_range(struct sf_map *map, uint64_t first, uint64_t last);
void sf_map_fill(struct sf_map *map);
void sf_map_zero(struct sf_map *map);
void sf_map_unite(struct sf_map *into, const struct sf_map *from);
void sf_map_subtract(struct sf_map *from, const struct sf_map *what);
void sf_map_swap(struct sf_map *a, struct sf_map *b);

/* Every bit of `part` is set in `whole`, which has as many extents. */
bool sf_map_is_subset(const struct sf_map *part, const struct sf_map *whole);

/* The first set bit at or after `from`, or map->extents. */
uint64_t sf_map_next(const struct sf_map *map, uint64_t from);

#endif

#include "volume/ground/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

static uint64_t
words_of(uint64_t extents) {
  return (extents + 63) / 64;
}

int
sf_map_init(struct sf_map *map, uint64_t extents) {
  uint64_t *words = calloc(words_of(extents), sizeof *words);

  if (words == NULL)
    return -ENOMEM;
  *map = (struct sf_map){.words = words, .extents = extents};
  return 0;
}

int
sf_map_reserve(struct sf_map *map, uint64_t extents) {
  uint64_t had = words_of(map->extents), wanted = words_of(extents);
  uint64_t *words;

  if (wanted <= had)
    return 0;
  words = realloc(map->words, wanted * sizeof *words);
  if (words == NULL)
    return -ENOMEM;
  memset(words + had, 0, (wanted - had) * sizeof *words);
  map->words = words;
  return 0;
}

void
sf_map_extend(struct sf_map *map, uint64_t extents) {
  SF_ASSERT(extents >= map->extents);
  map->extents = extents;
}

void
sf_map_destroy(struct sf_map *map) {
  free(map->words);
  *map = (struct sf_map){0};
}

bool
sf_map_test(const struct sf_map *map, uint64_t extent) {
  SF_ASSERT(extent < map->extents);
  return map->words[extent / 64] >> (extent % 64) & 1;
}

bool
sf_map_any(const struct sf_map *map, uint64_t first, uint64_t last) {
  if (map->set == 0)
    return false;
  return sf_map_next(map, first) <= last;
}

bool
sf_map_set(struct sf_map *map, uint64_t extent) {
  if (sf_map_test(map, extent))
    return false;
  map->words[extent / 64] |= UINT64_C(1) << (extent % 64);
  map->set++;
  return true;
}

bool
sf_map_clear(struct sf_map *map, uint64_t extent) {
  if (!sf_map_test(map, extent))
    return false;
  map->words[extent / 64] &= ~(UINT64_C(1) << (extent % 64));
  map->set--;
  return true;
}

void
sf_map_set_range(struct sf_map *map, uint64_t first, uint64_t last) {
  for (uint64_t extent = first; extent <= last; extent++)
    sf_map_set(map, extent);
}

void
sf_map_fill(struct sf_map *map) {
  memset(map->words, 0xff, words_of(map->extents) * sizeof *map->words);
  if (map->extents % 64 != 0)
    map->words[map->extents / 64] = (UINT64_C(1) << (map->extents % 64)) - 1;
  map->set = map->extents;
}

void
sf_map_zero(struct sf_map *map) {
  if (map->set == 0)
    return;
  memset(map->words, 0, words_of(map->extents) * sizeof *map->words);
  map->set = 0;
}

void
sf_map_unite(struct sf_map *into, const struct sf_map *from) {
  SF_ASSERT(into->extents == from->extents);
  if (from->set == 0)
    return;
  into->set = 0;
  for (uint64_t i = 0; i < words_of(into->extents); i++) {
    into->words[i] |= from->words[i];
    into->set += (uint64_t) __builtin_popcountll(into->words[i]);
  }
}

void
sf_map_subtract(struct sf_map *from, const struct sf_map *what) {
  SF_ASSERT(from->extents == what->extents);
  if (from->set == 0 || what->set == 0)
    return;
  from->set = 0;
  for (uint64_t i = 0; i < words_of(from->extents); i++) {
    from->words[i] &= ~what->words[i];
    from->set += (uint64_t) __builtin_popcountll(from->words[i]);
  }
}

void
sf_map_swap(struct sf_map *a, struct sf_map *b) {
  struct sf_map held = *a;

  *a = *b;
  *b = held;
}

bool
sf_map_is_subset(const struct sf_map *part, const struct sf_map *whole) {
  SF_ASSERT(part->extents == whole->extents);
  if (part->set > whole->set)
    return false;
  for (uint64_t i = 0; part->set > 0 && i < words_of(part->extents); i++)
    if (part->words[i] & ~whole->words[i])
      return false;
  return true;
}

uint64_t
sf_map_next(const struct sf_map *map, uint64_t from) {
  uint64_t index = from / 64;
  uint64_t word;

  if (map->set == 0 || from >= map->extents)
    return map->extents;
  word = map->words[index] & (~UINT64_C(0) << (from % 64));
  while (word == 0) {
    if (++index >= words_of(map->extents))
      return map->extents;
    word = map->words[index];
  }
  return index * 64 + (uint64_t) __builtin_ctzll(word);
}

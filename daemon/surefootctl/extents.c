/* Sets of extents as the maps hold them, for people and as JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "ctl.h"

enum { RANGES_SHOWN = 12 };

static uint64_t
extents_of(const struct ctl_extents *set) {
  return (set->data_bytes + set->extent_bytes - 1) / set->extent_bytes;
}

bool
ctl_extents_init(struct ctl_extents *set, uint64_t data_bytes, uint64_t extent_bytes) {
  SF_ASSERT(extent_bytes > 0);
  set->data_bytes = data_bytes;
  set->extent_bytes = extent_bytes;
  set->bits = calloc(sf_map_pages(data_bytes, extent_bytes), SF_MAP_BYTES);
  return set->bits != NULL;
}

void
ctl_extents_free(struct ctl_extents *set) {
  free(set->bits);
  set->bits = NULL;
}

void
ctl_extents_unite(struct ctl_extents *set, uint64_t page, const uint8_t bits[SF_MAP_BYTES]) {
  SF_ASSERT(page < sf_map_pages(set->data_bytes, set->extent_bytes));
  for (unsigned i = 0; i < SF_MAP_BYTES; i++)
    set->bits[page * SF_MAP_BYTES + i] |= bits[i];
}

bool
ctl_extents_has(const struct ctl_extents *set, uint64_t extent) {
  return set->bits[extent / 8] >> (extent % 8) & 1;
}

bool
ctl_extents_range(const struct ctl_extents *set, uint64_t from, uint64_t *first, uint64_t *last) {
  uint64_t extents = extents_of(set);
  for (*first = from; *first < extents && !ctl_extents_has(set, *first);)
    *first += *first % 8 == 0 && set->bits[*first / 8] == 0 ? 8 : 1;
  if (*first >= extents)
    return false;
  for (*last = *first; *last + 1 < extents && ctl_extents_has(set, *last + 1);)
    ++*last;
  return true;
}

void
ctl_extents_count(const struct ctl_extents *set, uint64_t *extents, uint64_t *bytes) {
  uint64_t first, last;
  *extents = *bytes = 0;
  for (uint64_t at = 0; ctl_extents_range(set, at, &first, &last); at = last + 1) {
    uint64_t end = (last + 1) * set->extent_bytes;
    *extents += last - first + 1;
    *bytes += (end < set->data_bytes ? end : set->data_bytes) - first * set->extent_bytes;
  }
}

uint64_t
ctl_extents_bytes(const struct ctl_extents *set) {
  uint64_t extents, bytes;
  ctl_extents_count(set, &extents, &bytes);
  return bytes;
}

/* "3 extents, 3 MiB: 0-1, 7" */
void
ctl_extents_print(const struct ctl_extents *set) {
  uint64_t extents, bytes, first, last;
  unsigned shown = 0, more = 0;
  char size[CTL_TEXT_MAX];
  ctl_extents_count(set, &extents, &bytes);
  if (extents == 0) {
    fputs("none", stdout);
    return;
  }
  printf("%" PRIu64 " extent%s, %s:", extents, extents == 1 ? "" : "s", ctl_size(bytes, size));
  for (uint64_t at = 0; ctl_extents_range(set, at, &first, &last); at = last + 1) {
    if (shown == RANGES_SHOWN) {
      more++;
      continue;
    }
    printf("%s %" PRIu64, shown++ ? "," : "", first);
    if (last > first)
      printf("-%" PRIu64, last);
  }
  if (more)
    printf(" and %u more range%s", more, more == 1 ? "" : "s");
}

json_t *
ctl_extents_to_json(const struct ctl_extents *set) {
  uint64_t extents, bytes, first, last;
  json_t *ranges = json_array();
  ctl_extents_count(set, &extents, &bytes);
  for (uint64_t at = 0; ctl_extents_range(set, at, &first, &last); at = last + 1)
    json_array_append_new(ranges, json_pack("[II]", (json_int_t) first, (json_int_t) last));
  return json_pack("{sI sI so}", "extents", (json_int_t) extents, "bytes", (json_int_t) bytes,
                   "ranges", ranges);
}

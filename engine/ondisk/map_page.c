/* A page of the maps: header, intent map, a stale map for each leg there could be, and the extents
 * that were never written. */
#include <string.h>

#include <surefoot/ondisk.h>

#include "ondisk/frame.h"

static const uint8_t magic_bytes[8] = {'S', 'U', 'R', 'E', 'M', 'A', 'P', 'S'};

/* The layout behind the frame, as docs/on-disk-format.md has it. */
enum {
  AT_PAGE = 20,
  AT_NUMBER = 24,
  AT_VOLUME = 32,
  AT_END_OF_HEADER = 48,
  AT_INTENT = 64,
  AT_STALE = AT_INTENT + SF_MAP_BYTES,
  AT_UNWRITTEN = AT_STALE + SF_LEGS_MAX * SF_MAP_BYTES,
  AT_END = AT_UNWRITTEN + SF_MAP_BYTES,
};

enum { VERSION_WITHOUT = 2 }; /* unwritten extents */

_Static_assert(AT_VOLUME + sizeof(struct sf_uuid) == AT_END_OF_HEADER, "header");
_Static_assert((int) AT_END == (int) SF_PAGE_BYTES, "one page");
_Static_assert(SF_MAP_EXTENTS % 64 == 0, "whole words");

static void
walk(struct sf_le *le, struct sf_frame *frame, struct sf_map_page *map) {
  sf_frame_walk(le, frame);
  sf_le_expect(le, AT_PAGE);
  sf_le_u32(le, &map->page);
  sf_le_expect(le, AT_NUMBER);
  sf_le_u64(le, &map->number);
  sf_le_expect(le, AT_VOLUME);
  sf_le_bytes(le, map->volume.bytes, sizeof map->volume.bytes);
  sf_le_expect(le, AT_END_OF_HEADER);
  sf_le_zeros_until(le, AT_INTENT);
  sf_le_bytes(le, map->intent, sizeof map->intent);
  sf_le_expect(le, AT_STALE);
  sf_le_bytes(le, map->stale, sizeof map->stale);
  sf_le_expect(le, AT_UNWRITTEN);
  sf_le_bytes(le, map->unwritten, sizeof map->unwritten);
  sf_le_expect(le, AT_END);
}

static bool
calls_unwritten(const struct sf_map_page *map) {
  static const uint8_t nothing[SF_MAP_BYTES];

  return memcmp(map->unwritten, nothing, sizeof nothing) != 0;
}

void
sf_map_page_encode(const struct sf_map_page *map, uint8_t page[SF_PAGE_BYTES]) {
  struct sf_frame frame = {.version = calls_unwritten(map) ? SF_MAP_VERSION : VERSION_WITHOUT,
                           .length = SF_PAGE_BYTES};
  struct sf_le le = {.page = page, .end = SF_PAGE_BYTES, .writing = true};
  struct sf_map_page copy = *map;
  memcpy(frame.magic, magic_bytes, sizeof magic_bytes);
  walk(&le, &frame, &copy);
  sf_page_seal(page);
}

bool
sf_map_page_decode(const uint8_t page[SF_PAGE_BYTES], const struct sf_uuid *volume, uint32_t index,
                   struct sf_map_page *map) {
  uint8_t copy[SF_PAGE_BYTES];
  struct sf_frame frame;
  memcpy(copy, page, sizeof copy);
  struct sf_le le = {.page = copy, .end = SF_PAGE_BYTES};
  walk(&le, &frame, map);
  if (memcmp(frame.magic, magic_bytes, sizeof magic_bytes) == 0 && frame.crc == sf_page_crc(page) &&
      frame.version == (calls_unwritten(map) ? SF_MAP_VERSION : VERSION_WITHOUT) &&
      frame.length == SF_PAGE_BYTES && map->page == index && sf_uuid_equal(&map->volume, volume))
    return true;
  memset(map, 0xff, sizeof *map);
  memset(map->unwritten, 0, sizeof map->unwritten);
  map->volume = *volume;
  map->page = index;
  map->number = 0;
  return false;
}

const uint8_t *
sf_map_page_choose(const uint8_t *first, const uint8_t *second, const struct sf_uuid *volume,
                   uint32_t index) {
  struct sf_map_page map;

  if (first != NULL && sf_map_page_decode(first, volume, index, &map))
    return first;
  if (second != NULL && sf_map_page_decode(second, volume, index, &map))
    return second;
  return NULL;
}

/* Is what lies between a lost head and the mark still that of the leg?  A disk that somebody has begun to use
 * otherwise need not have a label that libblkid knows: a database, an image.  It has been written to from its beginning
 * on, though, and there the maps are. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "legs/internal.h"

static bool
is_ours(const uint8_t page[SF_PAGE_BYTES], const struct sf_uuid *volume, uint64_t offset) {
  uint64_t index = (offset - SF_MAPS_OFFSET) / SF_PAGE_BYTES;
  struct sf_map_page map;
  if (index >= SF_MAP_SECOND &&
      sf_map_page_decode(page, volume, (uint32_t) index - SF_MAP_SECOND, &map))
    return true;
  return (page[0] == 0 && memcmp(page, page + 1, SF_PAGE_BYTES - 1) == 0) ||
         sf_map_page_decode(page, volume, (uint32_t) index, &map);
}

int
sf_leg_find_strange(const struct sf_leg_file *file, const struct sf_uuid *volume, uint64_t *at) {
  uint8_t *piece = sf_leg_buffer(LEG_PIECE_BYTES);
  int r = piece ? 0 : -ENOMEM;
  for (*at = SF_MAPS_OFFSET; *at < SF_MARK_OFFSET && r == 0;) {
    uint64_t left = SF_MARK_OFFSET - *at, length = left < LEG_PIECE_BYTES ? left : LEG_PIECE_BYTES;
    ssize_t n = sf_leg_read(file->fd, piece, length, *at);
    if (n < 0 || (uint64_t) n != length)
      r = n < 0 ? (int) n : -EIO;
    for (uint64_t k = 0; k < length && r == 0; k += SF_PAGE_BYTES)
      if (!is_ours(piece + k, volume, *at + k)) {
        *at += k;
        r = 1;
      }
    if (r == 0)
      *at += length;
  }
  free(piece);
  return r;
}

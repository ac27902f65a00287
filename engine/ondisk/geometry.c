/* Sizes: what fits where. */
#include <surefoot/ondisk.h>

#include "ondisk/geometry.h"

_Static_assert(SF_SUPERBLOCK_OFFSET(SF_SUPERBLOCK_COPIES) <= SF_PROBE_OFFSET, "copies, then probe");
_Static_assert(SF_PROBE_OFFSET + SF_PAGE_BYTES <= SF_MAPS_OFFSET, "probe, then maps");
_Static_assert(SF_DATA_OFFSET % SF_DATA_ALIGN == 0, "losetup and partitions want it aligned");
/* An intent map and a stale map per leg, a bit per extent; half a page lost in each page's header
 * would still fit. */
_Static_assert((1 + SF_LEGS_MAX) * (SF_EXTENTS_MAX / 8) * 3 / 2 <= SF_DATA_OFFSET - SF_MAPS_OFFSET,
               "the largest maps fit before the data");

bool
sf_looks_used(const uint8_t *bytes, size_t len) {
  if (len > SF_MAPS_OFFSET)
    len = SF_MAPS_OFFSET;
  for (size_t i = 0; i < len; i++)
    if (bytes[i] != 0)
      return true;
  return false;
}

uint64_t
sf_data_bytes_for(uint64_t leg_bytes) {
  /* off_t is what the kernel counts with. */
  if (leg_bytes > INT64_MAX)
    leg_bytes = INT64_MAX;
  if (leg_bytes < SF_DATA_OFFSET + SF_VOLUME_BYTES_MIN)
    return 0;
  uint64_t data_bytes = leg_bytes - SF_DATA_OFFSET;
  return data_bytes - data_bytes % SF_PAGE_BYTES;
}

uint64_t
sf_extent_bytes_for(uint64_t data_bytes) {
  uint64_t extent_bytes = SF_EXTENT_BYTES_DEFAULT;
  while (data_bytes / extent_bytes + (data_bytes % extent_bytes != 0) > SF_EXTENTS_MAX)
    extent_bytes *= 2;
  return extent_bytes;
}

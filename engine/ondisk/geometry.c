/* Sizes: what fits where. */
#include <surefoot/ondisk.h>

_Static_assert(SF_SUPERBLOCK_OFFSET(SF_SUPERBLOCK_COPIES) <= SF_PROBE_OFFSET, "copies, then probe");
_Static_assert(SF_PROBE_OFFSET + SF_PAGE_BYTES <= SF_MAPS_OFFSET, "probe, then maps");
_Static_assert(SF_DATA_OFFSET % SF_DATA_ALIGN == 0, "losetup and partitions want it aligned");
_Static_assert(SF_MAP_PAGE_OFFSET((SF_EXTENTS_MAX - 1) / SF_MAP_EXTENTS + 1) <= SF_MARK_OFFSET,
               "the largest maps fit before the mark");
_Static_assert(SF_MAP_SECOND_OFFSET(SF_MAP_TWICE_MOST) <= SF_MARK_OFFSET,
               "and so do second copies");
_Static_assert(SF_MARK_OFFSET + SF_PAGE_BYTES <= SF_DATA_OFFSET, "the mark, then the data");

/* Room for a volume to grow without larger extents. */
enum { GROWTH = 4 };

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
  while (extent_bytes < SF_EXTENT_BYTES_MAX &&
         data_bytes / extent_bytes + (data_bytes % extent_bytes != 0) > SF_EXTENTS_MAX / GROWTH)
    extent_bytes *= 2;
  return extent_bytes;
}

uint64_t
sf_map_pages(uint64_t data_bytes, uint64_t extent_bytes) {
  uint64_t extents = (data_bytes + extent_bytes - 1) / extent_bytes;
  return (extents + SF_MAP_EXTENTS - 1) / SF_MAP_EXTENTS;
}

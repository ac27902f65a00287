/* Any bytes as a superblock.  The CRC is put right first, or nothing would get past it.  Beyond not
 * crashing: a page that is taken is exactly as the encoder would write it. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <surefoot/ondisk.h>

#include "ondisk/crc32c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { AT_VERSION = 8, AT_CRC = 16 };

static void
demand(bool condition) {
  if (!condition)
    abort();
}

/* A valid page, over which the input is laid: short inputs change one field. */
static void
base_page(uint8_t page[SF_PAGE_BYTES]) {
  struct sf_superblock sb = {.serial = 1,
                             .volume = {{1}},
                             .volume_name = "v",
                             .legs = 2,
                             .leg_uuid = {{{2}}, {{3}}},
                             .leg_name = {"a", "b"},
                             .data_offset = SF_DATA_OFFSET,
                             .data_bytes = SF_VOLUME_BYTES_MIN,
                             .extent_bytes = SF_EXTENT_BYTES_DEFAULT,
                             .lineage = {{4}},
                             .record = {.term = 1, .in_sync = 3, .min_legs = 1}};
  sf_superblock_encode(&sb, page);
}

static void
seal(uint8_t page[SF_PAGE_BYTES]) {
  memset(page + AT_CRC, 0, 4);
  uint32_t crc = sf_crc32c(page, SF_PAGE_BYTES);
  for (int i = 0; i < 4; i++)
    page[AT_CRC + i] = (uint8_t) (crc >> (8 * i));
}

static void
check_page(const uint8_t page[SF_PAGE_BYTES]) {
  static uint8_t pages[SF_SUPERBLOCK_COPIES][SF_PAGE_BYTES];
  uint8_t again[SF_PAGE_BYTES];
  struct sf_superblock sb;
  int r = sf_superblock_decode(page, &sb);
  demand(r == 0 || r == -ENODATA || r == -EBADMSG || r == -EPROTONOSUPPORT || r == -EUCLEAN);

  unsigned place = r == 0 ? sb.serial % SF_SUPERBLOCK_COPIES : 1;
  memset(pages, 0, sizeof pages);
  memcpy(pages[place], page, SF_PAGE_BYTES);
  demand(sf_superblock_pick((const uint8_t(*)[SF_PAGE_BYTES]) pages, &sb, NULL) == r);
  if (r < 0)
    return;
  memset(pages, 0, sizeof pages);
  memcpy(pages[1 - place], page, SF_PAGE_BYTES);
  demand(sf_superblock_pick((const uint8_t(*)[SF_PAGE_BYTES]) pages, &sb, NULL) == -EUCLEAN);
  demand(sb.serial <= SF_NUMBER_MAX && sb.claim <= SF_NUMBER_MAX);
  demand(sb.record.term <= SF_NUMBER_MAX && sb.record.change <= SF_NUMBER_MAX);
  demand(sb.legs >= 1 && sb.legs <= SF_LEGS_MAX && sb.leg_index < sb.legs);
  demand(sb.ancestors <= SF_ANCESTORS_MAX);
  demand(sb.bad.n <= SF_BAD_MOST);
  /* It is written again as it was read, but for the version: version 1 is upgraded. */
  sf_superblock_encode(&sb, again);
  memcpy(again + AT_VERSION, page + AT_VERSION, 4);
  seal(again);
  demand(memcmp(page, again, SF_PAGE_BYTES) == 0);
}

/* Two bytes of offset, then what to put there. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uint8_t page[SF_PAGE_BYTES];
  base_page(page);
  if (size >= 2) {
    size_t offset = (data[0] | data[1] << 8) % SF_PAGE_BYTES;
    size_t len = size - 2 < SF_PAGE_BYTES - offset ? size - 2 : SF_PAGE_BYTES - offset;
    memcpy(page + offset, data + 2, len);
  }
  check_page(page);
  seal(page);
  check_page(page);
  return 0;
}

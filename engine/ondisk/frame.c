#include "ondisk/frame.h"

#include <string.h>

#include "ondisk/crc32c.h"

void
sf_frame_walk(struct sf_le *le, struct sf_frame *frame) {
  sf_le_expect(le, SF_FRAME_AT_MAGIC);
  sf_le_bytes(le, frame->magic, sizeof frame->magic);
  sf_le_expect(le, SF_FRAME_AT_VERSION);
  sf_le_u32(le, &frame->version);
  sf_le_expect(le, SF_FRAME_AT_LENGTH);
  sf_le_u32(le, &frame->length);
  sf_le_expect(le, SF_FRAME_AT_CRC);
  sf_le_u32(le, &frame->crc);
  sf_le_expect(le, SF_FRAME_END);
}

uint32_t
sf_page_crc(const uint8_t page[SF_PAGE_BYTES]) {
  uint8_t copy[SF_PAGE_BYTES];
  memcpy(copy, page, sizeof copy);
  memset(copy + SF_FRAME_AT_CRC, 0, 4);
  return sf_crc32c(copy, sizeof copy);
}

void
sf_page_seal(uint8_t page[SF_PAGE_BYTES]) {
  struct sf_le le = {.page = page, .at = SF_FRAME_AT_CRC, .end = SF_PAGE_BYTES, .writing = true};
  uint32_t crc = sf_page_crc(page);
  sf_le_u32(&le, &crc);
}

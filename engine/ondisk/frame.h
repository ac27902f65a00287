/* What every page of metadata carries around its contents: magic, version, length, and the CRC of
 * the whole page with the CRC's own field as zero.  These four stay where they are in every
 * version. */
#ifndef SUREFOOT_ONDISK_FRAME_H
#define SUREFOOT_ONDISK_FRAME_H

#include <surefoot/ondisk.h>

#include "ondisk/le.h"

enum {
  SF_FRAME_AT_MAGIC = 0,
  SF_FRAME_AT_VERSION = 8,
  SF_FRAME_AT_LENGTH = 12,
  SF_FRAME_AT_CRC = 16,
  SF_FRAME_END = 20,
};

struct sf_frame {
  uint8_t magic[8];
  uint32_t version;
  uint32_t length;
  uint32_t crc;
};

/* The cursor stands at the page's beginning, and at SF_FRAME_END afterwards. */
void sf_frame_walk(struct sf_le *le, struct sf_frame *frame);

uint32_t sf_page_crc(const uint8_t page[SF_PAGE_BYTES]);

/* The page is complete but for its CRC. */
void sf_page_seal(uint8_t page[SF_PAGE_BYTES]);

#endif

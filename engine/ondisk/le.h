/* A cursor over a page that either writes little-endian fields or reads them.  Because one walk
 * over the fields serves both, encoder and decoder cannot disagree about the layout.
 *
 * Running over the end is a mistake in the caller, not in the page: an assertion. */
#ifndef SUREFOOT_ONDISK_LE_H
#define SUREFOOT_ONDISK_LE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"

struct sf_le {
  uint8_t *page;
  size_t at, end;
  bool writing;
};

/* The caller's statement of where it is: the offsets of the layout, checked on every walk. */
static inline void
sf_le_expect(const struct sf_le *le, size_t offset) {
  SF_ASSERT(le->at == offset);
}

static inline void
sf_le_uint(struct sf_le *le, uint64_t *value, size_t size) {
  SF_ASSERT(size <= le->end - le->at);
  uint8_t *bytes = le->page + le->at;
  le->at += size;
  if (le->writing) {
    for (size_t i = 0; i < size; i++)
      bytes[i] = (uint8_t) (*value >> (8 * i));
    return;
  }
  *value = 0;
  for (size_t i = 0; i < size; i++)
    *value |= (uint64_t) bytes[i] << (8 * i);
}

static inline void
sf_le_u8(struct sf_le *le, uint8_t *value) {
  uint64_t wide = *value;
  sf_le_uint(le, &wide, sizeof *value);
  *value = (uint8_t) wide;
}

static inline void
sf_le_u16(struct sf_le *le, uint16_t *value) {
  uint64_t wide = *value;
  sf_le_uint(le, &wide, sizeof *value);
  *value = (uint16_t) wide;
}

static inline void
sf_le_u32(struct sf_le *le, uint32_t *value) {
  uint64_t wide = *value;
  sf_le_uint(le, &wide, sizeof *value);
  *value = (uint32_t) wide;
}

static inline void
sf_le_u64(struct sf_le *le, uint64_t *value) {
  sf_le_uint(le, value, sizeof *value);
}

static inline void
sf_le_bytes(struct sf_le *le, void *bytes, size_t len) {
  SF_ASSERT(len <= le->end - le->at);
  if (le->writing)
    memcpy(le->page + le->at, bytes, len);
  else
    memcpy(bytes, le->page + le->at, len);
  le->at += len;
}

/* Reserved bytes, up to an offset: written as zero, skipped when reading. */
static inline void
sf_le_zeros_until(struct sf_le *le, size_t offset) {
  SF_ASSERT(offset >= le->at && offset <= le->end);
  if (le->writing)
    memset(le->page + le->at, 0, offset - le->at);
  le->at = offset;
}

#endif

#include "ondisk/crc32c.h"

#include <limits.h>

#include <isa-l.h>

#include "base/assert.h"

uint32_t
sf_crc32c(const void *bytes, size_t len) {
  SF_ASSERT(len <= INT_MAX);
  /* ISA-L only updates a running value: the inversions before and after are ours.  It takes a
   * pointer to non-const, and does not write. */
  return ~crc32_iscsi((unsigned char *) (uintptr_t) bytes, (int) len, ~UINT32_C(0));
}

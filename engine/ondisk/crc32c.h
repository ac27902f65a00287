/* CRC-32C (Castagnoli) in its usual form: "123456789" gives 0xE3069283. */
#ifndef SUREFOOT_ONDISK_CRC32C_H
#define SUREFOOT_ONDISK_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t sf_crc32c(const void *bytes, size_t len);

#endif

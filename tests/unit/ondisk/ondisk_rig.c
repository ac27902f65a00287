/* A superblock with something in each field. */
#include "ondisk_rig.h"

/* The example superblock as bytes, hex, at literal offsets; all the rest is zero. */
static const struct {
  size_t offset;
  const char *hex;
} golden[] = {
    {0, "53555245464f4f54"   /* SUREFOOT */
        "02000000"           /* version 2 */
        "00100000"           /* 4096 bytes */
        "c8a8a0f9"           /* CRC-32C */
        "00000000"           /* reserved */
        "0807060504030201"}, /* serial */
    {32, "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"},
    {48, "766f6c30"},        /* vol0 */
    {112, "01030202"         /* leg 1 of 3, two ancestors, min_legs 2 */
          "0500"             /* in sync: a, c */
          "0200"             /* faulty: b */
          "01"},             /* clean */
    {128, "1112131415161718" /* term */
          "2122232425262728" /* change */
          "3132333435363738" /* claim */
          "0000800000000000" /* data at 8 MiB */
          "0010004001000000" /* 5 GiB and a page */
          "0000100000000000" /* extents of 1 MiB */
          "b0b1b2b3b4b5b6b7b8b9babbbcbdbebf"},
    {192, "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf"
          "4142434445464748"
          "5152535455565758"
          "d0d1d2d3d4d5d6d7d8d9dadbdcdddedf"
          "6162636465666768"
          "7172737475767778"},
    {512, "e0e1e2e3e4e5e6e7e8e9eaebecedeeef"
          "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"
          "808182838485868788898a8b8c8d8e8f"},
    {768, "61"},     /* a */
    {800, "622d62"}, /* b-b */
    {832, "635f63"}, /* c_c */
};

void
fill_uuid(struct sf_uuid *uuid, unsigned first) {
  for (unsigned i = 0; i < sizeof uuid->bytes; i++)
    uuid->bytes[i] = (uint8_t) (first + i);
}

void
example(struct sf_superblock *sb) {
  *sb = (struct sf_superblock){
      .serial = 0x0102030405060708,
      .volume_name = "vol0",
      .leg_index = 1,
      .legs = 3,
      .leg_name = {"a", "b-b", "c_c"},
      .data_offset = 0x800000,
      .data_bytes = 0x140001000,
      .extent_bytes = 0x100000,
      .ancestors = 2,
      .ancestor = {{.term = 0x4847464544434241, .change = 0x5857565554535251},
                   {.term = 0x6867666564636261, .change = 0x7877767574737271}},
      .claim = 0x3837363534333231,
      .record = {.term = 0x1817161514131211,
                 .change = 0x2827262524232221,
                 .in_sync = 5,
                 .faulty = 2,
                 .min_legs = 2,
                 .clean = true},
  };
  fill_uuid(&sb->volume, 0xa0);
  fill_uuid(&sb->lineage, 0xb0);
  fill_uuid(&sb->ancestor[0].lineage, 0xc0);
  fill_uuid(&sb->ancestor[1].lineage, 0xd0);
  fill_uuid(&sb->leg_uuid[0], 0xe0);
  fill_uuid(&sb->leg_uuid[1], 0xf0);
  fill_uuid(&sb->leg_uuid[2], 0x80);
}

void
golden_page(uint8_t page[SF_PAGE_BYTES]) {
  memset(page, 0, SF_PAGE_BYTES);
  for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
    uint8_t *to = page + golden[i].offset;
    for (const char *hex = golden[i].hex; *hex; hex += 2) {
      const char digits[3] = {hex[0], hex[1], '\0'};
      *to++ = (uint8_t) strtoul(digits, NULL, 16);
    }
  }
}

/* CRC-32C from its definition, bit by bit, to hold the library's against. */
uint32_t
slow_crc32c(const uint8_t *bytes, size_t len) {
  uint32_t crc = ~UINT32_C(0);
  for (size_t i = 0; i < len; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++)
      crc = (crc >> 1) ^ ((crc & 1) ? UINT32_C(0x82f63b78) : 0);
  }
  return ~crc;
}

void
seal(uint8_t page[SF_PAGE_BYTES]) {
  memset(page + 16, 0, 4);
  uint32_t crc = slow_crc32c(page, SF_PAGE_BYTES);
  for (int i = 0; i < 4; i++)
    page[16 + i] = (uint8_t) (crc >> (8 * i));
}

/* Decodes and proves that a failure left the caller's superblock alone. */
int
decode(const uint8_t page[SF_PAGE_BYTES], struct sf_superblock *sb) {
  static struct sf_superblock before;
  memset(&before, 0x5a, sizeof before);
  memset(sb, 0x5a, sizeof *sb);
  int r = sf_superblock_decode(page, sb);
  if (r < 0)
    assert_memory_equal(sb, &before, sizeof before);
  return r;
}

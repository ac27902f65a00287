#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <surefoot/ondisk.h>

#include "ondisk/crc32c.h"

/* ---- the documented layout, in literals: a change of format must be made here too ---- */

struct field {
  size_t offset, size;
  const char *name; /* as docs/on-disk-format.md writes it */
};

static const struct field layout[] = {
    {0, 8, "magic"},          {8, 4, "version"},        {12, 4, "length"},
    {16, 4, "crc"},           {20, 4, "reserved"},      {24, 8, "serial"},
    {32, 16, "volume"},       {48, 64, "volume_name"},  {112, 1, "leg_index"},
    {113, 1, "legs"},         {114, 1, "ancestors"},    {115, 1, "min_legs"},
    {116, 2, "in_sync"},      {118, 2, "faulty"},       {120, 1, "flags"},
    {121, 1, "reserved"},     {122, 2, "removed"},      {124, 2, "lost"},
    {126, 2, "block_bytes"},  {128, 8, "term"},         {136, 8, "change"},
    {144, 8, "claim"},        {152, 8, "data_offset"},  {160, 8, "data_bytes"},
    {168, 8, "extent_bytes"}, {176, 16, "lineage"},     {192, 256, "ancestor[8]"},
    {448, 64, "reserved"},    {512, 256, "leg_uuid"},   {768, 512, "leg_name"},
    {1280, 64, "host"},       {1344, 16, "machine"},    {1360, 16, "boot"},
    {1376, 8, "since"},       {1384, 8, "started"},     {1392, 4, "pid"},
    {1396, 4, "bads"},        {1400, 2048, "bad[128]"}, {3448, 648, "reserved"},
};

static const struct field areas[] = {
    {0, 4096, "superblock copy 0"}, {4096, 4096, "superblock copy 1"}, {8192, 4096, "probe"},
    {12288, 53248, "reserved"},     {65536, 8323072, "maps"},
};

static const struct field map_layout[] = {
    {0, 8, "magic"},     {8, 4, "version"},        {12, 4, "length"},       {16, 4, "crc"},
    {20, 4, "page"},     {24, 8, "number"},        {32, 16, "volume"},      {48, 16, "reserved"},
    {64, 224, "intent"}, {288, 3584, "stale[16]"}, {3872, 224, "reserved"},
};

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

static void
fill_uuid(struct sf_uuid *uuid, unsigned first) {
  for (unsigned i = 0; i < sizeof uuid->bytes; i++)
    uuid->bytes[i] = (uint8_t) (first + i);
}

static void
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

static void
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
static uint32_t
slow_crc32c(const uint8_t *bytes, size_t len) {
  uint32_t crc = ~UINT32_C(0);
  for (size_t i = 0; i < len; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++)
      crc = (crc >> 1) ^ ((crc & 1) ? UINT32_C(0x82f63b78) : 0);
  }
  return ~crc;
}

static void
seal(uint8_t page[SF_PAGE_BYTES]) {
  memset(page + 16, 0, 4);
  uint32_t crc = slow_crc32c(page, SF_PAGE_BYTES);
  for (int i = 0; i < 4; i++)
    page[16 + i] = (uint8_t) (crc >> (8 * i));
}

/* Decodes and proves that a failure left the caller's superblock alone. */
static int
decode(const uint8_t page[SF_PAGE_BYTES], struct sf_superblock *sb) {
  static struct sf_superblock before;
  memset(&before, 0x5a, sizeof before);
  memset(sb, 0x5a, sizeof *sb);
  int r = sf_superblock_decode(page, sb);
  if (r < 0)
    assert_memory_equal(sb, &before, sizeof before);
  return r;
}

static void
assert_same(const struct sf_superblock *a, const struct sf_superblock *b) {
  assert_int_equal(a->serial, b->serial);
  assert_true(sf_uuid_equal(&a->volume, &b->volume));
  assert_string_equal(a->volume_name, b->volume_name);
  assert_int_equal(a->leg_index, b->leg_index);
  assert_int_equal(a->legs, b->legs);
  assert_int_equal(a->removed, b->removed);
  assert_int_equal(a->lost, b->lost);
  assert_memory_equal(a->leg_uuid, b->leg_uuid, sizeof a->leg_uuid);
  assert_memory_equal(a->leg_name, b->leg_name, sizeof a->leg_name);
  assert_int_equal(a->data_offset, b->data_offset);
  assert_int_equal(a->data_bytes, b->data_bytes);
  assert_int_equal(a->extent_bytes, b->extent_bytes);
  assert_true(sf_uuid_equal(&a->lineage, &b->lineage));
  assert_int_equal(a->ancestors, b->ancestors);
  assert_memory_equal(a->ancestor, b->ancestor, sizeof a->ancestor);
  assert_int_equal(a->claim, b->claim);
  assert_int_equal(a->record.term, b->record.term);
  assert_int_equal(a->record.change, b->record.change);
  assert_int_equal(a->record.in_sync, b->record.in_sync);
  assert_int_equal(a->record.faulty, b->record.faulty);
  assert_int_equal(a->record.min_legs, b->record.min_legs);
  assert_int_equal(a->record.clean, b->record.clean);
}

/* ---- format ---- */

/* Proves that the stored CRC is the standard CRC-32C: the published check value, and the definition
 * for lengths around the library's block sizes. */
static void
test_crc_is_the_standard_one(void **state) {
  uint8_t bytes[300];
  assert_int_equal(sf_crc32c("123456789", 9), 0xE3069283);
  assert_int_equal(sf_crc32c("", 0), 0);
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (uint8_t) (i * 37 + 11);
  for (size_t len = 1; len <= sizeof bytes; len++)
    assert_int_equal(sf_crc32c(bytes, len), slow_crc32c(bytes, len));
}

/* Proves that the encoder writes the documented bytes at the documented offsets, none else. */
static void
test_encode_gives_the_golden_page(void **state) {
  struct sf_superblock sb;
  uint8_t page[SF_PAGE_BYTES], expected[SF_PAGE_BYTES];
  example(&sb);
  memset(page, 0xee, sizeof page);
  sf_superblock_encode(&sb, page);
  golden_page(expected);
  assert_memory_equal(page, expected, sizeof page);
}

/* Proves that a page written by this version long ago is still read, every field of it. */
static void
test_decode_reads_the_golden_page(void **state) {
  struct sf_superblock sb, expected;
  uint8_t page[SF_PAGE_BYTES];
  golden_page(page);
  example(&expected);
  assert_int_equal(decode(page, &sb), 0);
  assert_same(&sb, &expected);
}

static char *
read_document(void) {
  static char text[64 * 1024];
  FILE *f = fopen(SF_LAYOUT_DOC, "re");
  assert_non_null(f);
  size_t len = fread(text, 1, sizeof text - 1, f);
  assert_true(len > 0 && len < sizeof text - 1);
  text[len] = '\0';
  fclose(f);
  return text;
}

/* Rows "| OFFSET | SIZE | `NAME` |" of the document's table below a heading, against literals. */
static void
assert_table(const char *heading, const struct field *fields, size_t n, size_t end) {
  const char *line = strstr(read_document(), heading);
  size_t next = 0, row = 0;
  assert_non_null(line);
  for (line = strchr(line, '\n') + 1; strncmp(line, "\n## ", 4) != 0;
       line = strchr(line, '\n') + 1) {
    size_t offset, size;
    char name[64];
    assert_non_null(strchr(line, '\n'));
    if (sscanf(line, "| %zu | %zu | `%63[^`]` |", &offset, &size, name) != 3)
      continue;
    assert_true(row < n);
    assert_int_equal(offset, fields[row].offset);
    assert_int_equal(size, fields[row].size);
    assert_string_equal(name, fields[row].name);
    assert_int_equal(offset, next); /* no gap, no overlap */
    next = offset + size;
    row++;
  }
  assert_int_equal(row, n);
  assert_int_equal(next, end);
}

/* Proves that docs/on-disk-format.md lists exactly the layout that the golden page is made of, and
 * the areas that the header defines. */
static void
test_document_has_the_layout(void **state) {
  assert_table("\n## The superblock, byte by byte", layout, sizeof layout / sizeof *layout, 4096);
  assert_table("\n## A page of the maps, byte by byte", map_layout,
               sizeof map_layout / sizeof *map_layout, 4096);
  assert_table("\n## A leg", areas, sizeof areas / sizeof *areas, 8 * 1024 * 1024);
  assert_int_equal(SF_SUPERBLOCK_OFFSET(0), areas[0].offset);
  assert_int_equal(SF_SUPERBLOCK_OFFSET(1), areas[1].offset);
  assert_int_equal(SF_PROBE_OFFSET, areas[2].offset);
  assert_int_equal(SF_MAPS_OFFSET, areas[4].offset);
  assert_int_equal(SF_DATA_OFFSET, areas[4].offset + areas[4].size);
}

/* Proves that what goes in comes out, for every count of legs and of ancestors. */
static void
test_round_trip(void **state) {
  for (unsigned legs = 1; legs <= SF_LEGS_MAX; legs++)
    for (unsigned ancestors = 0; ancestors <= SF_ANCESTORS_MAX; ancestors++) {
      struct sf_superblock in, out;
      uint8_t page[SF_PAGE_BYTES];
      example(&in);
      in.legs = (uint8_t) legs;
      in.leg_index = (uint8_t) (legs - 1);
      in.ancestors = (uint8_t) ancestors;
      in.record.in_sync = (uint16_t) ((1u << legs) - 1);
      in.record.faulty = 0;
      in.record.clean = legs & 1;
      in.record.min_legs = (uint8_t) legs;
      memset(in.leg_name, 0, sizeof in.leg_name);
      memset(in.leg_uuid, 0, sizeof in.leg_uuid);
      memset(in.ancestor, 0, sizeof in.ancestor);
      for (unsigned i = 0; i < legs; i++) {
        memset(in.leg_name[i], 'A' + (int) i, SF_LEG_NAME_MAX - 1);
        fill_uuid(&in.leg_uuid[i], i * 7 + 1);
      }
      for (unsigned i = 0; i < ancestors; i++) {
        fill_uuid(&in.ancestor[i].lineage, i * 5 + 1);
        in.ancestor[i].term = UINT64_MAX - i;
        in.ancestor[i].change = i;
      }
      sf_superblock_encode(&in, page);
      assert_int_equal(decode(page, &out), 0);
      assert_same(&in, &out);
    }
}

/* Proves that memory behind names and past the counts does not reach the disk. */
static void
test_encode_leaves_no_garbage(void **state) {
  struct sf_superblock sb;
  uint8_t clean[SF_PAGE_BYTES], page[SF_PAGE_BYTES];
  example(&sb);
  sf_superblock_encode(&sb, clean);
  memset(sb.volume_name + 5, 'x', sizeof sb.volume_name - 5);
  memset(sb.leg_name[0] + 2, 'x', SF_LEG_NAME_MAX - 2);
  memset(sb.leg_name[3], 'x', SF_LEG_NAME_MAX);
  memset(&sb.leg_uuid[15], 'x', sizeof sb.leg_uuid[15]);
  memset(&sb.ancestor[2], 'x', sizeof sb.ancestor[2]);
  sf_superblock_encode(&sb, page);
  assert_memory_equal(page, clean, sizeof page);
}

/* ---- damage ---- */

/* Proves that no single flipped bit goes unseen: in the magic it hides the superblock, anywhere
 * else it is damage, the version field included. */
static void
test_every_flipped_bit_is_seen(void **state) {
  struct sf_superblock sb;
  uint8_t page[SF_PAGE_BYTES];
  golden_page(page);
  for (unsigned bit = 0; bit < 8 * SF_PAGE_BYTES; bit++) {
    page[bit / 8] ^= (uint8_t) (1u << bit % 8);
    assert_int_equal(decode(page, &sb), bit < 64 ? -ENODATA : -EBADMSG);
    page[bit / 8] ^= (uint8_t) (1u << bit % 8);
  }
  assert_int_equal(decode(page, &sb), 0);
}

/* Proves that a write cut off anywhere leaves the old page, the new page, or damage: never a third
 * superblock.  Old and new differ in both the first and the last fields. */
static void
test_torn_page_is_seen(void **state) {
  struct sf_superblock sb;
  uint8_t old[SF_PAGE_BYTES], new[SF_PAGE_BYTES], torn[SF_PAGE_BYTES];
  unsigned damaged = 0;
  golden_page(old);
  example(&sb);
  sb.serial++;
  sb.record.change++;
  memset(sb.leg_name[2], 'z', SF_LEG_NAME_MAX - 1);
  sf_superblock_encode(&sb, new);
  for (size_t cut = 0; cut <= SF_PAGE_BYTES; cut++) {
    memcpy(torn, new, cut);
    memcpy(torn + cut, old + cut, SF_PAGE_BYTES - cut);
    bool whole = memcmp(torn, old, sizeof old) == 0 || memcmp(torn, new, sizeof new) == 0;
    assert_int_equal(decode(torn, &sb), whole ? 0 : -EBADMSG);
    damaged += !whole;
  }
  /* From the CRC at 16 to the end of the third leg's name, 31 letters from 832. */
  assert_int_equal(damaged, 832 + 31 - 16 - 1);
}

/* Proves that what a running volume changes lies in the page's first 512 bytes, so that a disk that
 * writes whole sectors cannot tear it at all. */
static void
test_what_changes_is_in_one_sector(void **state) {
  struct sf_superblock sb;
  uint8_t before[SF_PAGE_BYTES], after[SF_PAGE_BYTES];
  golden_page(before);
  example(&sb);
  sb.serial++;
  sb.claim++;
  sb.record = (struct sf_record){.term = 1, .change = 2, .in_sync = 3, .min_legs = 1};
  fill_uuid(&sb.lineage, 1);
  sb.ancestors = SF_ANCESTORS_MAX;
  for (unsigned i = 0; i < SF_ANCESTORS_MAX; i++) {
    fill_uuid(&sb.ancestor[i].lineage, 0x10 + i);
    sb.ancestor[i].term = sb.ancestor[i].change = UINT64_MAX;
  }
  sf_superblock_encode(&sb, after);
  assert_memory_not_equal(before, after, 512);
  assert_memory_equal(before + 512, after + 512, SF_PAGE_BYTES - 512);
}

/* ---- impossible contents ---- */

struct patch {
  const char *what;
  size_t offset, len;
  const char *bytes;
  int expected;
};

#define BYTES(literal) sizeof literal - 1, literal
#define NIL            BYTES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")

/* Each on top of the golden page: leg 1 of 3, in sync 0 and 2, two ancestors. */
static const struct patch impossible[] = {
    {"version 6", 8, BYTES("\x06"), -EPROTONOSUPPORT},
    {"version 5 without a bad range", 8, BYTES("\x05"), -EUCLEAN},
    {"version 4 without a holder", 8, BYTES("\x04"), -EUCLEAN},
    {"version 3 without a block size", 8, BYTES("\x03"), -EUCLEAN},
    {"version 2^31", 8, BYTES("\0\0\0\x80"), -EPROTONOSUPPORT},
    {"version 0", 8, BYTES("\0"), -EUCLEAN},
    {"length 4095", 12, BYTES("\xff\x0f"), -EBADMSG},
    {"length 8192", 12, BYTES("\0\x20"), -EBADMSG},
    {"reserved after the CRC", 23, BYTES("\x01"), -EUCLEAN},
    {"volume uuid nil", 32, NIL, -EUCLEAN},
    {"volume name empty", 48, BYTES("\0\0\0\0"), -EUCLEAN},
    {"volume name with a space", 49, BYTES(" "), -EUCLEAN},
    {"volume name with a newline", 49, BYTES("\n"), -EUCLEAN},
    {"volume name without NUL", 52,
     BYTES("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), -EUCLEAN},
    {"volume name with bytes behind the NUL", 111, BYTES("x"), -EUCLEAN},
    {"leg index = legs", 112, BYTES("\x03"), -EUCLEAN},
    {"leg index 255", 112, BYTES("\xff"), -EUCLEAN},
    {"no legs", 113, BYTES("\0"), -EUCLEAN},
    {"no legs, leg index 0, no bits", 112, BYTES("\0\0\x02\x02\0\0\0\0"), -EUCLEAN},
    {"17 legs", 113, BYTES("\x11"), -EUCLEAN},
    {"255 legs", 113, BYTES("\xff"), -EUCLEAN},
    {"more legs than names", 113, BYTES("\x04"), -EUCLEAN},
    {"fewer legs than names", 112, BYTES("\0\x02\x02\x02\x01\0\0\0"), -EUCLEAN},
    {"nine ancestors", 114, BYTES("\x09"), -EUCLEAN},
    {"255 ancestors", 114, BYTES("\xff"), -EUCLEAN},
    {"more ancestors than entries", 114, BYTES("\x03"), -EUCLEAN},
    {"fewer ancestors than entries", 114, BYTES("\x01"), -EUCLEAN},
    {"min_legs 0", 115, BYTES("\0"), -EUCLEAN},
    {"min_legs above legs", 115, BYTES("\x04"), -EUCLEAN},
    {"nobody in sync", 116, BYTES("\0\0"), -EUCLEAN},
    {"in sync beyond legs", 116, BYTES("\x0d"), -EUCLEAN},
    {"in sync: leg 15 of 3", 117, BYTES("\x80"), -EUCLEAN},
    {"faulty beyond legs", 118, BYTES("\x0a"), -EUCLEAN},
    {"faulty and in sync", 118, BYTES("\x01"), -EUCLEAN},
    {"unknown flag", 120, BYTES("\x03"), -EUCLEAN},
    {"unknown flag 7", 120, BYTES("\x80"), -EUCLEAN},
    {"reserved after the flags", 121, BYTES("\x01"), -EUCLEAN},
    {"removed, and it is itself", 122, BYTES("\x02"), -EUCLEAN},
    {"removed and in sync", 122, BYTES("\x04"), -EUCLEAN},
    {"removed and faulty", 112, BYTES("\x00\x03\x02\x02\x05\x00\x02\x00\x01\x00\x02"), -EUCLEAN},
    {"removed beyond legs", 122, BYTES("\x08"), -EUCLEAN},
    {"lost beyond legs", 124, BYTES("\x08"), -EUCLEAN},
    {"lost: a flush failed there", 124, BYTES("\x03"), 0},
    {"a block size in version 2", 126, BYTES("\0\x02"), -EUCLEAN},
    {"a block size of 1", 126, BYTES("\x01"), -EUCLEAN},
    {"term 0", 128, BYTES("\0\0\0\0\0\0\0\0"), -EUCLEAN},
    {"serial 2^62 + 1", 24, BYTES("\x01\0\0\0\0\0\0\x40"), -EUCLEAN},
    {"term 2^62 + 1", 128, BYTES("\x01\0\0\0\0\0\0\x40"), -EUCLEAN},
    {"term 2^64 - 1", 128, BYTES("\xff\xff\xff\xff\xff\xff\xff\xff"), -EUCLEAN},
    {"change 2^62 + 1", 136, BYTES("\x01\0\0\0\0\0\0\x40"), -EUCLEAN},
    {"claim 2^62 + 1", 144, BYTES("\x01\0\0\0\0\0\0\x40"), -EUCLEAN},
    {"claim 2^64 - 1", 144, BYTES("\xff\xff\xff\xff\xff\xff\xff\xff"), -EUCLEAN},
    {"data offset 0", 154, BYTES("\0"), -EUCLEAN},
    {"data offset inside the maps", 154, BYTES("\x70"), -EUCLEAN},
    {"data offset unaligned", 153, BYTES("\x10"), -EUCLEAN},
    {"data offset beyond off_t", 159, BYTES("\x80"), -EUCLEAN},
    {"no data", 160, BYTES("\0\0\0\0\0\0\0\0"), -EUCLEAN},
    {"data below the least volume", 160, BYTES("\0\xf0\x0f\0\0\0\0\0"), -EUCLEAN},
    {"data not whole pages", 160, BYTES("\x01"), -EUCLEAN},
    {"data beyond off_t", 160, BYTES("\0\0\x80\xff\xff\xff\xff\x7f\0\0\0\0\0\x10"), -EUCLEAN},
    {"extent 0", 170, BYTES("\0"), -EUCLEAN},
    {"extent not a power of two", 170, BYTES("\x30"), -EUCLEAN},
    {"extent below a page", 160, BYTES("\0\0\x10\0\0\0\0\0\0\x08\0"), -EUCLEAN},
    {"a page more than 2^21 extents", 160, BYTES("\0\x10\0\0\0\x02"), -EUCLEAN},
    {"too many extents", 165, BYTES("\x7f"), -EUCLEAN},
    {"lineage nil", 176, NIL, -EUCLEAN},
    {"ancestor nil", 192, NIL, -EUCLEAN},
    {"ancestor of term 0", 208, BYTES("\0\0\0\0\0\0\0\0"), -EUCLEAN},
    {"second ancestor of term 0", 240, BYTES("\0\0\0\0\0\0\0\0"), -EUCLEAN},
    {"ancestor is the lineage itself", 192,
     BYTES("\xb0\xb1\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xbb\xbc\xbd\xbe\xbf"), -EUCLEAN},
    {"ancestor twice", 224,
     BYTES("\xc0\xc1\xc2\xc3\xc4\xc5\xc6\xc7\xc8\xc9\xca\xcb\xcc\xcd\xce\xcf"), -EUCLEAN},
    {"unused ancestor not zero", 447, BYTES("\x01"), -EUCLEAN},
    {"reserved after the ancestors", 448, BYTES("\x01"), -EUCLEAN},
    {"leg uuid nil", 544, NIL, -EUCLEAN},
    {"leg uuid twice", 528,
     BYTES("\xe0\xe1\xe2\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xeb\xec\xed\xee\xef"), -EUCLEAN},
    {"uuid of a leg that is not", 767, BYTES("\x01"), -EUCLEAN},
    {"leg name empty", 768, BYTES("\0"), -EUCLEAN},
    {"leg name with a slash", 768, BYTES("/"), -EUCLEAN},
    {"leg name above ASCII", 768, BYTES("\xe4"), -EUCLEAN},
    {"leg name without NUL", 768, BYTES("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), -EUCLEAN},
    {"leg name with bytes behind the NUL", 770, BYTES("x"), -EUCLEAN},
    {"leg name twice", 800, BYTES("a\0\0"), -EUCLEAN},
    {"name of a leg that is not", 864, BYTES("d"), -EUCLEAN},
    {"a host in version 2", 1280, BYTES("x"), -EUCLEAN},
    {"a holder in version 2", 1376, BYTES("\x01"), -EUCLEAN},
    {"a bad range in version 2", 1396, BYTES("\x01\0\0\0\0\2\0\0\0\0\0\0\0\4"), -EUCLEAN},
    {"reserved after the bad ranges", 3448, BYTES("\x01"), -EUCLEAN},
    {"reserved at the end", 4095, BYTES("\x80"), -EUCLEAN},
};

/* Proves that a page with a right CRC and one impossible statement is refused, for each statement;
 * the same page without the patch is taken. */
static void
test_impossible_contents_are_refused(void **state) {
  struct sf_superblock sb;
  uint8_t page[SF_PAGE_BYTES];
  golden_page(page);
  seal(page);
  assert_int_equal(decode(page, &sb), 0);
  for (size_t i = 0; i < sizeof impossible / sizeof *impossible; i++) {
    const struct patch *patch = &impossible[i];
    golden_page(page);
    memcpy(page + patch->offset, patch->bytes, patch->len);
    seal(page);
    int r = decode(page, &sb);
    if (r != patch->expected)
      fail_msg("%s: %d, not %d", patch->what, r, patch->expected);
  }
}

/* Proves that counts one above their arrays are refused before anything is read behind these, all
 * entries being full (the sanitizers' builds see the read). */
static void
test_counts_beyond_their_arrays(void **state) {
  struct sf_superblock sb;
  uint8_t page[SF_PAGE_BYTES];
  example(&sb);
  sb.legs = SF_LEGS_MAX;
  for (unsigned i = 0; i < SF_LEGS_MAX; i++) {
    snprintf(sb.leg_name[i], SF_LEG_NAME_MAX, "leg%u", i);
    fill_uuid(&sb.leg_uuid[i], i + 1);
  }
  sb.ancestors = SF_ANCESTORS_MAX;
  for (unsigned i = 0; i < SF_ANCESTORS_MAX; i++) {
    fill_uuid(&sb.ancestor[i].lineage, i + 1);
    sb.ancestor[i].term = 1;
  }
  sf_superblock_encode(&sb, page);
  assert_int_equal(decode(page, &sb), 0);
  page[113]++;
  seal(page);
  assert_int_equal(decode(page, &sb), -EUCLEAN);
  page[113]--;
  page[114]++;
  seal(page);
  assert_int_equal(decode(page, &sb), -EUCLEAN);
}

/* Proves that the checks stop at the limits and not before them. */
static void
test_limits_are_taken(void **state) {
  static const struct patch possible[] = {
      {"claim 0", 144, BYTES("\0\0\0\0\0\0\0\0"), 0},
      {"serial 0", 24, BYTES("\0\0\0\0\0\0\0\0"), 0},
      {"change 0", 136, BYTES("\0\0\0\0\0\0\0\0"), 0},
      {"serial 2^62", 24, BYTES("\0\0\0\0\0\0\0\x40"), 0},
      {"term 2^62", 128, BYTES("\0\0\0\0\0\0\0\x40"), 0},
      {"change 2^62", 136, BYTES("\0\0\0\0\0\0\0\x40"), 0},
      {"claim 2^62", 144, BYTES("\0\0\0\0\0\0\0\x40"), 0},
      {"not clean", 120, BYTES("\0"), 0},
      {"one removed", 116, BYTES("\x01\0\x02\0\x01\0\x04\0"), 0},
      {"fewer in sync than min_legs", 116, BYTES("\x04"), 0},
      {"least volume", 160, BYTES("\0\0\x10\0\0"), 0},
      {"smallest extent", 160, BYTES("\0\0\x10\0\0\0\0\0\0\x10\0"), 0},
      {"data at 9 MiB", 154, BYTES("\x90"), 0},
      {"2^21 extents", 160, BYTES("\0\0\0\0\0\x02"), 0},
      {"largest data", 160, BYTES("\0\xf0\x7f\xff\xff\xff\xff\x7f\0\0\0\0\0\0\x10"), 0},
  };
  for (size_t i = 0; i < sizeof possible / sizeof *possible; i++) {
    struct sf_superblock sb;
    uint8_t page[SF_PAGE_BYTES];
    golden_page(page);
    memcpy(page + possible[i].offset, possible[i].bytes, possible[i].len);
    seal(page);
    int r = decode(page, &sb);
    if (r != 0)
      fail_msg("%s: %d, not 0", possible[i].what, r);
  }
}

/* ---- two copies ---- */

enum copy { OLD, NEW, BLANK, DAMAGED, IMPOSSIBLE, MISPLACED, NEWER, COPIES };

static void
make_copy(enum copy kind, unsigned place, uint8_t page[SF_PAGE_BYTES]) {
  struct sf_superblock sb;
  example(&sb);
  sb.serial = (kind == OLD ? 4 : 6) + place;
  if (kind == MISPLACED) /* and newer than all others */
    sb.serial = 9 - place;
  sf_superblock_encode(&sb, page);
  if (kind == BLANK)
    memset(page, 0, SF_PAGE_BYTES);
  else if (kind == DAMAGED)
    page[2000] ^= 1;
  else if (kind == IMPOSSIBLE)
    page[128 + 7] = page[4095] = 1;
  else if (kind == NEWER)
    page[8] = SF_ONDISK_VERSION + 1;
  if (kind == IMPOSSIBLE || kind == NEWER)
    seal(page);
}

/* Proves the rule for every pair of copies, in both orders. */
static void
test_pick(void **state) {
  /* The place of the superblock taken, or the error. */
  static const int expected[COPIES][COPIES] = {
      [OLD] = {1, 1, 0, 0, 0, 0, -EPROTONOSUPPORT},
      [NEW] = {0, 1, 0, 0, 0, 0, -EPROTONOSUPPORT},
      [BLANK] = {1, 1, -ENODATA, -EBADMSG, -EUCLEAN, -EUCLEAN, -EPROTONOSUPPORT},
      [DAMAGED] = {1, 1, -EBADMSG, -EBADMSG, -EBADMSG, -EBADMSG, -EPROTONOSUPPORT},
      [IMPOSSIBLE] = {1, 1, -EUCLEAN, -EBADMSG, -EUCLEAN, -EUCLEAN, -EPROTONOSUPPORT},
      [MISPLACED] = {1, 1, -EUCLEAN, -EBADMSG, -EUCLEAN, -EUCLEAN, -EPROTONOSUPPORT},
      [NEWER] = {-EPROTONOSUPPORT, -EPROTONOSUPPORT, -EPROTONOSUPPORT, -EPROTONOSUPPORT,
                 -EPROTONOSUPPORT, -EPROTONOSUPPORT, -EPROTONOSUPPORT},
  };
  for (unsigned first = 0; first < COPIES; first++)
    for (unsigned second = 0; second < COPIES; second++) {
      uint8_t page[SF_SUPERBLOCK_COPIES][SF_PAGE_BYTES];
      struct sf_superblock sb = {.serial = 99}, taken;
      unsigned copy = 99;
      int want = expected[first][second];
      make_copy(first, 0, page[0]);
      make_copy(second, 1, page[1]);
      int r = sf_superblock_pick((const uint8_t(*)[SF_PAGE_BYTES]) page, &sb, &copy);
      assert_int_equal(r, want < 0 ? want : 0);
      assert_int_equal(copy, want < 0 ? 99 : want);
      if (want < 0) {
        assert_int_equal(sb.serial, 99);
      } else {
        assert_int_equal(sf_superblock_decode(page[want], &taken), 0);
        assert_int_equal(sb.serial, taken.serial);
      }
      assert_int_equal(sf_superblock_pick((const uint8_t(*)[SF_PAGE_BYTES]) page, &sb, NULL), r);
    }
}

/* Proves that the write rule of the document survives a write cut off anywhere: the copy in writing
 * may be lost, what is taken then is the one before. */
static void
test_torn_write_falls_back_to_the_older_copy(void **state) {
  uint8_t page[SF_SUPERBLOCK_COPIES][SF_PAGE_BYTES], next[SF_PAGE_BYTES];
  struct sf_superblock sb;
  unsigned copy;
  unsigned fell_back = 0;
  make_copy(NEW, 1, page[1]);
  sf_superblock_decode(page[1], &sb);
  assert_int_equal(sb.serial++, 7);
  sf_superblock_encode(&sb, next);
  for (size_t cut = 0; cut <= SF_PAGE_BYTES; cut++) {
    make_copy(NEW, 0, page[0]);
    memcpy(page[0], next, cut);
    assert_int_equal(sf_superblock_pick((const uint8_t(*)[SF_PAGE_BYTES]) page, &sb, &copy), 0);
    assert_int_equal(sb.serial, copy == 1 ? 7 : 8);
    fell_back += copy == 1;
  }
  assert_int_equal(fell_back, 25); /* the serial's low byte, at 24, is the last to differ */
}

/* Proves that what version 1 wrote, which had no maps, is read the same. */
static void
test_version_1_is_read(void **state) {
  uint8_t page[SF_PAGE_BYTES];
  struct sf_superblock sb, wanted;
  golden_page(page);
  assert_int_equal(sf_superblock_decode(page, &wanted), 0);
  page[8] = 1;
  seal(page);
  assert_int_equal(sf_superblock_decode(page, &sb), 0);
  assert_memory_equal(&sb, &wanted, sizeof sb);
  page[4095] = 1;
  seal(page);
  assert_int_equal(sf_superblock_decode(page, &sb), -EUCLEAN);
  page[4095] = 0;
  memcpy(page + 116, "\x01\0\x02\0\x01\0\x04\0", 8); /* a place is empty: reserved there */
  seal(page);
  assert_int_equal(sf_superblock_decode(page, &sb), -EUCLEAN);
}

/* Proves that a block size is kept, by version 3 and by no older one, and that only those are taken that
 * disks have. */
static void
test_block_bytes(void **state) {
  static const struct {
    uint16_t bytes;
    int expected;
  } sizes[] = {{512, 0},         {1024, 0},        {4096, 0},        {256, -EUCLEAN},
               {1000, -EUCLEAN}, {8192, -EUCLEAN}, {32768, -EUCLEAN}};
  struct sf_superblock sb, found;
  uint8_t page[SF_PAGE_BYTES];
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    example(&sb);
    sb.block_bytes = 512;
    sf_superblock_encode(&sb, page);
    assert_int_equal(page[8], 3);
    page[126] = (uint8_t) sizes[i].bytes;
    page[127] = (uint8_t) (sizes[i].bytes >> 8);
    seal(page);
    assert_int_equal(decode(page, &found), sizes[i].expected);
    if (sizes[i].expected == 0)
      assert_int_equal(found.block_bytes, sizes[i].bytes);
  }
  example(&sb);
  sf_superblock_encode(&sb, page);
  assert_int_equal(page[8], 2);
}

/* Proves that a holder is kept where the document says, by version 4 and by no older one, that only a name
 * that can be printed is taken, and that a leg that nobody holds is written as before. */
static void
test_holder(void **state) {
  struct sf_superblock sb, found;
  uint8_t page[SF_PAGE_BYTES];
  example(&sb);
  sb.holder = (struct sf_holder){.host = "node-1.example", .since_s = 3, .started = 4, .pid = 5};
  fill_uuid(&sb.holder.machine, 0x10);
  fill_uuid(&sb.holder.boot, 0x20);
  sf_superblock_encode(&sb, page);
  assert_int_equal(page[8], 4);
  assert_string_equal((const char *) page + 1280, "node-1.example");
  assert_int_equal(page[1344], 0x10);
  assert_int_equal(page[1360], 0x20);
  assert_int_equal(page[1376], 3);
  assert_int_equal(page[1384], 4);
  assert_int_equal(page[1392], 5);
  assert_int_equal(sf_superblock_decode(page, &found), 0);
  assert_true(sf_holder_equal(&found.holder, &sb.holder));
  found.holder.pid++;
  assert_false(sf_holder_equal(&found.holder, &sb.holder));
  for (uint8_t version = 2; version < 4; version++) {
    page[8] = version;
    seal(page);
    assert_int_equal(sf_superblock_decode(page, &found), -EUCLEAN);
  }
  page[8] = 4;
  page[1283] = '\n';
  seal(page);
  assert_int_equal(sf_superblock_decode(page, &found), -EUCLEAN);
  page[1283] = 'e';
  page[1340] = 'x'; /* behind the name's end */
  seal(page);
  assert_int_equal(sf_superblock_decode(page, &found), -EUCLEAN);
  sb.holder = (struct sf_holder){0};
  sf_superblock_encode(&sb, page);
  assert_int_equal(page[8], 2);
}

/* ---- the maps ---- */

static void
example_map(struct sf_map_page *map) {
  *map = (struct sf_map_page){.page = 0x01020304, .number = 0x1112131415161718};
  fill_uuid(&map->volume, 0xa0);
  map->intent[0] = 0x81;
  map->intent[SF_MAP_BYTES - 1] = 0x42;
  map->stale[0][1] = 0x24;
  map->stale[SF_LEGS_MAX - 1][SF_MAP_BYTES - 1] = 0x18;
}

/* Proves that a page of the maps is written as the document has it, in literals. */
static void
test_map_page_layout(void **state) {
  uint8_t page[SF_PAGE_BYTES], wanted[SF_PAGE_BYTES] = "SUREMAPS";
  struct sf_map_page map;
  example_map(&map);
  sf_map_page_encode(&map, page);
  memcpy(wanted + 8, "\2\0\0\0\0\x10\0\0", 8);
  memcpy(wanted + 20, "\4\3\2\1\x18\x17\x16\x15\x14\x13\x12\x11", 12);
  memcpy(wanted + 32, map.volume.bytes, 16);
  wanted[64] = 0x81;
  wanted[64 + 223] = 0x42;
  wanted[288 + 1] = 0x24;
  wanted[288 + 15 * 224 + 223] = 0x18;
  seal(wanted);
  assert_memory_equal(page, wanted, sizeof page);
}

/* Proves R10: whatever is wrong with a page, it counts as all set. */
static void
test_map_page_that_is_damaged_is_all_set(void **state) {
  uint8_t page[SF_PAGE_BYTES], all[SF_MAP_BYTES];
  struct sf_map_page map, found;
  struct sf_uuid other;
  example_map(&map);
  sf_map_page_encode(&map, page);
  memset(all, 0xff, sizeof all);
  fill_uuid(&other, 0xb0);

  assert_true(sf_map_page_decode(page, &map.volume, map.page, &found));
  assert_memory_equal(&found, &map, sizeof map);
  assert_false(sf_map_page_decode(page, &other, map.page, &found));
  assert_false(sf_map_page_decode(page, &map.volume, map.page + 1, &found));
  for (size_t bit = 0; bit < 8 * SF_PAGE_BYTES; bit++) {
    page[bit / 8] ^= (uint8_t) (1u << bit % 8);
    assert_false(sf_map_page_decode(page, &map.volume, map.page, &found));
    assert_memory_equal(found.intent, all, sizeof all);
    for (unsigned i = 0; i < SF_LEGS_MAX; i++)
      assert_memory_equal(found.stale[i], all, sizeof all);
    page[bit / 8] ^= (uint8_t) (1u << bit % 8);
  }
  memset(page, 0, sizeof page);
  assert_false(sf_map_page_decode(page, &map.volume, 0, &found));
}

/* Proves that the maps of the largest volume end before its data begin. */
static void
test_map_pages(void **state) {
  assert_int_equal(sf_map_pages(4096, 4096), 1);
  assert_int_equal(sf_map_pages(UINT64_C(1792) << 20, 1 << 20), 1);
  assert_int_equal(sf_map_pages((UINT64_C(1792) << 20) + 4096, 1 << 20), 2);
  assert_true(SF_MAP_PAGE_OFFSET(sf_map_pages(UINT64_C(2) << 40, 1 << 20)) <= SF_DATA_OFFSET);
}

/* ---- the rest ---- */

/* Proves that records are ordered by term, then by change, and by nothing else. */
static void
test_record_order(void **state) {
  const struct sf_record base = {.term = 5, .change = 5, .in_sync = 1, .min_legs = 1};
  static const struct {
    uint64_t term, change;
    int expected;
  } cases[] = {{5, 5, 0},  {5, 6, 1},          {5, 4, -1},          {6, 0, 1},
               {4, 9, -1}, {UINT64_MAX, 0, 1}, {0, UINT64_MAX, -1}, {5, UINT64_MAX, 1}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct sf_record other = {
        .term = cases[i].term, .change = cases[i].change, .in_sync = 6, .clean = true};
    assert_int_equal(sf_record_compare(&other, &base), cases[i].expected);
    assert_int_equal(sf_record_compare(&base, &other), -cases[i].expected);
  }
}

/* Proves that a leg's size gives a volume that lies inside it, in whole pages, or none. */
static void
test_data_bytes(void **state) {
  const uint64_t mib = 1024 * 1024;
  assert_int_equal(sf_data_bytes_for(0), 0);
  assert_int_equal(sf_data_bytes_for(8 * mib), 0);
  assert_int_equal(sf_data_bytes_for(9 * mib - 1), 0);
  assert_int_equal(sf_data_bytes_for(9 * mib), mib);
  assert_int_equal(sf_data_bytes_for(9 * mib + 4095), mib);
  assert_int_equal(sf_data_bytes_for(9 * mib + 4096), mib + 4096);
  assert_int_equal(sf_data_bytes_for(INT64_MAX), INT64_MAX - 8 * mib - 4095);
  assert_int_equal(sf_data_bytes_for(UINT64_MAX), INT64_MAX - 8 * mib - 4095);
}

/* Proves that the extent is the least power of two from 1 MiB on that keeps 2^19 extents. */
static void
test_extent_bytes(void **state) {
  const uint64_t mib = 1024 * 1024, tib = mib * mib;
  assert_int_equal(sf_extent_bytes_for(mib), mib);
  assert_int_equal(sf_extent_bytes_for(tib / 2), mib);
  assert_int_equal(sf_extent_bytes_for(tib / 2 + 4096), 2 * mib);
  assert_int_equal(sf_extent_bytes_for(tib), 2 * mib);
  assert_int_equal(sf_extent_bytes_for(tib + 4096), 4 * mib);
  assert_int_equal(sf_extent_bytes_for(512 * tib), SF_EXTENT_BYTES_MAX);
  assert_int_equal(sf_extent_bytes_for(SF_VOLUME_BYTES_MAX), SF_EXTENT_BYTES_MAX);
}

/* Proves that one byte anywhere in the first 64 KiB counts as use, and one behind it does not. */
static void
test_looks_used(void **state) {
  static uint8_t bytes[64 * 1024 + 1];
  assert_false(sf_looks_used(bytes, 0));
  assert_false(sf_looks_used(bytes, sizeof bytes));
  static const size_t at[] = {0, 1, 511, 4096, 65535};
  for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
    bytes[at[i]] = 1;
    assert_true(sf_looks_used(bytes, sizeof bytes));
    assert_true(sf_looks_used(bytes, at[i] + 1));
    assert_false(sf_looks_used(bytes, at[i]));
    bytes[at[i]] = 0;
  }
  bytes[65536] = 1;
  assert_false(sf_looks_used(bytes, sizeof bytes));
}

/* Proves that uuids are made anew, compared in whole and written in the usual form. */
static void
test_uuid(void **state) {
  struct sf_uuid a, b;
  char text[37];
  sf_uuid_generate(&a);
  sf_uuid_generate(&b);
  assert_false(sf_uuid_equal(&a, &b));
  b = a;
  assert_true(sf_uuid_equal(&a, &b));
  b.bytes[15] ^= 1;
  assert_false(sf_uuid_equal(&a, &b));
  fill_uuid(&a, 0xa0);
  sf_uuid_format(&a, text);
  assert_string_equal(text, "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf");
}

/* Proves that each outcome has words of its own. */
static void
test_error_words(void **state) {
  static const int errors[] = {0, -ENODATA, -EBADMSG, -EPROTONOSUPPORT, -EUCLEAN, -EIO};
  for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
    for (size_t j = 0; j < i; j++)
      assert_string_not_equal(sf_superblock_error(errors[i]), sf_superblock_error(errors[j]));
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_crc_is_the_standard_one),
      cmocka_unit_test(test_encode_gives_the_golden_page),
      cmocka_unit_test(test_decode_reads_the_golden_page),
      cmocka_unit_test(test_document_has_the_layout),
      cmocka_unit_test(test_round_trip),
      cmocka_unit_test(test_encode_leaves_no_garbage),
      cmocka_unit_test(test_every_flipped_bit_is_seen),
      cmocka_unit_test(test_torn_page_is_seen),
      cmocka_unit_test(test_what_changes_is_in_one_sector),
      cmocka_unit_test(test_impossible_contents_are_refused),
      cmocka_unit_test(test_counts_beyond_their_arrays),
      cmocka_unit_test(test_limits_are_taken),
      cmocka_unit_test(test_pick),
      cmocka_unit_test(test_torn_write_falls_back_to_the_older_copy),
      cmocka_unit_test(test_version_1_is_read),
      cmocka_unit_test(test_block_bytes),
      cmocka_unit_test(test_holder),
      cmocka_unit_test(test_map_page_layout),
      cmocka_unit_test(test_map_page_that_is_damaged_is_all_set),
      cmocka_unit_test(test_map_pages),
      cmocka_unit_test(test_record_order),
      cmocka_unit_test(test_data_bytes),
      cmocka_unit_test(test_extent_bytes),
      cmocka_unit_test(test_looks_used),
      cmocka_unit_test(test_uuid),
      cmocka_unit_test(test_error_words),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

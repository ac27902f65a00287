/* The superblock: its bytes, and what damage is seen. */
#include "ondisk_rig.h"

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
    {12288, 53248, "reserved"},     {65536, 8318976, "maps"},          {8384512, 4096, "mark"},
};
static const struct field mark_layout[] = {
    {0, 8, "magic"},       {8, 4, "version"},     {12, 4, "length"},       {16, 4, "crc"},
    {20, 12, "reserved"},  {32, 16, "volume"},    {48, 16, "leg"},         {64, 64, "volume_name"},
    {128, 32, "leg_name"}, {160, 1, "leg_index"}, {161, 3935, "reserved"},
};
static const struct field map_layout[] = {
    {0, 8, "magic"},     {8, 4, "version"},        {12, 4, "length"},        {16, 4, "crc"},
    {20, 4, "page"},     {24, 8, "number"},        {32, 16, "volume"},       {48, 16, "reserved"},
    {64, 224, "intent"}, {288, 3584, "stale[16]"}, {3872, 224, "unwritten"},
};

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

/* Proves that the encoder writes the documented bytes at the documented offsets, none else. */
static void
encode_gives_the_golden_page(void **state) {
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
decode_reads_the_golden_page(void **state) {
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
document_has_the_layout(void **state) {
  assert_table("\n## The superblock, byte by byte", layout, sizeof layout / sizeof *layout, 4096);
  assert_table("\n## A page of the maps, byte by byte", map_layout,
               sizeof map_layout / sizeof *map_layout, 4096);
  assert_table("\n## The mark, byte by byte", mark_layout, sizeof mark_layout / sizeof *mark_layout,
               4096);
  assert_table("\n## A leg", areas, sizeof areas / sizeof *areas, 8 * 1024 * 1024);
  assert_int_equal(SF_SUPERBLOCK_OFFSET(0), areas[0].offset);
  assert_int_equal(SF_SUPERBLOCK_OFFSET(1), areas[1].offset);
  assert_int_equal(SF_PROBE_OFFSET, areas[2].offset);
  assert_int_equal(SF_MAPS_OFFSET, areas[4].offset);
  assert_int_equal(SF_MARK_OFFSET, areas[5].offset);
  assert_int_equal(SF_DATA_OFFSET, areas[5].offset + areas[5].size);
}

/* Proves that what goes in comes out, for every count of legs and of ancestors. */
static void
round_trip(void **state) {
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
encode_leaves_no_garbage(void **state) {
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
every_flipped_bit_is_seen(void **state) {
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
torn_page_is_seen(void **state) {
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
what_changes_is_in_one_sector(void **state) {
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

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(encode_gives_the_golden_page),
      cmocka_unit_test(decode_reads_the_golden_page),
      cmocka_unit_test(document_has_the_layout),
      cmocka_unit_test(round_trip),
      cmocka_unit_test(encode_leaves_no_garbage),
      cmocka_unit_test(every_flipped_bit_is_seen),
      cmocka_unit_test(torn_page_is_seen),
      cmocka_unit_test(what_changes_is_in_one_sector),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

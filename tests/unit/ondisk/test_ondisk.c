/* What else is on a leg: pages of the maps; the order of records; sizes, uuids, checksums. */
#include "ondisk_rig.h"

/* ---- format ---- */

/* Proves that the stored CRC is the standard CRC-32C: the published check value, and the definition
 * for lengths around the library's block sizes. */
static void
crc_is_the_standard_one(void **state) {
  uint8_t bytes[300];
  assert_int_equal(sf_crc32c("123456789", 9), 0xE3069283);
  assert_int_equal(sf_crc32c("", 0), 0);
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (uint8_t) (i * 37 + 11);
  for (size_t len = 1; len <= sizeof bytes; len++)
    assert_int_equal(sf_crc32c(bytes, len), slow_crc32c(bytes, len));
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
map_page_layout(void **state) {
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

/* Proves that unwritten extents are kept where the document says, by version 3 and by no other, and
 * that a damaged page calls nothing unwritten (R17). */
static void
map_page_with_unwritten_extents(void **state) {
  uint8_t page[SF_PAGE_BYTES], nothing[SF_MAP_BYTES] = {0};
  struct sf_map_page map, found = {0};
  example_map(&map);
  map.unwritten[0] = 0x80;
  map.unwritten[SF_MAP_BYTES - 1] = 0x01;
  sf_map_page_encode(&map, page);
  assert_int_equal(page[8], 3);
  assert_int_equal(page[3872], 0x80);
  assert_int_equal(page[4095], 0x01);
  assert_true(sf_map_page_decode(page, &map.volume, map.page, &found));
  assert_memory_equal(&found, &map, sizeof map);
  page[8] = 2;
  seal(page);
  assert_false(sf_map_page_decode(page, &map.volume, map.page, &found));
  assert_memory_equal(found.unwritten, nothing, sizeof nothing);
  assert_int_equal(found.intent[0], 0xff);
  example_map(&map);
  sf_map_page_encode(&map, page);
  page[8] = 3;
  seal(page);
  assert_false(sf_map_page_decode(page, &map.volume, map.page, &found));
}

/* Proves that the first copy of a page counts where it is valid, and else the second. */
static void
map_page_copies(void **state) {
  uint8_t first[SF_PAGE_BYTES], second[SF_PAGE_BYTES];
  struct sf_map_page map;
  example_map(&map);
  sf_map_page_encode(&map, first);
  sf_map_page_encode(&map, second);
  assert_ptr_equal(sf_map_page_choose(first, second, &map.volume, map.page), first);
  first[100] ^= 1;
  assert_ptr_equal(sf_map_page_choose(first, second, &map.volume, map.page), second);
  assert_null(sf_map_page_choose(first, NULL, &map.volume, map.page));
  assert_ptr_equal(sf_map_page_choose(NULL, second, &map.volume, map.page), second);
  second[100] ^= 1;
  assert_null(sf_map_page_choose(first, second, &map.volume, map.page));
}

/* Proves R10: whatever is wrong with a page, it counts as all set. */
static void
map_page_that_is_damaged_is_all_set(void **state) {
  uint8_t page[SF_PAGE_BYTES], all[SF_MAP_BYTES];
  struct sf_map_page map, found = {0};
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
map_pages(void **state) {
  assert_int_equal(sf_map_pages(4096, 4096), 1);
  assert_int_equal(sf_map_pages(UINT64_C(1792) << 20, 1 << 20), 1);
  assert_int_equal(sf_map_pages((UINT64_C(1792) << 20) + 4096, 1 << 20), 2);
  assert_true(SF_MAP_PAGE_OFFSET(sf_map_pages(UINT64_C(2) << 40, 1 << 20)) <= SF_DATA_OFFSET);
}

/* ---- the rest ---- */

/* Proves that records are ordered by term, then by change, and by nothing else. */
static void
record_order(void **state) {
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
data_bytes(void **state) {
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
extent_bytes(void **state) {
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
looks_used(void **state) {
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
uuid(void **state) {
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
error_words(void **state) {
  static const int errors[] = {0, -ENODATA, -EBADMSG, -EPROTONOSUPPORT, -EUCLEAN, -EIO};
  for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
    for (size_t j = 0; j < i; j++)
      assert_string_not_equal(sf_superblock_error(errors[i]), sf_superblock_error(errors[j]));
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(crc_is_the_standard_one),
      cmocka_unit_test(map_page_layout),
      cmocka_unit_test(map_page_that_is_damaged_is_all_set),
      cmocka_unit_test(map_page_with_unwritten_extents),
      cmocka_unit_test(map_page_copies),
      cmocka_unit_test(map_pages),
      cmocka_unit_test(record_order),
      cmocka_unit_test(data_bytes),
      cmocka_unit_test(extent_bytes),
      cmocka_unit_test(looks_used),
      cmocka_unit_test(uuid),
      cmocka_unit_test(error_words),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

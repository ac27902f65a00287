/* The list of bad ranges: against a model that has a bit for each block, and as it stands in a
 * superblock. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <surefoot/ondisk.h>

#include "ondisk/crc32c.h"

enum { UNIT = 512, BLOCKS = 1200, TURNS = 200000 };

static bool model[BLOCKS];

static unsigned
ranges_of_model(void) {
  unsigned n = 0;

  for (unsigned i = 0; i < BLOCKS; i++)
    n += model[i] && (i == 0 || !model[i - 1]);
  return n;
}

static void
assert_is_model(const struct sf_bad *bad) {
  unsigned k = 0;

  assert_int_equal(bad->n, ranges_of_model());
  for (unsigned i = 0; i < BLOCKS; i++) {
    if (!model[i] || (i > 0 && model[i - 1]))
      continue;
    assert_int_equal(bad->range[k].begin, (uint64_t) i * UNIT);
    while (i < BLOCKS && model[i])
      i++;
    assert_int_equal(bad->range[k++].end, (uint64_t) i * UNIT);
  }
}

static void
assert_asks_alike(const struct sf_bad *bad, unsigned first, unsigned n) {
  bool any = false, all = true;

  for (unsigned i = first; i < first + n; i++) {
    any = any || model[i];
    all = all && model[i];
  }
  assert_int_equal(sf_bad_any(bad, (uint64_t) first * UNIT, (uint64_t) (first + n) * UNIT), any);
  assert_int_equal(sf_bad_all(bad, (uint64_t) first * UNIT, (uint64_t) (first + n) * UNIT), all);
}

/* Proves that ranges added and removed at random agree with a bit for each block, that a change
 * without room does nothing, and that only the limit leaves no room. */
static void
list_is_the_model(void **state) {
  struct sf_bad bad = {0}, before;
  unsigned refused_add = 0, refused_remove = 0;

  srand(1);
  for (unsigned turn = 0; turn < TURNS; turn++) {
    unsigned first = (unsigned) rand() % BLOCKS, n = 1 + (unsigned) rand() % 4;
    unsigned most = turn / 5000 % 2 ? SF_BAD_MOST : SF_BAD_MOST / 2;
    bool held[BLOCKS], add = turn / 2500 % 2 == 0, beside = false, good;

    if (!add)
      n = 1;
    if (n > BLOCKS - first)
      n = BLOCKS - first;
    memcpy(held, model, sizeof held);
    before = bad;
    for (unsigned i = first > 0 ? first - 1 : 0; i < first + n + 1 && i < BLOCKS; i++)
      beside = beside || held[i];
    for (unsigned i = first; i < first + n; i++)
      model[i] = add;
    good = add ? sf_bad_add(&bad, (uint64_t) first * UNIT, (uint64_t) (first + n) * UNIT, most)
               : sf_bad_remove(&bad, (uint64_t) first * UNIT, (uint64_t) (first + n) * UNIT);
    if (good) {
      assert_is_model(&bad);
    } else {
      assert_true(add ? !beside && before.n >= most : ranges_of_model() > SF_BAD_MOST);
      refused_add += add;
      refused_remove += !add;
      memcpy(model, held, sizeof model);
      assert_memory_equal(&bad, &before, sizeof bad);
    }
    assert_asks_alike(&bad, (unsigned) rand() % (BLOCKS - 8), 1 + (unsigned) rand() % 8);
  }
  assert_true(refused_add > 0);
  assert_true(refused_remove > 0);
}

/* ---- in a superblock ---- */

static void
example(struct sf_superblock *sb) {
  *sb = (struct sf_superblock){.serial = 2,
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
}

static void
seal(uint8_t page[SF_PAGE_BYTES]) {
  uint32_t crc;

  memset(page + 16, 0, 4);
  crc = sf_crc32c(page, SF_PAGE_BYTES);
  for (int i = 0; i < 4; i++)
    page[16 + i] = (uint8_t) (crc >> (8 * i));
}

/* Proves that ranges are kept where the document says, by version 5 and by no other, with or
 * without a holder and a block size, and that a volume without any is written as before. */
static void
superblock_keeps_them(void **state) {
  struct sf_superblock sb, found;
  uint8_t page[SF_PAGE_BYTES];

  for (unsigned turn = 0; turn < 4; turn++) {
    example(&sb);
    sb.block_bytes = turn & 1 ? 4096 : 0;
    sb.holder.since_s = turn & 2 ? 7 : 0;
    sf_superblock_encode(&sb, page);
    assert_int_equal(page[8], turn & 2 ? 4 : turn & 1 ? 3 : 2);
    for (unsigned i = 0; i < SF_BAD_MOST; i++)
      assert_true(sf_bad_add(&sb.bad, 1024 + 2048 * i, 2048 + 2048 * i, SF_BAD_MOST));
    sf_superblock_encode(&sb, page);
    assert_int_equal(page[8], 5);
    assert_int_equal(page[1396], SF_BAD_MOST);
    assert_memory_equal(page + 1400, "\0\4\0\0\0\0\0\0\0\10\0\0\0\0\0\0", 16);
    assert_int_equal(page[1400 + 127 * 16 + 2], (1024 + 2048 * 127) >> 16);
    assert_int_equal(sf_superblock_decode(page, &found), 0);
    assert_memory_equal(&found.bad, &sb.bad, sizeof sb.bad);
    for (uint8_t version = 1; version <= 7; version++) {
      page[8] = version;
      seal(page);
      assert_int_equal(sf_superblock_decode(page, &found), version < 5 || version == 6 ? -EUCLEAN
                                                           : version > 6 ? -EPROTONOSUPPORT
                                                                         : 0);
    }
    sb.bad.n = 0; /* what stands behind the count does not get to the disk */
    sf_superblock_encode(&sb, page);
    assert_int_equal(page[8], turn & 2 ? 4 : turn & 1 ? 3 : 2);
    page[8] = 5;
    seal(page);
    assert_int_equal(sf_superblock_decode(page, &found), -EUCLEAN);
  }
}

/* Proves that a list that no program of ours writes is refused. */
static void
impossible_lists(void **state) {
  static const struct {
    uint32_t n;
    struct sf_bad_range range[2];
  } lists[] = {
      {1, {{512, 512}}},
      {1, {{1024, 512}}},
      {1, {{100, 1024}}},
      {1, {{512, 1000}}},
      {1, {{512, SF_VOLUME_BYTES_MIN + 512}}},
      {2, {{512, 1024}, {1024, 2048}}}, /* beside one another */
      {2, {{4096, 8192}, {512, 1024}}},
      {2, {{512, 4096}, {1024, 2048}}},
      {1, {{512, 1024}, {4096, 8192}}}, /* behind the count */
      {129, {{512, 1024}}},
      {UINT32_MAX, {{512, 1024}}},
  };
  struct sf_superblock sb, found;
  uint8_t page[SF_PAGE_BYTES];

  for (unsigned i = 0; i < sizeof lists / sizeof lists[0]; i++) {
    example(&sb);
    sf_bad_add(&sb.bad, 512, 1024, SF_BAD_MOST);
    sf_superblock_encode(&sb, page);
    for (unsigned k = 0; k < 4; k++)
      page[1396 + k] = (uint8_t) (lists[i].n >> (8 * k));
    for (unsigned r = 0; r < 2; r++)
      for (unsigned k = 0; k < 8; k++) {
        page[1400 + 16 * r + k] = (uint8_t) (lists[i].range[r].begin >> (8 * k));
        page[1408 + 16 * r + k] = (uint8_t) (lists[i].range[r].end >> (8 * k));
      }
    seal(page);
    assert_int_equal(sf_superblock_decode(page, &found), -EUCLEAN);
  }
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(list_is_the_model),
      cmocka_unit_test(superblock_keeps_them),
      cmocka_unit_test(impossible_lists),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

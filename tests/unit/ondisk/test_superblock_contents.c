/* The superblock: pages refused though their checksum is right, and which copy counts. */
#include "ondisk_rig.h"

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
    {"version 7", 8, BYTES("\x07"), -EPROTONOSUPPORT},
    {"version 6 without unwritten extents", 8, BYTES("\x06"), -EUCLEAN},
    {"unwritten extents in version 2", 120, BYTES("\x02"), -EUCLEAN},
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
    {"none in sync", 116, BYTES("\0\0"), -EUCLEAN},
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
impossible_contents_are_refused(void **state) {
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
counts_beyond_their_arrays(void **state) {
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
limits_are_taken(void **state) {
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
pick(void **state) {
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
 * may be lost, and the one before it is taken then. */
static void
torn_write_falls_back_to_the_older_copy(void **state) {
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
version_1_is_read(void **state) {
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

/* Proves that a block size is kept, by version 3 and by no older one, and that only those are taken
 * that disks have. */
static void
block_bytes(void **state) {
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

/* Proves that a holder is kept where the document says, by version 4 and by no older one, that only
 * a name that can be printed is taken, and that a leg without a holder is written as before. */
static void
holder(void **state) {
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

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(impossible_contents_are_refused),
      cmocka_unit_test(counts_beyond_their_arrays),
      cmocka_unit_test(limits_are_taken),
      cmocka_unit_test(pick),
      cmocka_unit_test(torn_write_falls_back_to_the_older_copy),
      cmocka_unit_test(version_1_is_read),
      cmocka_unit_test(block_bytes),
      cmocka_unit_test(holder),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The mark of a leg: its bytes, and that what is no mark is taken for none. */
#include "ondisk_rig.h"

static void
wanted_page(uint8_t page[SF_PAGE_BYTES]) {
  struct sf_superblock sb;
  example(&sb);
  memset(page, 0, SF_PAGE_BYTES);
  memcpy(page, "SUREMARK\1\0\0\0\0\x10\0\0", 16);
  memcpy(page + 32, sb.volume.bytes, 16);
  memcpy(page + 48, sb.leg_uuid[sb.leg_index].bytes, 16);
  strcpy((char *) page + 64, sb.volume_name);
  strcpy((char *) page + 128, sb.leg_name[sb.leg_index]);
  page[160] = sb.leg_index;
  seal(page);
}

/* Proves that it is written as the document has it, in literals, and without what is in memory behind names. */
static void
layout(void **state) {
  uint8_t page[SF_PAGE_BYTES], wanted[SF_PAGE_BYTES];
  struct sf_superblock sb;
  struct sf_mark mark, read;
  example(&sb);
  memset(sb.volume_name + 5, 'x', sizeof sb.volume_name - 5);
  sb.volume_name[4] = '\0';
  wanted_page(wanted);
  memset(wanted + 64, 0, 64);
  strcpy((char *) wanted + 64, sb.volume_name);
  seal(wanted);
  sf_mark_of(&sb, &mark);
  sf_mark_encode(&mark, page);
  assert_memory_equal(page, wanted, sizeof page);
  assert_true(sf_mark_decode(page, &read));
  assert_memory_equal(&read, &mark, sizeof mark);
}

/* Proves that no flipped bit leaves a mark, and that *mark is as it was then. */
static void
damage(void **state) {
  uint8_t page[SF_PAGE_BYTES];
  struct sf_mark mark = {.leg_index = 99};
  wanted_page(page);
  for (unsigned bit = 0; bit < 8 * SF_PAGE_BYTES; bit++) {
    page[bit / 8] ^= (uint8_t) (1u << bit % 8);
    assert_false(sf_mark_decode(page, &mark));
    assert_int_equal(mark.leg_index, 99);
    page[bit / 8] ^= (uint8_t) (1u << bit % 8);
  }
  assert_true(sf_mark_decode(page, &mark));
  memset(page, 0, sizeof page);
  assert_false(sf_mark_decode(page, &mark));
}

/* Proves that a page with a good CRC is no mark where a superblock could not say the same. */
static void
impossible(void **state) {
  static const struct {
    size_t at, size;
    char byte;
  } cases[] = {{8, 1, 2},      {12, 2, 1},     {32, 16, 0},   {48, 16, 0},
               {64, 1, 0},     {64, 1, ' '},   {64, 64, 'v'}, {128, 1, 0},
               {128, 1, '\n'}, {128, 32, 'l'}, {160, 1, 16}};
  struct sf_mark mark;
  for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    uint8_t page[SF_PAGE_BYTES];
    wanted_page(page);
    memset(page + cases[i].at, cases[i].byte, cases[i].size);
    seal(page);
    assert_false(sf_mark_decode(page, &mark));
  }
}

/* Proves that it is a leg by volume, place and uuid, and by no name. */
static void
is_leg(void **state) {
  struct sf_superblock sb;
  struct sf_mark mark;
  example(&sb);
  unsigned leg = sb.leg_index;
  sf_mark_of(&sb, &mark);
  mark.volume_name[0] = mark.leg_name[0] = 'z';
  assert_true(sf_mark_is_leg(&mark, &sb, leg));
  assert_false(sf_mark_is_leg(&mark, &sb, leg + 1));
  mark.leg.bytes[3] ^= 1;
  assert_false(sf_mark_is_leg(&mark, &sb, leg));
  mark.leg.bytes[3] ^= 1;
  mark.volume.bytes[3] ^= 1;
  assert_false(sf_mark_is_leg(&mark, &sb, leg));
}

/* Proves that the maps of the largest volume end before it, and that it ends before the data. */
static void
place(void **state) {
  assert_int_equal(SF_MARK_OFFSET, 8 * 1024 * 1024 - 4096);
  assert_true(SF_MAP_PAGE_OFFSET(sf_map_pages(SF_VOLUME_BYTES_MAX, SF_EXTENT_BYTES_MAX)) <=
              SF_MARK_OFFSET);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(layout), cmocka_unit_test(damage), cmocka_unit_test(impossible),
      cmocka_unit_test(is_leg), cmocka_unit_test(place),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

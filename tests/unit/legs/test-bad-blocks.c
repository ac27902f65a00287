/* Proves that a bad block in the metadata of a leg costs what stood in it and nothing else, and
 * that it is healed by being written where what it held is known. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "rig.h"

/* ---- a disk with bad blocks: below the engine, by the linker's --wrap ---- */

static struct {
  uint64_t from, to;
  bool heals; /* a written block is readable again, as on a disk */
  unsigned writes;
} bad;

ssize_t __real_pread(int fd, void *buffer, size_t len, off_t offset);
ssize_t __wrap_pread(int fd, void *buffer, size_t len, off_t offset);
ssize_t __wrap_pread64(int fd, void *buffer, size_t len, off_t offset);
ssize_t __real_pwrite(int fd, const void *buffer, size_t len, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *buffer, size_t len, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *buffer, size_t len, off_t offset);

static bool
meets(size_t len, off_t offset) {
  return (uint64_t) offset < bad.to && (uint64_t) offset + len > bad.from;
}

ssize_t
__wrap_pread(int fd, void *buffer, size_t len, off_t offset) {
  if (!meets(len, offset))
    return __real_pread(fd, buffer, len, offset);
  errno = EIO;
  return -1;
}

ssize_t
__wrap_pread64(int fd, void *buffer, size_t len, off_t offset) {
  return __wrap_pread(fd, buffer, len, offset);
}

ssize_t
__wrap_pwrite(int fd, const void *buffer, size_t len, off_t offset) {
  if (meets(len, offset)) {
    bad.writes++;
    if (bad.heals)
      bad.from = bad.to = 0;
  }
  return __real_pwrite(fd, buffer, len, offset);
}

ssize_t
__wrap_pwrite64(int fd, const void *buffer, size_t len, off_t offset) {
  return __wrap_pwrite(fd, buffer, len, offset);
}

static void
break_pages(uint64_t from, uint64_t pages) {
  memset(&bad, 0, sizeof bad);
  bad.from = from;
  bad.to = from + pages * SF_PAGE_BYTES;
  bad.heals = true;
}

static int
open_one(struct fixture *f, unsigned flags) {
  sf_leg_file_close(&f->file[0]);
  return sf_leg_file_open(f->config.leg[0].path, flags, &f->file[0], &f->found[0], f->error);
}

/* ---- the tests ---- */

/* Whatever single page it is, the leg opens and its other superblock says what it is. */
static void
one_bad_page(void **state) {
  static const uint64_t at[] = {0, 4096, 8192, 12288, 32768, 61440, 65536, SF_MAP_PAGE_OFFSET(0)};
  struct fixture *f = *state;
  char text[SF_LEG_BAD_TEXT_MAX];
  make_volume(f);
  for (unsigned i = 0; i < sizeof at / sizeof at[0]; i++) {
    bool copy = at[i] < SF_PROBE_OFFSET;
    break_pages(at[i], 1);
    assert_int_equal(open_one(f, SF_LEG_READ_ONLY), 0);
    assert_int_equal(bad.writes, 0);
    assert_int_equal(f->found[0].error, 0);
    assert_int_equal(f->found[0].doubtful, copy);
    assert_string_equal(f->found[0].sb.volume_name, "vol0");
    assert_int_equal(f->file[0].block_bytes, 512);
    assert_int_equal(f->file[0].bad_pages, 1);
    assert_int_equal(f->file[0].bad_offset, at[i]);
    assert_says(sf_leg_file_bad_text(&f->file[0], text), "1 page of its metadata");

    assert_int_equal(open_one(f, 0), 0);
    assert_int_equal(f->file[0].rewritten_pages, copy ? 0 : 1);
    assert_int_equal(bad.writes, copy ? 0 : 1);
    if (copy)
      continue;
    assert_int_equal(open_one(f, 0), 0);
    assert_int_equal(f->file[0].bad_pages, 0);
    assert_string_equal(sf_leg_file_bad_text(&f->file[0], text), "");
  }
}

/* A page of the maps that cannot be read counts as all set; those beside it stay what they are. */
static void
maps_are_read_by_page(void **state) {
  struct fixture *f = *state;
  const struct sf_format_options options = {.size = 4096 * MIB, .assume_clean = true};
  struct sf_map_page page;
  for (unsigned i = 0; i < f->config.legs; i++)
    make_file(f->config.leg[i].path, SF_DATA_OFFSET + options.size);
  assert_int_equal(sf_format(&f->config, &options, NULL, NULL, f->error), 0);
  break_pages(SF_MAP_PAGE_OFFSET(1), 1);
  assert_int_equal(open_one(f, 0), 0);
  assert_int_equal(f->file[0].map_pages, 3);
  for (uint32_t p = 0; p < 3; p++)
    assert_int_equal(
        sf_map_page_decode(f->file[0].maps + p * SF_PAGE_BYTES, &f->found[0].sb.volume, p, &page),
        p != 1);
  assert_int_equal(f->file[0].rewritten_pages, 1);
}

/* Without any copy it is not known what the leg is: it is said what cannot be read, nothing is
 * written, and it is not taken for an empty disk. */
static void
both_copies(void **state) {
  struct fixture *f = *state;
  make_volume(f);
  break_pages(0, 2);
  assert_int_equal(open_one(f, 0), -EIO);
  assert_says(f->error, "it is leg a of volume vol0 by its mark");
  assert_says(f->error, "neither copy of its superblock can be read: Input/output error");
  assert_int_equal(bad.writes, 0);
  assert_false(f->found[0].present);
  assert_true(f->found[0].marked);
  assert_string_equal(f->found[0].mark.leg_name, "a");
  assert_int_equal(sf_leg_check_new(f->config.leg[0].path, SF_LEG_READ_ONLY, &f->found[0].sb, 0,
                                    &f->judged, f->error),
                   -EIO);
}

/* When the mark is lost too, it is said that the disk cannot be read, and no more. */
static void
both_copies_and_the_mark(void **state) {
  struct fixture *f = *state;
  break_pages(0, 0);
  make_volume(f);
  break_pages(0, SF_DATA_OFFSET / SF_PAGE_BYTES);
  assert_int_equal(open_one(f, 0), -EIO);
  assert_says(f->error, "it may be a leg, and neither copy of its superblock can be read");
  assert_false(f->found[0].marked);
  break_pages(0, 16); /* all of the head */
  assert_int_equal(open_one(f, 0), -EIO);
  assert_says(f->error, "it is leg a of volume vol0 by its mark");
  assert_int_equal(bad.writes, 0);
}

/* The one copy cannot be read, the other was overwritten: what the first one said is not known. */
static void
one_copy_of_a_marked_leg(void **state) {
  struct fixture *f = *state;
  char text[SF_MARK_TEXT_MAX];
  break_pages(0, 0);
  make_volume(f);
  put_byte(f->config.leg[0].path, 0, 'x'); /* the magic */
  break_pages(SF_PAGE_BYTES, 1);
  assert_int_equal(open_one(f, 0), 0);
  assert_int_equal(f->found[0].error, -EIO);
  assert_true(f->found[0].marked);
  assert_says(sf_mark_text(&f->found[0], text), "cannot be read, and the other was overwritten");
  assert_int_equal(bad.writes, 0);
}

/* A blank disk with an unreadable beginning may have held anything. */
static void
one_copy_of_none(void **state) {
  struct fixture *f = *state;
  make_file(f->config.leg[0].path, SF_DATA_OFFSET + 2 * MIB);
  break_pages(0, 1);
  assert_int_equal(open_one(f, 0), 0);
  assert_int_equal(f->found[0].error, -EIO);
  assert_true(f->file[0].looks_used);
  assert_int_equal(bad.writes, 0);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(one_bad_page, fixture_setup, fixture_teardown),
      cmocka_unit_test_setup_teardown(maps_are_read_by_page, fixture_setup, fixture_teardown),
      cmocka_unit_test_setup_teardown(both_copies, fixture_setup, fixture_teardown),
      cmocka_unit_test_setup_teardown(one_copy_of_none, fixture_setup, fixture_teardown),
      cmocka_unit_test_setup_teardown(both_copies_and_the_mark, fixture_setup, fixture_teardown),
      cmocka_unit_test_setup_teardown(one_copy_of_a_marked_leg, fixture_setup, fixture_teardown),
  };
  if (!fixture_possible())
    return TEST_SKIPPED;
  return cmocka_run_group_tests(tests, NULL, NULL);
}

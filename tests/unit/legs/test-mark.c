/* Proves what becomes of a leg whose superblocks were overwritten: it is told by its mark, nobody takes it for an
 * empty disk or for a leg that may be used, and only who names it at its own place makes it anew. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "rig.h"

/* ---- writes that fail, by the linker's --wrap ---- */

static bool superblocks_fail, marks_fail;

ssize_t __real_pwrite(int fd, const void *buffer, size_t len, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *buffer, size_t len, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *buffer, size_t len, off_t offset);

ssize_t
__wrap_pwrite(int fd, const void *buffer, size_t len, off_t offset) {
  if (superblocks_fail && len == SF_PAGE_BYTES && offset < 2 * SF_PAGE_BYTES) {
    errno = EIO;
    return -1;
  }
  if (marks_fail && len == SF_PAGE_BYTES && offset == (off_t) SF_MARK_OFFSET) {
    errno = ENOSPC;
    return -1;
  }
  return __real_pwrite(fd, buffer, len, offset);
}

ssize_t
__wrap_pwrite64(int fd, const void *buffer, size_t len, off_t offset) {
  return __wrap_pwrite(fd, buffer, len, offset);
}

/* ---- the legs ---- */

static const char *
path_of(const struct fixture *f, unsigned leg) {
  return f->config.leg[leg].path;
}

static void
fill(const char *path, uint64_t from, size_t len, int with) {
  static uint8_t bytes[64 * 1024];
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  assert_true(fd >= 0 && len <= sizeof bytes);
  memset(bytes, with, len);
  assert_int_equal(pwrite(fd, bytes, len, (off_t) from), len);
  assert_int_equal(fsync(fd), 0);
  close(fd);
}

static void
behead(const struct fixture *f, unsigned leg, int with) {
  fill(path_of(f, leg), 0, 64 * 1024, with);
}

static void
read_mark(const struct fixture *f, unsigned leg, struct sf_mark *mark) {
  uint8_t page[SF_PAGE_BYTES];
  int fd = open(path_of(f, leg), O_RDONLY | O_CLOEXEC);
  assert_true(fd >= 0);
  assert_int_equal(pread(fd, page, sizeof page, SF_MARK_OFFSET), sizeof page);
  close(fd);
  assert_true(sf_mark_decode(page, mark));
}

/* Of leg a; its file is closed. */
static void
take_reference(struct fixture *f, struct sf_superblock *reference) {
  assert_int_equal(open_first(f, path_of(f, 0), SF_LEG_READ_ONLY), 0);
  assert_int_equal(f->found[0].error, 0);
  *reference = f->found[0].sb;
  sf_leg_file_close(&f->file[0]);
}

/* ---- the tests ---- */

/* Each leg of a new volume is marked as itself. */
static void
a_new_volume_is_marked(void **state) {
  struct fixture *f = *state;
  struct sf_superblock reference;
  struct sf_mark mark;
  make_volume(f);
  take_reference(f, &reference);
  for (unsigned i = 0; i < 3; i++) {
    read_mark(f, i, &mark);
    assert_true(sf_mark_is_leg(&mark, &reference, i));
    assert_string_equal(mark.volume_name, "vol0");
    assert_int_equal(mark.leg_name[0], 'a' + (int) i);
  }
}

/* A leg that is whole is not asked for its mark; one without says so no more than before. */
static void
the_mark_is_not_needed(void **state) {
  struct fixture *f = *state;
  make_volume(f);
  fill(path_of(f, 0), SF_MARK_OFFSET, SF_PAGE_BYTES, 0);
  assert_int_equal(open_first(f, path_of(f, 0), 0), 0);
  assert_int_equal(f->found[0].error, 0);
  assert_false(f->found[0].marked);
  assert_int_equal(open_first(f, path_of(f, 1), 0), 0);
  assert_false(f->found[0].marked);
  behead(f, 0, 0);
  assert_int_equal(open_first(f, path_of(f, 0), 0), 0);
  assert_int_equal(f->found[0].error, -ENODATA);
  assert_false(f->found[0].marked);
}

static void
a_lost_head_is_told(void **state) {
  static const int with[] = {0, 0x5e, 0xff};
  char text[SF_MARK_TEXT_MAX];
  struct fixture *f = *state;
  make_volume(f);
  for (unsigned i = 0; i < sizeof with / sizeof with[0]; i++)
    for (unsigned flags = 0; flags <= SF_LEG_READ_ONLY; flags++) {
      behead(f, 1, with[i]);
      assert_int_equal(open_first(f, path_of(f, 1), flags), 0);
      assert_true(f->found[0].present && f->found[0].marked);
      assert_int_equal(f->found[0].error, -ENODATA);
      assert_string_equal(
          sf_mark_text(&f->found[0], text),
          "its superblocks were overwritten; by its mark it is leg b of volume vol0");
    }
}

/* `create` takes it for no empty disk, though its data are zeros. */
static void
create_refuses_it(void **state) {
  struct fixture *f = *state;
  struct sf_format_options options = {.assume_clean = true};
  make_volume(f);
  behead(f, 1, 0);
  unlink(path_of(f, 0));
  unlink(path_of(f, 2));
  make_file(path_of(f, 0), SF_DATA_OFFSET + 2 * MIB);
  make_file(path_of(f, 2), SF_DATA_OFFSET + 2 * MIB);
  assert_int_equal(sf_format(&f->config, &options, NULL, NULL, f->error), -EEXIST);
  assert_says(f->error, "leg b (");
  assert_says(f->error, "by its mark it is leg b of volume vol0");
  options.overwrite = true;
  assert_int_equal(sf_format(&f->config, &options, NULL, NULL, f->error), 0);
}

/* In its own place it may be made anew, with data on it; elsewhere it is a disk with data. */
static void
where_it_may_be_made_anew(void **state) {
  struct fixture *f = *state;
  struct sf_superblock reference, other;
  make_volume(f);
  take_reference(f, &reference);
  fill(path_of(f, 1), SF_DATA_OFFSET, 4096, 7);
  behead(f, 1, 0);
  assert_int_equal(
      sf_leg_check_new(path_of(f, 1), SF_LEG_READ_ONLY, &reference, 1, &f->judged, f->error), 0);
  assert_int_equal(sf_leg_check_new(path_of(f, 1), 0, &reference, 1, &f->judged, f->error),
                   -EEXIST);
  assert_says(f->error, "by its mark it is leg b of volume vol0");
  assert_int_equal(
      sf_leg_check_new(path_of(f, 1), SF_LEG_READ_ONLY, &reference, 2, &f->judged, f->error),
      -EEXIST);
  assert_says(f->error, "and not leg c");
  other = reference;
  sf_uuid_generate(&other.volume);
  assert_int_equal(
      sf_leg_check_new(path_of(f, 1), SF_LEG_READ_ONLY, &other, 1, &f->judged, f->error), -EEXIST);
  assert_says(f->error, "another one");
  assert_int_equal(sf_leg_discard(path_of(f, 1), &other, 1, false, NULL, f->error), -EEXIST);
  assert_int_equal(get_byte(path_of(f, 1), SF_DATA_OFFSET), 7);
}

/* Somebody has made something else of the disk, which does not reach to the mark. */
static void
another_label_counts_more_than_the_mark(void **state) {
  struct fixture *f = *state;
  struct sf_superblock reference;
  make_volume(f);
  take_reference(f, &reference);
  behead(f, 1, 0);
  put_byte(path_of(f, 1), 1080, 0x53); /* ext2's magic, 0xef53 */
  put_byte(path_of(f, 1), 1081, (char) 0xef);
  put_byte(path_of(f, 1), 1024 + 0x4c, 1);
  assert_int_equal(
      sf_leg_check_new(path_of(f, 1), SF_LEG_READ_ONLY, &reference, 1, &f->judged, f->error),
      -EEXIST);
  assert_says(f->error, "ext");
  assert_int_equal(sf_leg_discard(path_of(f, 1), &reference, 1, false, NULL, f->error), -EEXIST);
  assert_int_equal(get_byte(path_of(f, 1), 1080), 0x53);
}

/* The same of what has no label: it has written over the maps, though not to the mark. */
static void
what_is_not_its_maps_counts_more_than_the_mark(void **state) {
  static const uint64_t at[] = {SF_MAPS_OFFSET, 100000, SF_MARK_OFFSET - 1};
  struct fixture *f = *state;
  struct sf_superblock reference;
  make_volume(f);
  take_reference(f, &reference);
  behead(f, 1, 0x5e);
  assert_int_equal(
      sf_leg_check_new(path_of(f, 1), SF_LEG_READ_ONLY, &reference, 1, &f->judged, f->error), 0);
  for (unsigned i = 0; i < sizeof at / sizeof at[0]; i++) {
    char was = get_byte(path_of(f, 1), at[i]);
    put_byte(path_of(f, 1), at[i], (char) ~was);
    assert_int_equal(
        sf_leg_check_new(path_of(f, 1), SF_LEG_READ_ONLY, &reference, 1, &f->judged, f->error),
        -EEXIST);
    assert_says(f->error, "bytes that are not its maps at ");
    assert_int_equal(sf_leg_discard(path_of(f, 1), &reference, 1, false, NULL, f->error), -EEXIST);
    put_byte(path_of(f, 1), at[i], was);
  }
  fill(path_of(f, 1), SF_MAPS_OFFSET, 4096, 0); /* what was emptied with the head */
  assert_int_equal(
      sf_leg_check_new(path_of(f, 1), SF_LEG_READ_ONLY, &reference, 1, &f->judged, f->error), 0);
}

/* `leg discard` wants to see the leg's own superblock; `leg replace` does not, and leaves a new leg. */
static void
it_is_made_anew(void **state) {
  struct fixture *f = *state;
  struct sf_superblock reference;
  struct sf_mark mark;
  make_volume(f);
  take_reference(f, &reference);
  behead(f, 1, 0);
  assert_int_equal(sf_leg_discard(path_of(f, 1), &reference, 1, true, NULL, f->error), -EEXIST);
  assert_says(f->error, "`surefootctl leg replace`");
  read_mark(f, 1, &mark);
  assert_true(sf_mark_is_leg(&mark, &reference, 1));

  sf_uuid_generate(&reference.leg_uuid[1]);
  assert_int_equal(sf_leg_discard(path_of(f, 1), &reference, 1, false, NULL, f->error), 0);
  assert_int_equal(open_first(f, path_of(f, 1), 0), 0);
  assert_int_equal(f->found[0].error, 0);
  assert_int_equal(f->found[0].sb.record.change, 0);
  read_mark(f, 1, &mark);
  assert_true(sf_mark_is_leg(&mark, &reference, 1));
}

/* What breaks off before the new superblocks are there leaves the leg with its old mark, and is done again. */
static void
what_breaks_off_can_be_told(void **state) {
  struct fixture *f = *state;
  struct sf_superblock reference;
  struct sf_mark mark, old;
  make_volume(f);
  take_reference(f, &reference);
  fill(path_of(f, 1), SF_DATA_OFFSET, 4096, 7);
  read_mark(f, 1, &old);
  sf_uuid_generate(&reference.leg_uuid[1]);
  superblocks_fail = true;
  assert_int_equal(sf_leg_discard(path_of(f, 1), &reference, 1, false, NULL, f->error), -EIO);
  superblocks_fail = false;
  assert_int_equal(open_first(f, path_of(f, 1), 0), 0);
  assert_int_equal(f->found[0].error, -ENODATA);
  assert_true(f->found[0].marked);
  sf_leg_file_close(&f->file[0]);
  read_mark(f, 1, &mark);
  assert_memory_equal(&mark, &old, sizeof mark);

  assert_int_equal(
      sf_leg_check_new(path_of(f, 1), SF_LEG_READ_ONLY, &reference, 1, &f->judged, f->error), 0);
  assert_int_equal(sf_leg_discard(path_of(f, 1), &reference, 1, false, NULL, f->error), 0);
  read_mark(f, 1, &mark);
  assert_true(sf_mark_is_leg(&mark, &reference, 1));
}

/* A volume with another name is marked with it. */
static void
rename(void **state) {
  struct fixture *f = *state;
  struct sf_mark mark;
  make_volume(f);
  if (sf_legs_rename(NULL, &f->config, "vol9", 10 * second_ns, f->error) < 0)
    fail_msg("%s", f->error);
  for (unsigned i = 0; i < 3; i++) {
    read_mark(f, i, &mark);
    assert_string_equal(mark.volume_name, "vol9");
  }
}

/* A leg from before there were marks, on a full filesystem, or with a bad block there: nothing but words depends on
 * the mark, so all legs get the new name. */
static void
rename_needs_no_mark(void **state) {
  struct fixture *f = *state;
  make_volume(f);
  marks_fail = true;
  int r = sf_legs_rename(NULL, &f->config, "vol9", 10 * second_ns, f->error);
  marks_fail = false;
  for (unsigned i = 0; i < 3; i++) {
    assert_int_equal(open_first(f, path_of(f, i), SF_LEG_READ_ONLY), 0);
    assert_string_equal(f->found[0].sb.volume_name, "vol9");
    sf_leg_file_close(&f->file[0]);
  }
  assert_int_equal(r, 0);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
      TEST(a_new_volume_is_marked),
      TEST(the_mark_is_not_needed),
      TEST(a_lost_head_is_told),
      TEST(create_refuses_it),
      TEST(where_it_may_be_made_anew),
      TEST(another_label_counts_more_than_the_mark),
      TEST(what_is_not_its_maps_counts_more_than_the_mark),
      TEST(it_is_made_anew),
      TEST(what_breaks_off_can_be_told),
      TEST(rename),
      TEST(rename_needs_no_mark),
  };
  return fixture_possible() ? cmocka_run_group_tests(tests, NULL, NULL) : TEST_SKIPPED;
}

/* Proves that what is emptied is what was judged: a path that leads to another file by then, a file that was made anew under
 * its name, or written to, is refused and not touched; and that a try that broke off can be made again. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "assembly/blank.h"
#include "rig.h"

static const uint64_t leg_bytes = SF_DATA_OFFSET + TEST_DATA_MIB * MIB;
static const char named[] = "judged-link";

/* Leg b is lost; the reference knows the one to come by another uuid, as `leg replace` has it. */
static struct sf_superblock
lose_b(struct fixture *f) {
  make_volume(f);
  assert_int_equal(open_first(f, f->config.leg[0].path, 0), 0);
  struct sf_superblock reference = f->found[0].sb;
  sf_leg_file_close(&f->file[0]);
  sf_uuid_generate(&reference.leg_uuid[1]);
  return reference;
}

static void
lead_to(const char *file) {
  unlink(named);
  assert_int_equal(symlink(file, named), 0);
}

static bool
is_empty(const char *path) {
  struct sf_leg_file file;
  struct sf_leg_found found;
  char error[SF_CONFIG_ERROR_MAX];
  assert_int_equal(sf_leg_file_open(path, SF_LEG_READ_ONLY, &file, &found, error), 0);
  sf_leg_file_close(&file);
  return found.error == -ENODATA && !file.looks_used;
}

static void
empty_head(const char *path) {
  static const char zeros[SF_MAPS_OFFSET];
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  assert_true(fd >= 0);
  assert_int_equal(pwrite(fd, zeros, sizeof zeros, 0), sizeof zeros);
  assert_int_equal(fsync(fd), 0);
  close(fd);
}

static void
a_path_that_leads_elsewhere(void **state) {
  struct fixture *f = *state;
  char judged[96], other[96];
  struct sf_superblock reference = lose_b(f);
  snprintf(judged, sizeof judged, "%s/judged", f->dir);
  snprintf(other, sizeof other, "%s/other", f->dir);
  make_file(judged, leg_bytes);
  make_file(other, leg_bytes);
  lead_to(judged);
  assert_int_equal(sf_leg_check_new(named, 0, &reference, 1, &f->judged, f->error), 0);
  lead_to(other);
  assert_int_equal(sf_leg_discard(named, &reference, 1, false, &f->judged, f->error), -ESTALE);
  assert_says(f->error, "this is another file");
  assert_says(f->error, "name it again");
  assert_true(is_empty(other));
  lead_to(judged);
  assert_int_equal(sf_leg_discard(named, &reference, 1, false, &f->judged, f->error), 0);
  assert_false(is_empty(judged));
  unlink(named);
}

/* Its inode may have the same number. */
static void
a_file_made_anew(void **state) {
  struct fixture *f = *state;
  struct sf_superblock reference = lose_b(f);
  const char *path = f->config.leg[1].path;
  for (unsigned i = 0; i < 8; i++) {
    unlink(path);
    make_file(path, leg_bytes);
    assert_int_equal(sf_leg_check_new(path, 0, &reference, 1, &f->judged, f->error), 0);
    unlink(path);
    make_file(path, leg_bytes);
    assert_int_equal(sf_leg_discard(path, &reference, 1, false, &f->judged, f->error), -ESTALE);
    assert_true(is_empty(path));
  }
}

static void
written_to_since(void **state) {
  struct fixture *f = *state;
  struct sf_superblock reference = lose_b(f);
  const char *path = f->config.leg[1].path;
  unlink(path);
  make_file(path, leg_bytes);
  assert_int_equal(sf_leg_check_new(path, 0, &reference, 1, &f->judged, f->error), 0);
  put_byte(path, 4711, 'x');
  assert_int_equal(sf_leg_discard(path, &reference, 1, false, &f->judged, f->error), -ESTALE);
  assert_says(f->error, "something else stands on it");
  assert_int_equal(get_byte(path, 4711), 'x');
  put_byte(path, 4711, 0);
  assert_int_equal(truncate(path, (off_t) leg_bytes * 2), 0);
  assert_int_equal(sf_leg_discard(path, &reference, 1, false, &f->judged, f->error), -ESTALE);
  assert_says(f->error, "another size");
}

/* The leg's own disk, offline: a volume that ran meanwhile has written its superblock. */
static void
its_own_disk_went_on(void **state) {
  struct fixture *f = *state;
  make_volume(f);
  const char *path = f->config.leg[1].path;
  assert_int_equal(open_first(f, path, 0), 0);
  struct sf_superblock sb = f->found[0].sb;
  sf_leg_judge(&f->file[0], &f->found[0], true, &f->judged);
  sf_leg_file_close(&f->file[0]);
  assert_int_equal(sf_leg_discard(path, &sb, 1, true, &f->judged, f->error), 0);
  assert_int_equal(open_first(f, path, 0), 0);
  assert_true(sf_leg_is_blank(&f->found[0].sb));
  sf_leg_file_close(&f->file[0]);
  f->judged.serial += 7;
  assert_int_equal(sf_leg_discard(path, &sb, 1, true, &f->judged, f->error), -ESTALE);
}

/* A try that broke off has made the file longer, and emptied its head or made it the leg. */
static void
a_try_before(void **state) {
  struct fixture *f = *state;
  struct sf_superblock reference = lose_b(f), larger = reference;
  const char *path = f->config.leg[1].path;
  assert_int_equal(sf_leg_check_new(path, SF_LEG_READ_ONLY, &reference, 1, &f->judged, f->error),
                   0);
  assert_true(f->judged.in_place);
  larger.data_bytes *= 2;
  assert_int_equal(sf_leg_discard(path, &larger, 1, false, &f->judged, f->error), 0);
  assert_int_equal(sf_leg_discard(path, &larger, 1, false, &f->judged, f->error), 0);
  empty_head(path);
  assert_true(is_empty(path));
  assert_int_equal(sf_leg_discard(path, &larger, 1, false, &f->judged, f->error), 0);
}

int
main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
  const struct CMUnitTest tests[] = {
      TEST(a_path_that_leads_elsewhere), TEST(a_file_made_anew), TEST(written_to_since),
      TEST(its_own_disk_went_on),        TEST(a_try_before),
  };
  return fixture_possible() ? cmocka_run_group_tests(tests, NULL, NULL) : TEST_SKIPPED;
}

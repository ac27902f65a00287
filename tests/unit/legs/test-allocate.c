/* Proves what is allocated, and what is written, when a volume is made of files of all kinds. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rig.h"

static const uint64_t leg_bytes = SF_DATA_OFFSET + TEST_DATA_MIB * MIB;

static void
expect_allocated(const struct fixture *f) {
  struct stat st;
  for (unsigned i = 0; i < 3; i++) {
    assert_int_equal(stat(f->config.leg[i].path, &st), 0);
    assert_true((uint64_t) st.st_blocks * 512 >= leg_bytes);
  }
}

static unsigned ms_per_mib; /* what zeroing data takes */

/* In the C library's place. */
int
fallocate(int fd, int mode, off_t from, off_t len) {
  if (from >= (off_t) SF_DATA_OFFSET)
    usleep((unsigned) ((uint64_t) len / MIB) * ms_per_mib * 1000);
  return (int) syscall(SYS_fallocate, fd, mode, from, len);
}

/* Proves that a file that is a hole is allocated too, so that no write has to. */
static void
sparse_files_are_allocated(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < 3; i++)
    make_file(f->config.leg[i].path, leg_bytes);
  assert_int_equal(format(f, (struct sf_format_options){0}), 0);
  expect_starts(f);
  assert_false(f->found[0].sb.unwritten);
  expect_allocated(f);
}

/* Proves the same of new files where a file system is not trusted to allocate zeros: that there is
 * room is found out now, when that is asked for, and not by a write to the volume. */
static void
new_files_are_allocated_by_hand(void **state) {
  struct fixture *f = *state;
  char dir[] = "/dev/shm/sf-format-XXXXXX";
  if (!mkdtemp(dir))
    return;
  for (unsigned i = 0; i < 3; i++)
    snprintf(f->config.leg[i].path, PATH_MAX, "%s/%c", dir, 'a' + (int) i);
  int r = format(f, (struct sf_format_options){.size = TEST_DATA_MIB * MIB});
  struct stat st[3] = {0};
  for (unsigned i = 0; i < 3; i++) {
    stat(f->config.leg[i].path, &st[i]);
    unlink(f->config.leg[i].path);
  }
  rmdir(dir);
  assert_int_equal(r, 0);
  for (unsigned i = 0; i < 3; i++)
    assert_true((uint64_t) st[i].st_blocks * 512 >= leg_bytes);
}

/* Of three legs with so much data that hold something, b and c on a tmpfs, which is not trusted to
 * zero without writing.  What stood there then; the volume is unwritten or zeroed. */
static int
format_full_legs(struct fixture *f, uint64_t data_bytes, struct sf_format_options options) {
  char dir[] = "/dev/shm/sf-format-XXXXXX";
  if (!mkdtemp(dir))
    skip();
  for (unsigned i = 0; i < 3; i++) {
    if (i > 0)
      snprintf(f->config.leg[i].path, PATH_MAX, "%s/%c", dir, 'a' + (int) i);
    make_file(f->config.leg[i].path, SF_DATA_OFFSET + data_bytes);
    put_byte(f->config.leg[i].path, SF_DATA_OFFSET + 5, 'x');
  }
  options.overwrite = true;
  int r = format(f, options);
  int kept = get_byte(f->config.leg[1].path, SF_DATA_OFFSET + 5);
  if (r == 0)
    expect_starts(f);
  for (unsigned i = 0; i < 3; i++)
    unlink(f->config.leg[i].path);
  rmdir(dir);
  assert_int_equal(r, 0);
  assert_int_equal(f->found[0].sb.unwritten, f->found[2].sb.unwritten);
  assert_int_equal(f->found[2].sb.unwritten, kept == 'x');
  return kept;
}

/* Proves that a lazy format of legs that hold something, and cannot be zeroed without writing,
 * writes nothing to their data, and calls them unwritten. */
static void
a_lazy_format_calls_full_legs_unwritten(void **state) {
  const struct sf_format_options lazy = {.lazy = true};
  assert_int_equal(format_full_legs(*state, TEST_DATA_MIB * MIB, lazy), 'x');
}

/* Proves that any format does the same, of a volume that takes long to be zeroed by writing, unless
 * it is told to zero it; and that a small one is zeroed. */
static void
a_format_does_not_write_large_legs(void **state) {
  const struct sf_format_options any = {0}, zero = {.zero = true};
  assert_int_equal(format_full_legs(*state, SF_ZEROED_ALWAYS + MIB, any), 'x');
  assert_int_equal(format_full_legs(*state, SF_ZEROED_ALWAYS + MIB, zero), 0);
  assert_int_equal(format_full_legs(*state, TEST_DATA_MIB * MIB, any), 0);
}

/* Proves that a leg which knows how to zero itself is not waited for where that takes as long as
 * writing. */
static void
a_format_does_not_wait_for_slow_zeros(void **state) {
  struct fixture *f = *state;
  for (unsigned slow = 0; slow < 2; slow++) {
    for (unsigned i = 0; i < 3; i++) {
      make_file(f->config.leg[i].path, SF_DATA_OFFSET + 1024 * MIB);
      put_byte(f->config.leg[i].path, SF_DATA_OFFSET + 512 * MIB, 'x');
    }
    ms_per_mib = slow == 1 ? 100 : 0;
    int r = format(f, (struct sf_format_options){.overwrite = true});
    ms_per_mib = 0;
    assert_int_equal(r, 0);
    expect_starts(f);
    if (slow == 0 && f->found[0].sb.unwritten)
      skip(); /* this file system is not trusted to zero */
    assert_int_equal(f->found[0].sb.unwritten, slow == 1);
  }
}

int
main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
  const struct CMUnitTest tests[] = {
      TEST(sparse_files_are_allocated),
      TEST(new_files_are_allocated_by_hand),
      TEST(a_lazy_format_calls_full_legs_unwritten),
      TEST(a_format_does_not_write_large_legs),
      TEST(a_format_does_not_wait_for_slow_zeros),
  };
  return fixture_possible() ? cmocka_run_group_tests(tests, NULL, NULL) : TEST_SKIPPED;
}

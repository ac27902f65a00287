/* Proves what is allocated, and what is written, when a volume is made of files of all kinds. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static unsigned ms_per_mib; /* what zeroing data takes, also by writing */
static unsigned ms_per_read;
static bool reserves = true;

static atomic_uint flushes; /* legs are written by a thread each */

static void
take_time(off_t from, uint64_t len) {
  if (from >= (off_t) SF_DATA_OFFSET)
    usleep((unsigned) (len * ms_per_mib * 1000 / MIB));
}

/* In the C library's place. */
int
fallocate(int fd, int mode, off_t from, off_t len) {
  if (mode == 0 && !reserves) {
    errno = EOPNOTSUPP;
    return -1;
  }
  take_time(from, (uint64_t) len);
  return (int) syscall(SYS_fallocate, fd, mode, from, len);
}

int
fsync(int fd) {
  flushes++;
  return (int) syscall(SYS_fsync, fd);
}

int
fdatasync(int fd) {
  flushes++;
  return (int) syscall(SYS_fdatasync, fd);
}

ssize_t __real_pread(int fd, void *buffer, size_t len, off_t offset);
ssize_t __wrap_pread(int fd, void *buffer, size_t len, off_t offset);
ssize_t __wrap_pread64(int fd, void *buffer, size_t len, off_t offset);

ssize_t
__wrap_pread(int fd, void *buffer, size_t len, off_t offset) {
  usleep(ms_per_read * 1000);
  return __real_pread(fd, buffer, len, offset);
}

ssize_t
__wrap_pread64(int fd, void *buffer, size_t len, off_t offset) {
  return __wrap_pread(fd, buffer, len, offset);
}

ssize_t __real_pwrite(int fd, const void *buffer, size_t len, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *buffer, size_t len, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *buffer, size_t len, off_t offset);

ssize_t
__wrap_pwrite(int fd, const void *buffer, size_t len, off_t offset) {
  take_time(offset, len);
  return __real_pwrite(fd, buffer, len, offset);
}

ssize_t
__wrap_pwrite64(int fd, const void *buffer, size_t len, off_t offset) {
  return __wrap_pwrite(fd, buffer, len, offset);
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

/* Proves that new files have room for so much data where a file system is not trusted to allocate
 * zeros: that there is room is found out now, when that is asked for, and not by a write to the
 * volume. */
static void
expect_room(struct fixture *f, uint64_t data_bytes) {
  char dir[] = "/dev/shm/sf-format-XXXXXX";
  if (!mkdtemp(dir))
    skip();
  for (unsigned i = 0; i < 3; i++)
    snprintf(f->config.leg[i].path, PATH_MAX, "%s/%c", dir, 'a' + (int) i);
  int r = format(f, (struct sf_format_options){.size = data_bytes});
  struct stat st[3] = {0};
  if (r == 0)
    expect_starts(f);
  for (unsigned i = 0; i < 3; i++) {
    stat(f->config.leg[i].path, &st[i]);
    unlink(f->config.leg[i].path);
  }
  rmdir(dir);
  assert_int_equal(r, 0);
  assert_false(f->found[0].sb.unwritten);
  for (unsigned i = 0; i < 3; i++)
    assert_true((uint64_t) st[i].st_blocks * 512 >= SF_DATA_OFFSET + data_bytes);
}

/* However slow writes are. */
static void
new_files_have_room(void **state) {
  ms_per_mib = 100;
  expect_room(*state, 64 * MIB);
}

static void
new_files_are_written_to_have_room(void **state) {
  reserves = false;
  expect_room(*state, TEST_DATA_MIB * MIB);
}

/* Of three legs with so much data that hold something, b and c on a tmpfs, which is not trusted to
 * zero without writing.  What stood there then; the volume is unwritten or zeroed. */
static int
format_full_legs(struct fixture *f, uint64_t data_bytes, struct sf_format_options options) {
  const uint64_t at = SF_DATA_OFFSET + data_bytes / 4;
  char dir[] = "/dev/shm/sf-format-XXXXXX";
  if (!mkdtemp(dir))
    skip();
  for (unsigned i = 0; i < 3; i++) {
    if (i > 0)
      snprintf(f->config.leg[i].path, PATH_MAX, "%s/%c", dir, 'a' + (int) i);
    make_file(f->config.leg[i].path, SF_DATA_OFFSET + data_bytes);
    put_byte(f->config.leg[i].path, at, 'x');
  }
  options.overwrite = true;
  int r = format(f, options);
  int kept = get_byte(f->config.leg[1].path, at);
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

/* Proves that any other format writes them as well, but gives up what would not be done in about a
 * second, unless it is told to zero it. */
static void
a_format_writes_no_longer_than_a_second(void **state) {
  const struct sf_format_options any = {0}, zero = {.zero = true};
  const uint64_t bytes = 128 * MIB;
  assert_int_equal(format_full_legs(*state, TEST_DATA_MIB * MIB, any), 0);
  ms_per_mib = 100;
  assert_int_equal(format_full_legs(*state, bytes, any), 'x');
  ms_per_mib = 10;
  double began = now_s();
  assert_int_equal(format_full_legs(*state, bytes, zero), 0);
  assert_true(now_s() - began >= 1.28);
}

/* Proves that a leg which knows how to zero itself is not waited for where that takes long all the
 * same. */
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

/* In the first round of samples, in another one, and in none. */
static void
expect_look(struct fixture *f, int first, int later, int never) {
  static const uint64_t data_bytes = 504 * MIB, step = MIB; /* 512 MiB, 512 samples */
  const uint64_t places[] = {160 * step, 168 * step, 160 * step + MIB / 2};
  const int expected[] = {first, later, never};
  for (unsigned i = 0; i < 3; i++) {
    for (unsigned leg = 0; leg < 3; leg++) {
      unlink(f->config.leg[leg].path);
      make_file(f->config.leg[leg].path, SF_DATA_OFFSET + data_bytes);
    }
    put_byte(f->config.leg[1].path, places[i], 'x');
    double began = now_s();
    int r = format(f, (struct sf_format_options){0});
    if (r == 0 && i == 1 && now_s() - began > 0.4)
      continue; /* the host was slow by itself, and the look was cut short */
    assert_int_equal(r, expected[i]);
    if (expected[i] < 0)
      assert_says(f->error, "leg b");
  }
}

/* Proves that a disk is looked at for data all over, and where that is slow, less, but still all
 * over. */
static void
a_format_looks_no_longer_than_a_second(void **state) {
  expect_look(*state, -EEXIST, -EEXIST, 0);
  ms_per_read = 16;
  double began = now_s();
  expect_look(*state, -EEXIST, 0, 0);
  assert_true(now_s() - began < 3 * 3);
}

/* Proves: a file that is in use is made longer, whether the file system can allocate or not, without
 * a flush whose failure the volume would not hear of (R9). */
static void
a_leg_in_use_is_made_longer_without_a_flush(void **state) {
  char path[] = "/tmp/surefoot-extend-XXXXXX";
  int fd = mkstemp(path);
  uint64_t bytes = 0;

  assert_true(fd >= 0);
  flushes = 0;
  assert_int_equal(sf_leg_extend(fd, false, MIB, &bytes), 0);
  assert_int_equal(bytes, MIB);
  reserves = false;
  assert_int_equal(sf_leg_extend(fd, false, 3 * MIB, &bytes), 0);
  assert_int_equal(bytes, 3 * MIB);
  assert_int_equal(sf_leg_extend(fd, false, MIB, &bytes), 0);
  assert_int_equal(bytes, 3 * MIB);
  assert_int_equal(flushes, 0);
  close(fd);
  unlink(path);
}

static int
setup(void **state) {
  ms_per_mib = ms_per_read = 0;
  reserves = true;
  return fixture_setup(state);
}

int
main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)
  const struct CMUnitTest tests[] = {
      TEST(sparse_files_are_allocated),
      TEST(new_files_have_room),
      TEST(new_files_are_written_to_have_room),
      TEST(a_lazy_format_calls_full_legs_unwritten),
      TEST(a_format_writes_no_longer_than_a_second),
      TEST(a_format_does_not_wait_for_slow_zeros),
      TEST(a_format_looks_no_longer_than_a_second),
      TEST(a_leg_in_use_is_made_longer_without_a_flush),
  };
  return fixture_possible() ? cmocka_run_group_tests(tests, NULL, NULL) : TEST_SKIPPED;
}

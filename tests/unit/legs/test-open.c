/* Proves that a leg is opened fenced or not at all, that each way of failing says what to do, and
 * that no dead disk and no dead process can hold up the others. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "assembly/blank.h"
#include "rig.h"

static bool
hold_open(const char *path) {
  static struct sf_leg_file file;
  static struct sf_leg_found found;
  char error[SF_CONFIG_ERROR_MAX];
  return sf_leg_file_open(path, 0, &file, &found, error) == 0;
}

/* A process that opens a file under a write lease waits until the holder gives it up: a dead disk,
 * as far as open() can tell. */
/* ---- one leg ---- */

static void
blank_file(void **state) {
  struct fixture *f = *state;
  const char *path = f->config.leg[0].path;
  struct stat st;
  make_file(path, 9 * MIB);
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(open_first(f, path, 0), 0);
  assert_false(f->file[0].is_block);
  assert_int_equal(f->file[0].bytes, 9 * MIB);
  assert_true(f->file[0].device == st.st_dev && f->file[0].inode == st.st_ino);
  assert_true(f->file[0].block_bytes == 512 || f->file[0].block_bytes == 4096);
  assert_false(f->file[0].looks_used);
  assert_true(f->found[0].present);
  assert_int_equal(f->found[0].error, -ENODATA);
  assert_true(fcntl(f->file[0].fd, F_GETFL) & O_DIRECT);
  assert_true(fcntl(f->file[0].fd, F_GETFD) & FD_CLOEXEC);
  put_byte(path, 65535, 1);
  assert_int_equal(open_first(f, path, 0), 0);
  assert_true(f->file[0].looks_used);
}

/* Files that end anywhere, O_DIRECT or not. */
static void
short_files(void **state) {
  struct fixture *f = *state;
  static const uint64_t sizes[] = {0, 1, 511, 512, 513, 4096, 5000, 65535, 65537};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    make_file(f->config.leg[0].path, sizes[i]);
    assert_int_equal(open_first(f, f->config.leg[0].path, 0), 0);
    assert_int_equal(f->found[0].error, -ENODATA);
    assert_int_equal(f->found[0].bytes, sizes[i]);
  }
}

static void
expect_failure(struct fixture *f, const char *path, int error, const char *says) {
  assert_int_equal(open_first(f, path, 0), error);
  assert_int_equal(f->file[0].fd, -1);
  assert_false(f->found[0].present);
  assert_int_equal(f->found[0].error, error);
  assert_says(f->error, path);
  assert_says(f->error, says);
}

static void
failures_say_what_to_do(void **state) {
  struct fixture *f = *state;
  char path[128];
  expect_failure(f, f->config.leg[0].path, -ENOENT, "there is no such file");
  expect_failure(f, "/dev/no-such-disk", -ENOENT, "no such device");
  expect_failure(f, f->dir, -EISDIR, "a directory");
  expect_failure(f, "/dev/null", -EINVAL, "a character device");
  expect_failure(f, "/proc/self/comm", -EINVAL, "O_DIRECT");
  snprintf(path, sizeof path, "%s/fifo", f->dir);
  assert_int_equal(mkfifo(path, 0600), 0);
  expect_failure(f, path, -EINVAL, "a pipe");
  snprintf(path, sizeof path, "%s/loop", f->dir);
  assert_int_equal(symlink("loop", path), 0);
  expect_failure(f, path, -ELOOP, "symbolic links");
  make_file(f->config.leg[0].path, MIB);
  snprintf(path, sizeof path, "%s/a/x", f->dir);
  expect_failure(f, path, -ENOTDIR, "Not a directory");
}

static void
permission_denied(void **state) {
  struct fixture *f = *state;
  char cwd_path[PATH_MAX];
  if (geteuid() != 0) {
    print_message("skipped: needs root to become another user\n");
    skip();
  }
  make_file(f->config.leg[0].path, MIB);
  snprintf(cwd_path, sizeof cwd_path, "%s", f->config.leg[0].path);
  assert_int_equal(chmod(f->dir, 0755), 0);
  assert_int_equal(seteuid(65534), 0);
  int r = open_first(f, cwd_path, 0);
  assert_int_equal(seteuid(0), 0);
  assert_int_equal(r, -EACCES);
  assert_says(f->error, "permission denied");
}

static void
read_only_file_system(void **state) {
  struct fixture *f = *state;
  char path[128];
  int status;
  if (geteuid() != 0)
    skip();
  snprintf(path, sizeof path, "%s/leg", f->dir);
  pid_t pid = fork();
  if (pid == 0) {
    /* In a mount namespace of its own: nothing to clean up. */
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", f->dir, "tmpfs", 0, NULL) < 0)
      _exit(TEST_SKIPPED);
    make_file(path, MIB);
    if (mount("none", f->dir, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL) < 0)
      _exit(TEST_SKIPPED);
    int r = open_first(f, path, 0);
    _exit(r == -EROFS && strstr(f->error, "mounted read-only") ? 0 : 1);
  }
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  if (WEXITSTATUS(status) == TEST_SKIPPED)
    skip();
  assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- the lock ---- */

static void
locked_until_its_holder_is_dead(void **state) {
  struct fixture *f = *state;
  const char *path = f->config.leg[0].path;
  make_file(path, MIB);
  pid_t holder = start_holder(hold_open, path);
  assert_true(holder > 0);
  expect_failure(f, path, -EBUSY, "locked");
  kill_holder(holder);
  assert_int_equal(open_first(f, path, 0), 0);
}

static void
looking_needs_no_lock(void **state) {
  struct fixture *f = *state;
  const char *path = f->config.leg[0].path;
  make_file(path, MIB);
  pid_t holder = start_holder(hold_open, path);
  assert_true(holder > 0);
  assert_int_equal(open_first(f, path, SF_LEG_READ_ONLY), 0);
  assert_true((fcntl(f->file[0].fd, F_GETFL) & O_ACCMODE) == O_RDONLY);
  kill_holder(holder);
  /* And keeps no other from opening it. */
  struct sf_leg_file other;
  assert_int_equal(sf_leg_file_open(path, 0, &other, &f->found[1], f->error), 0);
  sf_leg_file_close(&other);
}

/* The lock is the description's: a duplicate keeps it, and close of it ends it. */
static void
lock_lives_with_the_description(void **state) {
  struct fixture *f = *state;
  const char *path = f->config.leg[0].path;
  make_file(path, MIB);
  assert_int_equal(open_first(f, path, 0), 0);
  int copy = dup(f->file[0].fd);
  expect_failure(f, path, -EBUSY, "locked"); /* open_first closed the first */
  close(copy);
  assert_int_equal(open_first(f, path, 0), 0);
}

/* ---- all legs ---- */

static void
all_open(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < 3; i++)
    make_file(f->config.leg[i].path, (9 + i) * MIB);
  assert_int_equal(open_legs(f, second_ns * 10), 0);
  for (unsigned i = 0; i < 3; i++) {
    assert_true(f->file[i].fd >= 0);
    assert_int_equal(f->file[i].bytes, (9 + i) * MIB);
    assert_string_equal(f->leg_error[i], "");
  }
  assert_int_equal(f->file[3].fd, -1);
}

static void
one_missing(void **state) {
  struct fixture *f = *state;
  make_file(f->config.leg[0].path, MIB);
  make_file(f->config.leg[2].path, MIB);
  assert_int_equal(open_legs(f, second_ns * 10), 0);
  assert_true(f->file[0].fd >= 0 && f->file[2].fd >= 0);
  assert_int_equal(f->file[1].fd, -1);
  assert_false(f->found[1].present);
  assert_int_equal(f->found[1].error, -ENOENT);
  assert_says(f->leg_error[1], "there is no such file");
}

/* open() of b hangs: the others are there in time, and what b's thread gets later it gives back. */
static void
a_leg_that_hangs_is_absent(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < 3; i++)
    make_file(f->config.leg[i].path, MIB);
  pid_t holder = start_holder(hold_lease, f->config.leg[1].path);
  if (holder < 0)
    skip();
  double before = now_s();
  assert_int_equal(open_legs(f, second_ns / 5), 0);
  double took = now_s() - before;
  assert_true(took >= 0.2 && took < 5);
  assert_true(f->file[0].fd >= 0 && f->file[2].fd >= 0);
  assert_int_equal(f->file[1].fd, -1);
  assert_int_equal(f->found[1].error, -ETIMEDOUT);
  assert_says(f->leg_error[1], "did not answer within 200 ms");
  kill_holder(holder);
  assert_true(becomes_free(f, f->config.leg[1].path));
}

static void
expect_same(struct fixture *f) {
  assert_int_equal(open_legs(f, second_ns * 10), -EINVAL);
  assert_says(f->error, "legs a (");
  assert_says(f->error, "and b (");
  assert_says(f->error, "one and the same");
  for (unsigned i = 0; i < 3; i++)
    assert_int_equal(f->file[i].fd, -1);
  /* Nothing stays open: it can be had. */
  assert_int_equal(open_first(f, f->config.leg[0].path, 0), 0);
  sf_leg_file_close(&f->file[0]);
}

static void
one_file_by_two_names(void **state) {
  struct fixture *f = *state;
  const char *a = f->config.leg[0].path, *b = f->config.leg[1].path;
  make_file(a, MIB);
  make_file(f->config.leg[2].path, MIB);
  assert_int_equal(symlink("a", b), 0);
  expect_same(f);
  assert_int_equal(unlink(b), 0);
  assert_int_equal(link(a, b), 0);
  expect_same(f);
  snprintf(f->config.leg[1].path, PATH_MAX, "./%s/a", f->dir);
  expect_same(f);
}

int
main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
  const struct CMUnitTest tests[] = {
      TEST(blank_file),
      TEST(short_files),
      TEST(failures_say_what_to_do),
      TEST(permission_denied),
      TEST(read_only_file_system),
      TEST(locked_until_its_holder_is_dead),
      TEST(looking_needs_no_lock),
      TEST(lock_lives_with_the_description),
      TEST(all_open),
      TEST(one_missing),
      TEST(a_leg_that_hangs_is_absent),
      TEST(one_file_by_two_names),
  };
  return fixture_possible() ? cmocka_run_group_tests(tests, NULL, NULL) : TEST_SKIPPED;
}

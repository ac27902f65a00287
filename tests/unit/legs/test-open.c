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
#include "fixture.h"

static const uint64_t second_ns = UINT64_C(1000000000);

static int
open_one(struct fixture *f, const char *path, unsigned flags) {
  sf_leg_file_close(&f->file[0]);
  return sf_leg_file_open(path, flags, &f->file[0], &f->found[0], f->error);
}

static int
open_all(struct fixture *f, uint64_t timeout_ns) {
  return sf_leg_files_open(f->openers, &f->config, 0, timeout_ns, f->file, f->found, f->leg_error,
                           f->error);
}

static double
now_s(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

/* A process that does something with a leg and then waits to be killed. */
static pid_t
start_holder(bool (*hold)(const char *path), const char *path) {
  int ready[2];
  char byte;
  assert_int_equal(pipe(ready), 0);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGIO, SIG_IGN);
    if (hold(path) && write(ready[1], "", 1) == 1)
      for (;;)
        pause();
    _exit(1);
  }
  close(ready[1]);
  ssize_t n = read(ready[0], &byte, 1);
  close(ready[0]);
  if (n == 1)
    return pid;
  waitpid(pid, NULL, 0);
  return -1;
}

static void
kill_holder(pid_t pid) {
  assert_int_equal(kill(pid, SIGKILL), 0);
  assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static bool
hold_open(const char *path) {
  static struct sf_leg_file file;
  static struct sf_leg_found found;
  char error[SF_CONFIG_ERROR_MAX];
  return sf_leg_file_open(path, 0, &file, &found, error) == 0;
}

/* Whoever opens a file under a write lease waits until the holder gives it up: a dead disk, as far
 * as open() can tell. */
static bool
hold_lease(const char *path) {
  int fd = open(path, O_RDWR | O_CLOEXEC);
  return fd >= 0 && fcntl(fd, F_SETLEASE, F_WRLCK) == 0;
}

/* ---- one leg ---- */

static void
test_blank_file(void **state) {
  struct fixture *f = *state;
  const char *path = f->config.leg[0].path;
  struct stat st;
  make_file(path, 9 * MIB);
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(open_one(f, path, 0), 0);
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
  assert_int_equal(open_one(f, path, 0), 0);
  assert_true(f->file[0].looks_used);
}

/* Files that end anywhere, O_DIRECT or not. */
static void
test_short_files(void **state) {
  struct fixture *f = *state;
  static const uint64_t sizes[] = {0, 1, 511, 512, 513, 4096, 5000, 65535, 65537};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    make_file(f->config.leg[0].path, sizes[i]);
    assert_int_equal(open_one(f, f->config.leg[0].path, 0), 0);
    assert_int_equal(f->found[0].error, -ENODATA);
    assert_int_equal(f->found[0].bytes, sizes[i]);
  }
}

static void
expect_failure(struct fixture *f, const char *path, int error, const char *says) {
  assert_int_equal(open_one(f, path, 0), error);
  assert_int_equal(f->file[0].fd, -1);
  assert_false(f->found[0].present);
  assert_int_equal(f->found[0].error, error);
  assert_says(f->error, path);
  assert_says(f->error, says);
}

static void
test_failures_say_what_to_do(void **state) {
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
test_permission_denied(void **state) {
  struct fixture *f = *state;
  char cwd_path[PATH_MAX];
  if (geteuid() != 0) {
    print_message("skipped: needs root to become somebody else\n");
    skip();
  }
  make_file(f->config.leg[0].path, MIB);
  snprintf(cwd_path, sizeof cwd_path, "%s", f->config.leg[0].path);
  assert_int_equal(chmod(f->dir, 0755), 0);
  assert_int_equal(seteuid(65534), 0);
  int rc = open_one(f, cwd_path, 0);
  assert_int_equal(seteuid(0), 0);
  assert_int_equal(rc, -EACCES);
  assert_says(f->error, "permission denied");
}

static void
test_read_only_file_system(void **state) {
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
    int rc = open_one(f, path, 0);
    _exit(rc == -EROFS && strstr(f->error, "mounted read-only") ? 0 : 1);
  }
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  if (WEXITSTATUS(status) == TEST_SKIPPED)
    skip();
  assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- the lock ---- */

static void
test_locked_until_its_holder_is_dead(void **state) {
  struct fixture *f = *state;
  const char *path = f->config.leg[0].path;
  make_file(path, MIB);
  pid_t holder = start_holder(hold_open, path);
  assert_true(holder > 0);
  expect_failure(f, path, -EBUSY, "locked");
  kill_holder(holder);
  assert_int_equal(open_one(f, path, 0), 0);
}

static void
test_looking_needs_no_lock(void **state) {
  struct fixture *f = *state;
  const char *path = f->config.leg[0].path;
  make_file(path, MIB);
  pid_t holder = start_holder(hold_open, path);
  assert_true(holder > 0);
  assert_int_equal(open_one(f, path, SF_LEG_READ_ONLY), 0);
  assert_true((fcntl(f->file[0].fd, F_GETFL) & O_ACCMODE) == O_RDONLY);
  kill_holder(holder);
  /* And is in nobody's way. */
  struct sf_leg_file other;
  assert_int_equal(sf_leg_file_open(path, 0, &other, &f->found[1], f->error), 0);
  sf_leg_file_close(&other);
}

/* The lock is the description's: a duplicate keeps it, and close of it ends it. */
static void
test_lock_lives_with_the_description(void **state) {
  struct fixture *f = *state;
  const char *path = f->config.leg[0].path;
  make_file(path, MIB);
  assert_int_equal(open_one(f, path, 0), 0);
  int copy = dup(f->file[0].fd);
  expect_failure(f, path, -EBUSY, "locked"); /* open_one closed the first */
  close(copy);
  assert_int_equal(open_one(f, path, 0), 0);
}

/* ---- all legs ---- */

static void
test_all_open(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < 3; i++)
    make_file(f->config.leg[i].path, (9 + i) * MIB);
  assert_int_equal(open_all(f, second_ns * 10), 0);
  for (unsigned i = 0; i < 3; i++) {
    assert_true(f->file[i].fd >= 0);
    assert_int_equal(f->file[i].bytes, (9 + i) * MIB);
    assert_string_equal(f->leg_error[i], "");
  }
  assert_int_equal(f->file[3].fd, -1);
}

static void
test_one_missing(void **state) {
  struct fixture *f = *state;
  make_file(f->config.leg[0].path, MIB);
  make_file(f->config.leg[2].path, MIB);
  assert_int_equal(open_all(f, second_ns * 10), 0);
  assert_true(f->file[0].fd >= 0 && f->file[2].fd >= 0);
  assert_int_equal(f->file[1].fd, -1);
  assert_false(f->found[1].present);
  assert_int_equal(f->found[1].error, -ENOENT);
  assert_says(f->leg_error[1], "there is no such file");
}

static bool
becomes_free(struct fixture *f, const char *path) {
  for (double until = now_s() + 10; now_s() < until;) {
    if (open_one(f, path, 0) == 0)
      return true;
    struct timespec pause = {0, 10000000};
    nanosleep(&pause, NULL);
  }
  return false;
}

/* open() of b hangs: the others are there in time, and what b's thread gets later it gives back. */
static void
test_a_leg_that_hangs_is_absent(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < 3; i++)
    make_file(f->config.leg[i].path, MIB);
  pid_t holder = start_holder(hold_lease, f->config.leg[1].path);
  if (holder < 0)
    skip();
  double before = now_s();
  assert_int_equal(open_all(f, second_ns / 5), 0);
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
start_openers(struct fixture *f) {
  char here[PATH_MAX / 2], path[PATH_MAX];
  assert_non_null(getcwd(here, sizeof here));
  for (unsigned i = 0; i < 3; i++) {
    snprintf(path, sizeof path, "%s/%.1000s", here, f->config.leg[i].path);
    strcpy(f->config.leg[i].path, path);
  }
  assert_int_equal(sf_leg_openers_start(&f->openers), 0);
}

/* The same through openers: what they read comes over with the file, and so does the lock. */
static void
test_opened_apart(void **state) {
  struct fixture *f = *state;
  make_volume(f);
  assert_int_equal(unlink(f->config.leg[1].path), 0);
  start_openers(f);
  assert_int_equal(open_all(f, second_ns * 10), 0);
  assert_int_equal(f->file[1].fd, -1);
  assert_int_equal(f->found[1].error, -ENOENT);
  assert_says(f->leg_error[1], "there is no such file");
  for (unsigned i = 0; i < 3; i += 2) {
    assert_true(f->file[i].fd >= 0);
    assert_int_equal(f->found[i].error, 0);
    assert_int_equal(f->found[i].sb.leg_index, i);
    assert_int_equal(f->file[i].map_pages, 1);
    assert_memory_equal(f->file[i].maps, "SUREMAPS", 8);
    struct sf_leg_file second;
    struct sf_leg_found found;
    assert_int_equal(sf_leg_file_open(f->config.leg[i].path, 0, &second, &found, f->error), -EBUSY);
    sf_leg_file_close(&f->file[i]);
    assert_int_equal(open_one(f, f->config.leg[i].path, 0), 0);
    sf_leg_file_close(&f->file[0]);
  }
  sf_leg_openers_stop(f->openers);
}

/* So are a discard and the look before it, and why not comes over in words. */
static void
test_discarded_apart(void **state) {
  struct fixture *f = *state;
  make_volume(f);
  assert_int_equal(open_one(f, f->config.leg[0].path, 0), 0);
  struct sf_superblock sb = f->found[0].sb;
  sf_leg_file_close(&f->file[0]);
  const char *path = f->config.leg[1].path;
  start_openers(f);
  assert_int_equal(sf_leg_discard_apart(f->openers, path, &sb, 2, true, f->error), -EEXIST);
  assert_says(f->error, "it is leg b of this volume, not leg c");
  assert_int_equal(sf_leg_check_new_apart(f->openers, path, 0, &sb, 2, f->error), -EEXIST);
  assert_says(f->error, "it is leg b of this volume, not leg c");
  assert_int_equal(sf_leg_check_new_apart(f->openers, path, 0, &sb, 1, f->error), 0);
  assert_int_equal(open_one(f, path, 0), 0);
  assert_int_equal(f->found[0].sb.record.term, sb.record.term);
  sf_leg_file_close(&f->file[0]);
  assert_int_equal(sf_leg_discard_apart(f->openers, path, &sb, 1, true, f->error), 0);
  assert_int_equal(open_one(f, path, 0), 0);
  assert_true(sf_leg_is_blank(&f->found[0].sb));
  assert_int_equal(f->found[0].sb.leg_index, 1);
  sf_leg_file_close(&f->file[0]);
  sf_leg_openers_stop(f->openers);
}

/* An opener that hangs is left behind, with its leg alone: who waited can go on, and end. */
static void
test_an_opener_that_hangs(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < 3; i++)
    make_file(f->config.leg[i].path, MIB);
  pid_t holder = start_holder(hold_lease, f->config.leg[1].path);
  if (holder < 0)
    skip();
  start_openers(f);
  assert_int_equal(open_all(f, second_ns / 5), 0);
  assert_true(f->file[0].fd >= 0 && f->file[2].fd >= 0);
  assert_int_equal(f->found[1].error, -ETIMEDOUT);
  sf_leg_openers_stop(f->openers);
  f->openers = NULL;
  sf_leg_file_close(&f->file[0]);
  sf_leg_file_close(&f->file[2]);
  kill_holder(holder);
  assert_true(becomes_free(f, f->config.leg[1].path));
}

/* Whoever waits for an opener is told when nobody is to wait any more. */
static void *
cut_soon(void *openers) {
  struct timespec pause = {0, 100000000};
  nanosleep(&pause, NULL);
  sf_leg_openers_cut(openers);
  return NULL;
}

static void
test_openers_are_cut(void **state) {
  struct fixture *f = *state;
  pthread_t thread;
  make_file(f->config.leg[0].path, MIB);
  pid_t holder = start_holder(hold_lease, f->config.leg[0].path);
  if (holder < 0)
    skip();
  start_openers(f);
  assert_int_equal(pthread_create(&thread, NULL, cut_soon, f->openers), 0);
  assert_int_equal(sf_leg_file_open_apart(f->openers, f->config.leg[0].path, 0, &f->file[0],
                                          &f->found[0], f->error),
                   -ECANCELED);
  assert_int_equal(f->file[0].fd, -1);
  assert_int_equal(sf_leg_file_open_apart(f->openers, f->config.leg[0].path, 0, &f->file[0],
                                          &f->found[0], f->error),
                   -ECANCELED);
  pthread_join(thread, NULL);
  sf_leg_openers_stop(f->openers);
  kill_holder(holder);
}

static bool
lease_is_wanted(pid_t holder) {
  char line[256];
  bool wanted = false;
  int pid;
  FILE *locks = fopen("/proc/locks", "re");
  assert_non_null(locks);
  while (fgets(line, sizeof line, locks))
    wanted |= sscanf(line, "%*d: LEASE BREAKING %*s %d", &pid) == 1 && pid == holder;
  fclose(locks);
  return wanted;
}

static void *
open_apart(void *arg) {
  struct fixture *f = arg;
  return (void *) (intptr_t) sf_leg_file_open_apart(f->openers, f->config.leg[0].path, 0,
                                                    &f->file[0], &f->found[0], f->error);
}

/* A leg that was opened for a process with no number left for a file is not open, and it says so: it
 * would count as present, with nothing to reach it by.  How: the limit falls while the opener
 * hangs. */
static void
test_no_number_for_an_opened_leg(void **state) {
  struct fixture *f = *state;
  struct rlimit limit, none;
  pthread_t thread;
  void *rc;
  make_volume(f);
  pid_t holder = start_holder(hold_lease, f->config.leg[0].path);
  if (holder < 0)
    skip();
  start_openers(f);
  assert_int_equal(pthread_create(&thread, NULL, open_apart, f), 0);
  for (double until = now_s() + 10; !lease_is_wanted(holder);)
    assert_true(now_s() < until);
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
  none = (struct rlimit){.rlim_cur = 0, .rlim_max = limit.rlim_max};
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
  kill_holder(holder);
  pthread_join(thread, &rc);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
  assert_int_equal((intptr_t) rc, -EMFILE);
  assert_int_equal(f->file[0].fd, -1);
  assert_false(f->found[0].present);
  assert_int_equal(f->found[0].error, -EMFILE);
  assert_says(f->error, "Too many open files");
  assert_true(becomes_free(f, f->config.leg[0].path));
  sf_leg_openers_stop(f->openers);
}

static void
test_a_discard_that_hangs_is_cut(void **state) {
  struct fixture *f = *state;
  pthread_t thread;
  make_volume(f);
  assert_int_equal(open_one(f, f->config.leg[0].path, 0), 0);
  struct sf_superblock sb = f->found[0].sb;
  sf_leg_file_close(&f->file[0]);
  pid_t holder = start_holder(hold_lease, f->config.leg[1].path);
  if (holder < 0)
    skip();
  start_openers(f);
  assert_int_equal(pthread_create(&thread, NULL, cut_soon, f->openers), 0);
  assert_int_equal(sf_leg_discard_apart(f->openers, f->config.leg[1].path, &sb, 1, true, f->error),
                   -ECANCELED);
  assert_int_equal(sf_leg_check_new_apart(f->openers, f->config.leg[1].path, 0, &sb, 1, f->error),
                   -ECANCELED);
  pthread_join(thread, NULL);
  sf_leg_openers_stop(f->openers);
  kill_holder(holder);
}

static void
expect_same(struct fixture *f) {
  assert_int_equal(open_all(f, second_ns * 10), -EINVAL);
  assert_says(f->error, "legs a (");
  assert_says(f->error, "and b (");
  assert_says(f->error, "one and the same");
  for (unsigned i = 0; i < 3; i++)
    assert_int_equal(f->file[i].fd, -1);
  /* Nothing stays open: it can be had. */
  assert_int_equal(open_one(f, f->config.leg[0].path, 0), 0);
  sf_leg_file_close(&f->file[0]);
}

static void
test_one_file_by_two_names(void **state) {
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
      TEST(test_blank_file),
      TEST(test_short_files),
      TEST(test_failures_say_what_to_do),
      TEST(test_permission_denied),
      TEST(test_read_only_file_system),
      TEST(test_locked_until_its_holder_is_dead),
      TEST(test_looking_needs_no_lock),
      TEST(test_lock_lives_with_the_description),
      TEST(test_all_open),
      TEST(test_one_missing),
      TEST(test_a_leg_that_hangs_is_absent),
      TEST(test_one_file_by_two_names),
      TEST(test_opened_apart),
      TEST(test_discarded_apart),
      TEST(test_an_opener_that_hangs),
      TEST(test_openers_are_cut),
      TEST(test_no_number_for_an_opened_leg),
      TEST(test_a_discard_that_hangs_is_cut),
  };
  return fixture_possible() ? cmocka_run_group_tests(tests, NULL, NULL) : TEST_SKIPPED;
}

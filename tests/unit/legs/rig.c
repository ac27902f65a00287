#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int
fixture_setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  char dir[] = "legs-XXXXXX";
  if (!f || !mkdtemp(dir))
    return -1;
  strcpy(f->dir, dir);
  strcpy(f->config.name, "vol0");
  f->config.legs = 3;
  f->config.min_legs = 2;
  for (unsigned i = 0; i < f->config.legs; i++) {
    f->config.leg[i].name[0] = (char) ('a' + i);
    sprintf(f->config.leg[i].path, "%s/%c", dir, 'a' + i);
  }
  for (unsigned i = 0; i < SF_LEGS_MAX; i++)
    f->file[i].fd = -1;
  *state = f;
  return 0;
}

int
fixture_teardown(void **state) {
  struct fixture *f = *state;
  char command[128];
  for (unsigned i = 0; i < SF_LEGS_MAX; i++)
    sf_leg_file_close(&f->file[i]);
  snprintf(command, sizeof command, "rm -rf %s", f->dir);
  free(f);
  return system(command);
}

bool
fixture_possible(void) {
  int fd = open(".", O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
  if (fd < 0) {
    print_message("skipped: no O_DIRECT here: %s\n", strerror(errno));
    return false;
  }
  close(fd);
  return true;
}

void
make_file(const char *path, uint64_t bytes) {
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  assert_true(fd >= 0);
  assert_int_equal(ftruncate(fd, (off_t) bytes), 0);
  close(fd);
}

void
put_byte(const char *path, uint64_t offset, char byte) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  assert_true(fd >= 0);
  assert_int_equal(pwrite(fd, &byte, 1, (off_t) offset), 1);
  assert_int_equal(fsync(fd), 0);
  close(fd);
}

char
get_byte(const char *path, uint64_t offset) {
  char byte;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  assert_true(fd >= 0);
  assert_int_equal(pread(fd, &byte, 1, (off_t) offset), 1);
  close(fd);
  return byte;
}

void
make_volume(struct fixture *f) {
  const struct sf_format_options options = {.size = TEST_DATA_MIB * MIB};
  int r = sf_format(&f->config, &options, NULL, NULL, f->error);
  if (r < 0)
    fail_msg("%s", f->error);
}

int
open_first(struct fixture *f, const char *path, unsigned flags) {
  sf_leg_file_close(&f->file[0]);
  return sf_leg_file_open(path, flags, &f->file[0], &f->found[0], f->error);
}

int
open_legs(struct fixture *f, uint64_t timeout_ns) {
  return sf_leg_files_open(f->openers, &f->config, 0, timeout_ns, f->file, f->found, f->leg_error,
                           f->error);
}

double
now_s(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

/* A process that does something with a leg and then waits to be killed. */
pid_t
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

void
kill_holder(pid_t pid) {
  assert_int_equal(kill(pid, SIGKILL), 0);
  assert_int_equal(waitpid(pid, NULL, 0), pid);
}

bool
hold_lease(const char *path) {
  int fd = open(path, O_RDWR | O_CLOEXEC);
  return fd >= 0 && fcntl(fd, F_SETLEASE, F_WRLCK) == 0;
}

bool
becomes_free(struct fixture *f, const char *path) {
  for (double until = now_s() + 10; now_s() < until;) {
    if (open_first(f, path, 0) == 0)
      return true;
    struct timespec pause = {0, 10000000};
    nanosleep(&pause, NULL);
  }
  return false;
}

int
format(struct fixture *f, struct sf_format_options options) {
  return sf_format(&f->config, &options, NULL, NULL, f->error);
}

void
assemble(struct fixture *f, struct sf_assembly *assembly) {
  assert_int_equal(sf_leg_files_open(NULL, &f->config, 0, UINT64_C(10000000000), f->file, f->found,
                                     f->leg_error, f->error),
                   0);
  for (unsigned i = 0; i < f->config.legs; i++)
    sf_leg_file_close(&f->file[i]);
  sf_assemble(&f->config, f->found, false, assembly);
}

void
expect_starts(struct fixture *f) {
  struct sf_assembly assembly;
  assemble(f, &assembly);
  if (!assembly.may_start)
    fail_msg("%s", assembly.reason);
  assert_int_equal(assembly.current, 7);
}

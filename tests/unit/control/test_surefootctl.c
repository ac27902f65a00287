/* surefootctl as the operator runs it: the built binary against a made-up volume; what it prints,
 * where, and how it exits. */
#include <fcntl.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_volume.h"

/* ---- run it ---- */

enum { ARGUMENTS_MAX = 12, OUTPUT_MAX = 64 * 1024 };

struct result {
  int status;
  char out[OUTPUT_MAX], err[OUTPUT_MAX];
};

static struct result result; /* of the last run */

static void
take(int fd, char text[OUTPUT_MAX]) {
  ssize_t len = pread(fd, text, OUTPUT_MAX - 1, 0);
  assert_true(len >= 0);
  text[len] = '\0';
  close(fd);
}

static pid_t
spawn(const char *const *argv, int out, int err) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
  pid_t pid;
  assert_int_equal(
      posix_spawn(&pid, SUREFOOTCTL, &actions, NULL, (char *const *) (uintptr_t) argv, environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  return pid;
}

/* surefootctl with these arguments, up to NULL. */
static int
run(const char *first, ...) {
  const char *argv[ARGUMENTS_MAX] = {"surefootctl", first};
  va_list args;
  va_start(args, first);
  for (unsigned i = 2; first && i < ARGUMENTS_MAX - 1; i++)
    if (!(argv[i] = va_arg(args, const char *)))
      break;
  va_end(args);

  int out = memfd_create("out", MFD_CLOEXEC), err = memfd_create("err", MFD_CLOEXEC), status;
  pid_t pid = spawn(argv, out, err);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  result.status = WEXITSTATUS(status);
  take(out, result.out);
  take(err, result.err);
  return result.status;
}

static void
expect(int status, const char *out, const char *err) {
  if (result.status != status || strcmp(result.out, out) != 0 || strcmp(result.err, err) != 0)
    fail_msg("exit %d, expected %d\n--- out\n%s--- expected\n%s--- err\n%s--- expected\n%s",
             result.status, status, result.out, out, result.err, err);
}

/* Wrong usage: exit 2, nothing on stdout, the complaint and then the usage on stderr. */
static void
expect_wrong_usage(const char *complaint) {
  assert_string_equal(result.out, "");
  char expected[256];
  snprintf(expected, sizeof expected, "surefootctl: %s\nusage: surefootctl ", complaint);
  if (result.status != 2 || strncmp(result.err, expected, strlen(expected)) != 0)
    fail_msg("exit %d, expected 2\n--- err\n%s--- expected\n%s", result.status, result.err,
             expected);
}

/* ---- the volume ---- */

static int
start(void **state) {
  struct fake_volume *fake = malloc(sizeof *fake);
  fake_volume_init(fake, "vol0", 0);
  fake_volume_start(fake);
  setenv("SUREFOOT_RUNTIME_DIR", fake->directory, 1);
  unsetenv("SUREFOOT_CONTROL");
  setenv("TZ", "UTC", 1);
  *state = fake;
  return 0;
}

static int
stop(void **state) {
  fake_volume_destroy(*state);
  free(*state);
  return 0;
}

/* ---- usage ---- */

/* --help and --version are answers: stdout, exit 0; each command has its own help. */
static void
test_help(void **state) {
  (void) state;
  assert_int_equal(run("--help", NULL), 0);
  assert_non_null(strstr(result.out, "usage: surefootctl [--control PATH] COMMAND"));
  static const char *const commands[] = {"create", "status", "events", "set",
                                         "leg",    "check",  "dump"};
  for (unsigned i = 0; i < sizeof commands / sizeof commands[0]; i++) {
    char line[64];
    snprintf(line, sizeof line, "\n  %-7s ", commands[i]);
    run("--help", NULL);
    assert_non_null(strstr(result.out, line));
    assert_int_equal(run(commands[i], "--help", NULL), 0);
    snprintf(line, sizeof line, "usage: surefootctl %s ", commands[i]);
    assert_int_equal(strncmp(result.out, line, strlen(line)), 0);
    assert_string_equal(result.err, "");
  }
  assert_int_equal(run("--version", NULL), 0);
  assert_int_equal(strncmp(result.out, "surefootctl 0.", 14), 0);
}

/* Whatever is wrong with the arguments is told in words, then the usage, and exit 2. */
static void
test_wrong_usage(void **state) {
  (void) state;
  run(NULL);
  expect_wrong_usage("no command");
  run("stat", NULL);
  expect_wrong_usage("unknown command 'stat'");
  run("--verbose", "status", NULL);
  expect_wrong_usage("unknown or incomplete option '--verbose'");
  run("--control", NULL);
  expect_wrong_usage("unknown or incomplete option '--control'");
  run("status", "--verbose", NULL);
  expect_wrong_usage("status: unknown or incomplete option '--verbose'");
  run("status", "vol0", "vol1", NULL);
  expect_wrong_usage("status: one VOLUME at most");
  run("events", "vol0", "vol1", NULL);
  expect_wrong_usage("events: one VOLUME at most");
  run("set", "vol0", NULL);
  expect_wrong_usage("set: VOLUME and KEY=VALUE are needed");
  run("set", "vol0", "write_timeout", NULL);
  expect_wrong_usage("set: 'write_timeout' is not KEY=VALUE");
  run("set", "vol0", "=1", NULL);
  expect_wrong_usage("set: '=1' is not KEY=VALUE");
  run("leg", NULL);
  expect_wrong_usage("leg: fail, return or discard?");
  run("leg", "kill", "vol0", "a", NULL);
  expect_wrong_usage("leg: unknown action 'kill'");
  run("leg", "fail", "vol0", NULL);
  expect_wrong_usage("leg fail: VOLUME and LEG are needed");
  run("leg", "discard", "--config", "x.conf", NULL);
  expect_wrong_usage("leg discard: LEG is needed");
  run("leg", "fail", "--config", "x.conf", "a", NULL);
  expect_wrong_usage("leg fail: --config is for discard only");
  run("create", NULL);
  expect_wrong_usage("create: one CONF is needed");
  run("create", "x.conf", "--size", "big", NULL);
  expect_wrong_usage("--size big: not a size (for example 10G)");
  run("create", "x.conf", "--size", "0", NULL);
  expect_wrong_usage("--size 0: not a size (for example 10G)");
  run("check", NULL);
  expect_wrong_usage("check: one CONF is needed");
  run("dump", "a", "b", NULL);
  expect_wrong_usage("dump: one PATH is needed");
}

/* ---- a running volume ---- */

#define STATUS_VOL0                                                                                \
  "vol0: degraded, 10 GiB, 1 of 3 legs in sync (1 needed), record 7.12\n"                          \
  "  123456 reads, 7890 writes, 12 flushes; 31 answered without a late leg, 0 failed\n"            \
  "  LEG  PATH      STATE          STALE  LATE  TIMEOUTS  ERRORS  P99 WRITE  NOTE\n"               \
  "  a    /dev/sdb  in-sync            -     -         -       -     1.2 ms\n"                     \
  "  b    /dev/sdc  catching-up  1.2 GiB     -        31       -     812 us  resync 38.5%, 120 "   \
  "MiB/s, 10 s left\n"                                                                             \
  "  c    /dev/sdd  late          64 MiB     3         5       1          -  write at 4096 not "   \
  "answered in 100 ms\n"

/* The picture that the operator sees, to the letter. */
static void
test_status(void **state) {
  (void) state;
  run("status", NULL);
  expect(0, STATUS_VOL0, "");
  run("status", "vol0", NULL);
  expect(0, STATUS_VOL0, "");
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_help),
      cmocka_unit_test(test_wrong_usage),
      cmocka_unit_test_setup_teardown(test_status, start, stop),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

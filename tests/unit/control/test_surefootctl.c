/* surefootctl as the operator runs it: the built binary against a made-up volume; what it prints,
 * where, and how it exits. */
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <surefoot/legfile.h>

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

/* As a user who is in no group: the binary may be where such a one cannot look. */
static pid_t
spawn_as_nobody(const char *const *argv, int out, int err) {
  enum { NOBODY = 65534 };
  int binary = open(SUREFOOTCTL, O_RDONLY | O_CLOEXEC);
  assert_true(binary >= 0);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    if (dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0 && setgroups(0, NULL) == 0 &&
        setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0)
      fexecve(binary, (char *const *) (uintptr_t) argv, environ);
    _exit(127);
  }
  close(binary);
  return pid;
}

static bool as_nobody;

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
  pid_t pid = as_nobody ? spawn_as_nobody(argv, out, err) : spawn(argv, out, err);
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
  expect_wrong_usage("leg: fail, return, discard, replace, add or remove?");
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

/* --json is the document of DESIGN section 7 and nothing else. */
static void
test_status_json(void **state) {
  struct fake_volume *fake = *state;
  assert_int_equal(run("status", "--json", NULL), 0);
  json_t *printed = json_loads(result.out, 0, NULL);
  json_t *document = sf_status_to_json(&fake->status, 1);
  assert_true(json_equal(printed, document));
  json_decref(printed);
  json_decref(document);
}

/* A reason is told to its end, where it says what to do, also behind a resync. */
static void
test_status_long_reason(void **state) {
  struct fake_volume *fake = *state;
  struct sf_leg_status *leg = &fake->status.leg[1];
  char expected[sizeof leg->reason + 64];
  pthread_mutex_lock(&fake->lock);
  memset(leg->reason, 'x', sizeof leg->reason - 1);
  memcpy(leg->reason + sizeof leg->reason - sizeof "do it", "do it", sizeof "do it");
  snprintf(expected, sizeof expected, "resync 38.5%%, 120 MiB/s, 10 s left; %s\n", leg->reason);
  pthread_mutex_unlock(&fake->lock);
  assert_int_equal(run("status", NULL), 0);
  assert_non_null(strstr(result.out, expected));
}

/* A volume in trouble: suspended, unconverged, no latency yet, and a path with a control character,
 * which must not reach the terminal. */
static void
test_status_in_trouble(void **state) {
  struct fake_volume *fake = *state;
  pthread_mutex_lock(&fake->lock);
  struct sf_volume_status *status = &fake->status;
  status->state = SF_VOLUME_SUSPENDED;
  status->legs = 2;
  status->legs_in_sync = 0;
  strcpy(status->reason, "waits for leg a (missing): 4 writes, the oldest 6.2 s; 1 leg needed");
  status->errors = 7;
  status->unconverged_bytes = 3 * 512 * 1024;
  status->leg[0].state = SF_STATE_MISSING;
  strcpy(status->leg[0].path, "/tmp/\033[31mred");
  strcpy(status->leg[0].reason, "cannot be opened");
  strcpy(status->leg[1].reason, "gone for a while");
  status->leg[1].resync_rate = 0;
  pthread_mutex_unlock(&fake->lock);
  run("status", NULL);
  expect(0,
         "vol0: suspended, 10 GiB, 0 of 2 legs in sync (1 needed), record 7.12\n"
         "  123456 reads, 7890 writes, 12 flushes; 31 answered without a late leg, 7 failed\n"
         "  waits for leg a (missing): 4 writes, the oldest 6.2 s; 1 leg needed\n"
         "  1.5 MiB being made equal on all legs after a crash\n"
         "  LEG  PATH           STATE          STALE  LATE  TIMEOUTS  ERRORS  P99 WRITE  NOTE\n"
         "  a    /tmp/?[31mred  missing            -     -         -       -     1.2 ms  cannot be "
         "opened\n"
         "  b    /dev/sdc       catching-up  1.2 GiB     -        31       -     812 us  resync "
         "38.5%; gone for a while\n",
         "");
}

/* How long a state has lasted and how old the oldest unanswered request is stands with it; a leg in sync
 * that answers has nothing of this. */
static void
test_status_ages(void **state) {
  struct fake_volume *fake = *state;
  pthread_mutex_lock(&fake->lock);
  struct sf_volume_status *status = &fake->status;
  status->wall_ns = (int64_t) time(NULL) * 1000000000;
  status->state_age_ns = UINT64_C(3600000000000) * 3;
  status->leg[0].in_flight = 2;
  status->leg[0].oldest_ns = UINT64_C(999000000);
  status->leg[1].in_flight = 4;
  status->leg[1].oldest_ns = UINT64_C(6200000000);
  status->leg[2].state_age_ns = UINT64_C(1800000000000);
  pthread_mutex_unlock(&fake->lock);
  assert_int_equal(run("status", NULL), 0);
  assert_non_null(strstr(result.out, "record 7.12; for 3 h 00 min\n"));
  assert_non_null(strstr(result.out, "     1.2 ms\n"));
  assert_non_null(strstr(result.out, "10 s left; for 0 s; 4 unanswered, the oldest 6.2 s\n"));
  assert_non_null(strstr(result.out, "not answered in 100 ms; for 30 min\n"));
}

/* The deadlines in force and where they come from: of all legs together. */
static void
test_status_deadlines(void **state) {
  struct fake_volume *fake = *state;
  pthread_mutex_lock(&fake->lock);
  for (unsigned i = 0; i < 3; i++) {
    struct sf_leg_status *leg = &fake->status.leg[i];
    leg->timeout_ns[SF_READ_KIND] = 500000000;
    leg->timeout_ns[SF_WRITE_KIND] = 50000000 + i * 35000000;
    leg->timeout_ns[SF_FLUSH_KIND] = 1000000000;
    leg->timeout_source[SF_READ_KIND] = SF_DEADLINE_LEARNING;
    leg->timeout_source[SF_WRITE_KIND] = SF_DEADLINE_AUTO;
    leg->timeout_source[SF_FLUSH_KIND] = i == 0 ? SF_DEADLINE_FILE : SF_DEADLINE_SET;
  }
  pthread_mutex_unlock(&fake->lock);
  assert_int_equal(run("status", NULL), 0);
  assert_non_null(strstr(result.out,
                         "\n  deadlines: reads 500 ms (learning), writes 50 ms to 120 ms "
                         "(auto), flushes 1 s (mixed)\n"));
}

/* A mistyped word names the one that was meant, with its line, and not all the others; nothing is abbreviated. */
static void
test_mistyped(void **state) {
  (void) state;
  run("statsu", "vol0", NULL);
  expect(2, "",
         "surefootctl: unknown command 'statsu'\n"
         "usage: surefootctl status [--json] [--check] [VOLUME]\n"
         "did you mean status?  `surefootctl help` lists the commands\n");
  run("frobnicate", NULL);
  expect(2, "",
         "surefootctl: unknown command 'frobnicate'\n"
         "usage: surefootctl [--control PATH] COMMAND ...\n"
         "`surefootctl help` lists the commands\n");
  run("status", "--jsno", NULL);
  expect(2, "",
         "surefootctl: status: unknown or incomplete option '--jsno'\n"
         "usage: surefootctl status [--json] [--check] [VOLUME]\n"
         "did you mean --json?\n");
  run("create", "x.conf", "--over", NULL);
  expect_wrong_usage("create: unknown or incomplete option '--over'");
  run("--vers", NULL);
  expect_wrong_usage("unknown or incomplete option '--vers'");
}

/* What other programs understand: -h, -V, help, help COMMAND. */
static void
test_short_help(void **state) {
  (void) state;
  static char whole[OUTPUT_MAX];
  assert_int_equal(run("--help", NULL), 0);
  memcpy(whole, result.out, sizeof whole);
  run("-h", NULL);
  expect(0, whole, "");
  run("help", NULL);
  expect(0, whole, "");
  run("help", "grow", NULL);
  expect(0, "usage: surefootctl grow VOLUME [SIZE|+SIZE]\n", "");
  run("grow", "-h", NULL);
  expect(0, "usage: surefootctl grow VOLUME [SIZE|+SIZE]\n", "");
  assert_int_equal(run("-V", NULL), 0);
  assert_int_equal(strncmp(result.out, "surefootctl 0.", 14), 0);
}

static void
set_state(struct fake_volume *fake, enum sf_volume_state state, const char *reason) {
  pthread_mutex_lock(&fake->lock);
  fake->status.state = state;
  strcpy(fake->status.reason, reason);
  pthread_mutex_unlock(&fake->lock);
}

/* What Nagios wants: one line and 0, 1, 2 or 3. */
static void
test_status_check(void **state) {
  struct fake_volume *fake = *state;
  run("status", "--check", NULL);
  expect(1,
         "vol0: degraded, 1 of 3 legs in sync; leg b catching-up; leg c late: write at 4096 not "
         "answered in 100 ms\n",
         "");
  set_state(fake, SF_VOLUME_HEALTHY, "");
  assert_int_equal(run("status", "--check", "vol0", NULL), 0);
  set_state(fake, SF_VOLUME_SUSPENDED, "waits for leg c");
  assert_int_equal(run("status", "--check", NULL), 2);
  assert_int_equal(
      strncmp(result.out, "vol0: suspended, 1 of 3 legs in sync; waits for leg c; leg b", 60), 0);
  set_state(fake, SF_VOLUME_FAILED, "");
  assert_int_equal(run("status", "--check", NULL), 2);
  set_state(fake, SF_VOLUME_STARTING, "");
  assert_int_equal(run("status", "--check", NULL), 3);
  assert_int_equal(run("status", "--check", "nosuch", NULL), 3);
  run("status", "--check", "--json", NULL);
  expect_wrong_usage("status: either --json or --check");
}

static void
test_list(void **state) {
  (void) state;
  run("list", NULL);
  expect(0,
         "VOLUME            STATE           SIZE   LEGS  DEVICE\n"
         "vol0              degraded      10 GiB    1/3  -\n",
         "");
  run("list", "vol0", NULL);
  expect_wrong_usage("list: no argument is needed");
}

/* Colours are asked for, or refused, whatever the output is. */
static void
test_colours(void **state) {
  (void) state;
  assert_int_equal(run("--color=always", "status", NULL), 0);
  assert_non_null(strstr(result.out, "\033[33mdegraded\033[0m"));
  assert_int_equal(run("status", "--color", "always", NULL), 0);
  assert_non_null(strstr(result.out, "\033[33mdegraded\033[0m"));
  assert_int_equal(run("status", "--color=never", NULL), 0);
  assert_null(strchr(result.out, '\033'));
  run("status", "--color=red", NULL);
  expect_wrong_usage("--color red: always, never or auto");
}

/* ---- which socket ---- */

/* Without a name status shows all volumes, in order; a socket that nobody serves is told on stderr
 * and makes the exit 1, and the others are shown all the same.  Other commands want a name. */
static void
test_several_volumes(void **state) {
  struct fake_volume *fake = *state, second;
  char expected[2 * sizeof STATUS_VOL0 + 1], error[512];
  fake_volume_init_beside(&second, "vol1", fake);
  fake_volume_start(&second);
  run("status", NULL);
  snprintf(expected, sizeof expected, "%s\n%s", STATUS_VOL0, STATUS_VOL0);
  *strstr(expected + strlen(STATUS_VOL0), "vol0") = 'v';
  strstr(expected + strlen(STATUS_VOL0), "vol0")[3] = '1';
  expect(0, expected, "");
  assert_int_equal(run("status", "--json", NULL), 0);
  json_t *document = json_loads(result.out, 0, NULL);
  assert_int_equal(json_array_size(json_object_get(document, "volumes")), 2);
  json_decref(document);
  run("status", "vol0", NULL);
  expect(0, STATUS_VOL0, "");
  run("events", NULL);
  expect(1, "", "surefootctl: which volume?  vol0, vol1 are running\n");
  fake_volume_destroy(&second);

  char dead[SF_CONTROL_PATH_MAX + 16];
  snprintf(dead, sizeof dead, "%s/dead.ctl", fake->directory);
  close(open(dead, O_CREAT | O_WRONLY, 0600));
  snprintf(error, sizeof error, "surefootctl: %s: nobody listens: the volume is not running\n",
           dead);
  run("status", NULL);
  expect(1, STATUS_VOL0, error);
  unlink(dead);
}

/* The socket of a server that was killed: no error where surefootd runs the volume now, which a server
 * at its socket stands for here; and still the volume's own where surefootd is gone too. */
static void
test_abandoned_socket(void **state) {
  struct fake_volume *fake = *state;
  char control[sizeof fake->directory + 16], error[2 * SF_CONTROL_PATH_MAX];
  snprintf(control, sizeof control, "%s/control", fake->directory);
  assert_int_equal(rename(fake->path, control), 0);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strcpy(address.sun_path, fake->path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(fd, (const struct sockaddr *) &address, sizeof address), 0);
  close(fd);

  run("status", "vol0", NULL);
  expect(0, STATUS_VOL0, "");
  run("status", NULL);
  expect(0, STATUS_VOL0, "");
  run("set", "vol0", "write_deadline=1s", NULL);
  expect(0, "vol0: write_deadline is now 1s\n", "");

  assert_int_equal(rename(control, fake->path), 0);
  close(open(control, O_CREAT | O_WRONLY, 0600));
  run("status", "vol0", NULL);
  expect(0, STATUS_VOL0, "");
  char live[sizeof control];
  snprintf(live, sizeof live, "%s/live", fake->directory);
  assert_int_equal(rename(fake->path, live), 0);
  close(open(fake->path, O_CREAT | O_WRONLY, 0600));
  snprintf(error, sizeof error, "surefootctl: %s: nobody listens: the volume is not running\n",
           fake->path);
  run("status", "vol0", NULL);
  expect(1, "", error);
  assert_int_equal(rename(live, fake->path), 0);
  assert_int_equal(unlink(control), 0);
}

/* Who may not look into the folder hears that, and not that nothing runs. */
static void
test_without_permission(void **state) {
  struct fake_volume *fake = *state;
  static const char *const words[][3] = {{"status"},         {"status", "vol0"},
                                         {"events", "vol0"}, {"restart", "vol0"},
                                         {"reload"},         {"grow", "vol0"}};
  as_nobody = geteuid() == 0;
  assert_int_equal(chmod(fake->directory, as_nobody ? 0700 : 0), 0);
  for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
    run(words[i][0], words[i][1], NULL);
    const char *said = strstr(result.err, ": only root and the group surefoot may ask\n");
    if (result.status != 1 || result.out[0] || !said ||
        strncmp(result.err + strlen("surefootctl: "), fake->directory, strlen(fake->directory)) !=
            0)
      fail_msg("%s: exit %d: %s%s", words[i][0], result.status, result.out, result.err);
  }
  as_nobody = false;
  assert_int_equal(chmod(fake->directory, 0700), 0);
}

/* --control wins, before the command or after it; then the environment; then the name. */
static void
test_finding_the_socket(void **state) {
  struct fake_volume *fake = *state;
  char error[512];
  setenv("SUREFOOT_RUNTIME_DIR", "/nowhere", 1);
  run("status", NULL);
  expect(1, "",
         "surefootctl: no volume is running: no control socket in /nowhere (is "
         "surefootd started?  or use --control)\n");
  run("status", "vol0", NULL);
  expect(1, "",
         "surefootctl: vol0: not running: no control socket /nowhere/vol0.ctl (or use "
         "--control)\n");
  run("status", "../vol0", NULL);
  expect(1, "", "surefootctl: '../vol0' is not the name of a volume\n");

  run("--control", fake->path, "status", NULL);
  expect(0, STATUS_VOL0, "");
  run("status", "--control", fake->path, "vol0", NULL);
  expect(0, STATUS_VOL0, "");
  run("--control", fake->path, "status", "vol1", NULL);
  expect(1, "", "surefootctl: this socket serves volume \"vol0\", not \"vol1\"\n");
  run("--control", "/nowhere/x.ctl", "status", NULL);
  expect(1, "", "surefootctl: /nowhere/x.ctl: no such socket: the volume is not running\n");

  setenv("SUREFOOT_CONTROL", fake->path, 1);
  run("status", NULL);
  expect(0, STATUS_VOL0, "");
  run("--control", "/nowhere/x.ctl", "status", NULL);
  assert_int_equal(result.status, 1);

  char path[256];
  memset(path, 'x', sizeof path);
  path[sizeof path - 1] = '\0';
  snprintf(error, sizeof error, "surefootctl: %s: the path is longer than 107 bytes\n", path);
  run("--control", path, "status", NULL);
  expect(1, "", error);
}

/* ---- set and leg ---- */

/* What is sent is what was written, '=' in the value included; a refusal is the volume's own words
 * and exit 1. */
static void
test_set(void **state) {
  struct fake_volume *fake = *state;
  char call[256];
  run("set", "vol0", "leg.a.write_timeout=20ms", NULL);
  expect(0, "vol0: leg.a.write_timeout is now 20ms\n", "");
  fake_volume_last_call(fake, call);
  assert_string_equal(call, "set leg.a.write_timeout=20ms");
  run("set", "vol0", "x=a=b", NULL);
  expect(0, "vol0: x is now a=b\n", "");
  fake_volume_last_call(fake, call);
  assert_string_equal(call, "set x=a=b");
  run("set", "vol0", "name=vol1", NULL);
  expect(1, "", "surefootctl: name: cannot be changed while the volume runs\n");
}

static void
test_leg(void **state) {
  struct fake_volume *fake = *state;
  char call[256];
  run("leg", "fail", "vol0", "b", NULL);
  expect(0, "vol0: leg b is taken out\n", "");
  fake_volume_last_call(fake, call);
  assert_string_equal(call, "leg fail b");
  run("leg", "return", "vol0", "b", NULL);
  expect(0, "vol0: leg b is looked at again: `surefootctl status` tells what becomes of it\n", "");
  run("leg", "discard", "vol0", "b", NULL);
  expect(0, "vol0: leg b is discarded: all of it will be copied\n", "");
  fake_volume_last_call(fake, call);
  assert_string_equal(call, "leg discard b");
  run("leg", "fail", "vol0", "z", NULL);
  expect(1, "", "surefootctl: unknown leg \"z\"\n");
}

/* Arguments that are not UTF-8 cannot be sent: an error, and no crash. */
static void
test_arguments_of_any_bytes(void **state) {
  (void) state;
  run("set", "vol0", "x=\xff", NULL);
  assert_int_equal(result.status, 1);
  run("leg", "fail", "vol0", "\xff", NULL);
  assert_int_equal(result.status, 1);
  run("--control", ((struct fake_volume *) *state)->path, "status", "\xff", NULL);
  assert_int_equal(result.status, 1);
}

/* Output that cannot be written is a failure, not a quiet success. */
static void
test_full_output(void **state) {
  (void) state;
  const char *argv[] = {"surefootctl", "status", NULL};
  int out = open("/dev/full", O_WRONLY | O_CLOEXEC), err = memfd_create("err", MFD_CLOEXEC), status;
  pid_t pid = spawn(argv, out, err);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 1);
  close(out);
  close(err);
}

/* ---- events ---- */

/* A date stands before each line; what follows is compared. */
static void
expect_event_line(const char *line, const char *expected) {
  static const char form[] = "dddd-dd-dd dd:dd:dd.ddd  ";
  for (unsigned i = 0; form[i]; i++) {
    bool fits = form[i] == 'd' ? line[i] >= '0' && line[i] <= '9' : line[i] == form[i];
    if (!fits)
      fail_msg("no date: %s", line);
  }
  line += sizeof form - 1;
  assert_int_equal(strncmp(line, expected, strlen(expected)), 0);
}

static void
tell(struct fake_volume *fake, enum sf_volume_event_kind kind, const char *reason) {
  struct sf_volume_event event = {.kind = kind, .leg = -1, .reason = reason};
  sf_control_server_event(fake->server, &event);
}

static void
test_events(void **state) {
  struct fake_volume *fake = *state;
  run("events", NULL);
  expect(0, "", "");
  tell(fake, SF_EVENT_STARTED, "record 8.1");
  fake_volume_event(fake, "write at 4096 not answered in 100 ms");
  run("events", "vol0", NULL);
  assert_int_equal(result.status, 0);
  expect_event_line(result.out, "vol0  started: record 8.1\n");
  expect_event_line(strchr(result.out, '\n') + 1,
                    "vol0  leg b: in-sync -> late: write at 4096 not answered in 100 ms\n");

  assert_int_equal(run("events", "--json", NULL), 0);
  char *second = strchr(result.out, '\n');
  *second++ = '\0';
  json_t *event = json_loads(result.out, 0, NULL);
  assert_string_equal(json_string_value(json_object_get(event, "event")), "started");
  assert_string_equal(json_string_value(json_object_get(event, "volume")), "vol0");
  json_decref(event);
  event = json_loads(second, 0, NULL);
  assert_string_equal(json_string_value(json_object_get(event, "leg")), "b");
  json_decref(event);
}

/* ---- what it does, how long it takes, what went wrong ---- */

static void
set_buckets(struct fake_volume *fake) {
  pthread_mutex_lock(&fake->lock);
  for (unsigned i = 0; i < 2; i++) {
    struct sf_leg_status *leg = &fake->status.leg[i];
    memset(leg->latency[SF_WRITE_KIND].bucket, 0, sizeof leg->latency[SF_WRITE_KIND].bucket);
    leg->latency[SF_WRITE_KIND].bucket[65] = 90; /* below 786 us */
    leg->latency[SF_WRITE_KIND].bucket[89] = 10; /* below 51 ms */
    leg->timeout_ns[SF_WRITE_KIND] = 100000000;
  }
  fake->status.leg[2].in_flight = 3;
  fake->status.leg[2].oldest_ns = UINT64_C(6200000000);
  pthread_mutex_unlock(&fake->lock);
}

/* Plain lines where there is no screen; of nothing that was done the rates are 0, and what is not answered is
 * as slow as it is old. */
static void
test_top(void **state) {
  struct fake_volume *fake = *state;
  set_buckets(fake);
  run("top", NULL);
  expect(1, "", "surefootctl: top: this is no terminal: use --batch\n");
  assert_int_equal(run("top", "--batch", "--count", "1", "vol0", NULL), 0);
  assert_non_null(strstr(result.out, "vol0 degraded 0.0 MB/s  0 req/s  p99 -  0 waiting"));
  assert_non_null(
      strstr(result.out, "  LEG      STATE          MB/s   REQ/s      P50      P99 FLIGHT"));
  assert_non_null(
      strstr(result.out, "  a        in-sync         0.0       0        -        -      -"));
  assert_non_null(strstr(
      result.out,
      "  b        catching-up     0.0       0        -        -      -       -    0 39% 10 s"));
  assert_non_null(strstr(
      result.out, "  c        late            0.0       0    6.2 s    6.2 s      3   6.2 s"));
  run("top", "--count", "x", NULL);
  expect_wrong_usage("top: --count x: not a number");
}

/* The histograms stand side by side, with the limit between the rows. */
static void
test_latency(void **state) {
  struct fake_volume *fake = *state;
  set_buckets(fake);
  setenv("LC_ALL", "C", 1);
  assert_int_equal(run("latency", "vol0", NULL), 0);
  assert_non_null(strstr(result.out, "vol0: how long writes take, since its server started\n"));
  assert_non_null(strstr(result.out, "clients (0)      a (100)          b (100)          c (0)"));
  const char *most = strstr(result.out, "    1 ms "), *some = strstr(result.out, " 67.1 ms ");
  const char *limit = strstr(result.out, "late after 100 ms");
  if (!most || !some || !limit || !(most < some && some < limit))
    fail_msg("%s", result.out);
  assert_non_null(strstr(most, " #########    90% #########    90% "));
  assert_non_null(strstr(some, "#            10% #            10% "));
  run("latency", "vol0", "--kind", "zero", NULL);
  expect_wrong_usage("latency: --kind zero: read, write or flush");
  run("latency", NULL);
  expect_wrong_usage("latency: one VOLUME is needed");
}

static void
tell_moves(struct fake_volume *fake, int leg, const char *const moves[][3], unsigned n) {
  for (unsigned i = 0; i < n; i++) {
    struct sf_volume_event event = {.kind = leg < 0 ? SF_EVENT_STATE : SF_EVENT_LEG_STATE,
                                    .leg = leg,
                                    .leg_name = leg < 0 ? NULL : "b",
                                    .from = moves[i][0],
                                    .to = moves[i][1],
                                    .reason = moves[i][2]};
    sf_control_server_event(fake->server, &event);
  }
}

/* The last incident, and no other: from what began it to what ended it, in sentences. */
static void
test_why(void **state) {
  struct fake_volume *fake = *state;
  static const char *const old[][3] = {{"in-sync", "faulty", "an older story"}};
  static const char *const before[][3] = {{"healthy", "degraded", ""}, {"degraded", "healthy", ""}};
  static const char *const leaves[][3] = {
      {"in-sync", "late", "write at 4096 not answered in 100 ms"}};
  static const char *const waits[][3] = {
      {"healthy", "suspended", "waits for leg b: 4 writes, the oldest 6.2 s; 2 legs needed"}};
  static const char *const back[][3] = {{"late", "probing", ""}, {"probing", "in-sync", ""}};
  static const char *const well[][3] = {{"suspended", "healthy", ""}};
  run("why", "vol0", NULL);
  expect(0, "vol0: nothing has gone wrong, as far back as the events go.\n", "");
  tell_moves(fake, 1, old, 1);
  tell_moves(fake, -1, before, 2);
  tell_moves(fake, 1, leaves, 1);
  tell_moves(fake, -1, waits, 1);
  assert_int_equal(run("why", "vol0", NULL), 0);
  assert_non_null(strstr(result.out, "vol0: this goes on.\n"));
  tell_moves(fake, 1, back, 2);
  tell_moves(fake, -1, well, 1);
  set_buckets(fake);
  assert_int_equal(run("why", "vol0", NULL), 0);
  assert_null(strstr(result.out, "older story"));
  static const char *const says[] = {
      "vol0: the last incident took ",
      "  Leg b did not answer in time and was left out: write at 4096 not answered in 100 ms.\n",
      "  Writes had to wait: it waits for leg b: 4 writes, the oldest 6.2 s; 2 legs needed.\n",
      "  Leg b answers again, and is tried (after ",
      "  Leg b is whole again (after ",
      "  All legs are in sync (after ",
      "no client has asked for anything; 0 requests failed.\n",
      "Leg b still lacks 1.2 GiB.\n"};
  const char *at = result.out;
  for (unsigned i = 0; i < sizeof says / sizeof says[0]; i++) {
    at = strstr(at, says[i]);
    if (!at)
      fail_msg("no \"%s\" in its place in\n%s", says[i], result.out);
  }
}

/* --follow writes what was and then each event as it comes; the volume's stop is its end. */
static void
test_follow(void **state) {
  struct fake_volume *fake = *state;
  tell(fake, SF_EVENT_STARTED, "before");
  const char *argv[] = {"surefootctl", "events", "--follow", NULL};
  int fds[2], err = memfd_create("err", MFD_CLOEXEC), status;
  assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
  pid_t pid = spawn(argv, fds[1], err);
  close(fds[1]);
  FILE *out = fdopen(fds[0], "r");
  char line[512];
  assert_non_null(fgets(line, sizeof line, out));
  expect_event_line(line, "vol0  started: before\n");
  fake_volume_event(fake, "slow");
  assert_non_null(fgets(line, sizeof line, out));
  expect_event_line(line, "vol0  leg b: in-sync -> late: slow\n");

  tell(fake, SF_EVENT_STOPPED, NULL);
  sf_control_server_destroy(fake->server);
  fake->server = NULL;
  assert_non_null(fgets(line, sizeof line, out));
  expect_event_line(line, "vol0  stopped\n");
  assert_null(fgets(line, sizeof line, out));
  fclose(out);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
  close(err);
}

/* A volume that goes away without saying that it stopped: exit 1. */
static void
test_follow_a_crash(void **state) {
  struct fake_volume *fake = *state;
  tell(fake, SF_EVENT_STARTED, "before");
  const char *argv[] = {"surefootctl", "events", "--follow", "--json", NULL};
  int fds[2], err = memfd_create("err", MFD_CLOEXEC), status;
  assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
  pid_t pid = spawn(argv, fds[1], err);
  close(fds[1]);
  FILE *out = fdopen(fds[0], "r");
  char line[512];
  assert_non_null(fgets(line, sizeof line, out));
  sf_control_server_destroy(fake->server);
  fake->server = NULL;
  assert_null(fgets(line, sizeof line, out));
  fclose(out);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 1);
  take(err, result.err);
  char expected[256];
  snprintf(expected, sizeof expected, "surefootctl: %s: the connection ended\n", fake->path);
  assert_string_equal(result.err, expected);
}

/* ---- legs without a running volume ---- */

struct legs {
  char directory[64];
  char conf[96];
  char leg[3][96];
};

static int
make_legs(void **state) {
  struct legs *legs = calloc(1, sizeof *legs);
  strcpy(legs->directory, "/var/tmp/sf-ctl-XXXXXX");
  if (!mkdtemp(legs->directory))
    return -1;
  snprintf(legs->conf, sizeof legs->conf, "%s/vol0.conf", legs->directory);
  FILE *conf = fopen(legs->conf, "w");
  fprintf(conf, "[volume]\nname = vol0\n");
  for (unsigned i = 0; i < 3; i++) {
    snprintf(legs->leg[i], sizeof legs->leg[i], "%s/%c.img", legs->directory, 'a' + (int) i);
    fprintf(conf, "[leg %c]\npath = %s\n", 'a' + (int) i, legs->leg[i]);
  }
  fclose(conf);
  *state = legs;
  return 0;
}

static int
remove_legs(void **state) {
  struct legs *legs = *state;
  for (unsigned i = 0; i < 3; i++)
    unlink(legs->leg[i]);
  unlink(legs->conf);
  int rc = rmdir(legs->directory);
  free(legs);
  return rc;
}

/* A file system without O_DIRECT (an old tmpfs) cannot hold legs. */
static void
create_or_skip(struct legs *legs) {
  if (run("create", legs->conf, "--size", "2M", NULL) != 0 && strstr(result.err, "O_DIRECT"))
    skip();
  expect(0, result.out, "");
}

static void
damage(const char *path, off_t offset) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  assert_int_equal(pwrite(fd, "damage", 6, offset), 6);
  close(fd);
}

/* The text with the directory of the legs as DIR, and as many columns less. */
static const char *
without_directory(const struct legs *legs, char *text) {
  char *at;
  size_t len = strlen(legs->directory);
  while ((at = strstr(text, legs->directory))) {
    memcpy(at, "DIR", 3);
    memmove(at + 3, at + len, strlen(at + len) + 1);
  }
  return text;
}

/* create makes the legs and says what it made; a second time it refuses, until --overwrite; a
 * configuration that does not load is told with its file and line. */
static void
test_create(void **state) {
  struct legs *legs = *state;
  create_or_skip(legs);
  static const char said[] = "vol0: created, 2 MiB on 3 legs, min_legs 2, uuid ";
  assert_int_equal(strncmp(result.out, said, sizeof said - 1), 0);
  struct stat st;
  assert_int_equal(stat(legs->leg[2], &st), 0);
  assert_int_equal(st.st_size, SF_DATA_OFFSET + (2 << 20));

  assert_int_equal(run("create", legs->conf, NULL), 1);
  assert_string_equal(result.out, "");
  assert_non_null(strstr(result.err, "--overwrite"));
  assert_int_equal(run("create", "--overwrite", "--assume-clean", legs->conf, NULL), 0);

  FILE *conf = fopen(legs->conf, "a");
  fprintf(conf, "colour = blue\n");
  fclose(conf);
  char expected[128];
  snprintf(expected, sizeof expected, "surefootctl: %s:9: ", legs->conf);
  assert_int_equal(run("create", legs->conf, NULL), 1);
  assert_int_equal(strncmp(result.err, expected, strlen(expected)), 0);
  assert_int_equal(run("check", legs->conf, NULL), 1);
  assert_int_equal(strncmp(result.err, expected, strlen(expected)), 0);
  assert_int_equal(run("create", "/nowhere.conf", NULL), 1);
}

/* check tells of each leg and of the whole, exits 1 when the volume would not start, and changes
 * no byte and no time of any leg. */
static void
test_check(void **state) {
  struct legs *legs = *state;
  struct stat before, after;
  create_or_skip(legs);
  assert_int_equal(stat(legs->leg[0], &before), 0);
  run("check", legs->conf, NULL);
  assert_int_equal(result.status, 0);
  assert_string_equal(without_directory(legs, result.out),
                      "vol0: would start: starts from record 1.1 with a, b and c\n"
                      "stopped cleanly: nothing to converge\n"
                      "  LEG  PATH                          VERDICT  RECORDED AS  RECORD  CLEAN    "
                      "SIZE  STALE  NOTE\n"
                      "  a    DIR/a.img  current  in-sync         1.1  yes    10 MiB      -\n"
                      "  b    DIR/b.img  current  in-sync         1.1  yes    10 MiB      -\n"
                      "  c    DIR/c.img  current  in-sync         1.1  yes    10 MiB      -\n");
  assert_int_equal(stat(legs->leg[0], &after), 0);
  assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof before.st_mtim);
  assert_int_equal(before.st_blocks, after.st_blocks);

  assert_int_equal(unlink(legs->leg[1]), 0);
  damage(legs->leg[2], 100);
  damage(legs->leg[2], 4096 + 100);
  assert_int_equal(run("check", legs->conf, NULL), 1);
  assert_non_null(strstr(result.out, "vol0: would not start: "));
  assert_int_equal(run("check", "--json", legs->conf, NULL), 1);
  json_t *document = json_loads(result.out, 0, NULL);
  const char *verdict[3];
  int may_start;
  assert_int_equal(json_unpack(document, "{sbs[{ss}{ss}{ss}]}", "may_start", &may_start, "legs",
                               "verdict", &verdict[0], "verdict", &verdict[1], "verdict",
                               &verdict[2]),
                   0);
  assert_false(may_start);
  assert_string_equal(verdict[0], "current");
  assert_string_equal(verdict[1], "absent");
  assert_string_equal(verdict[2], "damaged");
  json_decref(document);
}

/* A leg of the volume that the file does not list is shown with that reason. */
static void
test_check_unlisted(void **state) {
  struct legs *legs = *state;
  create_or_skip(legs);
  FILE *conf = fopen(legs->conf, "w");
  fprintf(conf, "[volume]\nname = vol0\n[leg a]\npath = %s\n[leg b]\npath = %s\n", legs->leg[0],
          legs->leg[1]);
  fclose(conf);
  assert_int_equal(run("check", legs->conf, NULL), 0);
  assert_non_null(strstr(result.out, "  the configuration file does not list it\n"));
}

/* ---- maps ---- */

enum { DATA_MIB = 2 };

/* The leg's superblock, or one that is written to both copies. */
static struct sf_superblock
read_superblock(const char *path) {
  uint8_t page[SF_PAGE_BYTES];
  struct sf_superblock sb;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  assert_int_equal(pread(fd, page, sizeof page, 0), sizeof page);
  close(fd);
  assert_int_equal(sf_superblock_decode(page, &sb), 0);
  return sb;
}

static void
put_page(const char *path, const uint8_t page[SF_PAGE_BYTES], uint64_t offset) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  assert_int_equal(pwrite(fd, page, SF_PAGE_BYTES, (off_t) offset), SF_PAGE_BYTES);
  close(fd);
}

static void
write_superblock(const char *path, const struct sf_superblock *sb) {
  uint8_t page[SF_PAGE_BYTES];
  sf_superblock_encode(sb, page);
  for (unsigned copy = 0; copy < SF_SUPERBLOCK_COPIES; copy++)
    put_page(path, page, SF_SUPERBLOCK_OFFSET(copy));
}

/* As a process leaves it that was killed while leg c was behind: intent in extent `intent`, c lacks
 * extent 0. */
static void
die_without_c(const struct legs *legs, unsigned leg, unsigned intent) {
  struct sf_superblock sb = read_superblock(legs->leg[leg]);
  struct sf_map_page map = {.volume = sb.volume};
  uint8_t page[SF_PAGE_BYTES];
  map.intent[0] = (uint8_t) (1u << intent);
  map.stale[2][0] = 1;
  sf_map_page_encode(&map, page);
  put_page(legs->leg[leg], page, SF_MAP_PAGE_OFFSET(0));
  sb.record.change = 2;
  sb.record.in_sync = 3;
  sb.record.clean = false;
  write_superblock(legs->leg[leg], &sb);
}

static void
change_data(const char *path, uint64_t offset) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  assert_int_equal(pwrite(fd, "changed", 7, (off_t) (SF_DATA_OFFSET + offset)), 7);
  close(fd);
}

/* dump shows the maps as they stand: intent, what each leg lacks, damaged pages. */
static void
test_dump_maps(void **state) {
  struct legs *legs = *state;
  create_or_skip(legs);
  run("dump", legs->leg[0], NULL);
  assert_non_null(strstr(result.out, "maps at byte 65536: 1 page, 0 damaged\n"
                                     "  intent     none (does not count: stopped cleanly)\n"
                                     "  stale a    none (does not count: in sync)\n"));
  die_without_c(legs, 0, 1);
  run("dump", legs->leg[0], NULL);
  assert_non_null(strstr(result.out, "maps at byte 65536: 1 page, 0 damaged\n"
                                     "  intent     1 extent, 1 MiB: 1\n"
                                     "  stale a    none (does not count: in sync)\n"
                                     "  stale b    none (does not count: in sync)\n"
                                     "  stale c    1 extent, 1 MiB: 0\n"));
  run("dump", "--json", legs->leg[0], NULL);
  json_t *document = json_loads(result.out, 0, NULL);
  json_int_t bytes, first, last, stale;
  assert_int_equal(json_unpack(document, "{s{s{sIs[[II]]}s{s{sI}}s[]}}", "maps", "intent", "bytes",
                               &bytes, "ranges", &first, &last, "stale", "c", "extents", &stale,
                               "damaged"),
                   0);
  assert_int_equal(bytes, 1 << 20);
  assert_int_equal(first, 1);
  assert_int_equal(last, 1);
  assert_int_equal(stale, 1);
  json_decref(document);

  damage(legs->leg[0], (off_t) SF_MAP_PAGE_OFFSET(0) + 70);
  assert_int_equal(run("dump", legs->leg[0], NULL), 0);
  assert_non_null(strstr(result.out, "maps at byte 65536: 1 page, 1 damaged\n  damaged    page 0"));
}

/* check counts as a start does: the maps of the legs in sync united, intent stale on the others, a
 * damaged page all set. */
static void
test_check_maps(void **state) {
  struct legs *legs = *state;
  create_or_skip(legs);
  die_without_c(legs, 0, 1);
  die_without_c(legs, 1, 1);
  assert_int_equal(run("check", legs->conf, NULL), 0);
  assert_non_null(strstr(result.out,
                         "\nnot stopped cleanly: 1 MiB of 2 MiB to be made equal on the "
                         "legs in sync, each before it is read\n"));
  run("check", "--json", legs->conf, NULL);
  json_t *document = json_loads(result.out, 0, NULL);
  json_int_t converge, stale[3], intent[3];
  static const char shape[] = "{sIs[{sIsI}{sIsI}{sIsI}]}";
  assert_int_equal(json_unpack(document, shape, "converge_bytes", &converge, "legs", "stale_bytes",
                               &stale[0], "intent_bytes", &intent[0], "stale_bytes", &stale[1],
                               "intent_bytes", &intent[1], "stale_bytes", &stale[2], "intent_bytes",
                               &intent[2]),
                   0);
  assert_int_equal(converge, 1 << 20);
  assert_int_equal(stale[0], 0);
  assert_int_equal(stale[1], 0);
  assert_int_equal(stale[2], DATA_MIB << 20); /* extent 0, and extent 1 for its intent */
  assert_int_equal(intent[0], 1 << 20);
  assert_int_equal(intent[2], 0);
  json_decref(document);

  die_without_c(legs, 1, 0);
  run("check", "--json", legs->conf, NULL);
  document = json_loads(result.out, 0, NULL);
  assert_int_equal(json_unpack(document, "{sI}", "converge_bytes", &converge), 0);
  assert_int_equal(converge, DATA_MIB << 20);
  json_decref(document);

  die_without_c(legs, 1, 1);
  damage(legs->leg[1], (off_t) SF_MAP_PAGE_OFFSET(0) + 70);
  run("check", legs->conf, NULL);
  assert_non_null(strstr(result.out, "\nnot stopped cleanly: 2 MiB of 2 MiB"));
  assert_non_null(strstr(result.out, "1 damaged page of the maps counts as all set"));
}

/* --compare finds what differs, says which leg, and knows what a start would make equal; it reads legs
 * in sync only, and nothing that runs. */
static void
test_check_compare(void **state) {
  struct legs *legs = *state;
  create_or_skip(legs);
  assert_int_equal(run("check", "--compare", legs->conf, NULL), 0);
  assert_non_null(strstr(result.out, "\ncompared 2 MiB of a, b and c: equal\n"));

  change_data(legs->leg[2], 4096);
  assert_int_equal(run("check", "--compare", legs->conf, NULL), 1);
  assert_non_null(strstr(result.out,
                         "\ncompared 2 MiB of a, b and c: NOT EQUAL\n"
                         "  DIFFERS            0-1048575 (1 MiB): c, first at byte 4096\n"));
  die_without_c(legs, 0, 1);
  die_without_c(legs, 1, 1);
  assert_int_equal(run("check", "--compare", legs->conf, NULL), 0);
  assert_non_null(strstr(result.out, "\ncompared 2 MiB of a and b: equal\n"));

  change_data(legs->leg[1], (1 << 20) + 512);
  assert_int_equal(run("check", "--compare", legs->conf, NULL), 0);
  assert_non_null(strstr(
      result.out, "\ncompared 2 MiB of a and b: equal once converged\n"
                  "  will be converged  1048576-2097151 (1 MiB): b, first at byte 1049088\n"));
  change_data(legs->leg[0], 7);
  assert_int_equal(run("check", "--compare", "--json", legs->conf, NULL), 1);
  json_t *document = json_loads(result.out, 0, NULL);
  int equal, converged[2];
  json_int_t offset[2], first[2];
  assert_int_equal(json_unpack(document, "{s{sbs[{sIsIsb}{sIsIsb}]}}", "compare", "equal", &equal,
                               "differences", "offset", &offset[0], "first", &first[0], "converged",
                               &converged[0], "offset", &offset[1], "first", &first[1], "converged",
                               &converged[1]),
                   0);
  assert_false(equal);
  assert_int_equal(offset[0], 0);
  assert_int_equal(first[0], 7);
  assert_false(converged[0]);
  assert_int_equal(offset[1], 1 << 20);
  assert_true(converged[1]);
  json_decref(document);

  struct sf_leg_file file;
  struct sf_leg_found found;
  char error[SF_CONFIG_ERROR_MAX];
  assert_int_equal(sf_leg_file_open(legs->leg[1], 0, &file, &found, error), 0);
  run("check", "--compare", legs->conf, NULL);
  expect(1, "",
         "surefootctl: vol0: b in use by a running volume: stop it before its legs are compared\n");
  assert_int_equal(run("check", legs->conf, NULL), 0);
  assert_non_null(strstr(result.out, "vol0: in use: "));
  sf_leg_file_close(&file);
}

/* dump shows both copies; a damaged one by what is wrong and its first bytes, and the other still;
 * exit 1 only when neither is valid or there is nothing to read. */
static void
test_dump(void **state) {
  struct legs *legs = *state;
  create_or_skip(legs);
  assert_int_equal(run("dump", legs->leg[1], NULL), 0);
  assert_non_null(strstr(result.out, "\ncopy 0 at byte 0: valid, serial "));
  assert_non_null(strstr(result.out, "\ncopy 1 at byte 4096: valid, serial "));
  assert_non_null(strstr(result.out, "\n  leg        b, number 2 of 3\n"));
  assert_non_null(strstr(result.out, "\n  data       2 MiB (2097152 bytes) from byte 8388608, "));

  damage(legs->leg[1], 100);
  assert_int_equal(run("dump", legs->leg[1], NULL), 0);
  assert_non_null(strstr(result.out, ": 10 MiB, copy 1 is the newest\n"));
  assert_non_null(strstr(result.out, "\n  bytes      53 55 52 45 46 4f 4f 54 "));
  assert_int_equal(run("dump", "--json", legs->leg[1], NULL), 0);
  json_t *document = json_loads(result.out, 0, NULL);
  int newest, valid[2];
  assert_int_equal(json_unpack(document, "{sis[{sb}{sb}]}", "newest", &newest, "copies", "valid",
                               &valid[0], "valid", &valid[1]),
                   0);
  assert_int_equal(newest, 1);
  assert_false(valid[0]);
  assert_true(valid[1]);
  json_decref(document);

  damage(legs->leg[1], 4096 + 100);
  assert_int_equal(run("dump", legs->leg[1], NULL), 1);
  assert_non_null(strstr(result.out, ", no valid metadata: "));
  assert_int_equal(run("dump", "/nowhere", NULL), 1);
  assert_string_equal(result.err, "surefootctl: /nowhere: No such file or directory\n");
  assert_int_equal(run("dump", "/dev/null", NULL), 1);
  assert_string_equal(result.err, "surefootctl: /dev/null: neither a file nor a block device\n");
  assert_int_equal(run("dump", legs->conf, NULL), 1);
  assert_non_null(strstr(result.err, ": too small for a leg: "));
}

/* Any volume that goes on without it would do. */
static void
give_up_leg_b(const struct legs *legs) {
  uint8_t page[SF_SUPERBLOCK_COPIES][SF_PAGE_BYTES];
  char error[SF_CONFIG_ERROR_MAX];
  struct sf_superblock sb;
  int fd = open(legs->leg[0], O_RDONLY | O_CLOEXEC);

  assert_int_equal(pread(fd, page, sizeof page, 0), sizeof page);
  close(fd);
  assert_int_equal(sf_superblock_pick(page, &sb, NULL), 0);
  assert_int_equal(sf_leg_discard(legs->leg[1], &sb, 1, false, error), 0);
}

/* A leg that the volume would start from is not discarded, nor one that cannot say that it is the leg's
 * own disk; one that the volume would go on without is, and is behind then. */
static void
test_discard_offline(void **state) {
  struct legs *legs = *state;
  create_or_skip(legs);
  run("leg", "discard", "--config", legs->conf, "a", NULL);
  expect(1, "",
         "surefootctl: vol0: leg a is in the in-sync set: discarding it would lose acknowledged "
         "writes\n");
  assert_int_equal(run("leg", "discard", "--config", legs->conf, "z", NULL), 1);
  damage(legs->leg[1], 100);
  damage(legs->leg[1], 4096 + 100);
  assert_int_equal(run("leg", "discard", "--config", legs->conf, "b", NULL), 1);
  assert_non_null(strstr(result.err, "leg replace"));
  give_up_leg_b(legs);
  run("leg", "discard", "--config", legs->conf, "b", NULL);
  expect(0, "vol0: leg b is discarded: all of it will be copied\n", "");
  assert_int_equal(run("check", "--json", legs->conf, NULL), 0);
  json_t *document = json_loads(result.out, 0, NULL);
  const char *verdict;
  assert_int_equal(json_unpack(document, "{s[{}{ss}]}", "legs", "verdict", &verdict), 0);
  assert_string_equal(verdict, "behind");
  json_decref(document);
}

/* scan finds the legs among what it is given, says what their volume would do with them, and writes the file of
 * it, which starts the same volume; a leg that is not there is named. */
static void
test_scan(void **state) {
  struct legs *legs = *state;
  char file[PATH_MAX];
  create_or_skip(legs);
  snprintf(file, sizeof file, "%s/made.conf", legs->directory);
  assert_int_equal(run("scan", legs->leg[2], legs->leg[0], legs->conf, "--write", file, NULL), 0);
  without_directory(legs, result.out);
  assert_int_equal(strncmp(result.out, "vol0 (", 6), 0);
  assert_non_null(strstr(result.out, "): would start: "));
  static const char *const says[] = {
      "\n  a    DIR/a.img  current\n", "  not found\n  c    DIR/c.img  current\n",
      "DIR/made.conf is written; `surefootctl check DIR/made.conf` tells whether it would start\n"};
  for (unsigned i = 0; i < sizeof says / sizeof says[0]; i++)
    assert_non_null(strstr(result.out, says[i]));
  assert_int_equal(run("check", file, NULL), 0);
  assert_non_null(strstr(result.out, "vol0: would start"));
  assert_int_equal(run("scan", legs->leg[0], "--write", file, NULL), 1);
  assert_non_null(strstr(result.err, "made.conf: File exists"));
  assert_int_equal(unlink(file), 0);

  assert_int_equal(run("scan", legs->leg[1], NULL), 0);
  assert_non_null(strstr(result.out, "): would not start: "));
  assert_int_equal(run("scan", legs->leg[1], "--json", NULL), 0);
  json_t *list = json_loads(result.out, 0, NULL), *first = json_array_get(list, 0);
  assert_true(json_is_false(json_object_get(first, "would_start")));
  assert_int_equal(json_array_size(json_object_get(first, "legs")), 3);
  json_decref(list);
  run("scan", legs->conf, NULL);
  expect(1, "", "surefootctl: no leg of a volume on 1 device\n");
}

#define WITH_VOLUME(test) cmocka_unit_test_setup_teardown(test, start, stop)
#define WITH_LEGS(test)   cmocka_unit_test_setup_teardown(test, make_legs, remove_legs)

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_help),
      cmocka_unit_test(test_wrong_usage),
      WITH_VOLUME(test_status),
      WITH_VOLUME(test_status_json),
      WITH_VOLUME(test_status_long_reason),
      WITH_VOLUME(test_status_in_trouble),
      WITH_VOLUME(test_status_ages),
      WITH_VOLUME(test_status_deadlines),
      WITH_VOLUME(test_mistyped),
      WITH_VOLUME(test_short_help),
      WITH_VOLUME(test_status_check),
      WITH_VOLUME(test_list),
      WITH_VOLUME(test_colours),
      WITH_VOLUME(test_top),
      WITH_VOLUME(test_latency),
      WITH_VOLUME(test_why),
      WITH_VOLUME(test_several_volumes),
      WITH_VOLUME(test_abandoned_socket),
      WITH_VOLUME(test_without_permission),
      WITH_VOLUME(test_finding_the_socket),
      WITH_VOLUME(test_set),
      WITH_VOLUME(test_leg),
      WITH_VOLUME(test_arguments_of_any_bytes),
      WITH_VOLUME(test_full_output),
      WITH_VOLUME(test_events),
      WITH_VOLUME(test_follow),
      WITH_VOLUME(test_follow_a_crash),
      WITH_LEGS(test_create),
      WITH_LEGS(test_check),
      WITH_LEGS(test_scan),
      WITH_LEGS(test_check_unlisted),
      WITH_LEGS(test_dump),
      WITH_LEGS(test_dump_maps),
      WITH_LEGS(test_check_maps),
      WITH_LEGS(test_check_compare),
      WITH_LEGS(test_discard_offline),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

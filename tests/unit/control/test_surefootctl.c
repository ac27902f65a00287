/* surefootctl as the operator runs it: its help, its orders, and how it finds the socket for
 * them. */
#include "ctl_rig.h"

/* ---- usage ---- */

/* --help and --version are answers: stdout, exit 0; each command has its own help. */
static void
help(void **state) {
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
wrong_usage(void **state) {
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
  run("leg", "return", "vol0", "a", "--force", NULL);
  expect_wrong_usage("leg return: --force is for fail only");
  run("leg", "fail", "vol0", "a", "--yes", NULL);
  expect_wrong_usage("leg fail: --yes is for fail --force only");
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

/* A mistyped word is answered with the nearest word and its line, and not all the others; nothing
 * is abbreviated. */
static void
mistyped(void **state) {
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
short_help(void **state) {
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

/* ---- which socket ---- */

/* The socket of a server that was killed: no error where surefootd runs the volume now, which a
 * server at its socket stands for here; and still the volume's own where surefootd is gone too. */
static void
abandoned_socket(void **state) {
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
  snprintf(error, sizeof error, "surefootctl: %s: no process listens: the volume is not running\n",
           fake->path);
  run("status", "vol0", NULL);
  expect(1, "", error);
  assert_int_equal(rename(live, fake->path), 0);
  assert_int_equal(unlink(control), 0);
}

/* A user who may not look into the folder is told that, and not that nothing runs. */
static void
without_permission(void **state) {
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
finding_the_socket(void **state) {
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

/* The value is sent as it was written, '=' included; a refusal is the volume's own words and exit
 * 1. */
static void
setting_a_value(void **state) {
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
leg(void **state) {
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
  run("leg", "fail", "vol0", "c", "--force", NULL); /* it can be spared: no question */
  expect(0, "vol0: leg c is taken out\n", "");
  run("leg", "fail", "vol0", "z", "--force", "--yes", NULL);
  assert_int_equal(result.status, 1);
  assert_non_null(strstr(result.err, "unknown leg \"z\".  --force is surefootd's"));
}

/* Arguments that are not UTF-8 cannot be sent: an error, and no crash. */
static void
arguments_of_any_bytes(void **state) {
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
full_output(void **state) {
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

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(help),
      cmocka_unit_test(wrong_usage),
      WITH_VOLUME(mistyped),
      WITH_VOLUME(short_help),
      WITH_VOLUME(abandoned_socket),
      WITH_VOLUME(without_permission),
      WITH_VOLUME(finding_the_socket),
      WITH_VOLUME(setting_a_value),
      WITH_VOLUME(leg),
      WITH_VOLUME(arguments_of_any_bytes),
      WITH_VOLUME(full_output),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Running it, and what it is run against. */
#include "ctl_rig.h"

struct result result; /* of the last run */

void
take(int fd, char text[OUTPUT_MAX]) {
  ssize_t len = pread(fd, text, OUTPUT_MAX - 1, 0);
  assert_true(len >= 0);
  text[len] = '\0';
  close(fd);
}

pid_t
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

/* As a user without a group: the binary may be where such a user cannot look. */
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

bool as_nobody;

/* surefootctl with these arguments, up to NULL. */
int
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

void
expect(int status, const char *out, const char *err) {
  if (result.status != status || strcmp(result.out, out) != 0 || strcmp(result.err, err) != 0)
    fail_msg("exit %d, expected %d\n--- out\n%s--- expected\n%s--- err\n%s--- expected\n%s",
             result.status, status, result.out, out, result.err, err);
}

/* Wrong usage: exit 2, nothing on stdout, the complaint and then the usage on stderr. */
void
expect_wrong_usage(const char *complaint) {
  assert_string_equal(result.out, "");
  char expected[256];
  snprintf(expected, sizeof expected, "surefootctl: %s\nusage: surefootctl ", complaint);
  if (result.status != 2 || strncmp(result.err, expected, strlen(expected)) != 0)
    fail_msg("exit %d, expected 2\n--- err\n%s--- expected\n%s", result.status, result.err,
             expected);
}

int
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

int
stop(void **state) {
  fake_volume_destroy(*state);
  free(*state);
  return 0;
}

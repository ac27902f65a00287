#include "unit/timed_io/stall_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATH_BYTES = 256, ARGS_MAX = 32, READY_MS = 10000 };

struct stall_rig {
  char dir[64];
  char path[PATH_BYTES];
  char loop[64];
  pid_t nbdkit, nbdfuse, janitor;
  int janitor_fd; /* closing it, or dying, is the janitor's signal */
};

extern char **environ;

#define MUST(condition)                                                                            \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      fprintf(stderr, "stall rig: %s:%d: %s (%s)\n", __FILE__, __LINE__, #condition,               \
              strerror(errno));                                                                    \
      abort();                                                                                     \
    }                                                                                              \
  } while (0)

/* ---- what must be there ---- */

static bool
program_exists(const char *name) {
  char command[PATH_BYTES];

  snprintf(command, sizeof command, "command -v %s >/dev/null 2>&1", name);
  return system(command) == 0;
}

const char *
stall_rig_missing(bool loop) {
  if (geteuid() != 0)
    return "needs root";
  if (access("/dev/fuse", R_OK | W_OK) < 0)
    return "no /dev/fuse";
  if (!program_exists("nbdkit") || !program_exists("nbdfuse") || !program_exists("fusermount3"))
    return "needs nbdkit, nbdfuse and fusermount3";
  if (loop && (access("/dev/loop-control", R_OK | W_OK) < 0 || !program_exists("losetup")))
    return "no loop devices";
  return NULL;
}

/* ---- processes ---- */

static pid_t
spawn(char *const *argv, int stdin_fd, bool own_session) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attr;
  sigset_t none;
  pid_t pid;

  sigemptyset(&none);
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attr);
  posix_spawnattr_setsigmask(&attr, &none);
  posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | (own_session ? POSIX_SPAWN_SETSID : 0));
  if (stdin_fd >= 0)
    posix_spawn_file_actions_adddup2(&actions, stdin_fd, 0);
  else
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
  errno = posix_spawnp(&pid, argv[0], &actions, &attr, argv, environ);
  MUST(errno == 0);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attr);
  return pid;
}

/* Polls, with a limit: nbdkit and nbdfuse have no other way to say that they are ready. */
static void
wait_for(bool (*ready)(struct stall_rig *), struct stall_rig *rig) {
  for (unsigned ms = 0; !ready(rig); ms += 2) {
    MUST(ms < READY_MS);
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
  }
}

static bool
socket_is_there(struct stall_rig *rig) {
  return access(stall_rig_path(rig, "nbdkit.pid"), F_OK) == 0;
}

static bool
file_is_there(struct stall_rig *rig) {
  return access(stall_rig_path(rig, "mnt/nbd"), F_OK) == 0;
}

static void
start_janitor(struct stall_rig *rig) {
  char script[] = "cd \"$0\" || exit; while read -r _; do :; done\n"
                  "kill -CONT $(cat nbdkit.pid) 2>/dev/null\n"
                  "test -s loop && losetup -d \"$(cat loop)\"\n"
                  "fusermount3 -u -z mnt 2>/dev/null\n"
                  "kill -KILL $(cat nbdkit.pid nbdfuse.pid) 2>/dev/null\n"
                  "cd / && rm -rf \"$0\"";
  char sh[] = "sh", dash_c[] = "-c";
  int fds[2];

  MUST(pipe2(fds, O_CLOEXEC) == 0);
  rig->janitor = spawn((char *[]){sh, dash_c, script, rig->dir, NULL}, fds[0], true);
  close(fds[0]);
  rig->janitor_fd = fds[1];
}

static char *
expand(struct stall_rig *rig, const char *arg) {
  const char *mark = strstr(arg, "%D");
  char *full;

  if (!mark)
    return strdup(arg);
  MUST(asprintf(&full, "%.*s%s%s", (int) (mark - arg), arg, rig->dir, mark + 2) > 0);
  return full;
}

static void
start_nbdkit(struct stall_rig *rig, const struct stall_rig_params *params) {
  const char *before[] = {"nbdkit", "-f", "-t", "4", "-P", "%D/nbdkit.pid", "-U", "%D/sock", NULL};
  const char *const none[] = {NULL};
  const char *const *filters = params->filters ? params->filters : none;
  const char *const *parameters = params->parameters ? params->parameters : none;
  char size[32], *argv[ARGS_MAX + 1];
  unsigned n = 0;

  snprintf(size, sizeof size, "%zu", params->size ? params->size : (size_t) 64 << 20);
  for (unsigned i = 0; before[i]; i++)
    argv[n++] = expand(rig, before[i]);
  for (unsigned i = 0; filters[i]; i++)
    argv[n++] = expand(rig, filters[i]);
  argv[n++] = strdup(params->disk ? "file" : "memory");
  argv[n++] = strdup(params->disk ? params->disk : size);
  for (unsigned i = 0; parameters[i]; i++)
    argv[n++] = expand(rig, parameters[i]);
  MUST(n < ARGS_MAX);
  argv[n] = NULL;
  rig->nbdkit = spawn(argv, -1, false);
  while (n)
    free(argv[--n]);
  wait_for(socket_is_there, rig);
}

static void
start_nbdfuse(struct stall_rig *rig) {
  const char *args[] = {"nbdfuse", "-P", "%D/nbdfuse.pid", "%D/mnt", "--unix", "%D/sock", NULL};
  char *argv[8];
  unsigned n = 0;

  MUST(mkdir(stall_rig_path(rig, "mnt"), 0700) == 0);
  for (; args[n]; n++)
    argv[n] = expand(rig, args[n]);
  argv[n] = NULL;
  rig->nbdfuse = spawn(argv, -1, false);
  while (n)
    free(argv[--n]);
  wait_for(file_is_there, rig);
}

static void
start_loop(struct stall_rig *rig) {
  char command[PATH_BYTES];
  FILE *pipe;

  /* Through a file, so that the janitor knows of it however the test ends. */
  snprintf(command, sizeof command,
           "cd %s && losetup -f --show --direct-io=on mnt/nbd >loop && cat loop", rig->dir);
  pipe = popen(command, "re");
  MUST(pipe && fscanf(pipe, "%63s", rig->loop) == 1);
  MUST(pclose(pipe) == 0);
}

/* ---- the rig ---- */

struct stall_rig *
stall_rig_start(const struct stall_rig_params *params) {
  struct stall_rig *rig = calloc(1, sizeof *rig);

  MUST(rig);
  strcpy(rig->dir, "/tmp/sf-stall-XXXXXX");
  MUST(mkdtemp(rig->dir));
  start_janitor(rig);
  start_nbdkit(rig, params);
  start_nbdfuse(rig);
  if (params->loop)
    start_loop(rig);
  return rig;
}

void
stall_rig_stop(struct stall_rig *rig) {
  close(rig->janitor_fd);
  MUST(waitpid(rig->janitor, NULL, 0) == rig->janitor);
  MUST(waitpid(rig->nbdfuse, NULL, 0) == rig->nbdfuse);
  MUST(waitpid(rig->nbdkit, NULL, 0) == rig->nbdkit);
  free(rig);
}

const char *
stall_rig_path(struct stall_rig *rig, const char *name) {
  MUST(snprintf(rig->path, sizeof rig->path, "%s/%s", rig->dir, name) < PATH_BYTES);
  return rig->path;
}

static int
open_direct(const char *path) {
  int fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);

  MUST(fd >= 0);
  return fd;
}

int
stall_rig_open(struct stall_rig *rig) {
  return open_direct(stall_rig_path(rig, "mnt/nbd"));
}

int
stall_rig_open_loop(struct stall_rig *rig) {
  MUST(rig->loop[0]);
  return open_direct(rig->loop);
}

void
stall_rig_freeze(struct stall_rig *rig) {
  int status;

  MUST(kill(rig->nbdkit, SIGSTOP) == 0);
  MUST(waitpid(rig->nbdkit, &status, WUNTRACED) == rig->nbdkit && WIFSTOPPED(status));
}

void
stall_rig_thaw(struct stall_rig *rig) {
  MUST(kill(rig->nbdkit, SIGCONT) == 0);
}

int
stall_rig_pid(const struct stall_rig *rig) {
  return rig->nbdkit;
}

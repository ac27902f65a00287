#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "common/log.h"

enum { READS_PER_TURN = 64, LISTEN_FD = 3 };

/* ---- what it says ---- */

/* nbdkit and the plugin begin their lines with names that the log has already. */
static const char *
without_prefix(const struct server *server, const char *line) {
  char prefix[128];
  int len = snprintf(prefix, sizeof prefix, "surefoot: %s: ", server->volume);
  if (strncmp(line, prefix, (size_t) len) == 0)
    return line + len;
  return strncmp(line, "nbdkit: ", 8) == 0 ? line + 8 : line;
}

static void
end_line(struct server *server) {
  SF_ASSERT(server->used < sizeof server->line);
  server->line[server->used] = '\0';
  for (char *c = server->line; *c; c++)
    if ((unsigned char) *c < ' ' || *c == 0x7f)
      *c = '?';
  const char *line = without_prefix(server, server->line);
  if (*line) {
    bool error = strstr(line, "error") != NULL;
    log_line(error ? LOG_WARNING : LOG_INFO, server->volume, "%s", line);
    /* An error is a better reason than later lines. */
    if (error || strstr(server->last_line, "error") == NULL)
      snprintf(server->last_line, sizeof server->last_line, "%.255s", line);
  }
  server->used = 0;
}

static void
take_output(struct server *server, const char *bytes, size_t len) {
  for (size_t i = 0; i < len; i++) {
    if (bytes[i] == '\n' || server->used == sizeof server->line - 1)
      end_line(server);
    if (bytes[i] != '\n')
      server->line[server->used++] = bytes[i];
  }
}

/* False: it has closed its end. */
static bool
read_output(struct server *server) {
  char bytes[4096];
  for (int i = 0; i < READS_PER_TURN; i++) {
    ssize_t got = read(server->output_fd, bytes, sizeof bytes);
    if (got < 0)
      return errno == EAGAIN || errno == EINTR;
    if (got == 0)
      return false;
    take_output(server, bytes, (size_t) got);
  }
  return true;
}

static int
on_output(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
  if (!read_output(userdata))
    sd_event_source_set_enabled(source, SD_EVENT_OFF);
  return 0;
}

/* ---- its end ---- */

static void
clear(struct server *server) {
  server->child = sd_event_source_disable_unref(server->child);
  server->output = sd_event_source_disable_unref(server->output);
  if (server->output_fd >= 0)
    close(server->output_fd);
  server->output_fd = -1;
  server->pid = 0;
}

static int
on_child(sd_event_source *source, const siginfo_t *info, void *userdata) {
  struct server *server = userdata;
  char how[64];
  read_output(server);
  if (server->used > 0)
    end_line(server);
  if (info->si_code == CLD_EXITED)
    snprintf(how, sizeof how, "exit status %d", info->si_status);
  else
    snprintf(how, sizeof how, "signal %d", info->si_status);
  clear(server);
  server->ended(server->ctx, how);
  return 0;
}

/* ---- its beginning ---- */

static void
die(const char *what) {
  dprintf(STDERR_FILENO, "%s: %s\n", what, strerror(errno));
  _exit(127);
}

/* In the child.  It is one process with one thread: all of libc may be used. */
static void
become(const char *const argv[], int listen_fd, int output_fd, pid_t parent) {
  sigset_t none;
  char number[32];
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  if (dup2(output_fd, STDERR_FILENO) < 0)
    _exit(127);
  /* A server without its daemon would hold the legs, and keep the next one from starting. */
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
    die("prctl");
  int null = open("/dev/null", O_RDWR);
  if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
    die("/dev/null");
  if (listen_fd == LISTEN_FD ? fcntl(LISTEN_FD, F_SETFD, 0) < 0 : dup2(listen_fd, LISTEN_FD) < 0)
    die("dup2");
  if (close_range(LISTEN_FD + 1, ~0U, 0) < 0)
    die("close_range");
  unsetenv("NOTIFY_SOCKET");
  unsetenv("WATCHDOG_PID");
  unsetenv("WATCHDOG_USEC");
  unsetenv("JOURNAL_STREAM");
  snprintf(number, sizeof number, "%d", (int) getpid());
  setenv("LISTEN_PID", number, 1);
  setenv("LISTEN_FDS", "1", 1);
  snprintf(number, sizeof number, "%d", (int) parent);
  setenv("SUREFOOTD_PID", number, 1);
  execvp(argv[0], (char *const *) (uintptr_t) argv); /* it changes none of them */
  die(argv[0]);
}

int
sfd_server_start(struct server *server, const char *const argv[], int listen_fd) {
  SF_ASSERT(server->pid == 0 && server->ended != NULL);
  SF_ASSERT(argv[0] != NULL && listen_fd >= 0);
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) < 0)
    return -errno;
  pid_t parent = getpid(), pid = fork();
  if (pid == 0)
    become(argv, listen_fd, pipe_fds[1], parent);
  int error = pid < 0 ? -errno : 0;
  close(pipe_fds[1]);
  if (pid < 0) {
    close(pipe_fds[0]);
    return error;
  }

  server->pid = pid;
  server->output_fd = pipe_fds[0];
  server->used = 0;
  server->last_line[0] = '\0';
  fcntl(server->output_fd, F_SETFL, O_NONBLOCK);
  int r = sd_event_add_io(server->event, &server->output, server->output_fd, EPOLLIN, on_output,
                          server);
  if (r >= 0)
    r = sd_event_add_child(server->event, &server->child, pid, WEXITED, on_child, server);
  if (r < 0)
    sfd_server_destroy(server);
  return r < 0 ? r : 0;
}

void
sfd_server_signal(struct server *server, int signal) {
  if (server->pid)
    kill(server->pid, signal);
}

void
sfd_server_destroy(struct server *server) {
  if (!server->pid)
    return;
  pid_t pid = server->pid;
  clear(server);
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
}

#include "common/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "common/clock.h"

/* False: not in time. */
static bool
wait_readable(int fd, int64_t until_ms) {
  struct pollfd end = {.fd = fd, .events = POLLIN};
  for (;;) {
    int64_t left = until_ms - sfd_clock_ms();
    int r = poll(&end, 1, left > 0 ? (int) left : 0);
    if (r > 0)
      return true;
    if (r == 0 || errno != EINTR)
      return false;
  }
}

/* Until it has closed its end; what does not fit is read and forgotten. */
static bool
read_all(int fd, char *output, size_t size, int64_t until_ms) {
  size_t used = 0;
  char rest[512];
  for (;;) {
    bool fits = used + 1 < size;
    if (!wait_readable(fd, until_ms))
      return false;
    ssize_t got = read(fd, fits ? output + used : rest, fits ? size - 1 - used : sizeof rest);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      break;
    if (fits)
      output[used += (size_t) got] = '\0';
  }
  return true;
}

/* A process that the kernel does not let end is left to the process that inherits it. */
static int
wait_end(pid_t pid, int64_t until_ms) {
  siginfo_t info = {0};
  int fd = pidfd_open(pid, 0);
  bool ended = fd >= 0 && wait_readable(fd, until_ms);
  if (fd >= 0)
    close(fd);
  if (!ended)
    kill(pid, SIGKILL);
  if (waitid(P_PID, (id_t) pid, &info, WEXITED | (ended ? 0 : WNOHANG)) < 0)
    return -errno;
  return !ended ? -ETIMEDOUT : info.si_code == CLD_EXITED ? info.si_status : -ECHILD;
}

int
sfd_child_run(const char *const argv[], char *output, size_t size, unsigned timeout_ms) {
  SF_ASSERT(argv[0] != NULL && (output == NULL || size > 0));
  int64_t until_ms = sfd_clock_ms() + timeout_ms;
  int ends[2] = {-1, -1};
  if (output && pipe2(ends, O_CLOEXEC) < 0)
    return -errno;
  pid_t pid = fork();
  if (pid == 0) {
    if (dup2(output ? ends[1] : STDERR_FILENO, STDOUT_FILENO) >= 0)
      execvp(argv[0], (char *const *) (uintptr_t) argv); /* it changes none of them */
    _exit(127);
  }
  int r = pid < 0 ? -errno : 0;
  if (output) {
    output[0] = '\0';
    close(ends[1]);
    if (r == 0 && !read_all(ends[0], output, size, until_ms))
      until_ms = sfd_clock_ms();
    close(ends[0]);
  }
  return r < 0 ? r : wait_end(pid, until_ms);
}

void
sfd_child_exit(int error) {
  _exit(error < 0 && error > -256 ? -error : error != 0);
}

int
sfd_child_call(int (*run)(void *arg), void *arg, unsigned timeout_ms) {
  int64_t until_ms = sfd_clock_ms() + timeout_ms;
  pid_t pid = fork();
  if (pid == 0) {
    sfd_child_exit(run(arg));
  }
  if (pid < 0)
    return -errno;
  int r = wait_end(pid, until_ms);
  return r > 0 ? -r : r;
}

#include "base/process.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
  struct cmsghdr align;
  char bytes[CMSG_SPACE(sizeof(int))];
};

int
sf_send_file(int socket, void *data, size_t length, int fd) {
  union control control = {0};
  struct iovec iov = {.iov_base = data, .iov_len = length};
  struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

  if (fd >= 0) {
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  return sendmsg(socket, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

ssize_t
sf_receive_file(int socket, void *data, size_t length, int *fd) {
  union control control = {0};
  struct iovec iov = {.iov_base = data, .iov_len = length};
  struct msghdr message = {.msg_iov = &iov,
                           .msg_iovlen = 1,
                           .msg_control = control.bytes,
                           .msg_controllen = sizeof control.bytes};
  struct cmsghdr *header;
  ssize_t n;

  *fd = -1;
  do
    n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n < 0)
    return -errno;
  header = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
  if (header && header->cmsg_type == SCM_RIGHTS)
    memcpy(fd, CMSG_DATA(header), sizeof *fd);
  return n;
}

void
sf_close_all_but(const int *keep, unsigned n) {
  unsigned from = 0;

  for (;;) {
    int next = -1;

    for (unsigned i = 0; i < n; i++)
      if (keep[i] >= (int) from && (next < 0 || keep[i] < next))
        next = keep[i];
    if (next < 0)
      break;
    if ((unsigned) next > from)
      close_range(from, (unsigned) next - 1, 0);
    from = (unsigned) next + 1;
  }
  close_range(from, ~0u, 0);
}

void
sf_leave_the_others(void) {
  const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGCHLD};

  for (unsigned i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
    signal(ignored[i], SIG_IGN);
  setsid();
  (void) !chdir("/");
}

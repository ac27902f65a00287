#include "screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/assert.h"

static struct termios before;
static int signals = -1;

bool
ctl_screen_open(void) {
  sigset_t set;
  if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &before) < 0)
    return false;
  sigemptyset(&set);
  sigaddset(&set, SIGWINCH);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  sigprocmask(SIG_BLOCK, &set, NULL);
  signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0)
    return false;
  struct termios raw = before;
  raw.c_lflag &= ~(tcflag_t) (ICANON | ECHO);
  raw.c_cc[VMIN] = 0;
  raw.c_cc[VTIME] = 0;
  tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  fputs("\033[?1049h\033[?25l", stdout);
  return true;
}

void
ctl_screen_close(void) {
  if (signals < 0)
    return;
  fputs("\033[?25h\033[?1049l", stdout);
  fflush(stdout);
  tcsetattr(STDIN_FILENO, TCSANOW, &before);
  close(signals);
  signals = -1;
}

void
ctl_screen_size(unsigned *lines, unsigned *columns) {
  struct winsize size = {0};
  ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
  *lines = size.ws_row > 0 ? size.ws_row : 24;
  *columns = size.ws_col > 0 ? size.ws_col : 80;
}

int
ctl_screen_wait(int timeout_ms) {
  SF_ASSERT(signals >= 0);
  struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
  struct signalfd_siginfo info;
  unsigned char key;
  int n = poll(fds, 2, timeout_ms);
  if (n < 0)
    return errno == EINTR ? SCREEN_NONE : SCREEN_ENDED;
  if (n > 0 && fds[1].revents && read(signals, &info, sizeof info) == sizeof info)
    return info.ssi_signo == SIGWINCH ? SCREEN_RESIZED : SCREEN_ENDED;
  if (n > 0 && fds[0].revents)
    return read(STDIN_FILENO, &key, 1) == 1 ? key : SCREEN_ENDED;
  return SCREEN_NONE;
}

#include "report.h"

#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

NBDKIT_DLL_PUBLIC extern int surefoot_debug_trace;
int surefoot_debug_trace = 0;

NBDKIT_DLL_PUBLIC extern int surefoot_debug_events;
int surefoot_debug_events = 1;

static const char *volume = "?";

void
sf_report_volume(const char *name) {
  volume = name;
}

void
sf_report_log(void *ctx, const char *line) {
  /* A pipe that polls writable takes PIPE_BUF bytes without blocking, in one piece. */
  char text[PIPE_BUF];
  int len = snprintf(text, sizeof text, "surefoot: %s: %s\n", volume, line);
  if (len < 0)
    return;
  if ((size_t) len >= sizeof text) {
    len = sizeof text;
    text[len - 1] = '\n';
  }
  struct pollfd reader = {.fd = STDERR_FILENO, .events = POLLOUT};
  if (poll(&reader, 1, 0) != 1 || !(reader.revents & POLLOUT))
    return;
  ssize_t written = write(STDERR_FILENO, text, len);
  (void) written; /* there is no other place to report to */
}

bool
sf_report_events(void) {
  return surefoot_debug_events != 0;
}

bool
sf_report_tracing(void) {
  return surefoot_debug_trace != 0;
}

void
sf_report_trace(void *ctx, const char *line) {
  nbdkit_debug("%s", line);
}

#include <stdarg.h>
#include <stdio.h>

#include "ctl.h"

__attribute__((format(printf, 1, 0))) static void
say(const char *format, va_list args) {
  fflush(stdout);
  fputs("surefootctl: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
}

int
ctl_fail(const char *format, ...) {
  va_list args;
  va_start(args, format);
  say(format, args);
  va_end(args);
  return CTL_FAILED;
}

int
ctl_wrong_usage(const struct ctl_command *command, const char *format, ...) {
  va_list args;
  va_start(args, format);
  say(format, args);
  va_end(args);
  ctl_print_usage(stderr, command);
  return CTL_USAGE;
}

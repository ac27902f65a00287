#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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

/* Commands with more than one form. */
static const struct {
  const char *command, *form;
} others[] = {
    {"leg", "leg replace VOLUME LEG [PATH] [--wait] [--write]"},
    {"leg", "leg add VOLUME NAME PATH [--wait] [--write]"},
    {"leg", "leg remove VOLUME LEG [--write]"},
    {"leg", "leg discard --config CONF LEG"},
    {"check", "check CONF --compare --repair [--from LEG] [--json]"},
    {"scrub", "scrub --all [--rate RATE] [--wait]"},
    {"scrub", "scrub pause|resume|cancel VOLUME"},
};

void
ctl_print_usage(FILE *out, const struct ctl_command *command) {
  if (command == NULL) {
    fputs("usage: surefootctl [--control PATH] COMMAND ...\n"
          "`surefootctl help` lists the commands\n",
          out);
    return;
  }
  fprintf(out, "usage: surefootctl %s %s\n", command->name, command->arguments);
  for (unsigned i = 0; i < sizeof others / sizeof others[0]; i++)
    if (strcmp(others[i].command, command->name) == 0)
      fprintf(out, "       surefootctl %s\n", others[i].form);
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

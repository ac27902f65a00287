/* Options: those of every command, and what a command takes of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

const struct option ctl_own_options[CTL_OWN_OPTIONS] = {
    {"control", required_argument, NULL, 'c'},
    {"color", required_argument, NULL, CTL_OPTION_COLOUR},
    {"help", no_argument, NULL, 'h'},
};
enum { OPTIONS_MAX = 16 };

int
ctl_refuse_option(const struct ctl_command *command, const char *word,
                  const struct option *options) {
  const char *nearest = ctl_nearest_option(word, options);
  int status = ctl_wrong_usage(command, "%s%sunknown or incomplete option '%s'",
                               command ? command->name : "", command ? ": " : "", word);
  if (nearest && strcmp(word + strspn(word, "-"), nearest) != 0)
    fprintf(stderr, "did you mean --%s?\n", nearest);
  return status;
}

int
ctl_take_colours(const struct ctl_command *command, const char *when) {
  if (ctl_set_colours(when))
    return CTL_DONE;
  return ctl_wrong_usage(command, "--color %s: always, never or auto", when);
}

/* No abbreviations: what destroys something is to be spelt out, and a new option must not change
 * what an old script means. */
int
ctl_next_option(struct ctl_command_call *call, const struct option *options) {
  struct option all[OPTIONS_MAX] = {{0}};
  memcpy(all, ctl_own_options, sizeof ctl_own_options);
  for (unsigned i = 0; options[i].name; i++)
    all[i + CTL_OWN_OPTIONS] = options[i];
  const char *inexact = optind == 0 ? ctl_inexact_option(call->argc, call->argv, all, false) : NULL;
  if (inexact) {
    ctl_refuse_option(call->command, inexact, all);
    return '?';
  }
  int option = getopt_long(call->argc, call->argv, "h", all, NULL);
  if (option == 'c') {
    call->control = optarg;
    return ctl_next_option(call, options);
  }
  if (option == CTL_OPTION_COLOUR)
    return ctl_take_colours(call->command, optarg) == CTL_DONE ? ctl_next_option(call, options)
                                                               : '?';
  if (option == 'h') {
    ctl_print_usage(stdout, call->command);
    exit(CTL_DONE);
  }
  if (option == '?')
    ctl_refuse_option(call->command, call->argv[optind - 1], all);
  return option;
}

int
ctl_take_flag(struct ctl_command_call *call, const char *name, bool *given) {
  const struct option options[] = {{name, no_argument, NULL, 'f'}, {0}};
  int option;
  *given = false;
  while ((option = ctl_next_option(call, options)) != -1) {
    if (option == '?')
      return CTL_USAGE;
    *given = true;
  }
  return CTL_DONE;
}

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

static const struct ctl_command commands[] = {
    {"create", "CONF [--size SIZE] [--overwrite] [--assume-clean]",
     "format the legs of a new volume", ctl_create},
    {"status", "[--json] [--check] [VOLUME]", "show volumes and their legs", ctl_status},
    {"list", "[--json]", "one line for each volume", ctl_list},
    {"show", "VOLUME [--json]", "the settings in force, and where each comes from", ctl_show},
    {"top", "[--batch] [--count N] [VOLUME]", "what each leg does now, each second anew", ctl_top},
    {"latency", "VOLUME [--kind read|write|flush] [--for TIME]",
     "how long the legs take, side by side, and their deadlines", ctl_latency},
    {"why", "VOLUME", "the last incident, in plain sentences", ctl_why},
    {"events", "[--follow] [--since TIME] [--json] [VOLUME]",
     "show what happened, and go on with --follow", ctl_events},
    {"set", "VOLUME KEY=VALUE", "change a setting of a running volume", ctl_set},
    {"leg", "fail|return|discard VOLUME LEG [--wait]",
     "take a leg out, back, or back as empty; or give its place to another disk", ctl_leg},
    {"grow", "VOLUME [SIZE|+SIZE]", "make a running volume larger, and its leg files with it",
     ctl_grow},
    {"scrub", "VOLUME [--repair] [--from LEG] [--rate RATE] [--wait]",
     "do the legs hold the same?  While it is used; --repair writes anew what is wrong", ctl_scrub},
    {"reload", "[--dry-run] [--json]", "surefootd reads its files again", ctl_reload},
    {"stop", "VOLUME [--wait]", "end a volume cleanly, and keep it down", ctl_stop},
    {"start", "VOLUME [--force] [--wait]", "start a volume that is stopped, or waits for legs",
     ctl_start},
    {"restart", "VOLUME [--wait]", "end a volume's server cleanly and start it again", ctl_restart},
    {"scan", "[DEVICE ...] [--write FILE] [--json]",
     "which legs are on this machine, and would their volumes start?", ctl_scan},
    {"check", "CONF [--compare] [--json]",
     "would this volume start?  Reads the legs, changes nothing", ctl_check},
    {"udev", "DEVICE [BACKEND]", "for udev's rules: is it a leg, or whose volume is it?", ctl_udev},
    {"dump", "PATH [--json]", "show the metadata on one leg", ctl_dump},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void
print_help(FILE *out) {
  fputs("usage: surefootctl [--control PATH] COMMAND ...\n\n", out);
  for (unsigned i = 0; i < COMMANDS; i++)
    fprintf(out, "  %-7s %s\n          %s\n", commands[i].name, commands[i].arguments,
            commands[i].summary);
  fputs("\n"
        "  --control PATH   the control socket (else $SUREFOOT_CONTROL, else\n"
        "                   /run/surefoot/VOLUME.ctl, else surefootd's /run/surefoot/control)\n"
        "  --color WHEN     always, never, or auto: on a terminal\n"
        "  -h, --help       this, or a command's own; so does `surefootctl help [COMMAND]`\n"
        "  -V, --version\n\n"
        "Exit status: 0 done, 1 failed, 2 wrong usage.\n",
        out);
}

void
ctl_print_usage(FILE *out, const struct ctl_command *command) {
  if (!command) {
    fputs("usage: surefootctl [--control PATH] COMMAND ...\n"
          "`surefootctl help` lists the commands\n",
          out);
    return;
  }
  fprintf(out, "usage: surefootctl %s %s\n", command->name, command->arguments);
  if (command->run == ctl_leg)
    fprintf(out, "       surefootctl leg replace VOLUME LEG [PATH] [--wait] [--write]\n"
                 "       surefootctl leg add VOLUME NAME PATH [--wait] [--write]\n"
                 "       surefootctl leg remove VOLUME LEG [--write]\n"
                 "       surefootctl leg discard --config CONF LEG\n");
  if (command->run == ctl_scrub)
    fprintf(out, "       surefootctl scrub --all [--rate RATE] [--wait]\n"
                 "       surefootctl scrub pause|resume|cancel VOLUME\n");
}

enum { OPTION_COLOUR = 256 };

static const struct option own_options[] = {
    {"control", required_argument, NULL, 'c'},
    {"color", required_argument, NULL, OPTION_COLOUR},
    {"help", no_argument, NULL, 'h'},
};
enum { OWN_OPTIONS = sizeof own_options / sizeof own_options[0], OPTIONS_MAX = 16 };

static int
refuse_option(const struct ctl_command *command, const char *word, const struct option *options) {
  const char *nearest = ctl_nearest_option(word, options);
  int status = ctl_wrong_usage(command, "%s%sunknown or incomplete option '%s'",
                               command ? command->name : "", command ? ": " : "", word);
  if (nearest && strcmp(word + strspn(word, "-"), nearest) != 0)
    fprintf(stderr, "did you mean --%s?\n", nearest);
  return status;
}

static int
set_colours(const struct ctl_command *command, const char *when) {
  if (ctl_set_colours(when))
    return CTL_DONE;
  return ctl_wrong_usage(command, "--color %s: always, never or auto", when);
}

/* No abbreviations: what destroys something is to be spelt out, and a new option must not change what an old
 * script means. */
int
ctl_next_option(struct ctl_command_call *call, const struct option *options) {
  struct option all[OPTIONS_MAX] = {{0}};
  memcpy(all, own_options, sizeof own_options);
  for (unsigned i = 0; options[i].name; i++)
    all[i + OWN_OPTIONS] = options[i];
  const char *inexact = optind == 0 ? ctl_inexact_option(call->argc, call->argv, all, false) : NULL;
  if (inexact) {
    refuse_option(call->command, inexact, all);
    return '?';
  }
  int option = getopt_long(call->argc, call->argv, "h", all, NULL);
  if (option == 'c') {
    call->control = optarg;
    return ctl_next_option(call, options);
  }
  if (option == OPTION_COLOUR)
    return set_colours(call->command, optarg) == CTL_DONE ? ctl_next_option(call, options) : '?';
  if (option == 'h') {
    ctl_print_usage(stdout, call->command);
    exit(CTL_DONE);
  }
  if (option == '?')
    refuse_option(call->command, call->argv[optind - 1], all);
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

static const struct ctl_command *
find_command(const char *name) {
  for (unsigned i = 0; i < COMMANDS; i++)
    if (strcmp(commands[i].name, name) == 0)
      return &commands[i];
  return NULL;
}

static int
refuse_command(const char *name) {
  const struct ctl_command *nearest = NULL;
  unsigned steps = 3;
  for (unsigned i = 0; i < COMMANDS; i++)
    if (ctl_is_near(name, commands[i].name, &steps))
      nearest = &commands[i];
  int status = ctl_wrong_usage(nearest, "unknown command '%s'", name);
  if (nearest)
    fprintf(stderr, "did you mean %s?  `surefootctl help` lists the commands\n", nearest->name);
  return status;
}

static int
help(int argc, char **argv) {
  const struct ctl_command *command = argc > 1 ? find_command(argv[1]) : NULL;
  if (argc > 1 && !command)
    return refuse_command(argv[1]);
  if (command)
    ctl_print_usage(stdout, command);
  else
    print_help(stdout);
  return CTL_DONE;
}

static int
run_command(int argc, char **argv, const char *control) {
  const struct ctl_command *command = find_command(argv[0]);
  if (!command)
    return strcmp(argv[0], "help") == 0 ? help(argc, argv) : refuse_command(argv[0]);
  struct ctl_command_call call = {
      .command = command, .control = control, .argc = argc, .argv = argv};
  optind = 0; /* getopt begins anew */
  return command->run(&call);
}

static int
run(int argc, char **argv) {
  struct option options[OWN_OPTIONS + 2] = {{0}};
  const char *control = NULL;
  int option;
  memcpy(options, own_options, sizeof own_options);
  options[OWN_OPTIONS] = (struct option){"version", no_argument, NULL, 'V'};
  opterr = 0;
  const char *inexact = ctl_inexact_option(argc, argv, options, true);
  if (inexact)
    return refuse_option(NULL, inexact, options);
  while ((option = getopt_long(argc, argv, "+hV", options, NULL)) != -1) {
    switch (option) {
    case 'c':
      control = optarg;
      break;
    case 'h':
      print_help(stdout);
      return CTL_DONE;
    case 'V':
      puts("surefootctl " SF_VERSION);
      return CTL_DONE;
    case OPTION_COLOUR:
      if (set_colours(NULL, optarg) != CTL_DONE)
        return CTL_USAGE;
      break;
    default:
      return refuse_option(NULL, argv[optind - 1], options);
    }
  }
  if (optind == argc)
    return ctl_wrong_usage(NULL, "no command");
  return run_command(argc - optind, argv + optind, control);
}

int
main(int argc, char **argv) {
  int status = run(argc, argv);
  if ((fflush(stdout) != 0 || ferror(stdout)) && status == CTL_DONE)
    status = ctl_fail("cannot write the output: %s", strerror(errno));
  return status;
}

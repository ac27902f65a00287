/* The table of commands, and what the program does with its own words. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

static const struct ctl_command commands[] = {
    {"create", "CONF [--size SIZE] [--overwrite] [--lazy|--zero] [--assume-clean]",
     "format the legs of a new volume", ctl_create},
    {"status", "[--json] [--check] [VOLUME]", "show volumes and their legs", ctl_status},
    {"list", "[--json]", "one line for each volume", ctl_list},
    {"show", "VOLUME [--json]", "the settings in force, and where each comes from", ctl_show},
    {"top", "[--batch] [--count N] [VOLUME]", "what each leg does now, each second anew", ctl_top},
    {"latency", "VOLUME [--kind read|write|flush] [--since TIME|--for TIME]",
     "how long the legs take, side by side, and their deadlines", ctl_latency},
    {"why", "VOLUME [N|--list]", "the last incident, or the Nth last, in plain sentences", ctl_why},
    {"events", "[--follow] [--since TIME] [--json] [VOLUME]",
     "show what happened, and go on with --follow", ctl_events},
    {"set", "VOLUME KEY=VALUE", "change a setting of a running volume", ctl_set},
    {"leg", "fail|return|discard VOLUME LEG [--wait] [--force [--yes]]",
     "take a leg out, back, or back as empty; or give its place to another disk", ctl_leg},
    {"grow", "VOLUME [SIZE|+SIZE]", "make a running volume larger, and its leg files with it",
     ctl_grow},
    {"scrub", "VOLUME [--repair] [--from LEG] [--rate RATE] [--wait]",
     "do the legs hold the same?  While it is used; --repair writes anew what is wrong", ctl_scrub},
    {"drill", "VOLUME LEG [--for TIME] | VOLUME --cancel",
     "keep a leg of a healthy volume from answering, and show what its clients saw", ctl_drill},
    {"reload", "[--dry-run] [--json]", "surefootd reads its files again", ctl_reload},
    {"stop", "VOLUME [--wait]", "end a volume cleanly, and keep it down", ctl_stop},
    {"start", "VOLUME [--force] [--wait]", "start a volume that is stopped, or waits for legs",
     ctl_start},
    {"restart", "VOLUME [--wait]", "end a volume's server cleanly and start it again", ctl_restart},
    {"rename", "VOLUME NEW", "give a stopped volume another name, on its legs and in its file",
     ctl_rename},
    {"scan", "[DEVICE ...] [--write FILE] [--json]",
     "which legs are on this machine, and would their volumes start?", ctl_scan},
    {"check", "CONF [--compare] [--json]",
     "would this volume start?  Reads the legs; --repair writes anew what is wrong", ctl_check},
    {"udev", "DEVICE [BACKEND]", "for udev's rules: is it a leg, or a volume's device?", ctl_udev},
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
  if (argc > 1 && command == NULL)
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
  if (command == NULL)
    return strcmp(argv[0], "help") == 0 ? help(argc, argv) : refuse_command(argv[0]);
  struct ctl_command_call call = {
      .command = command, .control = control, .argc = argc, .argv = argv};
  optind = 0; /* getopt begins anew */
  return command->run(&call);
}

static int
run(int argc, char **argv) {
  struct option options[CTL_OWN_OPTIONS + 2] = {{0}};
  const char *control = NULL;
  int option;
  memcpy(options, ctl_own_options, sizeof ctl_own_options);
  options[CTL_OWN_OPTIONS] = (struct option){"version", no_argument, NULL, 'V'};
  opterr = 0;
  const char *inexact = ctl_inexact_option(argc, argv, options, true);
  if (inexact)
    return ctl_refuse_option(NULL, inexact, options);
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
    case CTL_OPTION_COLOUR:
      if (ctl_take_colours(NULL, optarg) != CTL_DONE)
        return CTL_USAGE;
      break;
    default:
      return ctl_refuse_option(NULL, argv[optind - 1], options);
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

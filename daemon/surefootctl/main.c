#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

static const struct ctl_command commands[] = {
    {"create", "CONF [--size SIZE] [--overwrite] [--assume-clean]",
     "format the legs of a new volume", ctl_create},
    {"status", "[--json] [VOLUME]", "show volumes and their legs", ctl_status},
    {"events", "[--follow] [--json] [VOLUME]", "show what happened, and go on with --follow",
     ctl_events},
    {"set", "VOLUME KEY=VALUE", "change a setting of a running volume", ctl_set},
    {"leg", "fail|return|discard VOLUME LEG",
     "take a leg out, back, or back as empty; or give its place to another disk", ctl_leg},
    {"grow", "VOLUME [SIZE]", "make a running volume larger, and its leg files with it", ctl_grow},
    {"reload", "[--dry-run] [--json]", "surefootd reads its files again", ctl_reload},
    {"restart", "VOLUME", "end a volume's server cleanly and start it again", ctl_restart},
    {"check", "CONF [--compare] [--json]",
     "would this volume start?  Reads the legs, changes nothing", ctl_check},
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
        "  --help           this, or a command's own\n"
        "  --version\n\n"
        "Exit status: 0 done, 1 failed, 2 wrong usage.\n",
        out);
}

void
ctl_print_usage(FILE *out, const struct ctl_command *command) {
  if (!command) {
    print_help(out);
    return;
  }
  fprintf(out, "usage: surefootctl %s %s\n", command->name, command->arguments);
  if (command->run == ctl_leg)
    fprintf(out, "       surefootctl leg replace VOLUME LEG [PATH]\n"
                 "       surefootctl leg add VOLUME NAME PATH\n"
                 "       surefootctl leg remove VOLUME LEG\n"
                 "       surefootctl leg discard --config CONF LEG\n");
}

static const struct option control_option = {"control", required_argument, NULL, 'c'};
static const struct option help_option = {"help", no_argument, NULL, 'h'};

int
ctl_next_option(struct ctl_command_call *call, const struct option *options) {
  struct option all[16] = {control_option, help_option};
  for (unsigned i = 0; options[i].name; i++)
    all[i + 2] = options[i];
  int option = getopt_long(call->argc, call->argv, "", all, NULL);
  if (option == 'c') {
    call->control = optarg;
    return ctl_next_option(call, options);
  }
  if (option == 'h') {
    ctl_print_usage(stdout, call->command);
    exit(CTL_DONE);
  }
  if (option == '?')
    ctl_wrong_usage(call->command, "%s: unknown or incomplete option '%s'", call->argv[0],
                    call->argv[optind - 1]);
  return option;
}

static int
run_command(int argc, char **argv, const char *control) {
  for (unsigned i = 0; i < COMMANDS; i++) {
    if (strcmp(commands[i].name, argv[0]) != 0)
      continue;
    struct ctl_command_call call = {
        .command = &commands[i], .control = control, .argc = argc, .argv = argv};
    optind = 0; /* getopt begins anew */
    return commands[i].run(&call);
  }
  return ctl_wrong_usage(NULL, "unknown command '%s'", argv[0]);
}

static int
run(int argc, char **argv) {
  static const struct option options[] = {
      {"control", required_argument, NULL, 'c'},
      {"help", no_argument, NULL, 'h'},
      {"version", no_argument, NULL, 'v'},
      {0},
  };
  const char *control = NULL;
  int option;
  opterr = 0;
  while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
    switch (option) {
    case 'c':
      control = optarg;
      break;
    case 'h':
      print_help(stdout);
      return CTL_DONE;
    case 'v':
      puts("surefootctl " SF_VERSION);
      return CTL_DONE;
    default:
      return ctl_wrong_usage(NULL, "unknown or incomplete option '%s'", argv[optind - 1]);
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

/* surefootd: runs the volumes of /etc/surefoot/volumes.d. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "daemon.h"
#include "hold/hold.h"

static const char usage[] =
    "usage: surefootd [-c FILE] [--check | --hold]\n\n"
    "Runs every volume that has a file in /etc/surefoot/volumes.d, in the foreground.\n\n"
    "  -c, --config FILE  its settings (else /etc/surefoot/surefoot.conf, which may be missing)\n"
    "      --check        read all files, name the mistakes, start nothing\n"
    "      --hold         for surefoot-hold.service: calls a stop off while a device is in use\n"
    "      --foreground   accepted; it always is\n"
    "      --help, --version\n\n"
    "SIGHUP reads the files again, SIGTERM stops the volumes cleanly.\n";

enum { CHECK = 256, HOLD, FOREGROUND, VERSION };

/* A mistake in the settings must not keep the operator from stopping. */
static int
hold_stop(struct daemon *daemon) {
  char error[SF_CONFIG_ERROR_MAX] = "";
  if (sfd_settings_load(&daemon->settings, daemon->settings_file, error) < 0)
    sfd_settings_init(&daemon->settings);
  sfd_hold_run(&daemon->settings);
  return 0;
}

int
main(int argc, char **argv) {
  static const struct option options[] = {
      {"config", required_argument, NULL, 'c'},
      {"check", no_argument, NULL, CHECK},
      {"hold", no_argument, NULL, HOLD},
      {"foreground", no_argument, NULL, FOREGROUND},
      {"help", no_argument, NULL, 'h'},
      {"version", no_argument, NULL, VERSION},
      {0},
  };
  static struct daemon daemon = {.settings_file = "/etc/surefoot/surefoot.conf"};
  static struct plan plan;
  bool check = false, hold = false;
  int option;
  while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
    switch (option) {
    case 'c':
      daemon.settings_file = optarg;
      daemon.settings_given = true;
      break;
    case CHECK:
      check = true;
      break;
    case HOLD:
      hold = true;
      break;
    case FOREGROUND:
      break;
    case 'h':
      fputs(usage, stdout);
      return 0;
    case VERSION:
      puts("surefootd " SF_VERSION);
      return 0;
    default:
      fputs(usage, stderr);
      return 2;
    }
  }
  if (optind < argc) {
    fprintf(stderr, "surefootd: unexpected argument '%s'\n%s", argv[optind], usage);
    return 2;
  }
  sfd_log_open();
  if (hold)
    return hold_stop(&daemon);
  sf_list_init(&daemon.volumes.list);
  if (sfd_daemon_check(&daemon, &plan) < 0)
    return 1;
  if (check && json_array_size(daemon.problems) > 0)
    return 1;
  if (check) {
    printf("%u volume%s, all files are well\n", plan.volumes, plan.volumes == 1 ? "" : "s");
    sfd_plan_clear(&plan);
    return 0;
  }
  int r = sfd_daemon_run(&daemon, &plan);
  sfd_plan_clear(&plan);
  return r < 0 ? 1 : 0;
}

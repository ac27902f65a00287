/* surefootd: runs the volumes of /etc/surefoot/volumes.d. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "daemon.h"

static const char usage[] =
    "usage: surefootd [-c FILE] [--check]\n\n"
    "Runs every volume that has a file in /etc/surefoot/volumes.d, in the foreground.\n\n"
    "  -c, --config FILE  its settings (else /etc/surefoot/surefoot.conf, which may be missing)\n"
    "      --check        read all files, say what is wrong, start nothing\n"
    "      --foreground   accepted; it always is\n"
    "      --help, --version\n\n"
    "SIGHUP reads the files again, SIGTERM stops the volumes cleanly.\n";

enum { CHECK = 256, FOREGROUND, VERSION };

int
main(int argc, char **argv) {
  static const struct option options[] = {
      {"config", required_argument, NULL, 'c'},      {"check", no_argument, NULL, CHECK},
      {"foreground", no_argument, NULL, FOREGROUND}, {"help", no_argument, NULL, 'h'},
      {"version", no_argument, NULL, VERSION},       {0},
  };
  static struct daemon daemon = {.settings_file = "/etc/surefoot/surefoot.conf"};
  static struct plan plan;
  bool check = false;
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
  log_open();
  sf_list_init(&daemon.volumes.list);
  if (daemon_check(&daemon, &plan) < 0)
    return 1;
  if (check && json_array_size(daemon.problems) > 0)
    return 1;
  if (check) {
    printf("%u volume%s, all files are well\n", plan.volumes, plan.volumes == 1 ? "" : "s");
    plan_clear(&plan);
    return 0;
  }
  int r = daemon_run(&daemon, &plan);
  plan_clear(&plan);
  return r < 0 ? 1 : 0;
}

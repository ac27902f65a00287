#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <surefoot/legfile.h>

#include "ctl.h"

/* sf_format may tell of several legs at once: what is shown is the sum. */
struct progress {
  pthread_mutex_t lock;
  unsigned legs;
  uint64_t done[SF_LEGS_MAX], total[SF_LEGS_MAX];
  int shown; /* percent; -1: nothing yet */
};

static void
show_progress(void *arg, unsigned leg, uint64_t done, uint64_t total) {
  struct progress *progress = arg;
  pthread_mutex_lock(&progress->lock);
  progress->done[leg] = done;
  progress->total[leg] = total;
  uint64_t all_done = 0;
  for (unsigned i = 0; i < progress->legs; i++)
    all_done += progress->done[i];
  uint64_t all = total * progress->legs; /* all legs have the volume's size */
  ctl_progress(&progress->shown, all_done, all, "zeroed");
  pthread_mutex_unlock(&progress->lock);
}

static void
print_created(const struct sf_config *config) {
  struct sf_leg_file file;
  struct sf_leg_found found;
  char error[SF_CONFIG_ERROR_MAX], size[CTL_TEXT_MAX], uuid[37];
  if (sf_leg_file_open(config->leg[0].path, SF_LEG_READ_ONLY, &file, &found, error) < 0) {
    printf("%s: created on %u legs\n", config->name, config->legs);
    return;
  }
  sf_leg_file_close(&file);
  sf_uuid_format(&found.sb.volume, uuid);
  printf("%s: created, %s on %u leg%s, min_legs %u, uuid %s\n", config->name,
         ctl_size(found.sb.data_bytes, size), config->legs, config->legs == 1 ? "" : "s",
         config->min_legs, uuid);
}

static int
format(const struct sf_config *config, const struct sf_format_options *options) {
  struct progress progress = {.lock = PTHREAD_MUTEX_INITIALIZER, .legs = config->legs, .shown = -1};
  char error[SF_CONFIG_ERROR_MAX] = "";
  int rc = sf_format(config, options, show_progress, &progress, error);
  ctl_progress_end(&progress.shown);
  if (rc < 0)
    return ctl_fail("%s", *error ? error : strerror(-rc));
  print_created(config);
  return CTL_DONE;
}

int
ctl_create(struct ctl_command_call *call) {
  static const struct option options[] = {
      {"size", required_argument, NULL, 's'},
      {"overwrite", no_argument, NULL, 'o'},
      {"assume-clean", no_argument, NULL, 'a'},
      {0},
  };
  struct sf_format_options format_options = {0};
  int option;
  while ((option = ctl_next_option(call, options)) != -1) {
    switch (option) {
    case 's':
      if (sf_parse_size(optarg, &format_options.size) < 0 || format_options.size == 0)
        return ctl_wrong_usage(call->command, "--size %s: not a size (for example 10G)", optarg);
      break;
    case 'o':
      format_options.overwrite = true;
      break;
    case 'a':
      format_options.assume_clean = true;
      break;
    default:
      return CTL_USAGE;
    }
  }
  if (call->argc - optind != 1)
    return ctl_wrong_usage(call->command, "create: one CONF is needed");

  struct sf_config config;
  char error[SF_CONFIG_ERROR_MAX] = "";
  int rc = sf_config_load(&config, call->argv[optind], error);
  if (rc < 0)
    return ctl_fail("%s", *error ? error : strerror(-rc));
  return format(&config, &format_options);
}

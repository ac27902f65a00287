#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <surefoot/legfile.h>

#include "base/process.h"
#include "ctl.h"

enum { UNEQUAL_SHARE = 100 /* of a leg: what differs by less is not worth a word */ };

/* ---- formatting: in a process of its own, which may hang in a dead disk ---- */

struct formatting {
  _Atomic uint64_t done[SF_LEGS_MAX], total;
  int result;
  char error[SF_CONFIG_ERROR_MAX];
};

static void
note_progress(void *arg, unsigned leg, uint64_t done, uint64_t total) {
  struct formatting *formatting = arg;
  atomic_store(&formatting->done[leg], done);
  atomic_store(&formatting->total, total);
}

/* All legs have the volume's size. */
static void
show_progress(struct formatting *formatting, unsigned legs, int *shown) {
  uint64_t done = 0, total = atomic_load(&formatting->total);
  for (unsigned i = 0; i < legs; i++)
    done += atomic_load(&formatting->done[i]);
  if (total > 0)
    ctl_progress(shown, done, total * legs, "zeroed");
}

/* Nothing of ours stays open in a process that may hang, but it may be interrupted as we are. */
static _Noreturn void
format_isolated(pid_t parent, const struct sf_config *config,
                const struct sf_format_options *options, struct formatting *formatting) {
  sf_close_all_but(NULL, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() == parent)
    formatting->result = sf_format(config, options, note_progress, formatting, formatting->error);
  _exit(0);
}

static bool
has_ended(pid_t pid, int *status) {
  const struct timespec pause = {.tv_nsec = 20000000};
  pid_t ended = waitpid(pid, status, WNOHANG);
  if (ended == 0)
    nanosleep(&pause, NULL);
  return ended == pid;
}

/* A file without all of its room.  One of which its file system says that it takes none has our superblocks, so that
 * is not known. */
static void
warn_of_sparse(const char *leg, const struct sf_leg_file *file, uint64_t used, bool zeroed) {
  char size[CTL_TEXT_MAX];
  struct stat st;
  if (file->is_block || fstat(file->fd, &st) < 0 || st.st_blocks == 0 ||
      (uint64_t) st.st_blocks * 512 >= used)
    return;
  printf("leg %s: its file is sparse: should its filesystem be full when the other %s are written, "
         "the leg is out until there is room%s\n",
         leg, ctl_size(used - (uint64_t) st.st_blocks * 512, size),
         zeroed ? "" : " (with --zero: written now)");
}

/* The smallest gives the size; what the others have more is not used. */
static void
warn_of_legs(const struct sf_config *config, bool zeroed) {
  uint64_t bytes[SF_LEGS_MAX], least = UINT64_MAX;
  char error[SF_CONFIG_ERROR_MAX], size[CTL_TEXT_MAX];
  for (unsigned i = 0; i < config->legs; i++) {
    struct sf_leg_file file;
    struct sf_leg_found found;
    if (sf_leg_file_open(config->leg[i].path, SF_LEG_READ_ONLY, &file, &found, error) < 0)
      return;
    if (found.error == 0)
      warn_of_sparse(config->leg[i].name, &file, found.sb.data_offset + found.sb.data_bytes,
                     zeroed);
    sf_leg_file_close(&file);
    bytes[i] = found.bytes;
    least = bytes[i] < least ? bytes[i] : least;
  }
  for (unsigned i = 0; i < config->legs; i++)
    if (bytes[i] - least > least / UNEQUAL_SHARE)
      printf("leg %s is larger than the smallest: %s of it are not used\n", config->leg[i].name,
             ctl_size(bytes[i] - least, size));
}

static void
print_created(const struct sf_config *config, const struct sf_format_options *options) {
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
  if (found.sb.unwritten)
    puts(options->lazy
             ? "it reads as zeros; the disks are zeroed while it is in use"
             : "it reads as zeros; zeroing all of the legs takes longer than a second and is "
               "done while it is in use (with --zero: at once)");
}

static int
format(const struct sf_config *config, const struct sf_format_options *options) {
  struct formatting *formatting =
      mmap(NULL, sizeof *formatting, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  int shown = -1, status = 0;
  if (formatting == MAP_FAILED)
    return ctl_fail("out of memory");
  formatting->result = -ECANCELED;
  pid_t parent = getpid(), pid = fork();
  if (pid < 0)
    return ctl_fail("no process to format the legs: %s", strerror(errno));
  if (pid == 0)
    format_isolated(parent, config, options, formatting);
  while (!has_ended(pid, &status))
    show_progress(formatting, config->legs, &shown);
  show_progress(formatting, config->legs, &shown);
  ctl_progress_end(&shown);
  if (formatting->result < 0)
    return ctl_fail("%s", formatting->error[0] ? formatting->error : strerror(-formatting->result));
  print_created(config, options);
  warn_of_legs(config, options->zero);
  return CTL_DONE;
}

int
ctl_create(struct ctl_command_call *call) {
  static const struct option options[] = {
      {"size", required_argument, NULL, 's'},   {"overwrite", no_argument, NULL, 'o'},
      {"assume-clean", no_argument, NULL, 'a'}, {"lazy", no_argument, NULL, 'l'},
      {"zero", no_argument, NULL, 'z'},         {0},
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
    case 'l':
      format_options.lazy = true;
      break;
    case 'z':
      format_options.zero = true;
      break;
    default:
      return CTL_USAGE;
    }
  }
  if (format_options.lazy + format_options.zero + format_options.assume_clean > 1)
    return ctl_wrong_usage(call->command,
                           "create: --lazy, --zero and --assume-clean exclude each other");
  if (call->argc - optind != 1)
    return ctl_wrong_usage(call->command, "create: one CONF is needed");

  struct sf_config config;
  char error[SF_CONFIG_ERROR_MAX] = "";
  char file[PATH_MAX];
  int r = sf_config_load(&config, ctl_conf_file(call->argv[optind], file), error);
  if (r < 0)
    return ctl_fail("%s", *error ? error : strerror(-r));
  return format(&config, &format_options);
}

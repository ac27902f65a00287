#include "files/plan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/keys.h"

__attribute__((format(printf, 3, 4))) static void
tell(plan_problem *problem, void *ctx, const char *format, ...) {
  char line[SF_CONFIG_ERROR_MAX];
  va_list args;
  va_start(args, format);
  vsnprintf(line, sizeof line, format, args);
  va_end(args);
  problem(ctx, line);
}

struct plan_volume *
sfd_plan_volume_copy(const struct plan_volume *volume) {
  struct plan_volume *copy = malloc(sizeof *copy);
  if (copy)
    *copy = *volume;
  return copy;
}

void
sfd_plan_clear(struct plan *plan) {
  for (unsigned i = 0; i < plan->volumes; i++)
    free(plan->volume[i]);
  for (unsigned i = 0; i < plan->broken; i++)
    free(plan->broken_file[i]);
  *plan = (struct plan){0};
}

struct plan_volume *
sfd_plan_find(const struct plan *plan, const char *name) {
  for (unsigned i = 0; i < plan->volumes; i++)
    if (plan->volume[i] && strcmp(plan->volume[i]->config.name, name) == 0)
      return plan->volume[i];
  return NULL;
}

bool
sfd_plan_is_broken(const struct plan *plan, const char *file) {
  for (unsigned i = 0; i < plan->broken; i++)
    if (strcmp(plan->broken_file[i], file) == 0)
      return true;
  return false;
}

void
sfd_plan_break(struct plan *plan, const char *file) {
  char *copy = strdup(file);
  if (copy && !sfd_plan_is_broken(plan, file) && plan->broken < PLAN_VOLUMES_MAX)
    plan->broken_file[plan->broken++] = copy;
  else
    free(copy);
  unsigned kept = 0;
  for (unsigned i = 0; i < plan->volumes; i++)
    if (plan->volume[i] && strcmp(plan->volume[i]->config.file, file) == 0)
      free(plan->volume[i]);
    else
      plan->volume[kept++] = plan->volume[i];
  plan->volumes = kept;
}

/* ---- one file ---- */

/* O_NONBLOCK: a FIFO of that name must not hold the daemon up. */
static int
read_text(int folder, const char *name, char **text, size_t *len) {
  int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return -errno;
  struct stat st;
  int r = fstat(fd, &st) < 0 ? -errno : S_ISREG(st.st_mode) ? 0 : -ENODEV;
  char *bytes = r == 0 ? malloc(SF_CONFIG_FILE_MAX + 1) : NULL;
  size_t used = 0;
  if (r == 0 && bytes == NULL)
    r = -ENOMEM;
  while (r == 0) {
    ssize_t got = read(fd, bytes + used, SF_CONFIG_FILE_MAX + 1 - used);
    if (got < 0 && errno != EINTR)
      r = -errno;
    if (got == 0)
      break;
    used += got > 0 ? (size_t) got : 0;
    if (used > SF_CONFIG_FILE_MAX)
      r = -EFBIG;
  }
  close(fd);
  if (r < 0) {
    free(bytes);
    return r;
  }
  *text = bytes;
  *len = used;
  return 0;
}

/* The fast door's socket, for the device: in the runtime folder, unless the file says where. */
static int
fill_in_fast_socket(struct sf_config *config, const char *runtime) {
  char path[SF_CONTROL_PATH_MAX], error[SF_CONFIG_ERROR_MAX];
  int len;
  if (config->fast_socket[0] || config->device_door != SF_DEVICE_DOOR_FAST)
    return 0;
  len = snprintf(path, sizeof path, "%s/%s.fast", runtime, config->name);
  if (len < 0 || len >= (int) sizeof path)
    return -ENAMETOOLONG;
  return sf_config_set(config, "fast_socket", path, error);
}

/* The volume's own socket stands behind the daemon's, whatever its file says for a server run by
 * hand: there is one place to ask. */
static int
fill_in(struct sf_config *config, const char *runtime) {
  char control[SF_CONTROL_PATH_MAX], error[SF_CONFIG_ERROR_MAX];
  int len = 1;
  if (!config->socket[0])
    len = snprintf(config->socket, sizeof config->socket, "%s/%s.sock", runtime, config->name);
  if (len < 0 || len >= (int) sizeof config->socket)
    return -ENAMETOOLONG;
  len = snprintf(control, sizeof control, "%s/volumes/%s.ctl", runtime, config->name);
  if (len < 0 || len >= (int) sizeof control)
    return -ENAMETOOLONG;
  int r = fill_in_fast_socket(config, runtime);
  return r < 0 ? r : sf_config_set(config, "control", control, error);
}

static int
read_volume(int folder_fd, const char *folder, const char *name, const char *runtime,
            struct sf_config *config, char error[SF_CONFIG_ERROR_MAX]) {
  char *text = NULL, file[PATH_MAX];
  size_t bytes = 0;
  sf_config_init(config);
  int len = snprintf(config->file, sizeof config->file, "%s/%s", folder, name);
  int r = len < (int) sizeof config->file ? 0 : -ENAMETOOLONG;
  if (r == 0)
    r = read_text(folder_fd, name, &text, &bytes);
  if (r < 0) {
    sf_config_error(error, "%.160s/%.160s: %s", folder, name,
                    r == -EFBIG    ? "is larger than 128 KiB: not a configuration"
                    : r == -ENODEV ? "is not a file"
                                   : strerrordesc_np(-r));
    return r;
  }
  memcpy(file, config->file, sizeof file);
  r = sf_config_parse(config, file, text, bytes, error);
  free(text);
  if (r == 0 && (r = fill_in(config, runtime)) < 0)
    sf_config_error(error, "%.160s: the paths of its sockets would be too long", file);
  return r;
}

static int
load_volume(int folder_fd, const char *folder, const char *name, const char *runtime,
            struct plan_volume **result, plan_problem *problem, void *ctx) {
  char error[SF_CONFIG_ERROR_MAX] = "";
  struct plan_volume *volume = calloc(1, sizeof *volume);
  int r = volume ? read_volume(folder_fd, folder, name, runtime, &volume->config, error) : -ENOMEM;
  if (r < 0) {
    problem(ctx, volume ? error : "out of memory");
    free(volume);
    return r;
  }
  *result = volume;
  return 0;
}

/* ---- the folder ---- */

static int
is_conf(const struct dirent *entry) {
  size_t len = strlen(entry->d_name);
  return entry->d_name[0] != '.' && len > 5 && strcmp(entry->d_name + len - 5, ".conf") == 0;
}

int
sfd_plan_load(const char *folder, const char *runtime, struct plan *plan, plan_problem *problem,
              void *ctx) {
  struct dirent **entry;
  char real[PATH_MAX];
  *plan = (struct plan){0};
  if (realpath(folder, real) == NULL) {
    tell(problem, ctx, "%.200s: %s", folder, strerror(errno));
    return -EINVAL;
  }
  int fd = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int n = fd < 0 ? -1 : scandirat(fd, ".", &entry, is_conf, alphasort);
  if (n < 0) {
    tell(problem, ctx, "%.200s: %s", folder, strerror(errno));
    if (fd >= 0)
      close(fd);
    return -EINVAL;
  }

  for (int i = 0; i < n; i++) {
    struct plan_volume *volume;
    char file[PATH_MAX];
    if (plan->volumes == PLAN_VOLUMES_MAX || plan->broken == PLAN_VOLUMES_MAX) {
      tell(problem, ctx, "%.200s: more than %d files: %.160s and what comes after it is left out",
           folder, PLAN_VOLUMES_MAX, entry[i]->d_name);
      break;
    }
    if (load_volume(fd, real, entry[i]->d_name, runtime, &volume, problem, ctx) == 0)
      plan->volume[plan->volumes++] = volume;
    else if (snprintf(file, sizeof file, "%s/%s", real, entry[i]->d_name) < (int) sizeof file)
      sfd_plan_break(plan, file);
  }
  for (int i = 0; i < n; i++)
    free(entry[i]);
  free(entry);
  close(fd);
  return 0;
}

/* ---- one volume's legs ---- */

const char *
sfd_plan_leg_path(const struct plan_volume *volume, const char *name) {
  int leg = sf_config_find_leg(&volume->config, name);
  return leg < 0 ? "" : volume->config.leg[leg].path;
}

/* ---- between volumes ---- */

static int
check_pair(const struct sf_config *a, const struct sf_config *b, plan_problem *problem, void *ctx) {
  const struct {
    const char *what, *a, *b;
  } only_one[] = {
      {"name", a->name, b->name},
      {"socket", a->socket, b->socket},
      {"device", a->device, b->device},
      {"fast_socket", a->fast_socket, b->fast_socket},
  };
  int r = 0;
  for (unsigned i = 0; i < sizeof only_one / sizeof *only_one; i++)
    if (only_one[i].a[0] && strcmp(only_one[i].a, only_one[i].b) == 0) {
      tell(problem, ctx, "%.160s: %s: %s is that of %.160s already", b->file, only_one[i].what,
           only_one[i].b, a->file);
      r = -EINVAL;
      if (i == 0)
        return r; /* its sockets have the same names then */
    }
  for (unsigned i = 0; i < a->legs; i++)
    for (unsigned j = 0; j < b->legs; j++)
      if (strcmp(a->leg[i].path, b->leg[j].path) == 0) {
        tell(problem, ctx, "%.120s: leg %s: %.160s is a leg of volume %s already", b->file,
             b->leg[j].name, b->leg[j].path, a->name);
        r = -EINVAL;
      }
  return r;
}

/* A spare is one volume's, or of all that say so.  A spare that is a leg of another volume is in
 * use, which is no mistake: it may have been taken, and kept. */
static int
check_spares(const struct sf_config *a, const struct sf_config *b, plan_problem *problem,
             void *ctx) {
  int r = 0;
  for (unsigned i = 0; i < a->spares; i++)
    for (unsigned j = 0; j < b->spares; j++)
      if (strcmp(a->spare[i].path, b->spare[j].path) == 0 &&
          !(a->spare[i].shared && b->spare[j].shared)) {
        tell(problem, ctx,
             "%.120s: spare %s: %.160s is a spare of volume %s too, and not both say shared = yes",
             b->file, b->spare[j].name, b->spare[j].path, a->name);
        r = -EINVAL;
      }
  return r;
}

static bool
is_in_the_way(const struct plan *plan, unsigned i, plan_problem *problem, void *ctx) {
  int r = 0;
  for (unsigned j = 0; j < i; j++) {
    const struct sf_config *a = &plan->volume[j]->config, *b = &plan->volume[i]->config;
    if (check_pair(a, b, problem, ctx) < 0 || check_spares(a, b, problem, ctx) < 0)
      r = -EINVAL;
  }
  return r < 0;
}

void
sfd_plan_check(struct plan *plan, plan_problem *problem, void *ctx) {
  char file[PATH_MAX];
  for (unsigned i = 0; i < plan->volumes;) {
    if (is_in_the_way(plan, i, problem, ctx)) {
      memcpy(file, plan->volume[i]->config.file, sizeof file);
      sfd_plan_break(plan, file);
    } else {
      i++;
    }
  }
}

/* ---- from one to another ---- */

struct diff {
  void (*change)(void *ctx, const struct plan_change *change);
  void *ctx;
  const char *volume;
};

static bool
on_key(void *ctx, const char *key, const char *from, const char *to) {
  struct diff *diff = ctx;
  bool live = sf_config_is_live(key);
  const char *value = live && !to[0] ? "default" : to; /* the line is gone */
  diff->change(diff->ctx, &(struct plan_change){live ? PLAN_SET : PLAN_RESTART, diff->volume, key,
                                                from, value});
  return true;
}

static void
list_legs(const struct sf_config *config, char text[1024]) {
  size_t used = 0;
  text[0] = '\0';
  for (unsigned i = 0; i < config->legs && used < 1024; i++)
    used += (size_t) snprintf(text + used, 1024 - used, "%s%s", i ? " " : "", config->leg[i].name);
}

void
sfd_plan_diff(const struct plan *from, const struct plan *to,
              void (*change)(void *ctx, const struct plan_change *change), void *ctx) {
  char before[1024], after[1024];
  for (unsigned i = 0; i < from->volumes; i++) {
    const struct sf_config *old = &from->volume[i]->config;
    const struct plan_volume *now = sfd_plan_find(to, old->name);
    struct diff diff = {change, ctx, old->name};
    if (now == NULL) {
      change(ctx, &(struct plan_change){.kind = PLAN_REMOVE, .volume = old->name});
    } else if (sf_config_diff(old, &now->config, on_key, &diff) < 0) {
      list_legs(old, before);
      list_legs(&now->config, after);
      change(ctx, &(struct plan_change){PLAN_RESTART, old->name, "legs", before, after});
    }
  }
  for (unsigned i = 0; i < to->volumes; i++)
    if (sfd_plan_find(from, to->volume[i]->config.name) == NULL)
      change(ctx, &(struct plan_change){.kind = PLAN_ADD, .volume = to->volume[i]->config.name});
}

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

enum { FILE_BYTES_MAX = 64 * 1024 };

__attribute__((format(printf, 3, 4))) static void
tell(plan_problem *problem, void *ctx, const char *format, ...) {
  char line[SF_CONFIG_ERROR_MAX];
  va_list args;
  va_start(args, format);
  vsnprintf(line, sizeof line, format, args);
  va_end(args);
  problem(ctx, line);
}

void
plan_volume_free(struct plan_volume *volume) {
  if (volume)
    free(volume->text);
  free(volume);
}

struct plan_volume *
plan_volume_copy(const struct plan_volume *volume) {
  struct plan_volume *copy = malloc(sizeof *copy);
  if (!copy)
    return NULL;
  *copy = *volume;
  copy->text = malloc(volume->len + 1);
  if (!copy->text) {
    free(copy);
    return NULL;
  }
  memcpy(copy->text, volume->text, volume->len);
  return copy;
}

void
plan_clear(struct plan *plan) {
  for (unsigned i = 0; i < plan->volumes; i++)
    plan_volume_free(plan->volume[i]);
  *plan = (struct plan){0};
}

struct plan_volume *
plan_find(const struct plan *plan, const char *name) {
  for (unsigned i = 0; i < plan->volumes; i++)
    if (plan->volume[i] && strcmp(plan->volume[i]->config.name, name) == 0)
      return plan->volume[i];
  return NULL;
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
  char *bytes = r == 0 ? malloc(FILE_BYTES_MAX + 1) : NULL;
  size_t used = 0;
  if (r == 0 && !bytes)
    r = -ENOMEM;
  while (r == 0) {
    ssize_t got = read(fd, bytes + used, FILE_BYTES_MAX + 1 - used);
    if (got < 0 && errno != EINTR)
      r = -errno;
    if (got == 0)
      break;
    used += got > 0 ? (size_t) got : 0;
    if (used > FILE_BYTES_MAX)
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

/* The volume's own socket stands behind the daemon's, whatever its file says for those who run it by
 * hand: there is one place to ask. */
static int
fill_in(struct sf_config *config, const char *runtime) {
  int len = 1;
  if (!config->socket[0])
    len = snprintf(config->socket, sizeof config->socket, "%s/%s.sock", runtime, config->name);
  if (len < 0 || len >= (int) sizeof config->socket)
    return -ENAMETOOLONG;
  len =
      snprintf(config->control, sizeof config->control, "%s/volumes/%s.ctl", runtime, config->name);
  return len < 0 || len >= (int) sizeof config->control ? -ENAMETOOLONG : 0;
}

static int
load_volume(int folder_fd, const char *folder, const char *name, const char *runtime,
            struct plan_volume **result, plan_problem *problem, void *ctx) {
  char error[SF_CONFIG_ERROR_MAX] = "";
  struct plan_volume *volume = calloc(1, sizeof *volume);
  if (!volume) {
    tell(problem, ctx, "out of memory");
    return -ENOMEM;
  }
  sf_config_init(&volume->config);
  int len = snprintf(volume->config.file, sizeof volume->config.file, "%s/%s", folder, name);
  int r = len < (int) sizeof volume->config.file ? 0 : -ENAMETOOLONG;
  if (r == 0)
    r = read_text(folder_fd, name, &volume->text, &volume->len);
  if (r < 0) {
    tell(problem, ctx, "%.160s/%.160s: %s", folder, name,
         r == -EFBIG    ? "is larger than 64 KiB: not a configuration"
         : r == -ENODEV ? "is not a file"
                        : strerrordesc_np(-r));
  } else {
    char file[PATH_MAX];
    memcpy(file, volume->config.file, sizeof file);
    r = sf_config_parse(&volume->config, file, volume->text, volume->len, error);
    if (r < 0)
      problem(ctx, error);
    else if ((r = fill_in(&volume->config, runtime)) < 0)
      tell(problem, ctx, "%.160s: the paths of its sockets would be too long", file);
  }
  if (r < 0) {
    plan_volume_free(volume);
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
plan_load(const char *folder, const char *runtime, struct plan *plan, plan_problem *problem,
          void *ctx) {
  struct dirent **entry;
  char real[PATH_MAX];
  *plan = (struct plan){0};
  if (!realpath(folder, real)) {
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

  int r = 0;
  for (int i = 0; i < n; i++) {
    if (plan->volumes == PLAN_VOLUMES_MAX) {
      tell(problem, ctx, "%.200s: more than %d volumes", folder, PLAN_VOLUMES_MAX);
      r = -EINVAL;
      break;
    }
    struct plan_volume *volume;
    if (load_volume(fd, real, entry[i]->d_name, runtime, &volume, problem, ctx) < 0)
      r = -EINVAL;
    else
      plan->volume[plan->volumes++] = volume;
  }
  for (int i = 0; i < n; i++)
    free(entry[i]);
  free(entry);
  close(fd);
  if (plan_check(plan, problem, ctx) < 0)
    r = -EINVAL;
  if (r < 0)
    plan_clear(plan);
  return r;
}

/* ---- one volume's legs ---- */

const char *
plan_leg_path(const struct plan_volume *volume, const char *name) {
  int leg = sf_config_find_leg(&volume->config, name);
  return leg < 0 ? "" : volume->config.leg[leg].path;
}

int
plan_config_set_leg(struct sf_config *config, const char *name, const char *path) {
  int leg = sf_config_find_leg(config, name);
  if (strlen(name) >= sizeof config->leg->name || strlen(path) >= sizeof config->leg->path)
    return -ENAMETOOLONG;
  if (!*path && leg < 0)
    return 0;
  if (!*path) {
    config->legs--;
    memmove(&config->leg[leg], &config->leg[leg + 1],
            (config->legs - (unsigned) leg) * sizeof config->leg[0]);
    return 0;
  }
  if (leg < 0) {
    if (config->legs == SF_LEGS_MAX)
      return -ENOSPC;
    leg = (int) config->legs++;
    config->leg[leg] = (struct sf_config_leg){0};
    memcpy(config->leg[leg].name, name, strlen(name) + 1);
  }
  memcpy(config->leg[leg].path, path, strlen(path) + 1);
  return 0;
}

/* An INI file cannot hold every path. */
static bool
can_be_written(const char *section) {
  char text[2 * PATH_MAX], error[SF_CONFIG_ERROR_MAX], wanted[2 * PATH_MAX];
  struct sf_config *config = malloc(sizeof *config);
  int len = snprintf(text, sizeof text, "[volume]\nname = x%s", section);
  if (!config)
    return false;
  sf_config_init(config);
  bool can = len < (int) sizeof text &&
             sf_config_parse(config, "", text, (size_t) len, error) == 0 && config->legs == 1;
  if (can)
    snprintf(wanted, sizeof wanted, "\n[leg %s]\npath = %s\n", config->leg[0].name,
             config->leg[0].path);
  can = can && strcmp(wanted, section) == 0;
  free(config);
  return can;
}

/* Does the section that this line begins, if it begins one, belong to the leg? */
static bool
is_header_of(const char *line, size_t len, const char *name) {
  size_t name_len = strlen(name), at = 5;
  if (len < 5 || memcmp(line, "[leg ", 5) != 0)
    return false;
  while (at < len && line[at] == ' ')
    at++;
  return len - at > name_len && memcmp(line + at, name, name_len) == 0 &&
         line[at + name_len] == ']';
}

/* The text without the leg's section; the length. */
static size_t
copy_without(const struct plan_volume *volume, const char *leg, char *to) {
  const char *line = volume->text, *end = volume->text + volume->len;
  size_t used = 0;
  bool inside = false;
  if (volume->len >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0)
    line += 3;
  while (line < end) {
    const char *newline = memchr(line, '\n', (size_t) (end - line));
    size_t len = (size_t) ((newline ? newline + 1 : end) - line);
    if (*line == '[')
      inside = is_header_of(line, len, leg);
    if (!inside) {
      memcpy(to + used, line, len);
      used += len;
    }
    line += len;
  }
  return used;
}

int
plan_set_leg(struct plan_volume *volume, const char *leg, const char *path) {
  char section[PATH_MAX + SF_LEG_NAME_MAX + 32] = "";
  if (*path && (size_t) snprintf(section, sizeof section, "\n[leg %s]\npath = %s\n", leg, path) >=
                   sizeof section)
    return -ENAMETOOLONG;
  if (*path && !can_be_written(section))
    return -EINVAL;
  size_t more = strlen(section);
  char *text = malloc(volume->len + more + 1);
  if (!text)
    return -ENOMEM;
  int r = plan_config_set_leg(&volume->config, leg, path);
  if (r < 0) {
    free(text);
    return r;
  }
  size_t len = copy_without(volume, leg, text);
  memcpy(text + len, section, more + 1);
  free(volume->text);
  volume->text = text;
  volume->len = len + more;
  return 0;
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

int
plan_check(const struct plan *plan, plan_problem *problem, void *ctx) {
  int r = 0;
  for (unsigned i = 0; i < plan->volumes; i++)
    for (unsigned j = 0; j < i; j++)
      if (check_pair(&plan->volume[j]->config, &plan->volume[i]->config, problem, ctx) < 0)
        r = -EINVAL;
  return r;
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
  /* What is unset again cannot be told to a volume that runs: there is no word for it. */
  bool live = sf_config_is_live(key) && to[0];
  diff->change(diff->ctx,
               &(struct plan_change){live ? PLAN_SET : PLAN_RESTART, diff->volume, key, from, to});
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
plan_diff(const struct plan *from, const struct plan *to,
          void (*change)(void *ctx, const struct plan_change *change), void *ctx) {
  char before[1024], after[1024];
  for (unsigned i = 0; i < from->volumes; i++) {
    const struct sf_config *old = &from->volume[i]->config;
    const struct plan_volume *now = plan_find(to, old->name);
    struct diff diff = {change, ctx, old->name};
    if (!now) {
      change(ctx, &(struct plan_change){.kind = PLAN_REMOVE, .volume = old->name});
    } else if (sf_config_diff(old, &now->config, on_key, &diff) < 0) {
      list_legs(old, before);
      list_legs(&now->config, after);
      change(ctx, &(struct plan_change){PLAN_RESTART, old->name, "legs", before, after});
    }
  }
  for (unsigned i = 0; i < to->volumes; i++)
    if (!plan_find(from, to->volume[i]->config.name))
      change(ctx, &(struct plan_change){.kind = PLAN_ADD, .volume = to->volume[i]->config.name});
}

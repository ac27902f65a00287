#include "files/command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/keys.h"

__attribute__((format(printf, 2, 3))) static void
add(struct server_command *command, const char *format, ...) {
  va_list args;
  if (command->words < 0)
    return;
  va_start(args, format);
  char *word = NULL;
  int len = vasprintf(&word, format, args);
  va_end(args);
  if (len < 0 || command->words == COMMAND_WORDS_MAX) {
    if (len >= 0)
      free(word);
    command_clear(command);
    command->words = -1;
    return;
  }
  command->argv[command->words++] = word;
  command->argv[command->words] = NULL;
}

void
command_clear(struct server_command *command) {
  for (int i = 0; i < command->words; i++)
    free(command->argv[i]);
  command->words = 0;
}

/* ---- the copy ---- */

static int
copy_name(const struct settings *settings, const struct plan_volume *plan, const char *suffix,
          char path[PATH_MAX]) {
  int len = snprintf(path, PATH_MAX, "%s/volumes/%s.conf%s", settings->runtime, plan->config.name,
                     suffix);
  return len < PATH_MAX ? 0 : -ENAMETOOLONG;
}

void
command_forget(const struct settings *settings, const struct plan_volume *plan) {
  char path[PATH_MAX];
  if (copy_name(settings, plan, "", path) == 0)
    unlink(path);
}

static int
write_text(const char *path, const struct plan_volume *plan) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd < 0)
    return -errno;
  ssize_t written = write(fd, plan->text, plan->len);
  int r = written < 0 ? -errno : (size_t) written < plan->len ? -ENOSPC : 0;
  if (close(fd) < 0 && r == 0)
    r = -errno;
  return r;
}

static int
write_copy(const struct settings *settings, const struct plan_volume *plan, char path[PATH_MAX]) {
  char folder[PATH_MAX], temporary[PATH_MAX];
  int len = snprintf(folder, sizeof folder, "%s/volumes", settings->runtime);
  int r = len < (int) sizeof folder ? 0 : -ENAMETOOLONG;
  if (r == 0 && mkdir(folder, 0755) < 0 && errno != EEXIST)
    r = -errno;
  if (r == 0)
    r = copy_name(settings, plan, "", path);
  if (r == 0)
    r = copy_name(settings, plan, ".new", temporary);
  if (r == 0)
    r = write_text(temporary, plan);
  if (r == 0 && rename(temporary, path) < 0)
    r = -errno;
  return r;
}

/* ---- what differs from it ---- */

static bool
add_parameter(void *ctx, const char *key, const char *from, const char *to) {
  struct server_command *command = ctx;
  if (!sf_config_is_of_daemon(key) && to[0])
    add(command, "%s=%s", key, to);
  return true;
}

int
command_make(const struct settings *settings, const struct plan_volume *plan,
             struct server_command *command, char error[SF_CONFIG_ERROR_MAX]) {
  char path[PATH_MAX];
  *command = (struct server_command){0};
  int r = write_copy(settings, plan, path);
  if (r < 0) {
    sf_config_error(error, "%.200s/volumes/%s.conf: %s", settings->runtime, plan->config.name,
                    strerror(-r));
    return r;
  }
  struct sf_config *copied = malloc(sizeof *copied);
  if (!copied)
    return -ENOMEM;
  sf_config_init(copied);
  memcpy(copied->file, path, sizeof copied->file);
  r = sf_config_parse(copied, path, plan->text, plan->len, error);
  if (r == 0) {
    add(command, "%s", settings->nbdkit);
    add(command, "--foreground");
    add(command, "--threads=%u", plan->config.threads);
    add(command, "-D");
    add(command, "surefoot.events=0");
    add(command, "%s", settings->plugin);
    add(command, "%s", path);
    sf_config_diff(copied, &plan->config, add_parameter, command);
    if (command->words < 0) {
      sf_config_error(error, "too many settings, or no memory");
      r = -ENOMEM;
    }
  }
  free(copied);
  return r;
}

#include "files/command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/keys.h"

static int
file_name(const struct settings *settings, const struct plan_volume *plan, const char *suffix,
          char path[PATH_MAX]) {
  int len = snprintf(path, PATH_MAX, "%s/volumes/%s.conf%s", settings->runtime, plan->config.name,
                     suffix);
  return len < PATH_MAX ? 0 : -ENAMETOOLONG;
}

void
sfd_command_forget(const struct settings *settings, const struct plan_volume *plan) {
  char path[PATH_MAX];
  if (file_name(settings, plan, "", path) == 0)
    unlink(path);
}

static int
write_text(const char *path, const char *text, size_t len) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd < 0)
    return -errno;
  ssize_t written = write(fd, text, len);
  int r = written < 0 ? -errno : (size_t) written < len ? -ENOSPC : 0;
  if (close(fd) < 0 && r == 0)
    r = -errno;
  return r;
}

static int
put_file(const struct settings *settings, const struct plan_volume *plan, const char *text,
         size_t text_len, char path[PATH_MAX]) {
  char folder[PATH_MAX], temporary[PATH_MAX];
  int len = snprintf(folder, sizeof folder, "%s/volumes", settings->runtime);
  int r = len < (int) sizeof folder ? 0 : -ENAMETOOLONG;
  if (r == 0 && mkdir(folder, 0755) < 0 && errno != EEXIST)
    r = -errno;
  if (r == 0)
    r = file_name(settings, plan, "", path);
  if (r == 0)
    r = file_name(settings, plan, ".new", temporary);
  if (r == 0)
    r = write_text(temporary, text, text_len);
  if (r == 0 && rename(temporary, path) < 0)
    r = -errno;
  return r;
}

int
sfd_command_make(const struct settings *settings, const struct plan_volume *plan, bool force,
                 const char *with, struct server_command *command,
                 char error[SF_CONFIG_ERROR_MAX]) {
  char *text;
  size_t len;
  int r = sf_config_write(&plan->config, &text, &len, error);
  if (r < 0)
    return r;
  r = put_file(settings, plan, text, len, command->file);
  free(text);
  if (r < 0) {
    sf_config_error(error, "%.200s/volumes/%s.conf: %s", settings->runtime, plan->config.name,
                    strerror(-r));
    return r;
  }
  snprintf(command->threads, sizeof command->threads, "--threads=%u", plan->config.threads);
  const char *const words[] = {settings->nbdkit,    "--foreground",   command->threads, "-D",
                               "surefoot.events=0", settings->plugin, command->file};
  memset(command->argv, 0, sizeof command->argv);
  memcpy(command->argv, words, sizeof words);
  if (with)
    snprintf(command->force, sizeof command->force, "force_with=%s", with);
  else if (force)
    snprintf(command->force, sizeof command->force, "force=true");
  if (with || force)
    command->argv[sizeof words / sizeof words[0]] = command->force;
  return 0;
}

/* A volume's file follows what was done with its legs: one section is changed, every other byte stays, and the old
 * file is kept beside it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"

/* Begins the line a section?  name "": any. */
static bool
begins_section(const char *line, const char *name) {
  char found[SF_LEG_NAME_MAX] = "";
  line += strspn(line, " \t");
  if (*name == '\0')
    return *line == '[';
  return sscanf(line, "[leg %31[^] \t]", found) == 1 && strcmp(found, name) == 0;
}

static bool
is_path(const char *line) {
  line += strspn(line, " \t");
  return strncmp(line, "path", 4) == 0 && line[4 + strspn(line + 4, " \t")] == '=';
}

/* path NULL: the leg's section goes; else its path is this, in a section of its own where it has none. */
static bool
copy_changed(FILE *from, FILE *to, const char *leg, const char *path) {
  char *line = NULL;
  size_t size = 0;
  bool inside = false, written = false, ends_line = true;
  while (getline(&line, &size, from) >= 0) {
    if (begins_section(line, ""))
      inside = begins_section(line, leg);
    ends_line = strchr(line, '\n') != NULL;
    if (inside && !path)
      continue;
    if (inside && is_path(line)) {
      fprintf(to, "%.*spath = %s\n", (int) strspn(line, " \t"), line, path);
      written = true;
    } else {
      fputs(line, to);
    }
  }
  free(line);
  if (path && !written)
    fprintf(to, "%s\n[leg %s]\npath = %s\n", ends_line ? "" : "\n", leg, path);
  return !ferror(from) && fflush(to) == 0 && fsync(fileno(to)) == 0;
}

/* The old one's mode and owner; what cannot be read as a volume's file is not put in its place. */
static int
make_new(const char *file, const char *made, const char *leg, const char *path) {
  static struct sf_config config;
  char error[SF_CONFIG_ERROR_MAX] = "";
  struct stat st;
  FILE *from = fopen(file, "re"), *to = NULL;
  int fd, r = from && fstat(fileno(from), &st) == 0 ? 0 : -errno;
  if (r == 0) {
    fd = open(made, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    to = fd < 0 ? NULL : fdopen(fd, "w");
    r = !to || fchmod(fd, st.st_mode & 07777) < 0 ||
                (geteuid() == 0 && fchown(fd, st.st_uid, st.st_gid) < 0)
            ? -errno
            : 0;
  }
  if (r == 0 && !copy_changed(from, to, leg, path))
    r = -EIO;
  if (from)
    fclose(from);
  if (to && fclose(to) != 0 && r == 0)
    r = -errno;
  if (r < 0)
    return ctl_fail("%s: %s", made, strerror(-r));
  if (sf_config_load(&config, made, error) < 0)
    return ctl_fail("%s is not changed: it would be wrong: %s", file, error);
  return CTL_DONE;
}

int
ctl_edit_leg(const char *file, const char *leg, const char *path) {
  char made[PATH_MAX], old[PATH_MAX];
  if (snprintf(made, sizeof made, "%s.new", file) >= PATH_MAX ||
      snprintf(old, sizeof old, "%s.old", file) >= PATH_MAX)
    return ctl_fail("%s: the name is too long", file);
  int status = make_new(file, made, leg, path);
  if (status == CTL_DONE &&
      ((unlink(old) < 0 && errno != ENOENT) || link(file, old) < 0 || rename(made, file) < 0))
    status = ctl_fail("%s: %s", file, strerror(errno));
  if (status != CTL_DONE) {
    unlink(made);
    return status;
  }
  printf("%s says so now; as it was: %s\n", file, old);
  return CTL_DONE;
}

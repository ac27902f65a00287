/* Edits a volume's file after a change of its legs: some lines are changed, every other byte stays,
 * and the old file is kept beside it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/keys.h"

enum { SECTION_MAX = SF_LEG_NAME_MAX + 16 };

struct lines {
  char **line;
  size_t count, size;
};

static void
free_lines(struct lines *lines) {
  for (size_t i = 0; i < lines->count; i++)
    free(lines->line[i]);
  free(lines->line);
}

/* text NULL: out of memory. */
static int
put_line(struct lines *lines, size_t at, char *text) {
  if (text && lines->count == lines->size) {
    size_t size = lines->size ? 2 * lines->size : 64;
    char **larger = reallocarray(lines->line, size, sizeof *larger);
    if (larger) {
      lines->line = larger;
      lines->size = size;
    }
  }
  if (text == NULL || lines->count == lines->size) {
    free(text);
    return -ENOMEM;
  }
  memmove(&lines->line[at + 1], &lines->line[at], (lines->count++ - at) * sizeof *lines->line);
  lines->line[at] = text;
  return 0;
}

static void
drop_line(struct lines *lines, size_t at) {
  free(lines->line[at]);
  memmove(&lines->line[at], &lines->line[at + 1], (--lines->count - at) * sizeof *lines->line);
}

/* ---- what a line is ---- */

static bool
begins_section(const char *line) {
  return line[strspn(line, " \t")] == '[';
}

/* "leg   a" is [leg a]. */
static bool
begins_this(const char *line, const char *section) {
  char kind[16] = "", name[SF_LEG_NAME_MAX] = "", found[SECTION_MAX];
  line += strspn(line, " \t");
  if (sscanf(line, "[%15[^] \t] %31[^] \t]", kind, name) < 1)
    return false;
  snprintf(found, sizeof found, "%s%s%s", kind, *name ? " " : "", name);
  return strcmp(found, section) == 0;
}

static bool
has_key(const char *line, const char *key) {
  size_t len = strlen(key);
  line += strspn(line, " \t");
  return strncmp(line, key, len) == 0 && line[len + strspn(line + len, " \t")] == '=';
}

static bool
is_empty(const char *line) {
  return line[strspn(line, " \t\r\n")] == '\0';
}

/* ---- one change ---- */

static char *
make_setting(const struct sf_config_edit *edit) {
  char *text;
  return asprintf(&text, "%s = %s\n", edit->key, edit->value) < 0 ? NULL : text;
}

static char *
make_head(const char *section) {
  char *text;
  return asprintf(&text, "\n[%s]\n", section) < 0 ? NULL : text;
}

static char *
make_whole(const char *line) {
  char *text;
  return asprintf(&text, "%s\n", line) < 0 ? NULL : text;
}

/* [from, to) of the section with its head; false: there is none. */
static bool
find_section(const struct lines *lines, const char *section, size_t *from, size_t *to) {
  for (*from = 0; *from < lines->count; ++*from)
    if (begins_this(lines->line[*from], section))
      break;
  if (*from == lines->count)
    return false;
  for (*to = *from + 1; *to < lines->count && !begins_section(lines->line[*to]);)
    ++*to;
  return true;
}

/* The last line of a file may have no end. */
static int
put_behind(struct lines *lines, size_t at, char *text) {
  char *before = lines->line[at - 1], *whole;
  if (strchr(before, '\n') == NULL) {
    whole = make_whole(before);
    if (whole == NULL) {
      free(text);
      return -ENOMEM;
    }
    free(before);
    lines->line[at - 1] = whole;
  }
  return put_line(lines, at, text);
}

static int
add_section(struct lines *lines, const struct sf_config_edit *edit) {
  int r = lines->count == 0 ? -EINVAL : put_behind(lines, lines->count, make_head(edit->section));
  return r < 0 ? r : put_line(lines, lines->count, make_setting(edit));
}

static int
change(struct lines *lines, const struct sf_config_edit *edit) {
  size_t from, to, at;
  if (!find_section(lines, edit->section, &from, &to))
    return edit->value ? add_section(lines, edit) : 0;
  if (edit->key == NULL) {
    while (to-- > from)
      drop_line(lines, to);
    return 0;
  }
  for (at = from + 1; at < to && !has_key(lines->line[at], edit->key);)
    at++;
  if (at < to) {
    drop_line(lines, at);
  } else { /* behind the last line that says something */
    while (at > from + 1 && is_empty(lines->line[at - 1]))
      at--;
  }
  return edit->value ? put_behind(lines, at, make_setting(edit)) : 0;
}

/* ---- the file ---- */

static int
read_lines(FILE *from, struct lines *lines) {
  char *line = NULL;
  size_t size = 0;
  int r = 0;
  while (r == 0 && getline(&line, &size, from) >= 0)
    r = put_line(lines, lines->count, strdup(line));
  free(line);
  return r == 0 && ferror(from) ? -EIO : r;
}

/* The old one's mode and owner. */
static int
write_new(const char *made, const struct stat *st, const struct lines *lines) {
  int fd = open(made, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  FILE *to = fd < 0 ? NULL : fdopen(fd, "w");
  int r = 0;
  if (to == NULL)
    return -errno;
  if (fchmod(fd, st->st_mode & 07777) < 0 ||
      (geteuid() == 0 && fchown(fd, st->st_uid, st->st_gid) < 0))
    r = -errno;
  for (size_t i = 0; i < lines->count; i++)
    fputs(lines->line[i], to);
  if (r == 0 && (ferror(to) || fflush(to) != 0 || fsync(fd) < 0))
    r = -EIO;
  if (fclose(to) != 0 && r == 0)
    r = -errno;
  return r;
}

static int
make_new(const char *file, const char *made, const struct sf_config_edit *edit, unsigned edits) {
  struct lines lines = {0};
  struct stat st;
  FILE *from = fopen(file, "re");
  int r = from && fstat(fileno(from), &st) == 0 ? 0 : -errno;
  if (r == 0)
    r = read_lines(from, &lines);
  if (from)
    fclose(from);
  for (unsigned i = 0; i < edits && r == 0; i++)
    r = change(&lines, &edit[i]);
  if (r == 0)
    r = write_new(made, &st, &lines);
  free_lines(&lines);
  return r;
}

/* What cannot be read as a volume's file is not put in its place. */
static int
check_new(const char *file, const char *made, char error[SF_CONFIG_ERROR_MAX]) {
  struct sf_config *config = malloc(sizeof *config);
  char why[SF_CONFIG_ERROR_MAX] = "out of memory";
  int r = config ? sf_config_load(config, made, why) : -ENOMEM;
  free(config);
  if (r < 0)
    sf_config_error(error, "%.200s is not changed: it would be wrong: %.600s", file, why);
  return r;
}

/* surefootctl and surefootd may both have something to say of one leg's replacement.  The folder is
 * locked and not the file, which is another one afterwards. */
static int
lock_folder(const char *file) {
  const char *slash = strrchr(file, '/');
  char folder[PATH_MAX] = ".";
  if (slash)
    snprintf(folder, sizeof folder, "%.*s", (int) (slash + 1 - file), file);
  int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0 && flock(fd, LOCK_EX) == 0)
    return fd;
  int r = -errno;
  if (fd >= 0)
    close(fd);
  return r;
}

int
sf_config_edit(const char *file, const struct sf_config_edit *edit, unsigned edits,
               char error[SF_CONFIG_ERROR_MAX]) {
  char made[PATH_MAX], old[PATH_MAX];
  if (snprintf(made, sizeof made, "%s.new", file) >= PATH_MAX ||
      snprintf(old, sizeof old, "%s.old", file) >= PATH_MAX) {
    sf_config_error(error, "%.200s: the name is too long", file);
    return -ENAMETOOLONG;
  }
  int lock = lock_folder(file);
  int r = lock < 0 ? lock : make_new(file, made, edit, edits);
  if (r < 0)
    sf_config_error(error, "%.200s: %s", made, strerror(-r));
  else
    r = check_new(file, made, error);
  if (r == 0 &&
      ((unlink(old) < 0 && errno != ENOENT) || link(file, old) < 0 || rename(made, file) < 0)) {
    r = -errno;
    sf_config_error(error, "%.200s: %s", file, strerror(-r));
  }
  if (r < 0 && lock >= 0)
    unlink(made);
  if (lock >= 0)
    close(lock);
  return r;
}

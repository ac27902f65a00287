#include "device/in_use.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { PARTS_MAX = 64 };

struct parts {
  unsigned count;
  dev_t device[PARTS_MAX];
  char name[PARTS_MAX][32];
};

static void
add_part(struct parts *parts, const char *folder, const char *name) {
  char path[PATH_MAX];
  unsigned major_number, minor_number;
  snprintf(path, sizeof path, "%s/dev", folder);
  FILE *file = parts->count < PARTS_MAX ? fopen(path, "re") : NULL;
  if (!file)
    return;
  if (fscanf(file, "%u:%u", &major_number, &minor_number) == 2) {
    parts->device[parts->count] = makedev(major_number, minor_number);
    snprintf(parts->name[parts->count], sizeof parts->name[0], "%.31s", name);
    parts->count++;
  }
  fclose(file);
}

/* The device itself, and "nbd0p1". */
static void
find_parts(const char *name, struct parts *parts) {
  char folder[64], path[PATH_MAX];
  parts->count = 0;
  snprintf(folder, sizeof folder, "/sys/block/%.31s", name);
  add_part(parts, folder, name);
  DIR *dir = opendir(folder);
  if (!dir)
    return;
  for (struct dirent *entry; (entry = readdir(dir));)
    if (strncmp(entry->d_name, name, strlen(name)) == 0 && entry->d_name[strlen(name)] == 'p') {
      snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
      add_part(parts, path, entry->d_name);
    }
  closedir(dir);
}

static int
find_device(const struct parts *parts, dev_t device) {
  for (unsigned i = 0; i < parts->count; i++)
    if (parts->device[i] == device)
      return (int) i;
  return -1;
}

/* Of which part is this the device?  The file system is not asked anew: one that hangs, maybe that of a
 * leg, would hang us. */
static int
find_node(int folder, const char *path, const struct parts *parts) {
  struct statx found;
  if (statx(folder, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE, &found) < 0 ||
      !S_ISBLK(found.stx_mode))
    return -1;
  return find_device(parts, makedev(found.stx_rdev_major, found.stx_rdev_minor));
}

/* PID 1 sees what is mounted for all; in a sandbox only our own may be readable. */
static bool
is_mounted(const struct parts *parts, char *why, size_t size) {
  FILE *file = fopen("/proc/1/mountinfo", "re");
  if (!file)
    file = fopen("/proc/self/mountinfo", "re");
  if (!file)
    return false;
  char *line = NULL;
  size_t room = 0;
  bool found = false;
  while (!found && getline(&line, &room, file) > 0) {
    unsigned major_number, minor_number;
    int at = 0;
    if (sscanf(line, "%*u %*u %u:%u %*s %n", &major_number, &minor_number, &at) < 2 || at == 0)
      continue;
    int part = find_device(parts, makedev(major_number, minor_number));
    if (part < 0)
      continue;
    found = true;
    snprintf(why, size, "%s is mounted on %.*s", parts->name[part], (int) strcspn(line + at, " \n"),
             line + at);
  }
  free(line);
  fclose(file);
  return found;
}

static bool
is_swap(const struct parts *parts, char *why, size_t size) {
  FILE *file = fopen("/proc/swaps", "re");
  if (!file)
    return false;
  char *line = NULL;
  size_t room = 0;
  bool found = false;
  while (!found && getline(&line, &room, file) > 0) {
    char path[PATH_MAX], type[32];
    if (sscanf(line, "%4095s %31s", path, type) < 2 || strcmp(type, "partition") != 0)
      continue; /* a file, whose folders may hang */
    int part = find_node(AT_FDCWD, path, parts);
    if (part < 0)
      continue;
    found = true;
    snprintf(why, size, "%s is swap", parts->name[part]);
  }
  free(line);
  fclose(file);
  return found;
}

static bool
has_holder(const struct parts *parts, char *why, size_t size) {
  bool found = false;
  for (unsigned i = 0; i < parts->count && !found; i++) {
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "/sys/dev/block/%u:%u/holders", major(parts->device[i]),
             minor(parts->device[i]));
    DIR *dir = opendir(folder);
    if (!dir)
      continue;
    for (struct dirent *entry; !found && (entry = readdir(dir));)
      if (entry->d_name[0] != '.') {
        found = true;
        snprintf(why, size, "%s is part of %.64s", parts->name[i], entry->d_name);
      }
    closedir(dir);
  }
  return found;
}

/* statx() of /proc/PID/fd/N looks at the open file, and does not open the device. */
static bool
process_has(int fds, const struct parts *parts, int *part) {
  int copy = dup(fds);
  DIR *dir = copy < 0 ? NULL : fdopendir(copy);
  bool found = false;
  if (!dir)
    return false;
  for (struct dirent *entry; !found && (entry = readdir(dir));) {
    if (isdigit((unsigned char) entry->d_name[0]))
      found = (*part = find_node(fds, entry->d_name, parts)) >= 0;
  }
  closedir(dir);
  return found;
}

static bool
has_opener(const struct parts *parts, char *why, size_t size) {
  DIR *proc = opendir("/proc");
  bool found = false;
  if (!proc)
    return false;
  for (struct dirent *entry; !found && (entry = readdir(proc));) {
    char path[300], command[64] = "?";
    int part;
    if (!isdigit((unsigned char) entry->d_name[0]))
      continue;
    snprintf(path, sizeof path, "/proc/%s/fd", entry->d_name);
    int fds = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fds < 0)
      continue;
    found = process_has(fds, parts, &part);
    close(fds);
    if (!found)
      continue;
    snprintf(path, sizeof path, "/proc/%s/comm", entry->d_name);
    FILE *file = fopen(path, "re");
    if (file && fgets(command, sizeof command, file))
      command[strcspn(command, "\n")] = '\0';
    if (file)
      fclose(file);
    snprintf(why, size, "%s is open in %s (process %.16s)", parts->name[part], command,
             entry->d_name);
  }
  closedir(proc);
  return found;
}

bool
in_use(const char *name, char *why, size_t size) {
  struct parts parts;
  find_parts(name, &parts);
  if (parts.count == 0)
    return false;
  return is_mounted(&parts, why, size) || is_swap(&parts, why, size) ||
         has_holder(&parts, why, size) || has_opener(&parts, why, size);
}

int
in_use_exclusively(void *path) {
  int fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
  if (fd < 0)
    return -errno;
  close(fd);
  return 0;
}

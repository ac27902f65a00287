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

enum { PARTS_MAX = 64, STACK_MAX = 8 };

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
  if (file == NULL)
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
add_parts(const char *name, struct parts *parts) {
  char folder[64], path[PATH_MAX];
  snprintf(folder, sizeof folder, "/sys/block/%.31s", name);
  add_part(parts, folder, name);
  DIR *dir = opendir(folder);
  if (dir == NULL)
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

/* Of which part is this the device? AT_STATX_DONT_SYNC: a file system that hangs, maybe a leg's,
 * must not hang us. */
static int
find_node(int folder, const char *path, const struct parts *parts) {
  struct statx found;
  if (statx(folder, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE, &found) < 0 ||
      !S_ISBLK(found.stx_mode))
    return -1;
  return find_device(parts, makedev(found.stx_rdev_major, found.stx_rdev_minor));
}

/* ---- processes ---- */

static const char *
next_process(DIR *proc) {
  for (struct dirent *entry; (entry = readdir(proc));)
    if (isdigit((unsigned char) entry->d_name[0]))
      return entry->d_name;
  return NULL;
}

static void
read_command(const char *process, char *command, int size) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%.16s/comm", process);
  FILE *file = fopen(path, "re");
  snprintf(command, (size_t) size, "?");
  if (file && fgets(command, size, file))
    command[strcspn(command, "\n")] = '\0';
  if (file)
    fclose(file);
}

/* Is it a file of the file system that is on this part? Answered from memory, without waiting. */
static bool
is_file_on(int folder, const char *path, dev_t part) {
  struct statx found;
  return statx(folder, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE, &found) == 0 &&
         makedev(found.stx_dev_major, found.stx_dev_minor) == part;
}

static bool
process_is_on(const char *process, dev_t part) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%.16s", process);
  int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0)
    return false;
  bool found = is_file_on(folder, "cwd", part) || is_file_on(folder, "root", part) ||
               is_file_on(folder, "exe", part);
  int fds = found ? -1 : openat(folder, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  close(folder);
  DIR *dir = fds < 0 ? NULL : fdopendir(fds);
  if (dir == NULL)
    return found;
  for (struct dirent *entry; !found && (entry = readdir(dir));)
    found = isdigit((unsigned char) entry->d_name[0]) && is_file_on(fds, entry->d_name, part);
  closedir(dir);
  return found;
}

/* Names a process that keeps it from being unmounted. (None of btrfs, which gives its files a
 * device number of its own.) */
static void
add_user(dev_t part, char *why, size_t size) {
  DIR *proc = opendir("/proc");
  if (proc == NULL)
    return;
  for (const char *process; (process = next_process(proc));) {
    char command[64];
    if (!process_is_on(process, part))
      continue;
    read_command(process, command, sizeof command);
    snprintf(why, size, ", in use by %s (process %.16s)", command, process);
    break;
  }
  closedir(proc);
}

/* ---- mounts ---- */

static bool
is_btrfs_on(const char *uuid, const char *name) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "/sys/fs/btrfs/%.64s/devices/%.64s", uuid, name);
  return access(path, F_OK) == 0;
}

/* A mount of btrfs has a device number of its own, and names one of the disks that it is on. */
static int
find_btrfs(const char *line, const struct parts *parts) {
  char source[PATH_MAX], path[64];
  struct statx found;
  int part = -1;
  const char *type = strstr(line, " - btrfs ");
  DIR *dir = NULL;
  if (type && sscanf(type, " - btrfs %4095s", source) == 1 && strncmp(source, "/dev/", 5) == 0 &&
      statx(AT_FDCWD, source, AT_STATX_DONT_SYNC, STATX_TYPE, &found) == 0)
    dir = opendir("/sys/fs/btrfs");
  if (dir == NULL)
    return -1;
  snprintf(path, sizeof path, "/sys/dev/block/%u:%u", found.stx_rdev_major, found.stx_rdev_minor);
  ssize_t len = readlink(path, source, sizeof source - 1);
  source[len > 0 ? len : 0] = '\0';
  const char *slash = strrchr(source, '/');
  for (struct dirent *entry; slash && part < 0 && (entry = readdir(dir));)
    for (unsigned i = 0; is_btrfs_on(entry->d_name, slash + 1) && i < parts->count; i++)
      if (is_btrfs_on(entry->d_name, parts->name[i]))
        part = (int) i;
  closedir(dir);
  return part;
}

/* Of a line of mountinfo: the part that is mounted, or -1; and where. */
static int
find_mount(const char *line, const struct parts *parts, const char **point) {
  unsigned major_number, minor_number;
  int at = 0;
  *point = NULL;
  if (sscanf(line, "%*u %*u %u:%u %*s %n", &major_number, &minor_number, &at) < 2 || at == 0)
    return -1;
  *point = line + at;
  if (major_number == 0)
    return find_btrfs(line, parts);
  return find_device(parts, makedev(major_number, minor_number));
}

static bool
is_mounted_in(const char *mountinfo, const struct parts *parts, char *why, size_t size) {
  FILE *file = fopen(mountinfo, "re");
  if (file == NULL)
    return false;
  char *line = NULL;
  size_t room = 0;
  bool found = false;
  while (!found && getline(&line, &room, file) > 0) {
    const char *point;
    int part = find_mount(line, parts, &point);
    if (part < 0)
      continue;
    found = true;
    snprintf(why, size, "%s is mounted on %.*s", parts->name[part], (int) strcspn(point, " \n"),
             point);
    size_t used = strlen(why);
    add_user(parts->device[part], why + used, size - used);
  }
  free(line);
  fclose(file);
  return found;
}

/* What only a container sees. */
static bool
is_mounted_elsewhere(const struct parts *parts, char *why, size_t size) {
  enum { NAMESPACES_MAX = 64 };
  char seen[NAMESPACES_MAX][32], path[64];
  unsigned count = 0;
  DIR *proc = opendir("/proc");
  bool found = false;
  if (proc == NULL)
    return false;
  for (const char *process; !found && count < NAMESPACES_MAX && (process = next_process(proc));) {
    char *name = seen[count];
    snprintf(path, sizeof path, "/proc/%.16s/ns/mnt", process);
    ssize_t len = readlink(path, name, sizeof seen[0] - 1);
    if (len < 0)
      continue;
    name[len] = '\0';
    unsigned same = 0;
    while (strcmp(seen[same], name) != 0)
      same++;
    if (same < count)
      continue;
    count++;
    snprintf(path, sizeof path, "/proc/%.16s/mountinfo", process);
    found = is_mounted_in(path, parts, why, size);
  }
  closedir(proc);
  return found;
}

/* PID 1 sees the mounts of all; in a sandbox only our own may be readable. */
static bool
is_mounted(const struct parts *parts, char *why, size_t size) {
  return is_mounted_in("/proc/1/mountinfo", parts, why, size) ||
         is_mounted_in("/proc/self/mountinfo", parts, why, size) ||
         is_mounted_elsewhere(parts, why, size);
}

/* ---- swap, devices, openers ---- */

static bool
is_swap(const struct parts *parts, char *why, size_t size) {
  FILE *file = fopen("/proc/swaps", "re");
  if (file == NULL)
    return false;
  char *line = NULL;
  size_t room = 0;
  bool found = false;
  while (!found && getline(&line, &room, file) > 0) {
    char path[PATH_MAX], type[32];
    if (sscanf(line, "%4095s %31s", path, type) < 2 || strcmp(type, "partition") != 0)
      continue; /* a swap file: looking at its path may hang */
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

/* As LVM and cryptsetup know it. */
static void
add_mapper_name(const char *device, char *why, size_t size) {
  char path[PATH_MAX], name[128];
  snprintf(path, sizeof path, "/sys/block/%.64s/dm/name", device);
  FILE *file = fopen(path, "re");
  if (file == NULL)
    return;
  if (fgets(name, sizeof name, file))
    snprintf(why, size, " (%.*s)", (int) strcspn(name, "\n"), name);
  fclose(file);
}

struct stack {
  unsigned depth;
  bool (*counts)(const char *holder, unsigned depth, char *why, size_t size); /* NULL: each does */
};

static bool
is_part_of(const char *part, const char *holder, const struct stack *stack, char *why,
           size_t size) {
  if (stack->counts)
    return stack->counts(holder, stack->depth + 1, why, size);
  snprintf(why, size, "%s is part of %.64s", part, holder);
  add_mapper_name(holder, why + strlen(why), size - strlen(why));
  return true;
}

static DIR *
open_holders(dev_t device) {
  char folder[PATH_MAX];
  snprintf(folder, sizeof folder, "/sys/dev/block/%u:%u/holders", major(device), minor(device));
  return opendir(folder);
}

static bool
has_holder(const struct parts *parts, const struct stack *stack, char *why, size_t size) {
  bool found = false;
  for (unsigned i = 0; i < parts->count && !found; i++) {
    DIR *dir = open_holders(parts->device[i]);
    if (dir == NULL)
      continue;
    for (struct dirent *entry; !found && (entry = readdir(dir));)
      found =
          entry->d_name[0] != '.' && is_part_of(parts->name[i], entry->d_name, stack, why, size);
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
  if (dir == NULL)
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
  if (proc == NULL)
    return false;
  for (const char *process; !found && (process = next_process(proc));) {
    char path[64], command[64];
    int part;
    snprintf(path, sizeof path, "/proc/%.16s/fd", process);
    int fds = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fds < 0)
      continue;
    found = process_has(fds, parts, &part);
    close(fds);
    if (!found)
      continue;
    read_command(process, command, sizeof command);
    snprintf(why, size, "%s is open in %s (process %.16s)", parts->name[part], command, process);
  }
  closedir(proc);
  return found;
}

static bool
is_used(const char *name, const struct stack *stack, char *why, size_t size) {
  struct parts parts = {.count = 0};
  add_parts(name, &parts);
  if (parts.count == 0)
    return false;
  return is_mounted(&parts, why, size) || is_swap(&parts, why, size) ||
         has_holder(&parts, stack, why, size) || has_opener(&parts, why, size);
}

static bool
is_used_above(const char *name, unsigned depth, char *why, size_t size) {
  return depth < STACK_MAX &&
         is_used(name, &(struct stack){.depth = depth, .counts = is_used_above}, why, size);
}

bool
sfd_in_use(const char *name, char *why, size_t size) {
  return is_used(name, &(struct stack){0}, why, size);
}

bool
sfd_in_use_at_last(const char *name, char *why, size_t size) {
  return is_used_above(name, 0, why, size);
}

/* ---- what can be ended ---- */

/* With all that is stacked on it. */
static void
add_stack(const char *name, unsigned depth, struct parts *all) {
  unsigned from = all->count, to;
  add_parts(name, all);
  to = all->count;
  for (unsigned i = from; i < to && depth < STACK_MAX; i++) {
    DIR *dir = open_holders(all->device[i]);
    if (dir == NULL)
      continue;
    for (struct dirent *entry; (entry = readdir(dir));)
      if (entry->d_name[0] != '.')
        add_stack(entry->d_name, depth + 1, all);
    closedir(dir);
  }
}

/* "\\040" is a space there. */
static void
read_path(const char *text, char *path, size_t size) {
  size_t used = 0;
  for (; *text && *text != ' ' && *text != '\n' && used + 1 < size; text++) {
    unsigned code;
    int digits = 0;
    char c = *text;
    if (c == '\\' && sscanf(text + 1, "%3o%n", &code, &digits) == 1 && digits == 3) {
      c = (char) code;
      text += digits;
    }
    path[used++] = c;
  }
  path[used] = '\0';
}

static bool
is_beneath(const char *point, const char *above) {
  size_t len = strlen(above);
  return strncmp(point, above, len) == 0 && point[len] == '/';
}

static bool
is_on_mounts(const char *path, const struct sfd_in_use_list *list, unsigned mounts) {
  for (unsigned i = 0; i < mounts; i++)
    if (is_beneath(path, list->unit[i]))
      return true;
  return false;
}

/* A mount beneath one of ours keeps that busy, whatever it is of. */
static void
list_mounts(const struct parts *parts, struct sfd_in_use_list *list) {
  FILE *file = fopen("/proc/1/mountinfo", "re");
  char *line = NULL;
  size_t room = 0;
  while (file && list->count < SFD_IN_USE_LIST_MAX && getline(&line, &room, file) > 0) {
    char *unit = list->unit[list->count];
    const char *point;
    int part = find_mount(line, parts, &point);
    if (point == NULL)
      continue;
    read_path(point, unit, sizeof list->unit[0]);
    list->count += part >= 0 || is_on_mounts(unit, list, list->count);
  }
  free(line);
  if (file)
    fclose(file);
}

/* As systemd-escape does it: "dev-dm\\x2d3.swap". */
static void
name_swap(const char *path, char *unit, size_t size) {
  size_t used = 0;
  for (path += *path == '/'; *path && used + sizeof "\\x2d.swap" < size; path++)
    if (isalnum((unsigned char) *path) || strchr(":_.", *path))
      unit[used++] = *path;
    else if (*path == '/')
      unit[used++] = '-';
    else
      used += (size_t) snprintf(unit + used, size - used, "\\x%02x", (unsigned char) *path);
  snprintf(unit + used, size - used, ".swap");
}

static bool
is_listed_loop(const char *name, const struct sfd_in_use_list *list) {
  for (unsigned i = 0; i < list->loops; i++)
    if (strcmp(list->loop[i], name) == 0)
      return true;
  return false;
}

/* A loop device on a file of these mounts keeps them busy, and has its own in the way. */
static void
add_loop(const char *name, struct parts *all, struct sfd_in_use_list *list) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "/sys/block/%.31s/loop/backing_file", name);
  FILE *file = fopen(path, "re");
  if (file == NULL)
    return;
  bool has = fgets(path, sizeof path, file) != NULL;
  fclose(file);
  if (!has || !is_on_mounts(path, list, list->count))
    return;
  snprintf(list->loop[list->loops++], sizeof list->loop[0], "%.31s", name);
  add_stack(name, 0, all);
}

/* False: there is none more. */
static bool
add_loops(struct parts *all, struct sfd_in_use_list *list) {
  DIR *dir = opendir("/sys/block");
  unsigned loops = list->loops;
  for (struct dirent *entry; dir && (entry = readdir(dir));)
    if (strncmp(entry->d_name, "loop", 4) == 0 && list->loops < SFD_IN_USE_LOOPS_MAX &&
        !is_listed_loop(entry->d_name, list))
      add_loop(entry->d_name, all, list);
  if (dir)
    closedir(dir);
  return list->loops > loops;
}

/* A swap file keeps its filesystem busy; looking at its path may hang. */
static void
list_swaps(const struct parts *parts, struct sfd_in_use_list *list) {
  FILE *file = fopen("/proc/swaps", "re");
  char text[PATH_MAX], path[PATH_MAX], type[32];
  unsigned mounts = list->count;
  while (file && list->count < SFD_IN_USE_LIST_MAX &&
         fscanf(file, "%4095s %31s%*[^\n]", text, type) == 2) {
    read_path(text, path, sizeof path);
    if (strcmp(type, "partition") == 0 ? find_node(AT_FDCWD, path, parts) >= 0
                                       : is_on_mounts(path, list, mounts))
      name_swap(path, list->unit[list->count++], sizeof list->unit[0]);
  }
  if (file)
    fclose(file);
}

void
sfd_in_use_list(const char *name, struct sfd_in_use_list *list) {
  struct parts parts = {.count = 0};
  add_stack(name, 0, &parts);
  list->count = list->loops = 0;
  if (parts.count == 0)
    return;
  do {
    list->count = 0;
    list_mounts(&parts, list);
  } while (add_loops(&parts, list));
  list_swaps(&parts, list);
}

int
sfd_in_use_exclusively(void *path) {
  int fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
  if (fd < 0)
    return -errno;
  close(fd);
  return 0;
}

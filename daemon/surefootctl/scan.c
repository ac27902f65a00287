/* The legs on this machine, by their superblocks: which volume each is of, and whether that would
 * start. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <surefoot/legfile.h>

#include "base/units.h"
#include "ctl.h"

enum { DEVICES_MAX = 512, OPEN_TIMEOUT_S = 10 };

#define SYS_BLOCK "/sys/class/block"

struct device {
  char path[PATH_MAX];
  struct sf_leg_found found;
  bool told; /* with its volume */
};

struct volume {
  struct sf_config config; /* legs in the order of the volume's places */
  struct sf_leg_found found[SF_LEGS_MAX];
  const struct device *device[SF_LEGS_MAX]; /* NULL: not found */
  struct sf_assembly assembly;
  const struct sf_superblock *newest;
};

static struct device device[DEVICES_MAX];
static unsigned devices;

/* ---- which devices ---- */

static uint64_t
read_number(const char *name, const char *file) {
  char path[PATH_MAX];
  unsigned long long number = 0;
  snprintf(path, sizeof path, SYS_BLOCK "/%.200s/%s", name, file);
  FILE *stream = fopen(path, "re");
  if (stream == NULL)
    return 0;
  if (fscanf(stream, "%llu", &number) != 1)
    number = 0;
  fclose(stream);
  return number;
}

/* A path of a multipath disk, a part of an array: the device that is made of it is looked at. */
static bool
is_held(const char *name) {
  char path[PATH_MAX];
  struct dirent *entry;
  bool held = false;
  snprintf(path, sizeof path, SYS_BLOCK "/%.200s/holders", name);
  DIR *folder = opendir(path);
  while (folder && (entry = readdir(folder)))
    held = held || entry->d_name[0] != '.';
  if (folder)
    closedir(folder);
  return held;
}

/* Not memory, and not network block devices, which volumes are seen by. */
static int
is_wanted(const struct dirent *entry) {
  static const char *const not [] = {".", "ram", "zram", "nbd"};
  for (unsigned i = 0; i < sizeof not / sizeof not [0]; i++)
    if (strncmp(entry->d_name, not [i], strlen(not [i])) == 0)
      return 0;
  return read_number(entry->d_name, "size") > 0 && !is_held(entry->d_name);
}

static int
add(const char *path) {
  char real[PATH_MAX];
  if (realpath(path, real) == NULL)
    return ctl_fail("%s: %s", path, strerror(errno));
  if (devices == DEVICES_MAX)
    return ctl_fail("more than %d devices: name them", DEVICES_MAX);
  for (unsigned i = 0; i < devices; i++)
    if (strcmp(device[i].path, real) == 0)
      return CTL_DONE;
  memcpy(device[devices++].path, real, strlen(real) + 1);
  return CTL_DONE;
}

static int
add_all(void) {
  struct dirent **entry;
  int n = scandir(SYS_BLOCK, &entry, is_wanted, alphasort), status = CTL_DONE;
  if (n < 0)
    return ctl_fail(SYS_BLOCK ": %s", strerror(errno));
  for (int i = 0; i < n; i++) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "/dev/%s", entry[i]->d_name);
    if (status == CTL_DONE && access(path, F_OK) == 0)
      status = add(path);
    free(entry[i]);
  }
  free(entry);
  return status;
}

/* ---- looking ---- */

/* So many at once; a hung one is waited for no longer than the others. */
static int
look_at(unsigned first, bool named) {
  static struct sf_config config;
  static struct sf_leg_file file[SF_LEGS_MAX];
  static struct sf_leg_found found[SF_LEGS_MAX];
  static char leg_error[SF_LEGS_MAX][SF_CONFIG_ERROR_MAX];
  char error[SF_CONFIG_ERROR_MAX] = "";
  sf_config_init(&config);
  memset(leg_error, 0, sizeof leg_error);
  for (; config.legs < SF_LEGS_MAX && first + config.legs < devices; config.legs++) {
    snprintf(config.leg[config.legs].name, SF_LEG_NAME_MAX, "%u", config.legs);
    memcpy(config.leg[config.legs].path, device[first + config.legs].path, PATH_MAX);
  }
  int r = sf_leg_files_open(ctl_openers(), &config, SF_LEG_READ_ONLY, OPEN_TIMEOUT_S * SF_S, file,
                            found, leg_error, error);
  if (r < 0)
    return ctl_fail("%s", *error ? error : strerror(-r));
  for (unsigned i = 0; i < config.legs; i++) {
    device[first + i].found = found[i];
    if (!found[i].present && (named || found[i].error == -ETIMEDOUT))
      ctl_fail("%s", *leg_error[i] ? leg_error[i] : device[first + i].path);
    sf_leg_file_close(&file[i]);
  }
  return CTL_DONE;
}

static bool
is_leg(const struct device *one) {
  return one->found.present && one->found.error == 0;
}

static bool
same_uuid(const struct sf_uuid *a, const struct sf_uuid *b) {
  return memcmp(a, b, sizeof *a) == 0;
}

/* Its superblocks are lost, and its mark tells whose it is. */
static bool
is_headless(const struct device *one) {
  return !is_leg(one) && one->found.marked;
}

/* ---- a volume ---- */

static const struct sf_superblock *
find_newest(const struct sf_uuid *volume) {
  const struct sf_superblock *newest = NULL;
  for (unsigned i = 0; i < devices; i++) {
    const struct sf_superblock *sb = &device[i].found.sb;
    if (is_leg(&device[i]) && same_uuid(&sb->volume, volume) &&
        (newest == NULL || sf_record_compare(&sb->record, &newest->record) > 0))
      newest = sb;
  }
  return newest;
}

static void
take(struct volume *volume, unsigned place, struct device *one) {
  one->told = true;
  volume->device[place] = one;
  volume->found[place] = one->found;
  memcpy(volume->config.leg[place].path, one->path, PATH_MAX);
}

/* A disk that says all of itself goes before one that has its mark only. */
static void
take_headless(struct volume *volume) {
  for (unsigned place = 0; place < volume->newest->legs; place++)
    for (unsigned i = 0; i < devices && volume->device[place] == NULL; i++)
      if (is_headless(&device[i]) && !(volume->newest->removed >> place & 1) &&
          sf_mark_is_leg(&device[i].found.mark, volume->newest, place))
        take(volume, place, &device[i]);
}

static void
gather(struct volume *volume, const struct sf_uuid *uuid) {
  const struct sf_superblock *newest = find_newest(uuid);
  memset(volume, 0, sizeof *volume);
  sf_config_init(&volume->config);
  volume->newest = newest;
  volume->config.min_legs = newest->record.min_legs;
  volume->config.legs = newest->legs;
  memcpy(volume->config.name, newest->volume_name, sizeof volume->config.name);
  for (unsigned place = 0; place < newest->legs; place++) {
    volume->found[place] = (struct sf_leg_found){.error = -ENOENT};
    if (newest->removed >> place & 1)
      continue;
    memcpy(volume->config.leg[place].name, newest->leg_name[place], SF_LEG_NAME_MAX);
    for (unsigned i = 0; i < devices && volume->device[place] == NULL; i++) {
      const struct sf_superblock *sb = &device[i].found.sb;
      if (!is_leg(&device[i]) || !same_uuid(&sb->volume, uuid) || sb->leg_index != place ||
          !same_uuid(&sb->leg_uuid[place], &newest->leg_uuid[place]))
        continue;
      take(volume, place, &device[i]);
    }
  }
  take_headless(volume);
  sf_assemble(&volume->config, volume->found, false, &volume->assembly);
}

/* ---- telling ---- */

static const char *
says(const struct volume *volume) {
  return volume->assembly.may_start ? "would start" : "would not start";
}

static void
print_volume(const struct volume *volume) {
  static const char *const headings[] = {"LEG", "PATH", "VERDICT"};
  struct ctl_table table;
  char uuid[37];
  sf_uuid_format(&volume->newest->volume, uuid);
  ctl_put_coloured(volume->config.name, CTL_BOLD);
  printf(" (%s): ", uuid);
  ctl_put_coloured(says(volume), volume->assembly.may_start ? CTL_GREEN : CTL_RED);
  printf(": %s\n", volume->assembly.reason);
  ctl_table_init(&table, 3, headings);
  for (unsigned i = 0; i < volume->config.legs; i++) {
    if (!volume->config.leg[i].name[0])
      continue;
    ctl_table_row(&table);
    ctl_table_cell(&table, 0, volume->config.leg[i].name, CTL_PLAIN);
    ctl_table_cell(&table, 1, volume->device[i] ? volume->device[i]->path : "-", CTL_PLAIN);
    ctl_table_cell(&table, 2,
                   volume->device[i] ? sf_verdict_name(volume->assembly.verdict[i]) : "not found",
                   volume->device[i] ? CTL_PLAIN : CTL_YELLOW);
  }
  ctl_table_print(&table);
}

static json_t *
volume_to_json(const struct volume *volume) {
  json_t *legs = json_array();
  for (unsigned i = 0; i < volume->config.legs; i++)
    if (volume->config.leg[i].name[0])
      json_array_append_new(
          legs,
          json_pack("{ss so ss}", "name", volume->config.leg[i].name, "path",
                    volume->device[i] ? ctl_text_to_json(volume->device[i]->path) : json_null(),
                    "verdict", sf_verdict_name(volume->assembly.verdict[i])));
  return json_pack("{ss so sb ss so}", "name", volume->config.name, "uuid",
                   ctl_uuid_to_json(&volume->newest->volume), "would_start",
                   (int) volume->assembly.may_start, "reason", volume->assembly.reason, "legs",
                   legs);
}

/* A name that stays when disks are found in another order. */
static const char *
lasting_name(const char *path, char name[PATH_MAX]) {
  static const char folder[] = "/dev/disk/by-id";
  struct dirent **entry;
  const char *lasting = path;
  int n = strncmp(path, "/dev/", 5) == 0 ? scandir(folder, &entry, NULL, alphasort) : 0;
  for (int i = 0; i < n; i++) {
    char real[PATH_MAX];
    if (lasting == path && entry[i]->d_name[0] != '.') {
      snprintf(name, PATH_MAX, "%s/%s", folder, entry[i]->d_name);
      if (realpath(name, real) && strcmp(real, path) == 0)
        lasting = name;
    }
    free(entry[i]);
  }
  if (n > 0)
    free(entry);
  return lasting;
}

static int
write_conf(const struct volume *volume, const char *file) {
  int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  FILE *stream = fd < 0 ? NULL : fdopen(fd, "w");
  char name[PATH_MAX];
  if (stream == NULL)
    return ctl_fail("%s: %s", file, strerror(errno));
  fprintf(
      stream,
      "; Made by surefootctl scan from what the legs say.\n[volume]\nname = %s\nmin_legs = %u\n",
      volume->config.name, volume->config.min_legs);
  for (unsigned i = 0; i < volume->config.legs; i++) {
    const char *leg = volume->config.leg[i].name;
    if (leg[0] && volume->device[i])
      fprintf(stream, "\n[leg %s]\npath = %s\n", leg, lasting_name(volume->device[i]->path, name));
    else if (leg[0])
      fprintf(stream, "\n; [leg %s] was not found\n", leg);
  }
  bool failed = ferror(stream) != 0;
  if (fclose(stream) != 0 || failed)
    return ctl_fail("%s: %s", file, strerror(errno));
  printf("%s is written; `surefootctl check %s` tells whether it would start\n", file, file);
  return CTL_DONE;
}

/* What claims a place that another disk has, or that the volume has given away. */
static void
print_others(bool quiet) {
  char mark[SF_MARK_TEXT_MAX];
  for (unsigned i = 0; i < devices && !quiet; i++)
    if (is_headless(&device[i]) && !device[i].told) {
      fputs(device[i].path, stdout);
      printf(": %s\n", sf_mark_text(&device[i].found, mark));
    } else if (is_leg(&device[i]) && !device[i].told) {
      fputs(device[i].path, stdout);
      printf(": was leg %s of %s, and is none of it now\n",
             device[i].found.sb.leg_name[device[i].found.sb.leg_index],
             device[i].found.sb.volume_name);
    }
}

static int
tell(bool json, const char *file) {
  static struct volume volume;
  json_t *list = json_array();
  unsigned volumes = 0;
  int status = CTL_DONE;
  for (unsigned i = 0; i < devices; i++) {
    bool first = is_leg(&device[i]);
    for (unsigned k = 0; k < i && first; k++)
      first =
          !is_leg(&device[k]) || !same_uuid(&device[k].found.sb.volume, &device[i].found.sb.volume);
    if (!first)
      continue;
    if (volumes++ > 0 && !json)
      putchar('\n');
    gather(&volume, &device[i].found.sb.volume);
    if (json)
      json_array_append_new(list, volume_to_json(&volume));
    else
      print_volume(&volume);
  }
  print_others(json);
  if (json)
    status = ctl_print_json(list);
  else if (volumes == 0)
    status = ctl_fail("no leg of a volume on %u device%s", devices, devices == 1 ? "" : "s");
  json_decref(list);
  if (file && volumes > 1)
    return ctl_fail("--write: %u volumes: name the devices of one of them", volumes);
  return file && volumes == 1 ? write_conf(&volume, file) : status;
}

int
ctl_scan(struct ctl_command_call *call) {
  static const struct option options[] = {
      {"json", no_argument, NULL, 'j'}, {"write", required_argument, NULL, 'w'}, {0}};
  const char *file = NULL;
  bool json = false;
  int option, status = CTL_DONE;
  while ((option = ctl_next_option(call, options)) != -1) {
    if (option == '?')
      return CTL_USAGE;
    if (option == 'w')
      file = optarg;
    else
      json = true;
  }
  bool named = call->argc > optind;
  for (int i = optind; i < call->argc && status == CTL_DONE; i++)
    status = add(call->argv[i]);
  if (!named)
    status = add_all();
  for (unsigned first = 0; first < devices && status == CTL_DONE; first += SF_LEGS_MAX)
    status = look_at(first, named);
  return status == CTL_DONE ? tell(json, file) : status;
}

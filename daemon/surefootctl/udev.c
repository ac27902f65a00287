/* Properties of a block device for udev (60-surefoot.rules): a leg's superblock, or the volume that
 * it is. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <surefoot/ondisk.h>

#include "ctl.h"

static void
print_leg(const struct sf_superblock *sb) {
  char volume[37], leg[37];
  sf_uuid_format(&sb->volume, volume);
  sf_uuid_format(&sb->leg_uuid[sb->leg_index], leg);
  printf("ID_FS_TYPE=surefoot_member\nID_FS_USAGE=raid\nID_FS_UUID=%s\nID_FS_UUID_ENC=%s\n"
         "ID_FS_UUID_SUB=%s\nID_FS_UUID_SUB_ENC=%s\nID_FS_LABEL=%s:%s\nID_FS_LABEL_ENC=%s:%s\n",
         volume, volume, leg, leg, sb->volume_name, sb->leg_name[sb->leg_index], sb->volume_name,
         sb->leg_name[sb->leg_index]);
}

/* False: it is none. */
static bool
is_leg(const char *path, struct sf_superblock *sb) {
  static uint8_t page[SF_SUPERBLOCK_COPIES][SF_PAGE_BYTES];
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return false;
  for (unsigned i = 0; i < SF_SUPERBLOCK_COPIES; i++)
    if (pread(fd, page[i], sizeof page[i], (off_t) SF_SUPERBLOCK_OFFSET(i)) != sizeof page[i])
      memset(page[i], 0, sizeof page[i]);
  close(fd);
  return sf_superblock_pick((const uint8_t(*)[SF_PAGE_BYTES]) page, sb, NULL) == 0;
}

/* The device may be another server's by now: its backend identifier in sysfs must be this
 * volume's. */
static bool
is_of(const json_t *volume, const char *path, const char *backend) {
  const json_t *device = json_object_get(json_object_get(volume, "service"), "device");
  return strcmp(ctl_json_text(device, "path"), path) == 0 &&
         strcmp(ctl_json_text(volume, "uuid"), backend) == 0;
}

static int
print_volume(const struct ctl_command_call *call, const char *path, const char *backend) {
  struct ctl_sockets sockets = {.count = 1};
  json_t *volumes = json_array(), *problems = NULL, *volume;
  size_t i;
  int status = ctl_find_daemon(call, sockets.path[0]);
  if (status == CTL_DONE)
    status = ctl_collect_status(&sockets, NULL, volumes, &problems);
  if (status == CTL_DONE)
    status = CTL_FAILED;
  json_array_foreach(volumes, i, volume) {
    if (!is_of(volume, path, backend))
      continue;
    printf("SUREFOOT_VOLUME=%s\n", ctl_json_text(volume, "name"));
    status = CTL_DONE;
  }
  json_decref(volumes);
  json_decref(problems);
  return status;
}

int
ctl_udev(struct ctl_command_call *call) {
  static const struct option options[] = {{0}};
  struct sf_superblock sb;
  if (ctl_next_option(call, options) != -1)
    return CTL_USAGE;
  int argc = call->argc - optind;
  if (argc < 1 || argc > 2)
    return ctl_wrong_usage(call->command,
                           "udev: DEVICE is needed, and of an nbd device its BACKEND");
  const char *path = call->argv[optind];
  if (argc == 2)
    return print_volume(call, path, call->argv[optind + 1]);
  if (!is_leg(path, &sb))
    return CTL_FAILED;
  print_leg(&sb);
  return CTL_DONE;
}

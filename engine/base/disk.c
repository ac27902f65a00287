#include "base/disk.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

bool
sf_disk_has_name(dev_t number) {
  char path[64];

  snprintf(path, sizeof path, "/sys/dev/block/%u:%u", major(number), minor(number));
  return access(path, F_OK) == 0;
}

/* A disk (SCSI, NVMe) is offline when its path has been down for too long, or when it is being
 * removed; a partition has the state of its disk. */
static bool
is_offline(dev_t number) {
  static const char *const dead[] = {"offline", "transport-offline", "cancel",
                                     "deleted", "deleting",          "dead"};
  static const char *const of[] = {"", "../"};
  char path[80], state[32] = "";

  for (unsigned i = 0; i < sizeof of / sizeof of[0]; i++) {
    FILE *file;

    snprintf(path, sizeof path, "/sys/dev/block/%u:%u/%sdevice/state", major(number), minor(number),
             of[i]);
    file = fopen(path, "re");
    if (file == NULL)
      continue;
    if (fscanf(file, "%31s", state) != 1)
      state[0] = '\0';
    fclose(file);
    break;
  }
  for (unsigned i = 0; i < sizeof dead / sizeof dead[0]; i++)
    if (strcmp(state, dead[i]) == 0)
      return true;
  return false;
}

bool
sf_disk_is_gone(int fd, dev_t number, bool named) {
  uint64_t bytes = 0;

  if (ioctl(fd, BLKGETSIZE64, &bytes) < 0)
    return errno == ENODEV || errno == ENXIO || errno == ENOMEDIUM;
  return bytes == 0 || (named && !sf_disk_has_name(number)) || is_offline(number);
}

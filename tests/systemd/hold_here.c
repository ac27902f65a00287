/* `surefootd --hold` of a machine with a folder for its one device: hold_here FOLDER.  "held" in it
 * says what holds the device. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "device/device.h"
#include "device/in_use.h"
#include "hold/hold.h"

static const char *folder;

bool
sfd_in_use(const char *name, char *why, size_t size) {
  char path[256];
  snprintf(path, sizeof path, "%s/held", folder);
  FILE *stream = fopen(path, "re");
  bool held = stream && fgets(why, (int) size, stream);
  if (stream)
    fclose(stream);
  return held;
}

bool
sfd_in_use_at_last(const char *name, char *why, size_t size) {
  return sfd_in_use(name, why, size);
}

void
sfd_in_use_list(const char *name, struct sfd_in_use_list *list) {
  list->count = list->loops = 0;
}

int
sfd_in_use_exclusively(void *path) {
  return 0;
}

int
main(int argc, char **argv) {
  static struct settings settings;
  if (argc != 2)
    return 2;
  folder = sfd_device_sysfs = argv[1];
  sfd_settings_init(&settings);
  snprintf(settings.runtime, sizeof settings.runtime, "%.60s", folder);
  snprintf(settings.control, sizeof settings.control, "%.60s/control", folder);
  sfd_log_open();
  sfd_hold_run(&settings);
  return 0;
}

#include "volumes/volumes.h"

#include <string.h>

#include "volumes/volume.h"

struct volume *
sfd_volumes_find(const struct volumes *volumes, const char *name) {
  SF_LIST_EACH(entry, &volumes->list) {
    struct volume *volume = SF_LIST_ENTRY(entry, struct volume, entry);
    if (strcmp(sfd_volume_name(volume), name) == 0)
      return volume;
  }
  return NULL;
}

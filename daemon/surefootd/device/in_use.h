/* Users of a block device: mounts, swap, devices stacked on it, processes that have it open. */
#ifndef SUREFOOTD_IN_USE_H
#define SUREFOOTD_IN_USE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

/* name: "nbd0"; its partitions count too.  Reads /proc and /sys only: never waits for the
 * device. */
bool sfd_in_use(const char *name, char *why, size_t size);
/* The same, but a device stacked on it counts only if it is in use itself: a volume group without a
 * mounted filesystem has nothing left to write. */
bool sfd_in_use_at_last(const char *name, char *why, size_t size);

/* What systemd can end to free it, by what systemctl takes: mount points, the last one mounted last, with what is
 * mounted beneath them, or of a file there; and then units of swap, on devices or in files on these mounts.  loop: devices
 * on files there, which keep them busy. */
enum { SFD_IN_USE_LIST_MAX = 64, SFD_IN_USE_LOOPS_MAX = 16 };
struct sfd_in_use_list {
  unsigned count, loops;
  char unit[SFD_IN_USE_LIST_MAX][PATH_MAX];
  char loop[SFD_IN_USE_LOOPS_MAX][32]; /* "loop3" */
};
void sfd_in_use_list(const char *name, struct sfd_in_use_list *list);

/* Asks the kernel, which also knows what /proc does not show.  path: of the device.  0, or -errno;
 * -EBUSY: it is in use.  May block: for a job. */
int sfd_in_use_exclusively(void *path);

#endif

/* Who holds a block device: mounts, swap, devices stacked on it, processes that have it open. */
#ifndef SUREFOOTD_IN_USE_H
#define SUREFOOTD_IN_USE_H

#include <stdbool.h>
#include <stddef.h>

/* name: "nbd0"; its partitions count too.  Reads /proc and /sys only: never waits for the device. */
bool in_use(const char *name, char *why, size_t size);

#endif

/* Storage that stalls on command, without kernel modules.
 *
 * A file on FUSE: nbdfuse in front of an nbdkit with a disk in memory.  While that nbdkit is
 * stopped (SIGSTOP), everything that reaches the file hangs, uninterruptibly, as on a stuck disk.
 * A loop device over the same file, with direct I/O, is a real block device (depth 128) that
 * stalls.
 *
 *      const char *why = stall_rig_missing(false);    a reason to skip, or NULL
 *      struct stall_rig *rig = stall_rig_start(&(struct stall_rig_params){.loop = true});
 *      int fd = stall_rig_open_loop(rig);             or stall_rig_open(): the FUSE file
 *      stall_rig_freeze(rig); ... stall_rig_thaw(rig);
 *      close(fd); stall_rig_stop(rig);
 *
 * Everything lives in a private folder.  A small process of its own, the janitor, thaws, unmounts,
 * detaches and removes when the test ends, however it ends.  Any failure here aborts the test. */
#ifndef STALL_RIG_H
#define STALL_RIG_H

#include <stdbool.h>
#include <stddef.h>

struct stall_rig;

struct stall_rig_params {
  size_t size; /* bytes; default 64 MiB */
  bool loop;   /* a loop device as well */
  /* A plain file to serve in place of memory: writes that do not go through the rig reach the same
   * bytes and do not stall. */
  const char *disk;
  /* Arguments for nbdkit before and after the plugin, NULL-terminated: {"--filter=delay", NULL} and
   * {"wdelay=50ms", NULL}.  "%D" at the start of one is replaced by the rig's folder. */
  const char *const *filters;
  const char *const *parameters;
};

/* Why it cannot run on this machine, or NULL. */
const char *stall_rig_missing(bool loop);

struct stall_rig *stall_rig_start(const struct stall_rig_params *params);
void stall_rig_stop(struct stall_rig *rig);

int stall_rig_open(struct stall_rig *rig);      /* O_RDWR | O_DIRECT */
int stall_rig_open_loop(struct stall_rig *rig); /* the same */

void stall_rig_freeze(struct stall_rig *rig); /* returns when it is frozen */
void stall_rig_thaw(struct stall_rig *rig);

/* The process to send SIGCONT to, for a thaw from elsewhere. */
int stall_rig_pid(const struct stall_rig *rig);

/* A path in the rig's folder, for a trigger file of a filter. */
const char *stall_rig_path(struct stall_rig *rig, const char *name);

#endif

/* Devices: examines a file, and decides which thread hands regions on it to the kernel. */
#include "timed_io/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/disk.h"

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

#define REMOVE_WAIT_NS SF_S

/* File systems of which it is known that they honour RWF_NOWAIT, or refuse it, instead of blocking
 * in submission, that RWF_DSYNC holds for asynchronous writes (FUSE hands it on and forgets it),
 * and that a hole reads as zeros. */
static bool
known_filesystem(int fd) {
  struct statfs fs;

  if (fstatfs(fd, &fs) < 0)
    return false;
  switch ((unsigned long) fs.f_type) {
  case EXT4_SUPER_MAGIC: /* ext2 and ext3 too */
  case XFS_SUPER_MAGIC:
  case BTRFS_SUPER_MAGIC:
  case F2FS_SUPER_MAGIC:
  case TMPFS_MAGIC:
    return true;
  }
  return false;
}

/* There a transfer is a copy, which does not wait for anything.  io_uring would give it to a worker
 * of the kernel, since RWF_NOWAIT is refused. */
static bool
in_memory(int fd) {
  struct statfs fs;

  return fstatfs(fd, &fs) == 0 && (unsigned long) fs.f_type == TMPFS_MAGIC;
}

/* A limit of the block device's queue; a partition's is that of its disk.  -1: not known. */
static long long
queue_limit(dev_t dev, const char *name) {
  static const char *const of[] = {"", "../"};
  long long limit = -1;

  for (unsigned i = 0; i < sizeof of / sizeof of[0] && limit < 0; i++) {
    char path[128];
    FILE *file;

    snprintf(path, sizeof path, "/sys/dev/block/%u:%u/%squeue/%s", major(dev), minor(dev), of[i],
             name);
    file = fopen(path, "re");
    if (file == NULL)
      continue;
    if (fscanf(file, "%lld", &limit) != 1)
      limit = -1;
    fclose(file);
  }
  return limit;
}

/* A disk that can zero by itself and cannot discard writes all of it, however long that takes; a
 * disk that can discard and not zero promises nothing of later reads. */
static bool
disk_punches(dev_t dev) {
  return queue_limit(dev, "discard_max_bytes") != 0 &&
         queue_limit(dev, "write_zeroes_max_bytes") != 0;
}

/* ---- is it there? ---- */

bool
sf_tio_device_is_gone(const struct sf_tio_device *device) {
  return device->is_block && sf_disk_is_gone(device->fd, (dev_t) device->number, device->named);
}

/* The descriptor keeps the lock on the leg, as a request in flight does (R7). */
int
sf_tio_presence_take(const struct sf_tio_device *device, struct sf_tio_presence *presence) {
  if (!device->is_block)
    return -ENOTBLK;
  *presence = (struct sf_tio_presence){.fd = fcntl(device->fd, F_DUPFD_CLOEXEC, 0),
                                       .named = device->named,
                                       .number = device->number};
  return presence->fd < 0 ? -errno : 0;
}

void
sf_tio_presence_asked(struct sf_tio_presence *presence) {
  close(presence->fd);
  presence->fd = -1;
}

static int
examine(struct sf_tio_device *device) {
  struct stat st;

  if (fstat(device->fd, &st) < 0)
    return -errno;
  device->inline_ok = S_ISBLK(st.st_mode) || (S_ISREG(st.st_mode) && known_filesystem(device->fd));
  device->dsync = device->inline_ok;
  device->in_memory = S_ISREG(st.st_mode) && in_memory(device->fd);
  /* Elsewhere fallocate's word is not taken for it: nbdfuse 1.14 says that it zeroed the whole
   * range and did 4 KiB, or trims, which promises nothing. */
  device->no_punch = device->no_zero_range = !device->inline_ok;
  device->is_block = S_ISBLK(st.st_mode);
  device->number = st.st_rdev;
  device->named = device->is_block && sf_disk_has_name(st.st_rdev);
  if (device->is_block)
    device->no_punch = !disk_punches(st.st_rdev);
  device->quick_zero = !device->no_punch;
  return 0;
}

static int
enter_table(struct sf_tio_client *client, struct sf_tio_device *device) {
  int error = -ENOSPC;

  pthread_mutex_lock(&client->lock);
  for (unsigned i = 0; i < SF_TIO_DEVICES_MAX && error; i++)
    if (client->devices[i] == NULL) {
      device->index = i;
      client->devices[i] = device;
      client->devices_n++;
      error = 0;
    }
  pthread_mutex_unlock(&client->lock);
  return error;
}

int
sf_tio_device_add(struct sf_tio_client *client, int fd, struct sf_tio_device **device) {
  struct sf_tio_device *added = calloc(1, sizeof *added);
  int error;

  if (added == NULL)
    return -ENOMEM;
  added->client = client;
  added->fd = fd;
  sf_list_init(&added->live);
  sf_list_init(&added->kept);
  error = examine(added);
  if (!error)
    error = sf_tio_device_thread_start(added);
  if (error) {
    free(added);
    return error;
  }
  error = enter_table(client, added);
  if (error) {
    sf_tio_device_thread_stop(added);
    free(added);
    return error;
  }
  *device = added;
  return 0;
}

/* Under client->lock.  The uses left when nothing runs end by themselves, and soon: a callback that
 * is about to return, a cancel that is being answered. */
static bool
wait_until_unused(struct sf_tio_device *device) {
  struct sf_tio_client *client = device->client;
  struct timespec until = sf_tio_timespec(sf_tio_now() + REMOVE_WAIT_NS);
  int error = 0;

  if (sf_tio_in_callout())
    return device->uses == 0;
  client->removers++;
  while (device->running == 0 && device->uses > 0 && error == 0)
    error = pthread_cond_timedwait(&client->unused, &client->lock, &until);
  client->removers--;
  return device->uses == 0;
}

int
sf_tio_device_remove(struct sf_tio_device *device) {
  struct sf_tio_client *client = device->client;
  bool unused, frozen;

  pthread_mutex_lock(&client->lock);
  frozen = device->frozen;
  pthread_mutex_unlock(&client->lock);
  if (frozen)
    sf_tio_device_thaw(device);
  pthread_mutex_lock(&client->lock);
  unused = wait_until_unused(device);
  if (unused) {
    client->devices[device->index] = NULL;
    client->devices_n--;
  }
  pthread_mutex_unlock(&client->lock);
  if (!unused)
    return -EBUSY;
  sf_tio_device_thread_stop(device);
  free(device);
  return 0;
}

int
sf_tio_device_submitter(const struct sf_tio_device *device) {
  return atomic_load(&device->device_thread.no_submitter);
}

void
sf_tio_device_set_user(struct sf_tio_device *device, void *user) {
  atomic_store(&device->user, user);
}

void *
sf_tio_device_user(const struct sf_tio_device *device) {
  return atomic_load(&device->user);
}

unsigned
sf_tio_device_running(const struct sf_tio_device *device) {
  unsigned running;

  pthread_mutex_lock(&device->client->lock);
  running = device->running;
  pthread_mutex_unlock(&device->client->lock);
  return running;
}

bool
sf_tio_device_punches(const struct sf_tio_device *device) {
  bool punches;

  pthread_mutex_lock(&device->client->lock);
  punches = !device->no_punch;
  pthread_mutex_unlock(&device->client->lock);
  return punches;
}

bool
sf_tio_zeroes_quickly(struct sf_tio_client *client) {
  bool quickly = true;

  pthread_mutex_lock(&client->lock);
  for (unsigned i = 0; i < SF_TIO_DEVICES_MAX && quickly; i++) {
    const struct sf_tio_device *device = client->devices[i];

    if (device != NULL)
      quickly = device->in_memory || (device->quick_zero && device->zeroed);
  }
  pthread_mutex_unlock(&client->lock);
  return quickly;
}

/* A device that may block in submission, or that has shown a sign of being stuck, is entered by its
 * device thread only: the other devices of the same request must not wait for it. */
bool
sf_tio_device_inline(const struct sf_tio_device *device, const struct sf_tio_io *io,
                     uint64_t now_ns) {
  if (!device->inline_ok || io->stage != SF_TIO_DO_TRANSFER)
    return false;
  if (device->overdue || device->in_rings >= SF_TIO_INLINE_DEPTH)
    return false;
  return !device->in_rings || now_ns < device->progress_ns + SF_TIO_SILENCE_NS;
}

static unsigned
share(const struct sf_tio_device *device, unsigned of) {
  unsigned share = of / device->client->devices_n;

  return share ? share : 1;
}

/* Detached regions hold memory for as long as the device likes; they may not hold the others'. */
bool
sf_tio_device_full(const struct sf_tio_device *device, unsigned class) {
  const struct sf_tio_client *client = device->client;
  unsigned detached = 0;

  for (unsigned i = 0; i <= SF_TIO_CLASSES; i++)
    detached += device->detached[i];
  if (detached >= share(device, client->requests_max))
    return true;
  return class < SF_TIO_CLASSES &&
         device->detached[class] >= share(device, client->pool.count[class]);
}

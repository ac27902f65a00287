/* Two names, one disk: a mirror of one disk with itself is no mirror. */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <linux/major.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "legs/internal.h"

/* A loop device stands on a part of a file.  It is opened for this only, so without O_EXCL. */
static void
identify_loop(const char *path, struct leg_identity *identity) {
  struct loop_info64 info;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return;
  if (ioctl(fd, LOOP_GET_STATUS64, &info) == 0) {
    identity->has_backing = true;
    identity->backing_device = (dev_t) info.lo_device;
    identity->backing_inode = (ino_t) info.lo_inode;
    identity->from = info.lo_offset;
    identity->to = info.lo_sizelimit ? info.lo_offset + info.lo_sizelimit : UINT64_MAX;
  }
  close(fd);
}

void
sf_leg_identify(const char *path, const struct stat *st, struct leg_identity *identity) {
  *identity = (struct leg_identity){.known = true, .is_block = S_ISBLK(st->st_mode)};
  if (identity->is_block) {
    identity->device = st->st_rdev;
    if (major(st->st_rdev) == LOOP_MAJOR)
      identify_loop(path, identity);
    return;
  }
  identity->device = identity->backing_device = st->st_dev;
  identity->inode = identity->backing_inode = st->st_ino;
  identity->has_backing = true;
  identity->to = UINT64_MAX;
}

bool
sf_leg_same_storage(const struct leg_identity *a, const struct leg_identity *b) {
  if (!a->known || !b->known)
    return false;
  if (a->is_block == b->is_block && a->device == b->device && a->inode == b->inode)
    return true;
  return a->has_backing && b->has_backing && a->backing_device == b->backing_device &&
         a->backing_inode == b->backing_inode && a->from < b->to && b->from < a->to;
}

int
sf_leg_fail_same(const struct sf_config *config, unsigned a, unsigned b,
                 char error[SF_CONFIG_ERROR_MAX]) {
  return sf_leg_fail(error, -EINVAL, "legs %s (%s) and %s (%s) are one and the same disk or file",
                     config->leg[a].name, sf_leg_path(config->leg[a].path), config->leg[b].name,
                     sf_leg_path(config->leg[b].path));
}

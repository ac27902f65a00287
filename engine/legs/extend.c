/* Making a leg that is in use longer. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "legs/internal.h"

static int
measure(int fd, bool is_block, uint64_t *bytes) {
  struct stat st;
  if (is_block)
    return ioctl(fd, BLKGETSIZE64, bytes) < 0 ? -errno : 0;
  if (fstat(fd, &st) < 0)
    return -errno;
  *bytes = (uint64_t) st.st_size;
  return 0;
}

/* All of it at once where the file system can, as for a new leg: see format.c.  No fsync(2): one that
 * fails on a leg in use tells this caller alone that what its cache held is gone, and the next flush
 * of the volume would succeed without it (R9). */
static int
lengthen(int fd, uint64_t from, uint64_t to) {
  int r;
  do
    r = fallocate(fd, 0, (off_t) from, (off_t) (to - from));
  while (r < 0 && errno == EINTR);
  if (r < 0 && (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL))
    r = ftruncate(fd, (off_t) to);
  return r < 0 ? -errno : 0;
}

/* Never shorter, and nothing that was there is touched: so it is harmless however late it
 * happens. */
int
sf_leg_extend(int fd, bool is_block, uint64_t wanted, uint64_t *bytes) {
  int r = measure(fd, is_block, bytes);
  if (r < 0 || is_block || *bytes >= wanted)
    return r;
  r = lengthen(fd, *bytes, wanted);
  return r < 0 ? r : measure(fd, is_block, bytes);
}

/* Zeros on a leg: real ones, that every leg reads alike (R16). */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "legs/internal.h"

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

/* How much is asked for at a time, so that progress can be told in between. */
static const uint64_t fast_piece_bytes = UINT64_C(256) * 1024 * 1024;

enum {
  SOON_PIECE_BYTES = 4 * 1024 * 1024, /* the first, which is always done */
  LOOK_MS = 250,                      /* so long it is watched before it is judged */
  SOON_MS = 1000,                     /* for all of it, by the speed up to then */
};

/* Others, FUSE above all, have been seen to answer 0 to modes that they do not know. */
static bool
keeps_its_word(int fd) {
  struct statfs fs;
  if (fstatfs(fd, &fs) < 0)
    return false;
  return fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC ||
         fs.f_type == BTRFS_SUPER_MAGIC || fs.f_type == F2FS_SUPER_MAGIC;
}

/* A driver, or a file system: worth trying by hand. */
static bool
does_not_know_how(int error) {
  return error == EOPNOTSUPP || error == EINVAL || error == ENOTTY || error == ENOSYS ||
         error == EREMOTEIO;
}

int
sf_leg_zero_fast(const struct sf_leg_file *file, uint64_t from, uint64_t len) {
  uint64_t range[2] = {from, len};
  int r;
  if (!file->is_block && !keeps_its_word(file->fd))
    return -EOPNOTSUPP;
  do
    r = file->is_block ? ioctl(file->fd, BLKZEROOUT, range)
                       : fallocate(file->fd, FALLOC_FL_ZERO_RANGE, (off_t) from, (off_t) len);
  while (r < 0 && errno == EINTR);
  if (r == 0)
    return 0;
  return does_not_know_how(errno) ? -EOPNOTSUPP : -errno;
}

bool
sf_leg_is_a_hole(const struct sf_leg_file *file, uint64_t from, uint64_t len) {
  off_t data = file->is_block ? (off_t) from : lseek(file->fd, (off_t) from, SEEK_DATA);
  return data < 0 ? errno == ENXIO : (uint64_t) data >= from + len;
}

/* Never by writing, which BLKZEROOUT falls back to: that is done in smaller pieces, and not for
 * all who ask. */
static int
zero_without_writing(const struct sf_leg_file *file, uint64_t from, uint64_t len) {
  if (!file->is_block)
    return sf_leg_zero_fast(file, from, len);
  return fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) from,
                   (off_t) len) < 0
             ? -errno
             : 0;
}

static int
zero_by_hand(const struct sf_leg_file *file, const void *zeros, uint64_t from, uint64_t len) {
  for (uint64_t done = 0; done < len;) {
    size_t piece = len - done < LEG_PIECE_BYTES ? (size_t) (len - done) : LEG_PIECE_BYTES;
    int r = sf_leg_write(file->fd, zeros, piece, from + done);
    if (r < 0)
      return r;
    done += piece;
  }
  return 0;
}

/* A disk that does it by itself may write as well: WRITE SAME on one that turns takes as long. */
static bool
takes_long(uint64_t begun, uint64_t done, uint64_t len) {
  uint64_t took = sf_clock_ns() - begun;
  return took > LOOK_MS * SF_MS && (double) took * (double) len > (double) done * SOON_MS * SF_MS;
}

/* As long as it promises to be done soon.  *done: so much is zero.  0, or 1: it does not; or -errno. */
static int
zero_for_a_second(const struct sf_leg_file *file, uint64_t from, uint64_t len,
                  const struct leg_zero_soon *how, uint64_t *done) {
  uint64_t begun = sf_clock_ns(), piece = SOON_PIECE_BYTES;
  void *zeros = how->by_writing ? sf_leg_buffer(LEG_PIECE_BYTES) : NULL;
  bool by_hand = false;
  int r = how->by_writing && zeros == NULL ? -ENOMEM : 0;
  for (*done = 0; *done < len && r == 0 && !atomic_load(how->in_vain);) {
    uint64_t most = by_hand ? 16 * LEG_PIECE_BYTES : fast_piece_bytes;
    if (piece > most)
      piece = most;
    if (piece > len - *done)
      piece = len - *done;
    r = by_hand ? zero_by_hand(file, zeros, from + *done, piece)
                : zero_without_writing(file, from + *done, piece);
    if (r < 0 && !by_hand) {
      by_hand = true;
      r = how->by_writing ? 0 : 1;
    } else if (r == 0) {
      *done += piece;
      piece *= piece < most ? 2 : 1;
      r = *done < len && takes_long(begun, *done, len);
    }
  }
  free(zeros);
  return r;
}

int
sf_leg_zero_soon(const struct sf_leg_file *file, uint64_t from, uint64_t len,
                 const struct leg_zero_soon *how) {
  uint64_t done;
  int r = zero_for_a_second(file, from, len, how, &done);
  if (r < 0)
    return r;
  if (done == len || sf_leg_is_a_hole(file, from + done, len - done))
    return 1;
  atomic_store(how->in_vain, true);
  return 0;
}

int
sf_leg_zero(const struct sf_leg_file *file, uint64_t from, uint64_t len,
            leg_zero_progress *progress, void *arg) {
  void *zeros = sf_leg_buffer(LEG_PIECE_BYTES);
  bool by_hand = false;
  int r = zeros ? 0 : -ENOMEM;
  for (uint64_t done = 0; done < len && r == 0;) {
    uint64_t most = by_hand ? 16 * LEG_PIECE_BYTES : fast_piece_bytes;
    uint64_t piece = len - done < most ? len - done : most;
    r = by_hand ? zero_by_hand(file, zeros, from + done, piece)
                : sf_leg_zero_fast(file, from + done, piece);
    if (r == -EOPNOTSUPP && !by_hand) {
      by_hand = true;
      r = 0;
      continue;
    }
    done += piece;
    if (r == 0 && progress)
      progress(arg, done);
  }
  free(zeros);
  return r;
}

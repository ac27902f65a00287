/* Opening one leg, and every way in which that can go wrong. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "legs/internal.h"

enum {
  BLOCK_BYTES_MIN = 512,
  HEAD_TRIES = 16,
  BLOCK_TRIES = HEAD_TRIES + 2,
  LOCK_WAIT_MS = 1000,
  LOCK_PAUSE_MS = 10
};

/* A disk that is not there, not a file to be made: in /dev that would be memory. */
bool
sf_leg_is_of_dev(const char *path) {
  return strncmp(path, "/dev/", 5) == 0 && strncmp(path, "/dev/shm/", 9) != 0;
}

static int
fail_missing(const char *path, char error[SF_CONFIG_ERROR_MAX]) {
  if (sf_leg_is_of_dev(path))
    return sf_leg_fail(error, -ENOENT, "%s: there is no such device", sf_leg_path(path));
  return sf_leg_fail(error, -ENOENT, "%s: there is no such file", sf_leg_path(path));
}

static int
fail_open(const char *path, bool is_block, int err, char error[SF_CONFIG_ERROR_MAX]) {
  const char *why;
  switch (err) {
  case ENOENT:
    return fail_missing(path, error);
  case EACCES:
  case EPERM:
    why = "permission denied: run as a user who may read and write it";
    break;
  case EROFS:
    why = is_block ? "the device is read-only" : "its file system is mounted read-only";
    break;
  case EINVAL:
    why = "its file system refuses O_DIRECT: take one that knows it, as ext4 or xfs, or a device";
    break;
  case EBUSY:
    why = "the device is in use: mounted, part of an array, or held by another program";
    break;
  case ENXIO:
  case ENODEV:
  case ENOMEDIUM:
    why = "the device is not there (unplugged?)";
    break;
  default:
    why = strerrordesc_np(err);
  }
  return sf_leg_fail(error, -err, "%s: %s", sf_leg_path(path), why ? why : "cannot be opened");
}

static int
check_kind(const char *path, const struct stat *st, char error[SF_CONFIG_ERROR_MAX]) {
  const char *what = S_ISDIR(st->st_mode)    ? "a directory"
                     : S_ISCHR(st->st_mode)  ? "a character device"
                     : S_ISFIFO(st->st_mode) ? "a pipe"
                     : S_ISSOCK(st->st_mode) ? "a socket"
                                             : NULL;
  if (what == NULL)
    return 0;
  return sf_leg_fail(error, S_ISDIR(st->st_mode) ? -EISDIR : -EINVAL,
                     "%s: it is %s; a leg is a file or a block device", sf_leg_path(path), what);
}

static int
try_to_lock(int fd) {
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  return fcntl(fd, F_OFD_SETLK, &whole) == 0 ? 0 : -errno;
}

/* On the description that carries the I/O: the kernel keeps the lock as long as that has requests
 * in flight, even when the process is dead (R7).  A leg that is well lets go of a killed volume
 * within milliseconds; a start right after it should not have to do without.  No wait for the lock
 * has a time limit, so it is asked for again. */
static int
lock(int fd, const char *path, char error[SF_CONFIG_ERROR_MAX]) {
  const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000L};
  int r = try_to_lock(fd);
  for (int waited_ms = 0; r == -EAGAIN && waited_ms < LOCK_WAIT_MS; waited_ms += LOCK_PAUSE_MS) {
    nanosleep(&pause, NULL);
    r = try_to_lock(fd);
  }
  if (r == 0)
    return 0;
  if (r == -EAGAIN || r == -EACCES)
    return sf_leg_fail(
        error, -EBUSY,
        "%s: it is locked: a running volume or another surefootctl has it, or a dead "
        "one's last request is still under way",
        sf_leg_path(path));
  return sf_leg_fail(error, r, "%s: its file system cannot lock: %s", sf_leg_path(path),
                     strerrordesc_np(-r));
}

bool
sf_leg_file_is_locked(const struct sf_leg_file *file) {
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  return fcntl(file->fd, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
}

/* In the head, which may be bad as a whole, then far from it. */
static uint64_t
odd_block(unsigned try) {
  static const uint64_t far[] = {SF_MARK_OFFSET, SF_DATA_OFFSET};
  uint64_t page = try < HEAD_TRIES ? (uint64_t) try * LEG_BUFFER_ALIGN : far[try - HEAD_TRIES];
  return page + BLOCK_BYTES_MIN;
}

/* No file system tells before Linux 6.1, and glibc 2.36 does not pass it on: a read at an odd block
 * finds out, if that block is not bad. */
static int
find_block_bytes(struct sf_leg_file *file) {
  int logical;
  if (file->is_block) {
    if (ioctl(file->fd, BLKSSZGET, &logical) < 0)
      return -errno;
    file->block_bytes = (uint32_t) logical;
    return 0;
  }
  void *block = sf_leg_buffer(LEG_BUFFER_ALIGN);
  if (block == NULL)
    return -ENOMEM;
  ssize_t n = -1;
  int err = EIO;
  for (unsigned i = 0; i < BLOCK_TRIES && n < 0 && err == EIO; i++) {
    n = pread(file->fd, block, BLOCK_BYTES_MIN, (off_t) odd_block(i));
    err = n < 0 ? errno : 0;
  }
  free(block);
  if (n < 0 && err != EINVAL)
    return -err;
  file->block_bytes = n < 0 ? LEG_BUFFER_ALIGN : BLOCK_BYTES_MIN;
  return 0;
}

static int
measure(const char *path, struct sf_leg_file *file, const struct stat *st,
        char error[SF_CONFIG_ERROR_MAX]) {
  int r = 0;
  file->bytes = (uint64_t) st->st_size;
  if (file->is_block && ioctl(file->fd, BLKGETSIZE64, &file->bytes) < 0)
    r = -errno;
  if (r == 0)
    r = find_block_bytes(file);
  if (r < 0)
    return sf_leg_fail(error, r, "%s: its size cannot be found out: %s", sf_leg_path(path),
                       strerrordesc_np(-r));
  if (file->is_block && file->bytes == 0)
    return sf_leg_fail(
        error, -ENOMEDIUM,
        "%s: the device is there and empty: no medium is in it, or nothing is attached",
        sf_leg_path(path));
  if (file->block_bytes > SF_PAGE_BYTES)
    return sf_leg_fail(error, -EINVAL, "%s: its sectors have %u bytes; a leg's have 4096 at most",
                       sf_leg_path(path), file->block_bytes);
  return 0;
}

static int
open_flags(unsigned flags, bool is_block) {
  if (flags & SF_LEG_READ_ONLY)
    return O_RDONLY | O_DIRECT | O_CLOEXEC | O_NOCTTY;
  return O_RDWR | O_DIRECT | O_CLOEXEC | O_NOCTTY | (is_block ? O_EXCL : 0);
}

/* Offline tools read what they can. */
static int
open_path(const char *path, unsigned flags, bool is_block) {
  int how = open_flags(flags, is_block);
  int fd = open(path, how);
  if (fd < 0 && errno == EINVAL && (flags & SF_LEG_READ_ONLY))
    fd = open(path, how & ~O_DIRECT);
  return fd;
}

static bool
is_read_only(const struct sf_leg_file *file) {
  int read_only = 0;
  return file->is_block && ioctl(file->fd, BLKROGET, &read_only) == 0 && read_only;
}

/* file->fd is open. */
static int
take(const char *path, unsigned flags, struct sf_leg_file *file, struct sf_leg_found *found,
     const struct leg_identity *identity, char error[SF_CONFIG_ERROR_MAX]) {
  struct stat st;
  int r;
  if (fstat(file->fd, &st) < 0)
    return fail_open(path, false, errno, error);
  file->is_block = S_ISBLK(st.st_mode);
  file->device = file->is_block ? st.st_rdev : st.st_dev;
  file->inode = file->is_block ? 0 : st.st_ino;
  file->born = sf_leg_born(file->fd, file->is_block);
  if (file->is_block != identity->is_block || file->device != identity->device ||
      file->inode != identity->inode)
    return sf_leg_fail(error, -EAGAIN, "%s: it was replaced while being opened", sf_leg_path(path));
  if (!(flags & SF_LEG_READ_ONLY)) {
    if (is_read_only(file))
      return fail_open(path, true, EROFS, error);
    r = lock(file->fd, path, error);
    if (r < 0)
      return r;
  }
  r = measure(path, file, &st, error);
  if (r == 0)
    r = sf_leg_read_head(path, flags, file, found, error);
  return r < 0 ? r : sf_leg_read_maps(path, flags, file, found, error);
}

int
sf_leg_open(const char *path, unsigned flags, struct sf_leg_file *file, struct sf_leg_found *found,
            struct leg_identity *identity, char error[SF_CONFIG_ERROR_MAX]) {
  struct stat st;
  memset(file, 0, sizeof *file);
  memset(found, 0, sizeof *found);
  memset(identity, 0, sizeof *identity);
  error[0] = '\0';
  file->fd = -1;

  /* Looked at first: merely opening some devices does something. */
  int r = stat(path, &st) < 0 ? fail_open(path, false, errno, error) : check_kind(path, &st, error);
  if (r == 0) {
    sf_leg_identify(path, &st, identity);
    file->fd = open_path(path, flags, S_ISBLK(st.st_mode));
    r = file->fd < 0 ? fail_open(path, S_ISBLK(st.st_mode), errno, error)
                     : take(path, flags, file, found, identity, error);
  }
  if (r < 0) {
    sf_leg_file_close(file);
    *found = (struct sf_leg_found){.error = r, .marked = found->marked, .mark = found->mark};
  }
  return r;
}

int
sf_leg_file_open(const char *path, unsigned flags, struct sf_leg_file *file,
                 struct sf_leg_found *found, char error[SF_CONFIG_ERROR_MAX]) {
  struct leg_identity identity;
  return sf_leg_open(path, flags, file, found, &identity, error);
}

void
sf_leg_file_close(struct sf_leg_file *file) {
  sf_leg_file_forget_maps(file);
  if (file->fd >= 0)
    close(file->fd);
  file->fd = -1;
}

void
sf_leg_file_forget_maps(struct sf_leg_file *file) {
  free(file->maps);
  file->maps = NULL;
  file->map_pages = 0;
}

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "legs/internal.h"

void *
sf_leg_buffer(size_t len) {
  void *buffer;
  if (posix_memalign(&buffer, LEG_BUFFER_ALIGN, len) != 0)
    return NULL;
  memset(buffer, 0, len);
  return buffer;
}

ssize_t
sf_leg_read(int fd, void *buffer, size_t len, uint64_t offset) {
  size_t done = 0;
  while (done < len) {
    ssize_t n = pread(fd, (char *) buffer + done, len - done, (off_t) (offset + done));
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return -errno;
    done += (size_t) n;
    /* An end that O_DIRECT cannot read beyond: what follows would not be aligned. */
    if (n == 0 || n % 512 != 0)
      break;
  }
  return (ssize_t) done;
}

int
sf_leg_write(int fd, const void *buffer, size_t len, uint64_t offset) {
  for (size_t done = 0; done < len;) {
    ssize_t n = pwrite(fd, (const char *) buffer + done, len - done, (off_t) (offset + done));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return n < 0 ? -errno : -EIO;
    done += (size_t) n;
  }
  return 0;
}

/* Where the volume will look for it: the serial says which copy. */
int
sf_leg_write_superblock(const struct sf_leg_file *file, const struct sf_superblock *sb) {
  uint8_t *page = sf_leg_buffer(SF_PAGE_BYTES);
  if (page == NULL)
    return -ENOMEM;
  sf_superblock_encode(sb, page);
  int r = sf_leg_write(file->fd, page, SF_PAGE_BYTES,
                       SF_SUPERBLOCK_OFFSET(sb->serial % SF_SUPERBLOCK_COPIES));
  free(page);
  return r;
}

int
sf_leg_write_mark(const struct sf_leg_file *file, const struct sf_superblock *sb) {
  uint8_t *page = sf_leg_buffer(SF_PAGE_BYTES);
  struct sf_mark mark;
  if (page == NULL)
    return -ENOMEM;
  sf_mark_of(sb, &mark);
  sf_mark_encode(&mark, page);
  int r = sf_leg_write(file->fd, page, SF_PAGE_BYTES, SF_MARK_OFFSET);
  if (r == 0 && fsync(file->fd) < 0)
    r = -errno;
  free(page);
  return r;
}

static void
call_unwritten(struct sf_map_page *page, uint64_t extents) {
  uint64_t first = (uint64_t) page->page * SF_MAP_EXTENTS;
  for (unsigned k = 0; k < SF_MAP_EXTENTS && first + k < extents; k++)
    page->unwritten[k / 8] |= (uint8_t) (1u << k % 8);
}

/* Empty maps: nothing intended, nothing stale; and all unwritten, in both copies, or nothing. */
int
sf_leg_write_maps(const struct sf_leg_file *file, const struct sf_superblock *sb) {
  uint64_t pages = sf_map_pages(sb->data_bytes, sb->extent_bytes);
  uint64_t extents = (sb->data_bytes + sb->extent_bytes - 1) / sb->extent_bytes;
  uint8_t *bytes = sf_leg_buffer(pages * SF_PAGE_BYTES);
  if (bytes == NULL)
    return -ENOMEM;
  for (uint64_t p = 0; p < pages; p++) {
    struct sf_map_page page = {.volume = sb->volume, .page = (uint32_t) p};
    if (sb->unwritten)
      call_unwritten(&page, extents);
    sf_map_page_encode(&page, bytes + p * SF_PAGE_BYTES);
  }
  int r = sf_leg_write(file->fd, bytes, pages * SF_PAGE_BYTES, SF_MAP_PAGE_OFFSET(0));
  if (r == 0 && sb->unwritten)
    r = sf_leg_write(file->fd, bytes, pages * SF_PAGE_BYTES, SF_MAP_SECOND_OFFSET(0));
  free(bytes);
  return r;
}

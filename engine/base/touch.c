#include "base/touch.h"

#include <errno.h>
#include <sys/mman.h>

enum { TOUCH_BYTES = 4096 };

/* MADV_POPULATE_WRITE is of Linux 5.14. */
int
sf_touch(void *memory, size_t bytes) {
#ifdef MADV_POPULATE_WRITE
  if (madvise(memory, bytes, MADV_POPULATE_WRITE) == 0)
    return 0;
  if (errno != EINVAL)
    return -errno;
#endif
  for (size_t i = 0; i < bytes; i += TOUCH_BYTES)
    *((volatile char *) memory + i) = 0;
  return 0;
}

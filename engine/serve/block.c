/* The unit in which requests reach the volume: what every leg can write by itself.  A leg with
 * larger sectors may come while the volume runs; then the unit becomes a page, which suits every
 * leg, and stays so.  What clients are told is another number and never changes. */
#include "serve/internal.h"

#include <errno.h>
#include <time.h>

enum { TRIES = 100, TRY_MS = 10 };

/* The call is counted before the unit is read: either the thread that changes the unit sees the
 * count, or this call sees the change. */
uint32_t
sf_serve_block_begin(struct sf_serve *serve) {
  uint32_t bytes;

  atomic_fetch_add(&serve->small_calls, 1);
  bytes = atomic_load(&serve->block_bytes);
  if (bytes == SF_PAGE_BYTES)
    atomic_fetch_sub(&serve->small_calls, 1);
  return bytes;
}

void
sf_serve_block_end(struct sf_serve *serve, uint32_t bytes) {
  if (bytes < SF_PAGE_BYTES)
    atomic_fetch_sub(&serve->small_calls, 1);
}

/* No event tells that the last of them has ended: it would cost every request something, for what
 * happens once in the life of a disk. */
int
sf_serve_block_take(struct sf_serve *serve, uint32_t bytes) {
  const struct timespec pause = {.tv_nsec = TRY_MS * 1000000L};

  if (bytes > atomic_load(&serve->block_bytes))
    atomic_store(&serve->block_bytes, SF_PAGE_BYTES);
  if (bytes <= serve->block_bytes_at_start)
    return 0;
  for (unsigned i = 0; i < TRIES && atomic_load(&serve->small_calls) > 0; i++)
    nanosleep(&pause, NULL);
  return atomic_load(&serve->small_calls) > 0 ? -EAGAIN : 0;
}

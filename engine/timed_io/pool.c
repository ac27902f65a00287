/* Buffers: one mapping of a fixed size, cut into small and large slots, and a stretch of zeros. */
#include "timed_io/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/touch.h"

static enum sf_tio_class
class_for(const struct sf_tio_pool *pool, size_t len) {
  return len > pool->bytes[SF_TIO_SMALL] ? SF_TIO_LARGE : SF_TIO_SMALL;
}

static void
add_slots(struct sf_tio_pool *pool, enum sf_tio_class class, struct sf_tio_slot *slot,
          char *memory) {
  sf_list_init(&pool->list[class]);
  pool->free[class] = pool->count[class];
  for (unsigned i = 0; i < pool->count[class]; i++, slot++, memory += pool->bytes[class]) {
    slot->pub.data = memory;
    slot->pub.size = pool->bytes[class];
    slot->class = (uint8_t) class;
    sf_list_append(&pool->list[class], &slot->free_link);
  }
}

static int
map_memory(struct sf_tio_pool *pool) {
  size_t small = pool->count[SF_TIO_SMALL] * pool->bytes[SF_TIO_SMALL];
  size_t large = pool->count[SF_TIO_LARGE] * pool->bytes[SF_TIO_LARGE];
  int error;

  pool->zeros_bytes = pool->bytes[SF_TIO_LARGE];
  pool->memory_bytes = small + large + pool->zeros_bytes;
  pool->memory =
      mmap(NULL, pool->memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pool->memory == MAP_FAILED) {
    pool->memory = NULL;
    return -ENOMEM;
  }
  /* A child would get copies of pages that the kernel may still be writing to; it has no use of
   * them. */
  madvise(pool->memory, pool->memory_bytes, MADV_DONTFORK);
  /* Rings pin all of it anyhow; in large pages that is quicker, and a large slot is one segment. */
  madvise(pool->memory, pool->memory_bytes, MADV_HUGEPAGE);
  error = sf_touch(pool->memory, pool->memory_bytes);
  if (error < 0)
    return error;
  pool->zeros = pool->memory + small + large;
  pool->fixed[SF_TIO_SMALL] = (struct iovec){pool->memory, small};
  pool->fixed[SF_TIO_LARGE] = (struct iovec){pool->memory + small, large + pool->zeros_bytes};
  return 0;
}

int
sf_tio_pool_init(struct sf_tio_pool *pool, const struct sf_tio_client_params *params) {
  unsigned total = params->buffers_small + params->buffers_large;
  int error;

  pool->count[SF_TIO_SMALL] = params->buffers_small;
  pool->count[SF_TIO_LARGE] = params->buffers_large;
  pool->bytes[SF_TIO_SMALL] = params->small_bytes;
  pool->bytes[SF_TIO_LARGE] = params->large_bytes;
  pool->spare[SF_TIO_SMALL] = params->spare_small;
  pool->spare[SF_TIO_LARGE] = params->spare_large;
  pthread_mutex_init(&pool->lock, NULL);
  sf_list_init(&pool->to_wake);
  for (unsigned class = SF_TIO_SMALL; class < SF_TIO_CLASSES; class ++)
    sf_tio_cond_init(&pool->came_free[class]);
  pool->slots = calloc(total, sizeof *pool->slots);
  error = pool->slots ? map_memory(pool) : -ENOMEM;
  if (error) {
    sf_tio_pool_destroy(pool);
    return error;
  }
  add_slots(pool, SF_TIO_SMALL, pool->slots, pool->memory);
  add_slots(pool, SF_TIO_LARGE, pool->slots + pool->count[SF_TIO_SMALL],
            pool->fixed[SF_TIO_LARGE].iov_base);
  return 0;
}

void
sf_tio_pool_destroy(struct sf_tio_pool *pool) {
  if (pool->memory)
    munmap(pool->memory, pool->memory_bytes);
  free(pool->slots);
  for (unsigned class = SF_TIO_SMALL; class < SF_TIO_CLASSES; class ++)
    pthread_cond_destroy(&pool->came_free[class]);
  pthread_mutex_destroy(&pool->lock);
}

/* keep: so many of each class stay in the pool. */
static struct sf_tio_slot *
take(struct sf_tio_pool *pool, size_t len, const unsigned keep[SF_TIO_CLASSES]) {
  for (unsigned class = SF_TIO_SMALL; class < SF_TIO_CLASSES; class ++) {
    struct sf_tio_slot *slot;

    if (len > pool->bytes[class] || pool->free[class] <= keep[class])
      continue;
    slot = SF_LIST_ENTRY(pool->list[class].next, struct sf_tio_slot, free_link);
    sf_list_remove(&slot->free_link);
    pool->free[class]--;
    SF_ASSERT(atomic_load(&slot->refs) == 0 && atomic_load(&slot->detached) == 0);
    atomic_store(&slot->refs, 1);
    return slot;
  }
  return NULL;
}

int
sf_tio_pool_get(struct sf_tio_pool *pool, size_t len, uint64_t wait_ns, struct sf_tio_slot **slot) {
  unsigned class = class_for(pool, len);
  struct sf_tio_slot *taken;
  struct timespec until;
  int error = 0;

  if (len > pool->bytes[SF_TIO_LARGE])
    return -EMSGSIZE;
  if (wait_ns)
    until = sf_tio_timespec(sf_tio_after(sf_tio_now(), wait_ns));
  pthread_mutex_lock(&pool->lock);
  taken = take(pool, len, pool->spare);
  pool->waiters[class]++;
  while (taken == NULL && wait_ns && error == 0) {
    error = pthread_cond_timedwait(&pool->came_free[class], &pool->lock, &until);
    taken = take(pool, len, pool->spare);
  }
  pool->waiters[class]--;
  pthread_mutex_unlock(&pool->lock);
  if (taken == NULL)
    return -EAGAIN;
  *slot = taken;
  return 0;
}

int
sf_tio_pool_get_spare(struct sf_tio_pool *pool, size_t len, struct sf_tio_slot **slot) {
  static const unsigned nothing[SF_TIO_CLASSES];
  struct sf_tio_slot *taken;

  if (len > pool->bytes[SF_TIO_LARGE])
    return -EMSGSIZE;
  pthread_mutex_lock(&pool->lock);
  taken = take(pool, len, nothing);
  pthread_mutex_unlock(&pool->lock);
  if (taken == NULL)
    return -EAGAIN;
  *slot = taken;
  return 0;
}

static void
unlist(struct sf_tio_queue *queue) {
  if (queue->wants[SF_TIO_SMALL] || queue->wants[SF_TIO_LARGE])
    sf_list_remove(&queue->wants_buffer);
  queue->wants[SF_TIO_SMALL] = queue->wants[SF_TIO_LARGE] = false;
}

int
sf_tio_pool_get_or_wake(struct sf_tio_pool *pool, size_t len, struct sf_tio_queue *queue,
                        struct sf_tio_slot **slot) {
  unsigned class = class_for(pool, len);
  struct sf_tio_slot *taken;

  if (len > pool->bytes[SF_TIO_LARGE])
    return -EMSGSIZE;
  pthread_mutex_lock(&pool->lock);
  taken = take(pool, len, pool->spare);
  if (taken == NULL && !queue->wants[SF_TIO_SMALL] && !queue->wants[SF_TIO_LARGE])
    sf_list_append(&pool->to_wake, &queue->wants_buffer);
  if (taken == NULL)
    queue->wants[class] = true;
  pthread_mutex_unlock(&pool->lock);
  if (taken == NULL)
    return -EAGAIN;
  *slot = taken;
  return 0;
}

bool
sf_tio_pool_awaits(struct sf_tio_pool *pool, const struct sf_tio_queue *queue) {
  bool awaits;

  pthread_mutex_lock(&pool->lock);
  awaits = queue->wants[SF_TIO_SMALL] || queue->wants[SF_TIO_LARGE];
  pthread_mutex_unlock(&pool->lock);
  return awaits;
}

void
sf_tio_pool_forget(struct sf_tio_pool *pool, struct sf_tio_queue *queue) {
  pthread_mutex_lock(&pool->lock);
  unlist(queue);
  pthread_mutex_unlock(&pool->lock);
}

/* Wakes the threads that a buffer of this class may suit; a thread that finds it taken asks to be
 * woken again. */
static void
wake_threads(struct sf_tio_pool *pool, unsigned class) {
  if (pool->free[class] <= pool->spare[class])
    return;
  SF_LIST_EACH(entry, &pool->to_wake) {
    struct sf_tio_queue *queue = SF_LIST_ENTRY(entry, struct sf_tio_queue, wants_buffer);

    if (!queue->wants[SF_TIO_SMALL] && class == SF_TIO_SMALL)
      continue;
    unlist(queue);
    sf_tio_wake(queue);
  }
}

/* One slot wakes one waiter of each class that it suits; whether a waiter signalled earlier still
 * needs it is not known yet. */
static void
tell(struct sf_tio_pool *pool, unsigned class) {
  if (class == SF_TIO_LARGE && pool->waiters[SF_TIO_LARGE])
    pthread_cond_signal(&pool->came_free[SF_TIO_LARGE]);
  if (pool->waiters[SF_TIO_SMALL])
    pthread_cond_signal(&pool->came_free[SF_TIO_SMALL]);
  wake_threads(pool, class);
}

void
sf_tio_pool_ref(struct sf_tio_slot *slot) {
  SF_ASSERT(atomic_fetch_add(&slot->refs, 1) > 0);
}

void
sf_tio_pool_put(struct sf_tio_pool *pool, struct sf_tio_slot *slot) {
  unsigned before = atomic_fetch_sub(&slot->refs, 1);

  SF_ASSERT(before > 0);
  if (before > 1)
    return;
  pthread_mutex_lock(&pool->lock);
  sf_list_prepend(&pool->list[slot->class], &slot->free_link);
  pool->free[slot->class]++;
  tell(pool, slot->class);
  pthread_mutex_unlock(&pool->lock);
}

unsigned
sf_tio_pool_quarantined(struct sf_tio_pool *pool) {
  unsigned total = pool->count[SF_TIO_SMALL] + pool->count[SF_TIO_LARGE], n = 0;

  for (unsigned i = 0; i < total; i++) {
    unsigned detached = atomic_load(&pool->slots[i].detached);

    n += detached && detached == atomic_load(&pool->slots[i].refs);
  }
  return n;
}

bool
sf_tio_pool_idle(struct sf_tio_pool *pool) {
  bool idle = true;

  pthread_mutex_lock(&pool->lock);
  for (unsigned class = SF_TIO_SMALL; class < SF_TIO_CLASSES; class ++)
    idle &= pool->free[class] == pool->count[class];
  pthread_mutex_unlock(&pool->lock);
  return idle;
}

/* Wakes of threads and device threads, regions handed to a device thread, and uses of a device. */
#include "timed_io/internal.h"

#include <errno.h>
#include <unistd.h>

/* The two sides of this: waiting is set before wake is read, and wake before waiting is.  A caller
 * that finds wake set need not write: the caller that set it has written, or saw a thread that will
 * read wake before it waits.  The counter is read by the background thread only; a poll in a ring
 * fires at every write. */
static void
wake(atomic_bool *wake, const atomic_bool *waiting, int fd) {
  uint64_t one = 1;

  if (!atomic_exchange(wake, true) && atomic_load(waiting))
    SF_ASSERT(write(fd, &one, sizeof one) == sizeof one || errno == EAGAIN);
}

void
sf_tio_wake(struct sf_tio_queue *queue) {
  wake(&queue->wake, &queue->waiting, queue->wake_fd);
}

void
sf_tio_device_thread_wake(struct sf_tio_device_thread *device_thread) {
  wake(&device_thread->wake, &device_thread->waiting, device_thread->wake_fd);
}

void
sf_tio_device_thread_add(struct sf_tio_io *io) {
  struct sf_tio_device_thread *device_thread = &io->device->device_thread;

  io->where = SF_TIO_AT_DEVICE_THREAD;
  sf_list_append(&device_thread->list, &io->where_link);
  sf_tio_device_thread_wake(device_thread);
}

void
sf_tio_device_thread_rest(struct sf_tio_io *io, uint64_t until_ns) {
  struct sf_tio_device_thread *device_thread = &io->device->device_thread;

  io->where = SF_TIO_AT_DEVICE_THREAD;
  io->rests_until_ns = until_ns;
  sf_list_append(&device_thread->resting, &io->where_link);
  sf_tio_device_thread_wake(device_thread);
}

void
sf_tio_device_use(struct sf_tio_device *device) {
  device->uses++;
}

void
sf_tio_device_unuse(struct sf_tio_device *device) {
  SF_ASSERT(device->uses > 0);
  if (--device->uses == 0 && device->client->removers)
    pthread_cond_broadcast(&device->client->unused);
}

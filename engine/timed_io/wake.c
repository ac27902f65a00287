/* What is said to a thread or to a device by all that is above them: wake, take this, this is in use. */
#include "timed_io/internal.h"

#include <errno.h>
#include <unistd.h>

/* The two sides of this: waiting is set before wake is read, and wake before waiting is.  Whoever finds
 * wake set needs not write: the one who set it has, or saw a thread that will read wake before it
 * waits.  The counter is read by the service only; a poll in a ring fires at every write. */
static void
wake(atomic_bool *wake, const atomic_bool *waiting, int fd) {
  uint64_t one = 1;

  if (!atomic_exchange(wake, true) && atomic_load(waiting))
    SF_MUST(write(fd, &one, sizeof one) == sizeof one || errno == EAGAIN);
}

void
sf_tio_wake(struct sf_tio_thread *thread) {
  wake(&thread->wake, &thread->waiting, thread->wake_fd);
}

void
sf_tio_exec_wake(struct sf_tio_executor *exec) {
  wake(&exec->wake, &exec->waiting, exec->wake_fd);
}

void
sf_tio_exec_add(struct sf_tio_io *io) {
  struct sf_tio_executor *exec = &io->device->exec;

  io->where = SF_TIO_AT_EXEC;
  sf_list_append(&exec->list, &io->where_link);
  sf_tio_exec_wake(exec);
}

void
sf_tio_exec_rest(struct sf_tio_io *io, uint64_t until_ns) {
  struct sf_tio_executor *exec = &io->device->exec;

  io->where = SF_TIO_AT_EXEC;
  io->rests_until_ns = until_ns;
  sf_list_append(&exec->resting, &io->where_link);
  sf_tio_exec_wake(exec);
}

void
sf_tio_device_use(struct sf_tio_device *device) {
  device->uses++;
}

void
sf_tio_device_unuse(struct sf_tio_device *device) {
  SF_MUST(device->uses > 0);
  if (--device->uses == 0 && device->client->removers)
    pthread_cond_broadcast(&device->client->unused);
}

/* A device's thread: a thread with a ring of its own, for all that could block the submitter.
 * Everything goes through IOSQE_ASYNC, so that it is a worker of the kernel that blocks and never
 * this thread; and those workers are a submitter process's, if the client has such.  What exceeds
 * the depth waits in a list, where a cancel surely reaches it. */
#include "timed_io/internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

struct completion {
  uint64_t user_data;
  int res;
};

/* user_data of a cancel: the number of its batch, a mark, the target's index.  Less than that of
 * any region. */
enum { CANCEL_MARK = 0x80 };

/* A new submitter is to be ready within the first; the count of losses starts anew for a submitter
 * that lived for the second. */
#define SUBMITTER_READY_NS (2 * SF_S)
#define LONG_AGO_NS        (64 * SF_S)
#define REPLACE_NS         SF_S

_Static_assert((int) SF_TIO_DEVICE_THREAD_DEPTH <= (int) CANCEL_MARK,
               "an index fits below the mark");

static bool
of_region(const struct completion *taken) {
  return taken->user_data >> (SF_TIO_SLOT_BITS + SF_TIO_REGION_BITS);
}

static uint64_t
cancel_user_data(uint8_t batch, unsigned i) {
  return (uint64_t) batch << 8 | CANCEL_MARK | i;
}

/* ---- handing over, with ring_lock held ---- */

/* A cancel works from any thread; a region submitted here has a worker of this process.  liburing
 * does not enter for a submitter's ring. */
static void
submit_here(struct sf_tio_device_thread *device_thread) {
  struct io_uring *uring = &device_thread->ring->uring;

  io_uring_submit(uring);
  if (device_thread->submitter.ring)
    syscall(__NR_io_uring_enter, uring->ring_fd, io_uring_sq_ready(uring), 0, 0, NULL, 0);
}

static void
submit(struct sf_tio_device_thread *device_thread) {
  if (device_thread->submitter.ring) {
    io_uring_submit(&device_thread->ring->uring);
    if (sf_tio_submitter_tell(&device_thread->submitter))
      return;
  }
  submit_here(device_thread);
}

/* ---- taking completions, with ring_lock held ---- */

static unsigned
take(struct sf_tio_device_thread *device_thread, struct completion *taken) {
  struct io_uring_cqe *cqes[SF_TIO_DEVICE_THREAD_COMPLETIONS];
  unsigned n =
      io_uring_peek_batch_cqe(&device_thread->ring->uring, cqes, SF_TIO_DEVICE_THREAD_COMPLETIONS);

  for (unsigned i = 0; i < n; i++)
    taken[i] = (struct completion){cqes[i]->user_data, cqes[i]->res};
  io_uring_cq_advance(&device_thread->ring->uring, n);
  return n;
}

static void
complete(struct sf_tio_device *device, const struct completion *taken, unsigned n) {
  uint64_t now_ns = sf_tio_now();

  for (unsigned i = 0; i < n; i++)
    if (of_region(&taken[i]))
      sf_tio_io_complete(sf_tio_io_find(device->client, taken[i].user_data), taken[i].res, now_ns);
}

static void
reap(struct sf_tio_device *device) {
  struct completion taken[SF_TIO_DEVICE_THREAD_COMPLETIONS];
  unsigned n = take(&device->device_thread, taken);

  if (!n)
    return;
  pthread_mutex_lock(&device->client->lock);
  complete(device, taken, n);
  pthread_mutex_unlock(&device->client->lock);
}

void
sf_tio_device_thread_reap(struct sf_tio_device *device) {
  pthread_mutex_lock(&device->device_thread.ring_lock);
  reap(device);
  pthread_mutex_unlock(&device->device_thread.ring_lock);
}

/* ---- cancelling, with ring_lock held ---- */

static void
ask_to_cancel(struct sf_tio_device *device, struct sf_tio_io **targets, unsigned n) {
  struct io_uring *uring = &device->device_thread.ring->uring;

  /* Regions that the kernel had no memory for wait in the ring.  Submitted from here they would
   * belong to this thread. */
  if (io_uring_sq_ready(uring))
    return;
  device->device_thread.cancels++;
  for (unsigned i = 0; i < n; i++) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(uring);

    SF_ASSERT(sqe != NULL);
    io_uring_prep_cancel64(sqe, sf_tio_io_user_data(targets[i]), 0);
    sqe->user_data = cancel_user_data(device->device_thread.cancels, i);
  }
  submit_here(&device->device_thread);
  atomic_fetch_add_explicit(&device->client->cancels_submitted, n, memory_order_relaxed);
}

/* A cancel is answered during its submission.  0 says that the region was queued and is taken out:
 * it did not run.  Anything else, -ENOENT included, says nothing about it. */
static void
apply_cancel(struct sf_tio_device *device, struct sf_tio_io **targets, unsigned n,
             const struct completion *taken, struct sf_tio_canceled *canceled) {
  unsigned i = taken->user_data & (CANCEL_MARK - 1);

  if (of_region(taken) || taken->user_data != cancel_user_data(device->device_thread.cancels, i))
    return;
  SF_ASSERT(i < n);
  if (taken->res != 0 || targets[i]->touched)
    return;
  sf_tio_io_cancel(targets[i], SF_TIO_REAL, sf_tio_now());
  canceled->real++;
}

static void
give_up(struct sf_tio_io *io, struct sf_tio_canceled *canceled) {
  enum sf_tio_kind kind = SF_TIO_DETACHED;

  if (sf_tio_io_terminal(io)) {
    canceled->done += io->kind == SF_TIO_NONE;
    return;
  }
  if (io->where == SF_TIO_AT_DEVICE_THREAD)
    kind = sf_tio_io_drop(io, sf_tio_now());
  else
    sf_tio_io_cancel(io, kind, sf_tio_now());
  canceled->real += kind == SF_TIO_REAL;
  canceled->detached += kind == SF_TIO_DETACHED;
}

void
sf_tio_device_thread_cancel(struct sf_tio_device *device, struct sf_tio_io **targets, unsigned n,
                            struct sf_tio_canceled *canceled) {
  struct completion taken[SF_TIO_DEVICE_THREAD_COMPLETIONS];
  unsigned taken_n;

  ask_to_cancel(device, targets, n);
  taken_n = take(&device->device_thread, taken);
  /* In one go under the lock: what the answers name cannot be released in between. */
  pthread_mutex_lock(&device->client->lock);
  for (unsigned i = 0; i < taken_n; i++)
    apply_cancel(device, targets, n, &taken[i], canceled);
  complete(device, taken, taken_n);
  for (unsigned i = 0; i < n; i++)
    give_up(targets[i], canceled);
  pthread_mutex_unlock(&device->client->lock);
}

/* ---- the thread ---- */

/* Returns when the next one has rested.  Under client->lock. */
static uint64_t
end_rests(struct sf_tio_device_thread *device_thread) {
  uint64_t next_ns = SF_TIO_NEVER,
           now_ns = sf_list_empty(&device_thread->resting) ? 0 : sf_tio_now();

  SF_LIST_EACH(entry, &device_thread->resting) {
    struct sf_tio_io *io = SF_LIST_ENTRY(entry, struct sf_tio_io, where_link);

    if (io->rests_until_ns <= now_ns) {
      sf_list_remove(&io->where_link);
      sf_list_append(&device_thread->list, &io->where_link);
    } else if (io->rests_until_ns < next_ns) {
      next_ns = io->rests_until_ns;
    }
  }
  return next_ns;
}

/* Returns when it is to be called again, if nothing happens before. */
static uint64_t
feed(struct sf_tio_device *device) {
  struct sf_tio_device_thread *device_thread = &device->device_thread;
  uint64_t next_ns;

  pthread_mutex_lock(&device->client->lock);
  next_ns = end_rests(device_thread);
  while (device_thread->in_kernel < SF_TIO_DEVICE_THREAD_DEPTH &&
         !sf_list_empty(&device_thread->list)) {
    struct sf_tio_io *io = SF_LIST_ENTRY(device_thread->list.next, struct sf_tio_io, where_link);

    if (!sf_tio_ring_prep(device_thread->ring, io, false))
      break;
    sf_list_remove(&io->where_link);
    io->where = SF_TIO_IN_DEVICE_THREAD;
    device_thread->in_kernel++;
  }
  pthread_mutex_unlock(&device->client->lock);
  if (io_uring_sq_ready(&device_thread->ring->uring))
    submit(device_thread);
  /* Regions are in the ring for which the kernel had no memory. */
  if (io_uring_sq_ready(&device_thread->ring->uring) && next_ns > sf_tio_now() + SF_MS)
    next_ns = sf_tio_now() + SF_MS;
  return next_ns;
}

/* ---- a killed submitter ---- */

static void
tell_of_submitter(struct sf_tio_device *device, int error) {
  struct sf_tio_client *client = device->client;
  struct sf_tio_device_thread *device_thread = &device->device_thread;
  bool news = error == 0 || !device_thread->submitter.told;

  device_thread->submitter.told = error != 0;
  atomic_store(&device_thread->no_submitter, error);
  if (news && client->submitter_lost)
    client->submitter_lost(client->submitter_context, device->fd, error);
}

/* A killed submitter is replaced at once; after repeated losses or failures, after a second, then
 * two, up to 64. */
static uint64_t
replace_after(struct sf_tio_submitter *submitter) {
  return submitter->losses == 0
             ? 0
             : submitter->since_ns +
                   (REPLACE_NS << (submitter->losses < 7 ? submitter->losses - 1 : 6));
}

static void
replace(struct sf_tio_device *device, uint64_t now_ns) {
  struct sf_tio_submitter *submitter = &device->device_thread.submitter;
  int error;

  submitter->losses = now_ns - submitter->since_ns > LONG_AGO_NS ? 1 : submitter->losses + 1;
  error = sf_tio_submitter_replace(device->client->submitters, device->fd,
                                   device->client->thread_name, submitter);
  if (error)
    tell_of_submitter(device, error);
}

/* Returns when it is to be called again, if nothing happens before. */
static uint64_t
look_after_submitter(struct sf_tio_device *device) {
  struct sf_tio_submitter *submitter = &device->device_thread.submitter;
  uint64_t now_ns, at_ns;

  if (submitter->ring == NULL || submitter->ready)
    return SF_TIO_NEVER;
  now_ns = sf_tio_now();
  if (submitter->socket >= 0) {
    at_ns = submitter->since_ns + SUBMITTER_READY_NS;
    if (now_ns < at_ns)
      return at_ns;
    sf_tio_submitter_lose(submitter);
    tell_of_submitter(device, -ETIMEDOUT);
  }
  at_ns = replace_after(submitter);
  if (now_ns < at_ns)
    return at_ns;
  replace(device, now_ns);
  return submitter->socket < 0 ? replace_after(submitter)
                               : submitter->since_ns + SUBMITTER_READY_NS;
}

/* ---- waiting ---- */

/* The wake is cleared before anything is looked at, so that news that comes later sets it again. */
static bool
stopped(struct sf_tio_device *device) {
  bool stop;

  atomic_store(&device->device_thread.wake, false);
  pthread_mutex_lock(&device->client->lock);
  stop = device->device_thread.stop;
  pthread_mutex_unlock(&device->client->lock);
  return stop;
}

static int
milliseconds_until(uint64_t until_ns) {
  uint64_t now_ns = sf_tio_now();

  if (until_ns == SF_TIO_NEVER)
    return -1;
  return until_ns <= now_ns ? 0 : (int) ((until_ns - now_ns) / SF_MS + 1);
}

static void
wait_for_news(struct sf_tio_device *device, uint64_t until_ns) {
  struct sf_tio_device_thread *device_thread = &device->device_thread;
  struct pollfd fds[3] = {{.fd = device_thread->ring->uring.ring_fd, .events = POLLIN},
                          {.fd = device_thread->wake_fd, .events = POLLIN},
                          {.fd = device_thread->submitter.socket, .events = POLLIN}};
  uint64_t count;

  atomic_store(&device_thread->waiting, true);
  if (!atomic_load(&device_thread->wake)) {
    poll(fds, 3, milliseconds_until(until_ns));
    if (fds[1].revents)
      (void) !read(device_thread->wake_fd, &count, sizeof count);
    if (fds[2].revents)
      sf_tio_submitter_hear(&device_thread->submitter);
    if (fds[2].revents && device_thread->submitter.ready)
      tell_of_submitter(device, 0);
  }
  atomic_store(&device_thread->waiting, false);
}

static void *
device_thread_main(void *arg) {
  struct sf_tio_device *device = arg;
  struct sf_tio_device_thread *device_thread = &device->device_thread;
  unsigned workers[2] = {SF_TIO_IOWQ_WORKERS, SF_TIO_IOWQ_WORKERS};

  /* The limit is the calling thread's, so it is set here. */
  io_uring_register_iowq_max_workers(&device_thread->ring->uring, workers);
  while (!stopped(device)) {
    uint64_t until_ns, other_ns;

    pthread_mutex_lock(&device_thread->ring_lock);
    reap(device);
    until_ns = feed(device);
    pthread_mutex_unlock(&device_thread->ring_lock);
    other_ns = look_after_submitter(device);
    wait_for_news(device, until_ns < other_ns ? until_ns : other_ns);
  }
  return NULL;
}

/* A submitter's if there can be one: without it a device that hangs for good keeps this process.
 * That is for the user to judge; better than no device. */
static int
get_ring(struct sf_tio_device_thread *device_thread, const struct sf_tio_client *client, int fd) {
  int error;

  device_thread->submitter = (struct sf_tio_submitter){.socket = -1};
  if (client->submitters) {
    error = sf_tio_submitter_start(client->submitters, &client->pool, fd, client->thread_name,
                                   &device_thread->submitter);
    atomic_store(&device_thread->no_submitter, error);
    device_thread->ring = device_thread->submitter.ring;
    if (!error)
      return 0;
  }
  device_thread->ring = &device_thread->own_ring;
  error = sf_tio_ring_init(device_thread->ring, 2 * SF_TIO_DEVICE_THREAD_DEPTH,
                           SF_TIO_DEVICE_THREAD_COMPLETIONS);
  if (!error)
    (void) sf_tio_ring_register(device_thread->ring, &client->pool);
  return error;
}

static void
put_ring(struct sf_tio_device_thread *device_thread, const struct sf_tio_client *client) {
  if (device_thread->submitter.ring)
    sf_tio_submitter_stop(client->submitters, &device_thread->submitter);
  else
    sf_tio_ring_exit(&device_thread->own_ring);
}

int
sf_tio_device_thread_start(struct sf_tio_device *device) {
  struct sf_tio_device_thread *device_thread = &device->device_thread;
  int error;

  sf_list_init(&device_thread->list);
  sf_list_init(&device_thread->resting);
  device_thread->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (device_thread->wake_fd < 0)
    return -errno;
  error = get_ring(device_thread, device->client, device->fd);
  if (error) {
    close(device_thread->wake_fd);
    return error;
  }
  pthread_mutex_init(&device_thread->ring_lock, NULL);
  error = sf_tio_spawn(&device_thread->thread, device->client->thread_name, "device",
                       device_thread_main, device);
  if (error) {
    put_ring(device_thread, device->client);
    close(device_thread->wake_fd);
    pthread_mutex_destroy(&device_thread->ring_lock);
  }
  return error;
}

void
sf_tio_device_thread_stop(struct sf_tio_device *device) {
  struct sf_tio_device_thread *device_thread = &device->device_thread;

  pthread_mutex_lock(&device->client->lock);
  SF_ASSERT(sf_list_empty(&device_thread->list) && sf_list_empty(&device_thread->resting) &&
            device_thread->in_kernel == 0);
  device_thread->stop = true;
  sf_tio_device_thread_wake(device_thread);
  pthread_mutex_unlock(&device->client->lock);
  pthread_join(device_thread->thread, NULL);
  put_ring(device_thread, device->client);
  close(device_thread->wake_fd);
  pthread_mutex_destroy(&device_thread->ring_lock);
}

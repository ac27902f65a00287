/* Driving a queue: hand over pending regions, wait, take completions, look at the deadlines,
 * deliver events.  All of it with queue->owner held; feeding, collecting and delivering with
 * client->lock too, which they drop where they enter the kernel or call out. */
#include "timed_io/internal.h"

#include <errno.h>
#include <poll.h>

/* ---- handing over ---- */

static void
arm_wake(struct sf_tio_queue *queue) {
  struct io_uring_sqe *sqe;

  if (queue->wake_armed || queue->background)
    return;
  sqe = io_uring_get_sqe(&queue->ring.uring);
  if (sqe == NULL)
    return;
  io_uring_prep_poll_multishot(sqe, queue->wake_fd, POLLIN);
  sqe->user_data = SF_TIO_UD_WAKE;
  queue->wake_armed = true;
}

static void
unlist(struct sf_tio_queue *queue, struct sf_tio_io *io) {
  sf_list_remove(&io->where_link);
  queue->pending_n--;
}

static void
enter_ring(struct sf_tio_queue *queue, struct sf_tio_io *io, uint64_t now_ns) {
  unlist(queue, io);
  io->where = SF_TIO_IN_RING;
  queue->in_ring++;
  queue->in_ring_live++;
  if (io->device->in_rings++ == 0)
    io->device->progress_ns = now_ns;
}

/* Under client->lock, which is dropped meanwhile. */
static void
copy(struct sf_tio_queue *queue, struct sf_tio_io *io, uint64_t now_ns) {
  int res;

  enter_ring(queue, io, now_ns);
  pthread_mutex_unlock(&queue->client->lock);
  res = sf_tio_transfer(io);
  pthread_mutex_lock(&queue->client->lock);
  sf_tio_io_complete(io, res, sf_tio_now());
}

static bool
hand_over(struct sf_tio_queue *queue, struct sf_tio_io *io, uint64_t now_ns) {
  if (!sf_tio_device_inline(io->device, io, now_ns)) {
    unlist(queue, io);
    sf_tio_device_thread_add(io);
  } else if (io->device->in_memory) {
    copy(queue, io, now_ns);
  } else {
    if (!sf_tio_ring_prep(&queue->ring, io, true))
      return false;
    enter_ring(queue, io, now_ns);
  }
  return true;
}

static void
submit(struct sf_tio_queue *queue) {
  if (!queue->background)
    atomic_fetch_add_explicit(&queue->client->enters, 1, memory_order_relaxed);
  io_uring_submit(&queue->ring.uring);
}

void
sf_tio_turn_feed(struct sf_tio_queue *queue) {
  struct sf_tio_client *client = queue->client;

  arm_wake(queue);
  while (!sf_list_empty(&queue->pending)) {
    struct sf_tio_io *io = SF_LIST_ENTRY(queue->pending.next, struct sf_tio_io, where_link);

    if (hand_over(queue, io, sf_tio_now()))
      continue;
    pthread_mutex_unlock(&client->lock);
    submit(queue);
    pthread_mutex_lock(&client->lock);
  }
  if (queue->live_n == 0)
    queue->scattered = false;
}

void
sf_tio_turn_submit(struct sf_tio_queue *queue) {
  if (io_uring_sq_ready(&queue->ring.uring))
    submit(queue);
}

/* ---- taking completions ---- */

static void
take(struct sf_tio_queue *queue, const struct io_uring_cqe *cqe, uint64_t now_ns) {
  if (cqe->user_data >= SF_TIO_UD_REGIONS)
    sf_tio_io_complete(sf_tio_io_find(queue->client, cqe->user_data), cqe->res, now_ns);
  else if (cqe->user_data != SF_TIO_UD_WAKE)
    sf_tio_message_take(queue, cqe->user_data, cqe->res);
  else if (!(cqe->flags & IORING_CQE_F_MORE))
    queue->wake_armed = false;
}

/* Asking the kernel for completions that it has not posted yet is a system call, and the next round
 * makes one anyhow.  Only before a region is found late is it asked here. */
static unsigned
peek(struct sf_tio_queue *queue, struct io_uring_cqe **cqes, uint64_t now_ns) {
  struct io_uring *uring = &queue->ring.uring;

  if (queue->alone && !io_uring_cq_ready(uring) && now_ns < queue->deadline_ns)
    return 0;
  return io_uring_peek_batch_cqe(uring, cqes, SF_TIO_BATCH);
}

void
sf_tio_turn_collect(struct sf_tio_queue *queue, uint64_t now_ns) {
  struct io_uring *uring = &queue->ring.uring;
  struct io_uring_cqe *cqes[SF_TIO_BATCH];
  unsigned n;

  while ((n = peek(queue, cqes, now_ns)) > 0) {
    for (unsigned i = 0; i < n; i++)
      take(queue, cqes[i], now_ns);
    io_uring_cq_advance(uring, n);
  }
  sf_tio_deadlines(queue, now_ns);
}

/* ---- waiting ---- */

/* If all live regions are in this thread's ring and came together so far, one wait takes all of
 * them.  Else each wait ends with the first completion. */
static unsigned
completions_wanted(const struct sf_tio_queue *queue) {
  if (queue->alone)
    return 1 + queue->sends;
  if (queue->live_n && !queue->scattered && queue->live_n == queue->in_ring_live)
    return queue->live_n;
  return 1;
}

static void
enter(struct sf_tio_queue *queue, unsigned wanted, uint64_t now_ns, uint64_t until_ns) {
  uint64_t wait_ns = until_ns > now_ns ? until_ns - now_ns : 0;
  struct __kernel_timespec ts = {.tv_sec = (long long) (wait_ns / SF_S),
                                 .tv_nsec = (long long) (wait_ns % SF_S)};
  struct io_uring_cqe *cqe;
  int error;

  atomic_fetch_add_explicit(&queue->client->enters, 1, memory_order_relaxed);
  error = io_uring_submit_and_wait_timeout(&queue->ring.uring, &cqe, wanted,
                                           until_ns == SF_TIO_NEVER ? NULL : &ts, NULL);
  /* The kernel has no memory just now; the entries in the ring are submitted again. */
  if (error == -EAGAIN || error == -EBUSY || error == -ENOMEM)
    poll(&(struct pollfd){.fd = queue->wake_fd, .events = POLLIN}, 1, 1);
}

/* A newer kernel (seen with 6.18) posts only as many completions as the call waited for, and keeps
 * the rest for the next call.  So that call is made now: completions taken together are answered
 * together, and no leg's answer is seen late because the one before it was handled first. */
static void
ask_for_the_rest(struct sf_tio_queue *queue) {
  struct io_uring *uring = &queue->ring.uring;

  if (!queue->alone || !(IO_URING_READ_ONCE(*uring->sq.kflags) & IORING_SQ_TASKRUN))
    return;
  atomic_fetch_add_explicit(&queue->client->enters, 1, memory_order_relaxed);
  io_uring_get_events(uring);
}

static uint64_t
together_ns(const struct sf_tio_queue *queue) {
  return queue->alone && queue->requests_n ? SF_TIO_SENT_NS : SF_TIO_TOGETHER_NS;
}

static void
wait_for_news(struct sf_tio_queue *queue, unsigned wanted, uint64_t now_ns, uint64_t until_ns) {
  bool submits = io_uring_sq_ready(&queue->ring.uring) > 0;

  /* A deadline that passed while this thread did something else was not overslept. */
  if (until_ns < now_ns)
    until_ns = now_ns;
  if (wanted > 1 && now_ns + together_ns(queue) < until_ns)
    until_ns = now_ns + together_ns(queue);
  atomic_store(&queue->waiting, true);
  if (atomic_load(&queue->wake))
    sf_tio_turn_submit(queue);
  else
    enter(queue, wanted, now_ns, until_ns);
  atomic_store(&queue->waiting, false);
  ask_for_the_rest(queue);
  queue->sends = 0;
  if (wanted > 1 && io_uring_cq_ready(&queue->ring.uring) < wanted)
    queue->scattered = true;
  /* Late from a call that only waited: this thread got no CPU.  Submission may have blocked, and
   * that is the device's doing. */
  if (!submits && until_ns != SF_TIO_NEVER)
    sf_tio_own_delay_overslept(&queue->client->own_delay, until_ns, sf_tio_now());
}

/* ---- the loop ---- */

/* Under client->lock.  The background thread looks after regions that still run, unless the queue
 * is alone: its own thread comes again.  A background thread that knows of this queue already comes
 * by itself, so a thread that leaves something behind with every request need not wake it each
 * time. */
static void
leave(struct sf_tio_queue *queue) {
  struct sf_tio_client *client = queue->client;

  if (queue->alone)
    return;
  queue->driven = false;
  if (!sf_list_empty(&queue->events) ||
      (sf_tio_queue_busy(queue) &&
       (!queue->listed || queue->deadline_ns < atomic_load(&client->background.until_ns))))
    sf_tio_queue_kick(queue);
}

/* Every part of a round takes the lock as it is and gives it back so: it is contended by all
 * threads, and taken twice in the life of a healthy request. */
int
sf_tio_drive(struct sf_tio_queue *queue, uint64_t until_ns, bool (*stop)(void *), void *arg) {
  struct sf_tio_client *client = queue->client;
  int error;

  if (sf_tio_in_callout())
    return -EDEADLK;
  SF_ASSERT(queue == sf_tio_queue_current(client));
  pthread_mutex_lock(&queue->owner);
  pthread_mutex_lock(&client->lock);
  queue->driven = true;
  queue->drives++;
  for (;;) {
    uint64_t now_ns, look_ns;
    unsigned wanted;

    atomic_store(&queue->wake, false);
    sf_tio_events_deliver(queue);
    sf_tio_turn_feed(queue);
    wanted = completions_wanted(queue);
    look_ns = queue->deadline_ns;
    pthread_mutex_unlock(&client->lock);
    sf_tio_messages_tell(queue);
    error = 0;
    if (stop && stop(arg))
      break;
    now_ns = sf_tio_now();
    error = -ETIME;
    if (until_ns && now_ns >= until_ns)
      break;
    if (until_ns && until_ns < look_ns)
      look_ns = until_ns;
    wait_for_news(queue, wanted, now_ns, look_ns);
    now_ns = sf_tio_now();
    pthread_mutex_lock(&client->lock);
    sf_tio_turn_collect(queue, now_ns);
  }
  if (!queue->alone)
    sf_tio_turn_submit(queue);
  pthread_mutex_lock(&client->lock);
  leave(queue);
  pthread_mutex_unlock(&client->lock);
  pthread_mutex_unlock(&queue->owner);
  return error;
}

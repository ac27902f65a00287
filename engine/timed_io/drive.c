/* Driving a queue: hand over what is pending, wait, take completions, look at the deadlines, tell.
 * All of it with thread->owner held; feeding, collecting and delivering with client->lock too, which
 * they drop where they enter the kernel or call out. */
#include "timed_io/internal.h"

#include <errno.h>
#include <poll.h>

/* ---- handing over ---- */

static void
arm_wake(struct sf_tio_thread *thread) {
  struct io_uring_sqe *sqe;

  if (thread->wake_armed || thread->service)
    return;
  sqe = io_uring_get_sqe(&thread->ring.uring);
  if (!sqe)
    return;
  io_uring_prep_poll_multishot(sqe, thread->wake_fd, POLLIN);
  sqe->user_data = SF_TIO_UD_WAKE;
  thread->wake_armed = true;
}

static void
unlist(struct sf_tio_thread *thread, struct sf_tio_io *io) {
  sf_list_remove(&io->where_link);
  thread->pending_n--;
}

static void
enter_ring(struct sf_tio_thread *thread, struct sf_tio_io *io, uint64_t now_ns) {
  unlist(thread, io);
  io->where = SF_TIO_IN_RING;
  thread->in_ring++;
  thread->in_ring_live++;
  if (io->device->in_rings++ == 0)
    io->device->progress_ns = now_ns;
}

/* Under client->lock, which is dropped meanwhile. */
static void
copy(struct sf_tio_thread *thread, struct sf_tio_io *io, uint64_t now_ns) {
  int res;

  enter_ring(thread, io, now_ns);
  pthread_mutex_unlock(&thread->client->lock);
  res = sf_tio_transfer(io);
  pthread_mutex_lock(&thread->client->lock);
  sf_tio_io_complete(io, res, sf_tio_now());
}

static bool
hand_over(struct sf_tio_thread *thread, struct sf_tio_io *io, uint64_t now_ns) {
  if (!sf_tio_device_inline(io->device, io, now_ns)) {
    unlist(thread, io);
    sf_tio_exec_add(io);
  } else if (io->device->in_memory) {
    copy(thread, io, now_ns);
  } else {
    if (!sf_tio_ring_prep(&thread->ring, io, true))
      return false;
    enter_ring(thread, io, now_ns);
  }
  return true;
}

static void
submit(struct sf_tio_thread *thread) {
  if (!thread->service)
    atomic_fetch_add_explicit(&thread->client->enters, 1, memory_order_relaxed);
  io_uring_submit(&thread->ring.uring);
}

void
sf_tio_turn_feed(struct sf_tio_thread *thread) {
  struct sf_tio_client *client = thread->client;

  arm_wake(thread);
  while (!sf_list_empty(&thread->pending)) {
    struct sf_tio_io *io = SF_LIST_ENTRY(thread->pending.next, struct sf_tio_io, where_link);

    if (hand_over(thread, io, sf_tio_now()))
      continue;
    pthread_mutex_unlock(&client->lock);
    submit(thread);
    pthread_mutex_lock(&client->lock);
  }
  if (thread->live_n == 0)
    thread->scattered = false;
}

void
sf_tio_turn_submit(struct sf_tio_thread *thread) {
  if (io_uring_sq_ready(&thread->ring.uring))
    submit(thread);
}

/* ---- taking completions ---- */

static void
take(struct sf_tio_thread *thread, const struct io_uring_cqe *cqe, uint64_t now_ns) {
  if (cqe->user_data >= SF_TIO_UD_REGIONS)
    sf_tio_io_complete(sf_tio_io_find(thread->client, cqe->user_data), cqe->res, now_ns);
  else if (cqe->user_data != SF_TIO_UD_WAKE)
    sf_tio_message_take(thread, cqe->user_data, cqe->res);
  else if (!(cqe->flags & IORING_CQE_F_MORE))
    thread->wake_armed = false;
}

/* To ask the kernel for what it has not posted yet is a system call, and the next round makes one anyhow.
 * But before a region is late it is asked. */
static unsigned
peek(struct sf_tio_thread *thread, struct io_uring_cqe **cqes, uint64_t now_ns) {
  struct io_uring *uring = &thread->ring.uring;

  if (thread->alone && !io_uring_cq_ready(uring) && now_ns < thread->deadline_ns)
    return 0;
  return io_uring_peek_batch_cqe(uring, cqes, SF_TIO_BATCH);
}

void
sf_tio_turn_collect(struct sf_tio_thread *thread, uint64_t now_ns) {
  struct io_uring *uring = &thread->ring.uring;
  struct io_uring_cqe *cqes[SF_TIO_BATCH];
  unsigned n;

  while ((n = peek(thread, cqes, now_ns)) > 0) {
    for (unsigned i = 0; i < n; i++)
      take(thread, cqes[i], now_ns);
    io_uring_cq_advance(uring, n);
  }
  sf_tio_deadlines(thread, now_ns);
}

/* ---- waiting ---- */

/* All that is live came from this thread and nothing is unusual: one wait for all of it.  Else the
 * first completion counts. */
static unsigned
completions_wanted(const struct sf_tio_thread *thread) {
  if (thread->alone)
    return 1 + thread->sends;
  if (thread->live_n && !thread->scattered && thread->live_n == thread->in_ring_live)
    return thread->live_n;
  return 1;
}

static void
enter(struct sf_tio_thread *thread, unsigned wanted, uint64_t now_ns, uint64_t until_ns) {
  uint64_t wait_ns = until_ns > now_ns ? until_ns - now_ns : 0;
  struct __kernel_timespec ts = {.tv_sec = (long long) (wait_ns / 1000000000u),
                                 .tv_nsec = (long long) (wait_ns % 1000000000u)};
  struct io_uring_cqe *cqe;
  int error;

  atomic_fetch_add_explicit(&thread->client->enters, 1, memory_order_relaxed);
  error = io_uring_submit_and_wait_timeout(&thread->ring.uring, &cqe, wanted,
                                           until_ns == SF_TIO_NEVER ? NULL : &ts, NULL);
  /* The kernel has no memory for it just now; what is in the ring is submitted again. */
  if (error == -EAGAIN || error == -EBUSY || error == -ENOMEM)
    poll(&(struct pollfd){.fd = thread->wake_fd, .events = POLLIN}, 1, 1);
}

/* Of what has ended a newer kernel (seen with 6.18) runs only as much as was waited for, and keeps the rest for the
 * next call.  That is now: what is taken together is answered together and handed over together, and no leg's
 * answer is seen late for what is done with the one before. */
static void
ask_for_the_rest(struct sf_tio_thread *thread) {
  struct io_uring *uring = &thread->ring.uring;

  if (!thread->alone || !(IO_URING_READ_ONCE(*uring->sq.kflags) & IORING_SQ_TASKRUN))
    return;
  atomic_fetch_add_explicit(&thread->client->enters, 1, memory_order_relaxed);
  io_uring_get_events(uring);
}

static uint64_t
together_ns(const struct sf_tio_thread *thread) {
  return thread->alone && thread->requests_n ? SF_TIO_SENT_NS : SF_TIO_TOGETHER_NS;
}

static void
wait_for_news(struct sf_tio_thread *thread, unsigned wanted, uint64_t now_ns, uint64_t until_ns) {
  bool submits = io_uring_sq_ready(&thread->ring.uring) > 0;

  /* A deadline that passed while this thread did something else: nobody slept since. */
  if (until_ns < now_ns)
    until_ns = now_ns;
  if (wanted > 1 && now_ns + together_ns(thread) < until_ns)
    until_ns = now_ns + together_ns(thread);
  atomic_store(&thread->waiting, true);
  if (atomic_load(&thread->wake))
    sf_tio_turn_submit(thread);
  else
    enter(thread, wanted, now_ns, until_ns);
  atomic_store(&thread->waiting, false);
  ask_for_the_rest(thread);
  thread->sends = 0;
  if (wanted > 1 && io_uring_cq_ready(&thread->ring.uring) < wanted)
    thread->scattered = true;
  /* Late from a call that only waited: this thread got no CPU.  Submission may have blocked, and that
   * is the device's doing. */
  if (!submits && until_ns != SF_TIO_NEVER)
    sf_tio_pulse_overslept(&thread->client->pulse, until_ns, sf_tio_now());
}

/* ---- the loop ---- */

/* Under client->lock.  What still runs is looked after by the service, unless the thread is alone: that one comes
 * again.  While it knows of this queue
 * already, it comes by itself: a thread whose every request leaves something behind need not wake it
 * each time. */
static void
leave(struct sf_tio_thread *thread) {
  struct sf_tio_client *client = thread->client;

  if (thread->alone)
    return;
  thread->driven = false;
  if (!sf_list_empty(&thread->events) ||
      (sf_tio_thread_busy(thread) &&
       (!thread->listed || thread->deadline_ns < atomic_load(&client->service.until_ns))))
    sf_tio_thread_kick(thread);
}

/* Every part of a round takes the lock as it is and gives it back so: it is contended by all threads,
 * and taken twice in the life of a healthy request. */
int
sf_tio_drive(struct sf_tio_thread *thread, uint64_t until_ns, bool (*stop)(void *), void *arg) {
  struct sf_tio_client *client = thread->client;
  int error;

  if (sf_tio_in_callout())
    return -EDEADLK;
  SF_MUST(thread == sf_tio_thread_current(client));
  pthread_mutex_lock(&thread->owner);
  pthread_mutex_lock(&client->lock);
  thread->driven = true;
  thread->drives++;
  for (;;) {
    uint64_t now_ns, look_ns;
    unsigned wanted;

    atomic_store(&thread->wake, false);
    sf_tio_events_deliver(thread);
    sf_tio_turn_feed(thread);
    wanted = completions_wanted(thread);
    look_ns = thread->deadline_ns;
    pthread_mutex_unlock(&client->lock);
    sf_tio_messages_tell(thread);
    error = 0;
    if (stop && stop(arg))
      break;
    now_ns = sf_tio_now();
    error = -ETIME;
    if (until_ns && now_ns >= until_ns)
      break;
    if (until_ns && until_ns < look_ns)
      look_ns = until_ns;
    wait_for_news(thread, wanted, now_ns, look_ns);
    now_ns = sf_tio_now();
    pthread_mutex_lock(&client->lock);
    sf_tio_turn_collect(thread, now_ns);
  }
  if (!thread->alone)
    sf_tio_turn_submit(thread);
  pthread_mutex_lock(&client->lock);
  leave(thread);
  pthread_mutex_unlock(&client->lock);
  pthread_mutex_unlock(&thread->owner);
  return error;
}

/* Submitters.  An uninterruptible call (a flush of a dead disk, a write that waits for a tag or a
 * journal) keeps its process in the kernel, SIGKILL or not, and with it every file that it has
 * open: the locks on the other legs as well.  io_uring does not help: its workers are threads of
 * the process that submits.  So a device's thread can have a process of its own that does nothing
 * but io_uring_enter(), and that has no file but this device's.  When the device hangs it is that
 * process which stays, and the lock on that device stays with it (rule R7), as it must.
 *
 *      us            fills the submission queue, reaps the completions: shared memory
 *      submitter     told through a socket, enters the kernel for queued entries
 *      fork server   makes submitters.  It was forked before any device was open, so that a new one
 *                    has nothing to close: close(2) can hang too, and fork copies every file.
 *                    There are two, and each makes the other anew when it is killed.
 *
 * A ring cannot be sent through a socket since Linux 6.7, so rings are made before the fork. */
#include "timed_io/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/forks.h"
#include "base/process.h"

enum { ANSWER_MS = 2000, CLOSE_MS = 1000 };

struct ring_slot {
  struct sf_tio_ring ring; /* first */
  bool taken;
};

struct sf_tio_submitters {
  struct sf_forks forks;
  pthread_mutex_t lock;
  unsigned n;
  struct ring_slot slot[SF_TIO_DEVICES_MAX];
};

/* To the fork server, with the submitter's end of its socket. */
struct order {
  unsigned slot;
  char name[16];
};

/* ---- files through sockets ---- */

/* The file, or -1: the other side has gone. */
static int
receive_with_file(int socket, void *data, size_t length) {
  int fd;

  return sf_receive_file(socket, data, length, &fd) > 0 ? fd : -1;
}

/* ---- the submitter process ---- */

static void
enter(const struct sf_tio_ring *ring) {
  /* An entry for which the kernel has no memory stays in the queue; this process is told again. */
  while (syscall(__NR_io_uring_enter, ring->uring.ring_fd, 2 * SF_TIO_DEVICE_THREAD_DEPTH, 0, 0,
                 NULL, 0) < 0 &&
         errno == EINTR)
    ;
}

/* Frees the number `from`, which is to be another file's. */
static int
move_away(int fd, int from) {
  int moved = fd == from ? fcntl(fd, F_DUPFD_CLOEXEC, from + 1) : fd;

  if (moved < 0)
    _exit(1);
  return moved;
}

/* The file gets the number here that it has in the process that fills the queue, so that an entry
 * means the same in both: that process may have to submit it itself. */
static int
receive_device(int *socket, struct sf_tio_ring *ring) {
  int fd, number;

  fd = receive_with_file(*socket, &number, sizeof number);
  if (fd < 0)
    _exit(1);
  *socket = move_away(*socket, number);
  ring->uring.ring_fd = ring->uring.enter_ring_fd = move_away(ring->uring.ring_fd, number);
  if (fd != number && (dup3(fd, number, O_CLOEXEC) < 0 || close(fd) < 0))
    _exit(1);
  return number;
}

static _Noreturn void
submit_for(int socket, struct sf_tio_ring *ring) {
  unsigned workers[2] = {SF_TIO_IOWQ_WORKERS, SF_TIO_IOWQ_WORKERS};
  char told[64] = {1};
  ssize_t n;
  int fd;

  fd = receive_device(&socket, ring);
  io_uring_register_iowq_max_workers(&ring->uring, workers);
  n = send(socket, told, 1, MSG_NOSIGNAL);
  while (n > 0 || (n < 0 && errno == EINTR)) {
    n = recv(socket, told, sizeof told, 0);
    if (n > 0)
      enter(ring);
  }
  close(fd); /* before the socket: its end says that the device is free */
  _exit(0);
}

/* A child of the fork server. */
static void
begin_submitter(void *context, int given, const void *ordered) {
  struct sf_tio_submitters *submitters = context;
  const struct order *order = ordered;

  for (unsigned i = 0; i < submitters->n; i++)
    if (i != order->slot)
      close(submitters->slot[i].ring.uring.ring_fd);
  prctl(PR_SET_NAME, order->name);
  submit_for(given, &submitters->slot[order->slot].ring);
}

/* ---- on our side ---- */

static void
free_rings(struct sf_tio_submitters *submitters) {
  for (unsigned i = 0; i < submitters->n; i++)
    sf_tio_ring_exit(&submitters->slot[i].ring);
  pthread_mutex_destroy(&submitters->lock);
  free(submitters);
}

static int
make_rings(struct sf_tio_submitters *submitters, unsigned n) {
  for (unsigned i = 0; i < n; i++) {
    struct sf_tio_ring *ring = &submitters->slot[i].ring;
    int error =
        sf_tio_ring_init(ring, 2 * SF_TIO_DEVICE_THREAD_DEPTH, SF_TIO_DEVICE_THREAD_COMPLETIONS);

    if (error)
      return error;
    /* To liburing it looks as if the kernel emptied the queue by itself: it orders its writes and
     * never enters. */
    ring->uring.flags |= IORING_SETUP_SQPOLL;
    submitters->n++;
  }
  return 0;
}

static int
start_forks(struct sf_tio_submitters *submitters) {
  int keep[SF_TIO_DEVICES_MAX];
  const struct sf_forks_kind kind = {.name = "sf-submitters",
                                     .order_bytes = sizeof(struct order),
                                     .child = begin_submitter,
                                     .context = submitters,
                                     .keep = keep,
                                     .keeps = submitters->n};

  for (unsigned i = 0; i < submitters->n; i++)
    keep[i] = submitters->slot[i].ring.uring.ring_fd;
  return sf_forks_start(&submitters->forks, &kind);
}

int
sf_tio_submitters_start(unsigned devices, struct sf_tio_submitters **submitters) {
  struct sf_tio_submitters *made;
  int error;

  if (devices == 0 || devices > SF_TIO_DEVICES_MAX)
    return -EINVAL;
  made = calloc(1, sizeof *made);
  if (made == NULL)
    return -ENOMEM;
  pthread_mutex_init(&made->lock, NULL);
  error = make_rings(made, devices);
  if (!error)
    error = start_forks(made);
  if (error) {
    free_rings(made);
    return error;
  }
  *submitters = made;
  return 0;
}

void
sf_tio_submitters_stop(struct sf_tio_submitters *submitters) {
  if (submitters == NULL)
    return;
  sf_forks_stop(&submitters->forks);
  free_rings(submitters);
}

int
sf_tio_submitters_news(const struct sf_tio_submitters *submitters) {
  return submitters->forks.news;
}

int
sf_tio_submitters_tend(struct sf_tio_submitters *submitters) {
  return sf_forks_tend(&submitters->forks, sf_tio_now());
}

static struct ring_slot *
take_slot(struct sf_tio_submitters *submitters) {
  struct ring_slot *slot = NULL;

  pthread_mutex_lock(&submitters->lock);
  for (unsigned i = 0; i < submitters->n && slot == NULL; i++)
    if (!submitters->slot[i].taken)
      slot = &submitters->slot[i];
  if (slot)
    slot->taken = true;
  pthread_mutex_unlock(&submitters->lock);
  return slot;
}

static void
give_back(struct sf_tio_submitters *submitters, struct ring_slot *slot) {
  if (slot->ring.fixed)
    io_uring_unregister_buffers(&slot->ring.uring);
  pthread_mutex_lock(&submitters->lock);
  slot->taken = false;
  pthread_mutex_unlock(&submitters->lock);
}

/* Is there a message or the end of the stream within the time? */
static bool
ready(int socket, int ms) {
  struct pollfd fd = {.fd = socket, .events = POLLIN};
  int n;

  do
    n = poll(&fd, 1, ms);
  while (n < 0 && errno == EINTR);
  return n > 0;
}

/* It answers on the socket when it is ready. */
static int
ask_for_one(struct sf_tio_submitters *submitters, int fd, const char *name,
            struct sf_tio_submitter *submitter) {
  struct ring_slot *slot = (struct ring_slot *) submitter->ring;
  struct order order = {.slot = (unsigned) (slot - submitters->slot)};
  int error, ends[2];

  strncpy(order.name, name, sizeof order.name - 1);
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
    return -errno;
  error = sf_forks_order(&submitters->forks, &order, sizeof order, ends[1]);
  close(ends[1]);
  if (!error)
    error = sf_send_file(ends[0], &fd, sizeof fd, fd);
  if (error) {
    close(ends[0]);
    return error == -ECONNRESET || error == -ENOTCONN ? -EPIPE : error;
  }
  submitter->socket = ends[0];
  submitter->ready = false;
  submitter->since_ns = sf_tio_now();
  return 0;
}

void
sf_tio_submitter_hear(struct sf_tio_submitter *submitter) {
  char one;
  ssize_t n = recv(submitter->socket, &one, 1, MSG_DONTWAIT);

  if (n > 0)
    submitter->ready = true;
  else if (n == 0 || (errno != EAGAIN && errno != EINTR))
    sf_tio_submitter_lose(submitter);
}

int
sf_tio_submitter_start(struct sf_tio_submitters *submitters, const struct sf_tio_pool *pool, int fd,
                       const char *name, struct sf_tio_submitter *submitter) {
  struct ring_slot *slot = take_slot(submitters);
  int error;

  if (slot == NULL)
    return -ENOSPC;
  *submitter = (struct sf_tio_submitter){.socket = -1, .ring = &slot->ring};
  /* An address that is not registered would be looked up in the submitter's own memory. */
  error = sf_tio_ring_register(&slot->ring, pool);
  if (!error)
    error = ask_for_one(submitters, fd, name, submitter);
  if (!error && ready(submitter->socket, ANSWER_MS))
    sf_tio_submitter_hear(submitter);
  if (!error && !submitter->ready)
    error = -EAGAIN;
  if (error) {
    sf_tio_submitter_lose(submitter);
    submitter->ring = NULL;
    give_back(submitters, slot);
  }
  return error;
}

int
sf_tio_submitter_replace(struct sf_tio_submitters *submitters, int fd, const char *name,
                         struct sf_tio_submitter *submitter) {
  submitter->since_ns = sf_tio_now(); /* of the attempt, if it fails */
  return ask_for_one(submitters, fd, name, submitter);
}

static bool
has_ended(int socket) {
  char none;

  if (shutdown(socket, SHUT_WR) < 0)
    return false;
  while (ready(socket, CLOSE_MS))
    if (recv(socket, &none, 1, 0) <= 0)
      return true;
  return false;
}

void
sf_tio_submitter_stop(struct sf_tio_submitters *submitters, struct sf_tio_submitter *submitter) {
  struct ring_slot *slot = (struct ring_slot *) submitter->ring;

  /* A process that does not end keeps its ring: it could still submit what the next user queues. */
  if (submitter->socket < 0 || has_ended(submitter->socket))
    give_back(submitters, slot);
  sf_tio_submitter_lose(submitter);
}

bool
sf_tio_submitter_tell(struct sf_tio_submitter *submitter) {
  char one = 1;

  if (submitter->socket < 0 || !submitter->ready)
    return false;
  /* A full socket: it has been told and has not looked yet. */
  if (send(submitter->socket, &one, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 || errno == EAGAIN)
    return true;
  sf_tio_submitter_lose(submitter);
  return false;
}

void
sf_tio_submitter_lose(struct sf_tio_submitter *submitter) {
  if (submitter->socket >= 0)
    close(submitter->socket);
  submitter->socket = -1;
  submitter->ready = false;
}

/* The moves of a region, and what the kernel's answers mean.  All under client->lock. */
#include "timed_io/internal.h"

#include <errno.h>

static const struct sf_state_hooks no_hooks;

/* ---- moves ---- */

static void
set_overdue(struct sf_tio_io *io) {
  if (!io->overdue)
    io->device->overdue++;
  io->overdue = true;
}

static void
become_terminal(struct sf_tio_io *io, enum sf_tio_state state, uint64_t now_ns) {
  struct sf_tio_request *request = io->request;
  struct sf_tio_queue *queue = request->queue;
  uint32_t bit = UINT32_C(1) << io->index;

  sf_state_move(&io->machine, state, &no_hooks, NULL);
  sf_list_remove(&io->live_link);
  sf_list_remove(&io->device_link);
  if (--queue->live_n == 0)
    queue->deadline_ns = SF_TIO_NEVER;
  if (io->where == SF_TIO_IN_RING)
    queue->in_ring_live--;
  atomic_fetch_sub(&request->client->live, 1);
  if (state == SF_TIO_OK)
    request->result.ok |= bit;
  else if (state == SF_TIO_ERROR)
    request->result.error |= bit;
  else
    request->result.canceled |= bit;
  sf_tio_event_add(io, SF_TIO_EV_TERMINAL, now_ns);
}

void
sf_tio_io_timeout(struct sf_tio_io *io, uint64_t now_ns) {
  io->deadline_ns = SF_TIO_NEVER;
  if (io->request->auto_cancel) {
    io->due = true;
    return;
  }
  sf_state_move(&io->machine, SF_TIO_TIMEOUT, &no_hooks, NULL);
  set_overdue(io);
  sf_tio_event_add(io, SF_TIO_EV_TIMEOUT, now_ns);
}

void
sf_tio_io_cancel(struct sf_tio_io *io, enum sf_tio_kind kind, uint64_t now_ns) {
  struct sf_tio_slot *buffer = io->request->buffer;

  io->kind = (uint8_t) kind;
  if (io->due)
    io->request->expired |= UINT32_C(1) << io->index;
  if (kind == SF_TIO_REAL) {
    /* Nothing is to be waited for: it did not run and will not. */
    io->device->running--;
  } else {
    io->detached = true;
    io->device->detached[buffer ? buffer->class : SF_TIO_NO_BUFFER]++;
    if (buffer)
      atomic_fetch_add(&buffer->detached, 1);
    set_overdue(io);
  }
  become_terminal(io, SF_TIO_CANCELED, now_ns);
}

static void
late(struct sf_tio_io *io, int error, uint64_t now_ns) {
  io->late_error = error;
  sf_tio_io_ended(io);
  if (io->kind == SF_TIO_DETACHED && io->request->client->late)
    sf_tio_event_add(io, SF_TIO_EV_LATE, now_ns);
  else
    sf_tio_io_release(io);
}

enum sf_tio_kind
sf_tio_io_drop(struct sf_tio_io *io, uint64_t now_ns) {
  struct sf_tio_queue *queue = io->request->queue;

  SF_ASSERT(io->where == SF_TIO_IN_QUEUE || io->where == SF_TIO_AT_DEVICE_THREAD);
  sf_list_remove(&io->where_link);
  if (io->where == SF_TIO_IN_QUEUE)
    queue->pending_n--;
  sf_tio_io_cancel(io, io->touched ? SF_TIO_DETACHED : SF_TIO_REAL, now_ns);
  /* A region that had run in part ends here too; -EINTR says so. */
  late(io, -EINTR, now_ns);
  return io->kind;
}

/* ---- answers ---- */

static bool
unsupported(int res) {
  switch (-res) {
  case EOPNOTSUPP:
  case ENOSYS:
  case ENODEV:
  case EINVAL:
  case EPERM:
  case EACCES:
    return true;
  }
  return false;
}

/* Must it be made stable before it is OK, and is it not yet? */
static int
to_be_stable(struct sf_tio_io *io) {
  if (!(io->request->flags & SF_TIO_FUA))
    return 0;
  io->stage = SF_TIO_DO_FSYNC;
  return 1;
}

static int
zero_refused(struct sf_tio_io *io, int res) {
  struct sf_tio_device *device = io->device;
  bool for_ever = res == -EOPNOTSUPP || res == -ENOSYS;

  if (!unsupported(res))
    return res;
  if (io->stage == SF_TIO_DO_PUNCH) {
    device->no_punch |= for_ever;
    io->stage = device->no_zero_range ? SF_TIO_DO_WRITE_ZEROS : SF_TIO_DO_ZERO_RANGE;
  } else {
    device->no_zero_range |= for_ever;
    device->quick_zero &= !for_ever;
    io->stage = SF_TIO_DO_WRITE_ZEROS;
  }
  return 1;
}

/* 0: all done; 1: more is to be asked of the kernel; or -errno. */
static int
advance(struct sf_tio_io *io, int res) {
  bool fallocate = io->stage == SF_TIO_DO_PUNCH || io->stage == SF_TIO_DO_ZERO_RANGE;

  if (res < 0)
    return fallocate ? zero_refused(io, res) : res;
  io->attempts = 0;
  io->touched = true;
  if (fallocate) {
    io->device->zeroed = true;
    return to_be_stable(io);
  }
  if (io->stage == SF_TIO_DO_FSYNC)
    return 0;
  if (res == 0)
    return -EIO; /* past the end of the file: the caller was told another size */
  io->progress += (unsigned) res;
  SF_ASSERT(io->progress <= io->length);
  if (io->progress < io->length)
    return 1;
  return io->stage == SF_TIO_DO_WRITE_ZEROS || !io->device->dsync ? to_be_stable(io) : 0;
}

/* The kernel lacked something of ours: memory, a worker.  That is not the device's failure. */
static bool
for_want_of_means(int res) {
  return res == -EAGAIN || res == -ENOMEM || res == -ENOBUFS || res == -EMFILE || res == -ENFILE;
}

/* A device that is made of others, dm-stripe or md raid0, gives a write to each of them in parts,
 * and one part that would have had to wait is the answer for all: the rest may have run. */
static bool
may_have_run_in_part(const struct sf_tio_io *io, int res, bool inlined) {
  bool wanting = for_want_of_means(res) && (inlined || res != -EAGAIN);

  return io->request->op == SF_TIO_WRITE && (wanting || (inlined && res == -EOPNOTSUPP));
}

/* Its error may be the only word of data that the device has dropped: asked again it would say that
 * all is well (R9). */
static bool
makes_stable(const struct sf_tio_io *io) {
  return io->stage == SF_TIO_DO_FSYNC ||
         (io->request->op == SF_TIO_WRITE && io->device->dsync && io->request->flags & SF_TIO_FUA);
}

/* May the same thing be asked again?  What there is no means for is asked again after a pause, for
 * some seconds if it may take so long. */
static bool
again(struct sf_tio_io *io, int res, bool inlined) {
  bool try_later = for_want_of_means(res) && !inlined;

  io->touched |= res == -EINTR || may_have_run_in_part(io, res, inlined);
  if (res == -EOPNOTSUPP && inlined) {
    io->device->inline_ok = false; /* RWF_NOWAIT is not understood there */
    return true;
  }
  /* -ECANCELED without a cancel of ours: the kernel lost the thread that it wanted to work in. */
  if (for_want_of_means(res) && makes_stable(io) && !(inlined && res == -EAGAIN))
    return false;
  if (res != -EINTR && res != -ECANCELED && !for_want_of_means(res))
    return false;
  io->attempts++;
  io->rests = try_later || io->attempts > SF_TIO_ATTEMPTS_AT_ONCE;
  return io->attempts < SF_TIO_ATTEMPTS_MAX;
}

static void
answered_too_late(struct sf_tio_io *io, int res, bool inlined, uint64_t now_ns) {
  bool not_run = res == -ECANCELED || res == -EAGAIN || (res == -EOPNOTSUPP && inlined);
  int error;

  io->touched |= may_have_run_in_part(io, res, inlined);
  if (not_run && !io->touched)
    error = -ECANCELED;
  else if (not_run)
    error = -EINTR;
  else
    error = advance(io, res);
  late(io, error == 1 ? -EINTR : error, now_ns);
}

static bool
leave_kernel(struct sf_tio_io *io, uint64_t now_ns) {
  struct sf_tio_queue *queue = io->request->queue;
  struct sf_tio_device *device = io->device;
  bool inlined = io->where == SF_TIO_IN_RING;

  if (inlined) {
    queue->in_ring--;
    queue->in_ring_live -= !sf_tio_io_terminal(io);
    device->in_rings--;
    device->progress_ns = now_ns;
  } else {
    SF_ASSERT(io->where == SF_TIO_IN_DEVICE_THREAD);
    device->device_thread.in_kernel--;
  }
  io->where = SF_TIO_NOWHERE;
  return inlined;
}

static void
hand_on(struct sf_tio_io *io, uint64_t now_ns) {
  unsigned doubled = io->attempts < SF_TIO_REST_DOUBLED ? io->attempts : SF_TIO_REST_DOUBLED;

  if (io->rests)
    sf_tio_device_thread_rest(io, now_ns + (SF_MS << doubled));
  else
    sf_tio_device_thread_add(io);
  io->rests = false;
}

static void
complete(struct sf_tio_io *io, int res, uint64_t now_ns) {
  bool inlined = leave_kernel(io, now_ns);
  int error;

  if (sf_tio_io_terminal(io)) {
    answered_too_late(io, res, inlined, now_ns);
    return;
  }
  error = again(io, res, inlined) ? 1 : advance(io, res);
  if (error == 1) {
    hand_on(io, now_ns);
    return;
  }
  io->error = error;
  sf_tio_io_ended(io);
  become_terminal(io, error ? SF_TIO_ERROR : SF_TIO_OK, now_ns);
}

void
sf_tio_io_complete(struct sf_tio_io *io, int res, uint64_t now_ns) {
  /* What was really cancelled has told its end already, and only gives its buffer back. */
  if (!io->device->frozen || io->kind == SF_TIO_REAL) {
    complete(io, res, now_ns);
    return;
  }
  io->kept_res = res;
  sf_list_append(&io->device->kept, &io->where_link);
}

/* ---- drills ---- */

void
sf_tio_device_freeze(struct sf_tio_device *device) {
  pthread_mutex_lock(&device->client->lock);
  device->frozen = true;
  pthread_mutex_unlock(&device->client->lock);
}

void
sf_tio_device_thaw(struct sf_tio_device *device) {
  pthread_mutex_lock(&device->device_thread.ring_lock); /* regions IN_DEVICE_THREAD end under it */
  pthread_mutex_lock(&device->client->lock);
  device->frozen = false;
  while (!sf_list_empty(&device->kept)) {
    struct sf_tio_io *io = SF_LIST_ENTRY(device->kept.next, struct sf_tio_io, where_link);

    sf_list_remove(&io->where_link);
    complete(io, io->kept_res, sf_tio_now());
  }
  sf_tio_device_thread_wake(&device->device_thread); /* it has room for what waits in its list */
  pthread_mutex_unlock(&device->client->lock);
  pthread_mutex_unlock(&device->device_thread.ring_lock);
}

/* A ring: its making, and how one region is put into words for the kernel. */
#include "timed_io/internal.h"

#include <errno.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/uio.h>

/* A kernel that lacks the flags has the ring without them. */
static int
init(struct sf_tio_ring *ring, unsigned entries, unsigned completions, unsigned flags) {
  struct io_uring_params params = {.flags = IORING_SETUP_CQSIZE | flags, .cq_entries = completions};
  int error = io_uring_queue_init_params(entries, &ring->uring, &params);

  if (error == -EINVAL) {
    memset(&params, 0, sizeof params);
    params.flags = IORING_SETUP_CQSIZE;
    params.cq_entries = completions;
    error = io_uring_queue_init_params(entries, &ring->uring, &params);
  }
  if (error)
    return error;
  /* Without it a timed wait is a request of its own, and that needs a slot in the ring. */
  if (!(ring->uring.features & IORING_FEAT_EXT_ARG)) {
    io_uring_queue_exit(&ring->uring);
    return -ENOSYS;
  }
  ring->fixed = false;
  return 0;
}

int
sf_tio_ring_init(struct sf_tio_ring *ring, unsigned entries, unsigned completions) {
  return init(ring, entries, completions, IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN);
}

/* Completions are posted when this thread enters and at no other time.  TASKRUN_FLAG: a look at
 * what has completed sees that it has to. */
int
sf_tio_ring_init_alone(struct sf_tio_ring *ring, unsigned entries, unsigned completions) {
  int error = init(ring, entries, completions,
                   IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
                       IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG);

  if (!error)
    (void) io_uring_register_ring_fd(&ring->uring);
  return error;
}

int
sf_tio_ring_register(struct sf_tio_ring *ring, const struct sf_tio_pool *pool) {
  int error = io_uring_register_buffers(&ring->uring, pool->fixed, SF_TIO_CLASSES);

  ring->fixed = error == 0;
  return error;
}

void
sf_tio_ring_exit(struct sf_tio_ring *ring) {
  io_uring_queue_exit(&ring->uring);
}

int
sf_tio_transfer(const struct sf_tio_io *io) {
  const struct sf_tio_request *request = io->request;
  struct iovec part = {.iov_base = (char *) request->buffer->pub.data + io->progress,
                       .iov_len = io->length - io->progress};
  off_t offset = (off_t) (io->offset + io->progress);
  int flags = request->op == SF_TIO_WRITE && request->flags & SF_TIO_FUA ? RWF_DSYNC : 0;
  ssize_t done = request->op == SF_TIO_READ ? preadv2(io->device->fd, &part, 1, offset, flags)
                                            : pwritev2(io->device->fd, &part, 1, offset, flags);

  return done < 0 ? -errno : (int) done;
}

static void
prep_transfer(const struct sf_tio_ring *ring, struct io_uring_sqe *sqe, const struct sf_tio_io *io,
              int rw_flags) {
  const struct sf_tio_request *request = io->request;
  const struct sf_tio_slot *slot = request->buffer;
  char *data = (char *) slot->pub.data + io->progress;
  unsigned len = (unsigned) (io->length - io->progress);
  uint64_t offset = io->offset + io->progress;
  int fd = io->device->fd;

  if (request->op == SF_TIO_READ && ring->fixed)
    io_uring_prep_read_fixed(sqe, fd, data, len, offset, slot->class);
  else if (request->op == SF_TIO_READ)
    io_uring_prep_read(sqe, fd, data, len, offset);
  else if (ring->fixed)
    io_uring_prep_write_fixed(sqe, fd, data, len, offset, slot->class);
  else
    io_uring_prep_write(sqe, fd, data, len, offset);
  if (request->op == SF_TIO_WRITE && request->flags & SF_TIO_FUA && io->device->dsync)
    rw_flags |= RWF_DSYNC;
  sqe->rw_flags = rw_flags;
}

static void
prep_zeros(const struct sf_tio_ring *ring, struct io_uring_sqe *sqe, const struct sf_tio_io *io) {
  const struct sf_tio_pool *pool = &io->request->client->pool;
  uint64_t left = io->length - io->progress;
  unsigned len = (unsigned) (left < pool->zeros_bytes ? left : pool->zeros_bytes);
  uint64_t offset = io->offset + io->progress;

  if (ring->fixed)
    io_uring_prep_write_fixed(sqe, io->device->fd, pool->zeros, len, offset, SF_TIO_LARGE);
  else
    io_uring_prep_write(sqe, io->device->fd, pool->zeros, len, offset);
}

bool
sf_tio_ring_prep(struct sf_tio_ring *ring, const struct sf_tio_io *io, bool nowait) {
  struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
  int fd = io->device->fd;

  if (sqe == NULL)
    return false;
  switch ((enum sf_tio_stage) io->stage) {
  case SF_TIO_DO_TRANSFER:
    prep_transfer(ring, sqe, io, nowait ? RWF_NOWAIT : 0);
    break;
  case SF_TIO_DO_FSYNC:
    io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
    break;
  case SF_TIO_DO_PUNCH:
    io_uring_prep_fallocate(sqe, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) io->offset,
                            (off_t) io->length);
    break;
  case SF_TIO_DO_ZERO_RANGE:
    io_uring_prep_fallocate(sqe, fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (off_t) io->offset,
                            (off_t) io->length);
    break;
  case SF_TIO_DO_WRITE_ZEROS:
    prep_zeros(ring, sqe, io);
    break;
  }
  if (!nowait)
    sqe->flags |= IOSQE_ASYNC;
  sqe->user_data = sf_tio_io_user_data(io);
  return true;
}

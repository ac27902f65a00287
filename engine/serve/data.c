/* The blocking calls: what an nbdkit worker thread does with one request.  It submits to the volume
 * and drives its own ring until the answer is there. */
#include "serve/internal.h"

#include <errno.h>
#include <string.h>
#include <time.h>

enum { PIECES = 4 };

/* A zero of one piece must fit in a write's deadline even where it is written out. */
static const uint64_t zero_piece_bytes = UINT64_C(4) << 20;

#define NS_PER_MS UINT64_C(1000000)

enum how {
  FUA = 1 << 0,
  SHARED = 1 << 1, /* writes whole blocks, beside others that do */
  OWNER = 1 << 2,  /* of serve->blocks */
};

struct batch {
  struct sf_tio_thread *thread;
  pthread_t owner;
  _Atomic unsigned open;
  struct sf_request request[PIECES];
};

/* With the volume's lock held, in whichever thread found the answer. */
static void
on_done(struct sf_request *request) {
  struct batch *batch = request->host;
  struct sf_tio_thread *thread = batch->thread;
  bool foreign = !pthread_equal(batch->owner, pthread_self());

  /* After the last decrement the batch may be gone. */
  if (atomic_fetch_sub(&batch->open, 1) == 1 && foreign)
    sf_tio_wake(thread);
}

static bool
all_done(void *arg) {
  struct batch *batch = arg;

  return atomic_load(&batch->open) == 0;
}

/* The volume was told to stop with its clients still there: they are to see their connections end,
 * and not an error that they would hand on.  What is not answered, they send again. */
static void
wait_for_the_end(const struct sf_call *call) {
  const struct timespec pause = {.tv_nsec = SERVE_ASK_MS * (long) NS_PER_MS};

  while (call->serve->options.hangup != NULL && !call_is_gone(call))
    nanosleep(&pause, NULL);
}

/* Submits n requests and waits for all of them. */
static int
run(struct sf_call *call, struct batch *batch, unsigned n) {
  struct sf_serve *serve = call->serve;
  int r = sf_tio_attend(serve->client, &batch->thread);
  uint64_t now = sf_tio_now();

  if (r < 0)
    return r;
  batch->owner = pthread_self();
  atomic_store(&batch->open, n);
  for (unsigned i = 0; i < n; i++) {
    batch->request[i].done = on_done;
    batch->request[i].host = batch;
    batch->request[i].asked_ns = now - call->waited_ns;
    sf_volume_submit(serve->volume, &batch->request[i], now);
  }
  while (sf_tio_drive(batch->thread, now + SERVE_ASK_MS * NS_PER_MS, all_done, batch) == -ETIME) {
    now = sf_tio_now();
    if (!call_is_gone(call))
      continue;
    for (unsigned i = 0; i < n; i++)
      sf_volume_give_up(serve->volume, &batch->request[i], now);
  }
  r = 0;
  for (unsigned i = 0; i < n && r == 0; i++)
    r = batch->request[i].error;
  if (r == -ESHUTDOWN && atomic_load(&serve->stop_asked))
    wait_for_the_end(call);
  if (r == 0)
    call->waited_ns = 0;
  return r;
}

static void
put_buffers(struct sf_serve *serve, struct batch *batch, unsigned n) {
  for (unsigned i = 0; i < n; i++)
    sf_tio_buffer_put(serve->client, batch->request[i].buffer);
}

/* Beside whoever writes a part of a block. */
static int
run_shared(struct sf_call *call, struct batch *batch, unsigned n) {
  int r = call_share_blocks(call);

  if (r < 0)
    return r;
  r = run(call, batch, n);
  pthread_rwlock_unlock(&call->serve->blocks);
  return r;
}

/* One batch of pieces; *done says how far it reached. */
static int
transfer(struct sf_call *call, enum sf_request_kind kind, unsigned char *to,
         const unsigned char *from, uint64_t length, uint64_t offset, enum how how,
         uint64_t *done) {
  struct sf_serve *serve = call->serve;
  struct batch batch = {0};
  uint64_t at = 0;
  unsigned n = 0;
  int r = 0;

  while (at < length && n < PIECES) {
    struct sf_request *request = &batch.request[n];
    uint64_t piece = length - at < SERVE_LARGE_BYTES ? length - at : SERVE_LARGE_BYTES;

    /* The first one may wait for a buffer; further ones only take what is there. */
    r = n > 0         ? sf_tio_buffer_get(serve->client, piece, 0, &request->buffer)
        : how & OWNER ? serve_buffer_get_owner(call, piece, &request->buffer)
                      : serve_buffer_get(call, piece, &request->buffer);
    if (r < 0)
      break;
    request->kind = kind;
    request->offset = offset + at;
    request->length = piece;
    request->fua = how & FUA;
    if (from != NULL)
      memcpy(request->buffer->data, from + at, piece);
    at += piece;
    n++;
  }
  if (n == 0)
    return r;
  r = how & SHARED ? run_shared(call, &batch, n) : run(call, &batch, n);
  if (r == 0 && to != NULL)
    for (unsigned i = 0; i < n; i++)
      memcpy(to + (batch.request[i].offset - offset), batch.request[i].buffer->data,
             batch.request[i].length);
  put_buffers(serve, &batch, n);
  *done = at;
  return r;
}

static int
aligned(struct sf_call *call, enum sf_request_kind kind, unsigned char *to,
        const unsigned char *from, uint64_t length, uint64_t offset, enum how how) {
  uint64_t at = 0, done;
  int r = 0;

  while (r == 0 && at < length) {
    if (at > 0 && call_is_gone(call))
      return -ESHUTDOWN;
    r = transfer(call, kind, to == NULL ? NULL : to + at, from == NULL ? NULL : from + at,
                 length - at, offset + at, how, &done);
    if (r == 0)
      at += done;
  }
  return r;
}

static bool
is_aligned(const struct sf_serve *serve, uint64_t length, uint64_t offset) {
  return (offset | length) % serve->block_bytes == 0;
}

/* How much of [offset, offset + length) lies in the block that holds offset. */
static uint64_t
in_block(const struct sf_serve *serve, uint64_t length, uint64_t offset) {
  uint64_t left = serve->block_bytes - offset % serve->block_bytes;

  return length < left ? length : left;
}

enum { BLOCK_BYTES_MOST = 64 * 1024 };

static int
read_part(struct sf_call *call, unsigned char *to, uint64_t length, uint64_t offset) {
  unsigned char block[BLOCK_BYTES_MOST];
  uint64_t whole = call->serve->block_bytes, within = offset % whole;
  int r = aligned(call, SF_REQ_READ, block, NULL, whole, offset - within, 0);

  if (r == 0)
    memcpy(to, block + within, length);
  return r;
}

/* data NULL: zeros. */
static int
write_part(struct sf_call *call, const unsigned char *data, uint64_t length, uint64_t offset,
           bool fua) {
  unsigned char block[BLOCK_BYTES_MOST];
  uint64_t whole = call->serve->block_bytes, within = offset % whole;
  int r = call_own_block(call);

  if (r < 0)
    return r;
  r = aligned(call, SF_REQ_READ, block, NULL, whole, offset - within, OWNER);
  if (r == 0) {
    if (data != NULL)
      memcpy(block + within, data, length);
    else
      memset(block + within, 0, length);
    r = aligned(call, SF_REQ_WRITE, NULL, block, whole, offset - within, fua ? OWNER | FUA : OWNER);
  }
  pthread_rwlock_unlock(&call->serve->blocks);
  return r;
}

int
sf_serve_read(struct sf_serve *serve, void *data, uint64_t length, uint64_t offset) {
  struct sf_call call = {.serve = serve};
  unsigned char *to = data;
  int r = 0;

  if (is_aligned(serve, length, offset))
    return aligned(&call, SF_REQ_READ, to, NULL, length, offset, 0);
  while (r == 0 && length > 0) {
    uint64_t whole = length - length % serve->block_bytes, piece;

    if (offset % serve->block_bytes == 0 && whole > 0) {
      piece = whole;
      r = aligned(&call, SF_REQ_READ, to, NULL, piece, offset, 0);
    } else {
      piece = in_block(serve, length, offset);
      r = read_part(&call, to, piece, offset);
    }
    to += piece;
    offset += piece;
    length -= piece;
  }
  return r;
}

static int
write_whole(struct sf_call *call, const unsigned char *from, uint64_t length, uint64_t offset,
            bool fua) {
  return aligned(call, SF_REQ_WRITE, NULL, from, length, offset, fua ? SHARED | FUA : SHARED);
}

int
sf_serve_write(struct sf_serve *serve, const void *data, uint64_t length, uint64_t offset,
               bool fua) {
  struct sf_call call = {.serve = serve};
  const unsigned char *from = data;
  int r = 0;

  if (is_aligned(serve, length, offset))
    return write_whole(&call, from, length, offset, fua);
  while (r == 0 && length > 0) {
    uint64_t whole = length - length % serve->block_bytes, piece;

    if (offset % serve->block_bytes == 0 && whole > 0) {
      piece = whole;
      r = write_whole(&call, from, piece, offset, fua);
    } else {
      piece = in_block(serve, length, offset);
      r = write_part(&call, from, piece, offset, fua);
    }
    from += piece;
    offset += piece;
    length -= piece;
  }
  return r;
}

static int
zero_whole(struct sf_call *call, uint64_t length, uint64_t offset, bool fua, bool may_unmap) {
  const uint64_t begin = offset;
  int r = 0;

  while (r == 0 && length > 0) {
    struct batch batch = {0};
    unsigned n = 0;

    if (offset > begin && call_is_gone(call))
      return -ESHUTDOWN;
    for (; n < PIECES && length > 0; n++) {
      uint64_t piece = zero_piece_bytes - offset % zero_piece_bytes;

      if (piece > length)
        piece = length;
      batch.request[n] = (struct sf_request){.kind = SF_REQ_ZERO,
                                             .offset = offset,
                                             .length = piece,
                                             .fua = fua,
                                             .may_unmap = may_unmap};
      offset += piece;
      length -= piece;
    }
    r = run_shared(call, &batch, n);
  }
  return r;
}

int
sf_serve_zero(struct sf_serve *serve, uint64_t length, uint64_t offset, bool fua, bool may_unmap) {
  struct sf_call call = {.serve = serve};
  int r = 0;

  while (r == 0 && length > 0) {
    uint64_t whole = length - length % serve->block_bytes, piece;

    if (offset % serve->block_bytes == 0 && whole > 0) {
      piece = whole;
      r = zero_whole(&call, piece, offset, fua, may_unmap);
    } else {
      piece = in_block(serve, length, offset);
      r = write_part(&call, NULL, piece, offset, fua);
    }
    offset += piece;
    length -= piece;
  }
  return r;
}

int
sf_serve_flush(struct sf_serve *serve) {
  struct sf_call call = {.serve = serve};
  struct batch batch = {.request[0] = {.kind = SF_REQ_FLUSH}};

  return run(&call, &batch, 1);
}

/* The blocking calls: what an nbdkit worker thread does with one request.  It submits to the volume
 * and drives its own ring until the answer is there. */
#include "serve/internal.h"

#include <errno.h>
#include <string.h>
#include <time.h>

enum { PIECES = 4, ASK_HANGUP_MS = 500 };

/* A zero of one piece must fit in a write's deadline even where it is written out. */
static const uint64_t zero_piece_bytes = UINT64_C(4) << 20;

#define NS_PER_MS UINT64_C(1000000)

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
wait_for_the_end(struct sf_serve *serve) {
  const struct timespec pause = {.tv_nsec = ASK_HANGUP_MS * (long) NS_PER_MS};

  while (serve->options.hangup != NULL && !serve->options.hangup(serve->options.ctx))
    nanosleep(&pause, NULL);
}

/* Submits n requests and waits for all of them. */
static int
run(struct sf_serve *serve, struct batch *batch, unsigned n) {
  int r = sf_tio_attend(serve->client, &batch->thread);
  uint64_t now = sf_tio_now();

  if (r < 0)
    return r;
  batch->owner = pthread_self();
  atomic_store(&batch->open, n);
  for (unsigned i = 0; i < n; i++) {
    batch->request[i].done = on_done;
    batch->request[i].host = batch;
    sf_volume_submit(serve->volume, &batch->request[i], now);
  }
  while (sf_tio_drive(batch->thread, now + ASK_HANGUP_MS * NS_PER_MS, all_done, batch) == -ETIME) {
    now = sf_tio_now();
    if (serve->options.hangup == NULL || !serve->options.hangup(serve->options.ctx))
      continue;
    for (unsigned i = 0; i < n; i++)
      sf_volume_give_up(serve->volume, &batch->request[i], now);
  }
  r = 0;
  for (unsigned i = 0; i < n && r == 0; i++)
    r = batch->request[i].error;
  if (r == -ESHUTDOWN && atomic_load(&serve->stop_asked))
    wait_for_the_end(serve);
  return r;
}

static void
put_buffers(struct sf_serve *serve, struct batch *batch, unsigned n) {
  for (unsigned i = 0; i < n; i++)
    serve_buffer_put(serve, batch->request[i].length, batch->request[i].buffer);
}

/* One batch of pieces; *done says how far it reached. */
static int
transfer(struct sf_serve *serve, enum sf_request_kind kind, unsigned char *to,
         const unsigned char *from, uint64_t length, uint64_t offset, bool fua, uint64_t *done) {
  struct batch batch = {0};
  uint64_t at = 0;
  unsigned n = 0;
  int r = 0;

  while (at < length && n < PIECES) {
    struct sf_request *request = &batch.request[n];
    uint64_t piece = length - at < SERVE_LARGE_BYTES ? length - at : SERVE_LARGE_BYTES;

    /* The first one may wait for a buffer; further ones only take what is there. */
    r = n == 0 ? serve_buffer_get(serve, piece, &request->buffer)
               : serve_buffer_try(serve, piece, &request->buffer);
    if (r < 0)
      break;
    request->kind = kind;
    request->offset = offset + at;
    request->length = piece;
    request->fua = fua;
    if (from != NULL)
      memcpy(request->buffer->data, from + at, piece);
    at += piece;
    n++;
  }
  if (n == 0)
    return r;
  r = run(serve, &batch, n);
  if (r == 0 && to != NULL)
    for (unsigned i = 0; i < n; i++)
      memcpy(to + (batch.request[i].offset - offset), batch.request[i].buffer->data,
             batch.request[i].length);
  put_buffers(serve, &batch, n);
  *done = at;
  return r;
}

static int
aligned(struct sf_serve *serve, enum sf_request_kind kind, unsigned char *to,
        const unsigned char *from, uint64_t length, uint64_t offset, bool fua) {
  uint64_t at = 0, done;
  int r = 0;

  while (r == 0 && at < length) {
    r = transfer(serve, kind, to == NULL ? NULL : to + at, from == NULL ? NULL : from + at,
                 length - at, offset + at, fua, &done);
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
read_part(struct sf_serve *serve, unsigned char *to, uint64_t length, uint64_t offset) {
  unsigned char block[BLOCK_BYTES_MOST];
  uint64_t within = offset % serve->block_bytes;
  int r = aligned(serve, SF_REQ_READ, block, NULL, serve->block_bytes, offset - within, false);

  if (r == 0)
    memcpy(to, block + within, length);
  return r;
}

/* data NULL: zeros. */
static int
write_part(struct sf_serve *serve, const unsigned char *data, uint64_t length, uint64_t offset,
           bool fua) {
  unsigned char block[BLOCK_BYTES_MOST];
  uint64_t within = offset % serve->block_bytes;
  int r;

  pthread_rwlock_wrlock(&serve->blocks);
  r = aligned(serve, SF_REQ_READ, block, NULL, serve->block_bytes, offset - within, false);
  if (r == 0) {
    if (data != NULL)
      memcpy(block + within, data, length);
    else
      memset(block + within, 0, length);
    r = aligned(serve, SF_REQ_WRITE, NULL, block, serve->block_bytes, offset - within, fua);
  }
  pthread_rwlock_unlock(&serve->blocks);
  return r;
}

int
sf_serve_read(struct sf_serve *serve, void *data, uint64_t length, uint64_t offset) {
  unsigned char *to = data;
  int r = 0;

  if (is_aligned(serve, length, offset))
    return aligned(serve, SF_REQ_READ, to, NULL, length, offset, false);
  while (r == 0 && length > 0) {
    uint64_t whole = length - length % serve->block_bytes, piece;

    if (offset % serve->block_bytes == 0 && whole > 0) {
      piece = whole;
      r = aligned(serve, SF_REQ_READ, to, NULL, piece, offset, false);
    } else {
      piece = in_block(serve, length, offset);
      r = read_part(serve, to, piece, offset);
    }
    to += piece;
    offset += piece;
    length -= piece;
  }
  return r;
}

static int
write_whole(struct sf_serve *serve, const unsigned char *from, uint64_t length, uint64_t offset,
            bool fua) {
  int r;

  pthread_rwlock_rdlock(&serve->blocks);
  r = aligned(serve, SF_REQ_WRITE, NULL, from, length, offset, fua);
  pthread_rwlock_unlock(&serve->blocks);
  return r;
}

int
sf_serve_write(struct sf_serve *serve, const void *data, uint64_t length, uint64_t offset,
               bool fua) {
  const unsigned char *from = data;
  int r = 0;

  if (is_aligned(serve, length, offset))
    return write_whole(serve, from, length, offset, fua);
  while (r == 0 && length > 0) {
    uint64_t whole = length - length % serve->block_bytes, piece;

    if (offset % serve->block_bytes == 0 && whole > 0) {
      piece = whole;
      r = write_whole(serve, from, piece, offset, fua);
    } else {
      piece = in_block(serve, length, offset);
      r = write_part(serve, from, piece, offset, fua);
    }
    from += piece;
    offset += piece;
    length -= piece;
  }
  return r;
}

static int
zero_whole(struct sf_serve *serve, uint64_t length, uint64_t offset, bool fua, bool may_unmap) {
  int r = 0;

  pthread_rwlock_rdlock(&serve->blocks);
  while (r == 0 && length > 0) {
    struct batch batch = {0};
    unsigned n = 0;

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
    r = run(serve, &batch, n);
  }
  pthread_rwlock_unlock(&serve->blocks);
  return r;
}

int
sf_serve_zero(struct sf_serve *serve, uint64_t length, uint64_t offset, bool fua, bool may_unmap) {
  int r = 0;

  while (r == 0 && length > 0) {
    uint64_t whole = length - length % serve->block_bytes, piece;

    if (offset % serve->block_bytes == 0 && whole > 0) {
      piece = whole;
      r = zero_whole(serve, piece, offset, fua, may_unmap);
    } else {
      piece = in_block(serve, length, offset);
      r = write_part(serve, NULL, piece, offset, fua);
    }
    offset += piece;
    length -= piece;
  }
  return r;
}

int
sf_serve_flush(struct sf_serve *serve) {
  struct batch batch = {.request[0] = {.kind = SF_REQ_FLUSH}};

  return run(serve, &batch, 1);
}

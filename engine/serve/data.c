/* The blocking calls: what an nbdkit worker thread does with one request.  It submits to the volume
 * and drives its own ring until the answer is there. */
#include "base/units.h"
#include "serve/internal.h"

#include <errno.h>
#include <string.h>
#include <time.h>

enum { PIECES = 4 };

/* A zero of one piece must fit in a write's deadline even where it is written out; and where that
 * is to be expected, they come one by one. */
static const uint64_t zero_piece_bytes = UINT64_C(4) << 20, written_piece_bytes = UINT64_C(1) << 20;

/* What a client wants: to read into `to`, to write `from`, or, with neither, zeros. */
struct span {
  unsigned char *to;
  const unsigned char *from;
  uint64_t length, offset;
  bool fua, may_unmap, is_trim;
};

struct batch {
  struct sf_call *call;
  pthread_t owner;
  unsigned n;
  _Atomic unsigned open;
  pthread_mutex_t lock; /* it and done: for a thread without a ring */
  pthread_cond_t done;
  struct sf_request request[PIECES];
};

/* In whichever thread tells the answer.  After the last decrement the batch may be gone; where it is
 * waited for with the lock, after that.  The queue stays as long as the client of timed I/O. */
static void
on_done(struct sf_request *request) {
  struct batch *batch = request->host;
  struct sf_tio_queue *queue = batch->call->queue;
  bool foreign = !pthread_equal(batch->owner, pthread_self());

  if (queue == NULL) {
    pthread_mutex_lock(&batch->lock);
    if (atomic_fetch_sub(&batch->open, 1) == 1)
      pthread_cond_signal(&batch->done);
    pthread_mutex_unlock(&batch->lock);
  } else if (atomic_fetch_sub(&batch->open, 1) == 1 && foreign) {
    sf_tio_wake(queue);
  }
}

static bool
all_done(void *arg) {
  struct batch *batch = arg;

  return atomic_load(&batch->open) == 0;
}

/* As sf_tio_drive() returns. */
static int
wait_until(struct batch *batch, uint64_t until) {
  const struct timespec at = {.tv_sec = (time_t) (until / SF_S), .tv_nsec = (long) (until % SF_S)};
  int r = 0;

  if (batch->call->queue != NULL)
    return sf_tio_drive(batch->call->queue, until, all_done, batch);
  pthread_mutex_lock(&batch->lock);
  while (!all_done(batch) && r == 0)
    r = pthread_cond_timedwait(&batch->done, &batch->lock, &at);
  r = all_done(batch) ? 0 : -ETIME;
  pthread_mutex_unlock(&batch->lock);
  return r;
}

/* The volume was told to stop with its clients still there: they are to see their connections end,
 * and not an error that they would hand on.  They send unanswered requests again. */
static void
wait_for_the_end(const struct sf_call *call) {
  const struct timespec pause = {.tv_nsec = SERVE_ASK_MS * (long) SF_MS};

  while (call->client->serve->options.hangup != NULL && !sf_serve_call_is_gone(call))
    nanosleep(&pause, NULL);
}

static void
submit(void *arg) {
  struct batch *batch = arg;
  uint64_t now = sf_tio_now();

  atomic_store(&batch->open, batch->n);
  for (unsigned i = 0; i < batch->n; i++) {
    batch->request[i].done = on_done;
    batch->request[i].host = batch;
    batch->request[i].asked_ns = now - batch->call->waited_ns;
    sf_volume_submit(batch->call->client->serve->volume, &batch->request[i], now);
  }
}

static bool
writes(const struct batch *batch) {
  return batch->request[0].kind == SF_REQ_WRITE || batch->request[0].kind == SF_REQ_ZERO;
}

/* Submits the requests and waits for all of them.  `held`: the range that writes go to, if it
 * is. */
static int
run(struct sf_call *call, struct batch *batch, struct serve_range *held) {
  struct sf_serve *serve = call->client->serve;
  struct sf_request *last = &batch->request[batch->n - 1];
  struct serve_range range = {.begin = batch->request[0].offset,
                              .end = last->offset + last->length};
  uint64_t now;
  int r = 0;

  batch->owner = pthread_self();
  batch->call = call;
  if (call->queue == NULL) {
    pthread_mutex_init(&batch->lock, NULL);
    sf_serve_cond_init(&batch->done);
  }
  if (writes(batch))
    r = sf_serve_order_submit(call, held ? held : &range, submit, batch, batch->n);
  else
    submit(batch);
  if (r < 0)
    return r;
  now = sf_tio_now();
  while (wait_until(batch, now + SERVE_ASK_MS * SF_MS) == -ETIME) {
    now = sf_tio_now();
    if (!sf_serve_call_is_gone(call))
      continue;
    for (unsigned i = 0; i < batch->n; i++)
      sf_volume_give_up(serve->volume, &batch->request[i], now);
  }
  for (unsigned i = 0; i < batch->n && r == 0; i++)
    r = batch->request[i].error;
  if (r == -ESHUTDOWN && atomic_load(&serve->stop_asked))
    wait_for_the_end(call);
  if (r == 0)
    call->waited_ns = 0;
  return r;
}

static void
put_buffers(struct sf_call *call, struct batch *batch) {
  for (unsigned i = 0; i < batch->n; i++)
    sf_tio_buffer_put(call->client->serve->client, batch->request[i].buffer);
}

/* One batch of pieces; *done says how far it reached. */
static int
transfer(struct sf_call *call, const struct span *span, uint64_t *done) {
  struct sf_tio_client *pool = call->client->serve->client;
  struct batch batch = {0};
  uint64_t at = 0;
  int r = 0;

  while (at < span->length && batch.n < PIECES) {
    struct sf_request *request = &batch.request[batch.n];
    uint64_t piece = span->length - at < SERVE_LARGE_BYTES ? span->length - at : SERVE_LARGE_BYTES;

    /* The first piece may wait for a buffer; further pieces only take free ones. */
    r = batch.n > 0 ? sf_tio_buffer_get(pool, piece, 0, &request->buffer)
                    : sf_serve_buffer_get(call, piece, &request->buffer);
    if (r < 0)
      break;
    request->kind = span->to != NULL ? SF_REQ_READ : SF_REQ_WRITE;
    request->offset = span->offset + at;
    request->length = piece;
    request->fua = span->fua;
    if (span->from != NULL)
      memcpy(request->buffer->data, span->from + at, piece);
    at += piece;
    batch.n++;
  }
  if (batch.n == 0)
    return r;
  r = run(call, &batch, NULL);
  for (unsigned i = 0; i < batch.n && r == 0 && span->to != NULL; i++)
    memcpy(span->to + (batch.request[i].offset - span->offset), batch.request[i].buffer->data,
           batch.request[i].length);
  put_buffers(call, &batch);
  *done = at;
  return r;
}

static struct span
after(const struct span *span, uint64_t done) {
  struct span rest = *span;

  rest.offset += done;
  rest.length -= done;
  if (rest.to != NULL)
    rest.to += done;
  if (rest.from != NULL)
    rest.from += done;
  return rest;
}

/* Whole blocks. */
static int
aligned(struct sf_call *call, struct span span) {
  uint64_t done;
  int r = transfer(call, &span, &done);

  while (r == 0 && done < span.length) {
    span = after(&span, done);
    if (sf_serve_call_is_gone(call))
      return -ESHUTDOWN;
    r = transfer(call, &span, &done);
  }
  return r;
}

/* How much of the span is whole blocks from its beginning on, or lies in the block where it
 * begins. */
static uint64_t
first_piece(uint64_t block, const struct span *span, bool *whole) {
  uint64_t within = span->offset % block, left = block - within;

  *whole = within == 0 && span->length >= block;
  if (*whole)
    return span->length - span->length % block;
  return span->length < left ? span->length : left;
}

static int
read_block(struct sf_call *call, struct batch *batch, uint64_t offset) {
  struct sf_request *request = &batch->request[0];
  uint64_t bytes = call->block_bytes;

  *request = (struct sf_request){.kind = SF_REQ_READ,
                                 .offset = offset - offset % bytes,
                                 .length = bytes,
                                 .buffer = request->buffer};
  return run(call, batch, NULL);
}

static int
read_part(struct sf_call *call, const struct span *span) {
  struct batch batch = {.n = 1};
  struct sf_request *request = &batch.request[0];
  uint64_t bytes = call->block_bytes;
  int r = sf_serve_buffer_get(call, bytes, &request->buffer);

  if (r < 0)
    return r;
  r = read_block(call, &batch, span->offset);
  if (r == 0)
    memcpy(span->to, (char *) request->buffer->data + span->offset % bytes, span->length);
  put_buffers(call, &batch);
  return r;
}

/* The buffer of a read may still be on its way to a leg, over a bad block: then a copy of it is
 * changed. */
static int
make_own(struct sf_call *call, struct sf_request *request) {
  struct sf_tio_client *pool = call->client->serve->client;
  struct sf_tio_buffer *copy;
  int r;

  if (!sf_tio_buffer_is_shared(request->buffer))
    return 0;
  /* This call holds the block, so it must not wait for calls that wait for the block. */
  r = sf_tio_buffer_get_spare(pool, request->length, &copy);
  if (r == -EAGAIN)
    r = sf_serve_buffer_get(call, request->length, &copy);
  if (r < 0)
    return r;
  memcpy(copy->data, request->buffer->data, request->length);
  sf_tio_buffer_put(pool, request->buffer);
  request->buffer = copy;
  return 0;
}

/* The block is held. */
static int
change_block(struct sf_call *call, struct batch *batch, const struct span *span,
             struct serve_range *held) {
  struct sf_request *request = &batch->request[0];
  char *data;
  int r = read_block(call, batch, span->offset);

  if (r == 0)
    r = make_own(call, request);
  if (r < 0)
    return r;
  data = (char *) request->buffer->data + (span->offset - held->begin);
  if (span->from != NULL)
    memcpy(data, span->from, span->length);
  else
    memset(data, 0, span->length);
  *request = (struct sf_request){.kind = SF_REQ_WRITE,
                                 .offset = held->begin,
                                 .length = held->end - held->begin,
                                 .fua = span->fua,
                                 .buffer = request->buffer};
  return run(call, batch, held);
}

/* The buffer first: those with buffers may be waiting for the block. */
static int
write_part(struct sf_call *call, const struct span *span) {
  struct batch batch = {.n = 1};
  uint64_t bytes = call->block_bytes;
  struct serve_range block = {.begin = span->offset - span->offset % bytes};
  int r = sf_serve_buffer_get(call, bytes, &batch.request[0].buffer);

  if (r < 0)
    return r;
  block.end = block.begin + bytes;
  r = sf_serve_order_hold(call, &block);
  if (r == 0) {
    r = change_block(call, &batch, span, &block);
    sf_serve_order_release(call, &block);
  }
  put_buffers(call, &batch);
  return r;
}

/* Pieces that end where multiples of piece_bytes are; returns how many bytes they are. */
static uint64_t
take_zeros(struct batch *batch, unsigned pieces, uint64_t piece_bytes, const struct span *span) {
  uint64_t at = span->offset, end = span->offset + span->length;

  while (batch->n < pieces && at < end) {
    uint64_t piece = piece_bytes - at % piece_bytes;

    if (piece > end - at)
      piece = end - at;
    batch->request[batch->n++] = (struct sf_request){.kind = SF_REQ_ZERO,
                                                     .offset = at,
                                                     .length = piece,
                                                     .fua = span->fua,
                                                     .may_unmap = span->may_unmap,
                                                     .is_trim = span->is_trim};
    at += piece;
  }
  return at - span->offset;
}

static int
zero_in_turn(struct sf_call *call, struct batch *batch) {
  struct sf_list place;
  int r = sf_serve_turn_take(call, &place);

  if (r < 0)
    return r;
  r = run(call, batch, NULL);
  sf_serve_turn_pass(call, &place, r == 0);
  return r;
}

static int
zero_whole(struct sf_call *call, struct span span) {
  bool undone = false;
  int r = 0;

  while (r == 0 && span.length > 0) {
    bool quickly = undone || sf_tio_zeroes_quickly(call->client->serve->client);
    struct batch batch = {0};
    uint64_t taken = quickly ? take_zeros(&batch, PIECES, zero_piece_bytes, &span)
                             : take_zeros(&batch, 1, written_piece_bytes, &span);

    r = quickly ? run(call, &batch, NULL) : zero_in_turn(call, &batch);
    undone = batch.request[batch.n - 1].undone;
    span = after(&span, taken);
    if (span.length > 0 && sf_serve_call_is_gone(call))
      return r < 0 ? r : -ESHUTDOWN;
  }
  return r;
}

static int
do_piece(struct sf_call *call, const struct span *piece, bool whole) {
  if (!whole && piece->is_trim)
    return 0;
  if (!whole)
    return piece->to != NULL ? read_part(call, piece) : write_part(call, piece);
  return piece->to != NULL || piece->from != NULL ? aligned(call, *piece)
                                                  : zero_whole(call, *piece);
}

/* The ring is made before anything is held for which others wait.  A thread that cannot have one
 * has its requests driven by the background thread: slower, and no fault of the volume's. */
static void
begin(struct sf_call *call, struct sf_serve_client *client) {
  struct sf_serve *serve = client->serve;
  int r;

  *call = (struct sf_call){.client = client};
  r = sf_tio_attend(serve->client, &call->queue);
  if (r < 0 && !atomic_exchange(&serve->told_of_rings, true))
    sf_serve_log(
        serve, "threads of clients share a ring, and what they do takes longer: %s%s", strerror(-r),
        r == -EMFILE ? ". Raise the limit on open files (LimitNOFILE=, ulimit -Hn), or lower "
                       "nbdkit's --threads"
                     : "");
}

static int
do_span(struct sf_serve_client *client, struct span span) {
  struct sf_call call;
  int r = 0;

  begin(&call, client);
  call.block_bytes = sf_serve_block_begin(client->serve);
  while (r == 0 && span.length > 0) {
    struct span piece = span;
    bool whole;

    piece.length = first_piece(call.block_bytes, &span, &whole);
    r = do_piece(&call, &piece, whole);
    span = after(&span, piece.length);
  }
  sf_serve_block_end(client->serve, call.block_bytes);
  return r;
}

int
sf_serve_read(struct sf_serve_client *client, void *data, uint64_t length, uint64_t offset) {
  return do_span(client, (struct span){.to = data, .length = length, .offset = offset});
}

int
sf_serve_write(struct sf_serve_client *client, const void *data, uint64_t length, uint64_t offset,
               bool fua) {
  return do_span(client,
                 (struct span){.from = data, .length = length, .offset = offset, .fua = fua});
}

int
sf_serve_zero(struct sf_serve_client *client, uint64_t length, uint64_t offset, bool fua,
              bool may_unmap) {
  return do_span(
      client,
      (struct span){.length = length, .offset = offset, .fua = fua, .may_unmap = may_unmap});
}

int
sf_serve_trim(struct sf_serve_client *client, uint64_t length, uint64_t offset, bool fua) {
  return do_span(
      client,
      (struct span){
          .length = length, .offset = offset, .fua = fua, .may_unmap = true, .is_trim = true});
}

int
sf_serve_flush(struct sf_serve_client *client) {
  struct batch batch = {.n = 1, .request[0] = {.kind = SF_REQ_FLUSH}};
  struct sf_call call;

  begin(&call, client);
  return run(&call, &batch, NULL);
}

/* From bytes to pieces, from pieces to answers.  Whole blocks go to the volume, all that have come
 * in one go; the rest goes to a worker. */
#include "door/internal.h"

#include <errno.h>
#include <string.h>

/* ---- answers ---- */

static const char *
verb(const struct nbd_request *nbd) {
  switch (nbd->type) {
  case NBD_READ:
    return "read";
  case NBD_WRITE:
    return "write";
  case NBD_FLUSH:
    return "flush";
  case NBD_TRIM:
    return "trim";
  default:
    return "zero";
  }
}

static void
say(struct door_connection *c, const struct door_request *request, int error) {
  unsigned char header[NBD_REPLY_BYTES];

  sf_nbd_write_reply(header, request->nbd.cookie, error);
  sf_door_out_say(c, header, sizeof header);
}

static void
put_read(struct door_connection *c, struct door_request *request, bool say_data) {
  while (request->piece != NULL) {
    struct door_piece *piece = request->piece;

    request->piece = piece->more;
    if (say_data)
      sf_door_out_say_data(c, piece);
    if (!piece->is_straight)
      sf_door_piece_put(c, piece);
  }
}

/* A volume that was told to stop with its clients still there: they are to see their connections
 * end, and not an error that they would hand on.  And a worker may know before this thread that the
 * client is gone, which is no error of the volume's. */
static void
answer(struct door_connection *c, struct door_request *request) {
  const struct nbd_request *nbd = &request->nbd;
  int error = request->error;
  bool gone;

  if (error == -ESHUTDOWN && (sf_serve_is_ending(c->door->serve) || sf_door_client_is_gone(c)))
    sf_door_gone(c);
  if (sf_door_long_goes_on(c, request))
    return;
  sf_door_out_release(c, request);
  gone = atomic_load(&c->gone);
  if (!gone)
    say(c, request, error == 0 ? 0 : c->door->nbd_errno(error));
  if (!gone && error != 0)
    sf_serve_tell_failed(c->door->serve, verb(nbd), error, nbd->length, nbd->offset);
  put_read(c, request, !gone && error == 0);
  sf_door_request_put(c, request);
}

static void
close_one(struct door_connection *c, struct door_request *request) {
  SF_ASSERT(request->open > 0);
  if (--request->open == 0)
    answer(c, request);
}

/* ---- pieces that have ended ---- */

static void
end_piece(struct door_connection *c, struct door_piece *piece) {
  struct door_request *request = piece->of;

  piece->in_volume = false;
  if (piece->its.request.error != 0 && request->error == 0)
    request->error = piece->its.request.error;
  if (sf_door_is_of_long(c, piece))
    sf_door_long_take(c, piece);
  else if (request->nbd.type != NBD_READ)
    sf_door_piece_put(c, piece);
  close_one(c, request);
}

/* As they came; the stack has the last first. */
void
sf_door_take_done(struct door_connection *c) {
  struct door_piece *taken = atomic_exchange(&c->done, NULL), *in_order = NULL;

  while (taken != NULL) {
    struct door_piece *next = taken->next;

    taken->next = in_order;
    in_order = taken;
    taken = next;
  }
  while (in_order != NULL) {
    struct door_piece *piece = in_order;

    in_order = piece->next;
    end_piece(c, piece);
  }
}

void
sf_door_give_up(struct door_connection *c) {
  for (unsigned i = 0; i < DOOR_PIECES; i++)
    if (c->piece_of[i].in_volume)
      sf_serve_give_up(c->client, &c->piece_of[i].its);
}

/* ---- handing over ---- */

static void
refuse(struct door_connection *c, struct door_piece *piece) {
  piece->in_volume = false;
  if (piece->its.refused == -EAGAIN && !atomic_load(&c->gone)) {
    piece->next = c->refused;
    c->refused = piece;
    return;
  }
  piece->its.request.error = -ESHUTDOWN;
  sf_door_gone(c);
  end_piece(c, piece);
}

/* A worker may wait for a buffer, while pieces that wait for a worker hold theirs.  So the block is
 * asked for again: its holder then needed none of these. */
static bool
try_again(struct door_connection *c, struct door_piece *piece) {
  struct sf_serve_request *its = &piece->its;

  piece->in_volume = true;
  sf_serve_submit(c->client, &its, 1);
  if (its->refused == 0)
    return true; /* and perhaps done: `next` is not its own any more */
  piece->in_volume = false;
  if (its->refused != -EAGAIN)
    sf_door_gone(c);
  return false;
}

static void
hand_refused_on(struct door_connection *c) {
  while (c->refused != NULL) {
    struct door_piece *piece = c->refused, *next = piece->next;
    bool gone = atomic_load(&c->gone);

    if (!gone && sf_door_piece_move_to_bounce(c, piece) < 0) {
      if (try_again(c, piece))
        c->refused = next;
      else if (!atomic_load(&c->gone))
        return;
      continue;
    }
    c->refused = next;
    if (!gone) {
      sf_door_work(c, piece);
      continue;
    }
    piece->its.request.error = -ESHUTDOWN;
    end_piece(c, piece);
  }
}

void
sf_door_hand_over(struct door_connection *c) {
  unsigned n = c->batch_n;

  c->batch_n = 0;
  if (n > 0)
    sf_serve_submit(c->client, c->batch, n);
  for (unsigned i = 0; i < n; i++)
    if (c->batch[i]->refused != 0)
      refuse(c, (struct door_piece *) c->batch[i]);
  hand_refused_on(c);
}

static void
to_volume(struct door_connection *c, struct door_piece *piece) {
  sf_door_piece_to_volume(c, piece);
  if (c->batch_n >= DOOR_TOGETHER)
    sf_door_hand_over(c);
}

static void
describe(struct door_piece *piece, enum sf_request_kind kind, uint64_t offset, uint64_t length) {
  struct sf_request *request = &piece->its.request;

  request->kind = kind;
  request->offset = offset;
  request->length = length;
  request->fua = piece->of->nbd.flags & NBD_FUA && kind != SF_REQ_READ && kind != SF_REQ_FLUSH;
}

/* ---- requests ---- */

/* With room for its answer. */
static int
read_by_worker(struct door_connection *c, struct door_request *request) {
  const struct nbd_request *nbd = &request->nbd;
  int r = sf_door_piece_get_bounce(c, request, nbd->length, &request->piece);

  if (r < 0)
    return r;
  describe(request->piece, SF_REQ_READ, nbd->offset, nbd->length);
  sf_door_work(c, request->piece);
  return 0;
}

static void
all_to_volume(struct door_connection *c, struct door_request *request) {
  struct door_piece *piece = request->piece, *more;

  for (; piece != NULL; piece = more) {
    more = piece->more; /* the last one may end the request */
    to_volume(c, piece);
  }
}

static int
begin_long_read(struct door_connection *c, struct door_request *request) {
  const struct nbd_request *nbd = &request->nbd;

  if (sf_door_is_whole(c, nbd->offset, nbd->length) && sf_door_may_split(request) &&
      sf_door_out_keep(c, request, NBD_REPLY_BYTES + nbd->length)) {
    if (sf_door_split_get(c, request) == 0) {
      all_to_volume(c, request);
      return 0;
    }
    sf_door_out_release(c, request);
  }
  if (!sf_door_out_keep(c, request, NBD_REPLY_BYTES))
    return -EAGAIN;
  sf_door_long_wait(c, request);
  return 0;
}

static int
begin_read(struct door_connection *c, struct door_request *request) {
  const struct nbd_request *nbd = &request->nbd;
  int r;

  if (sf_door_read_is_long(request))
    return begin_long_read(c, request);
  if (!sf_door_out_keep(c, request, NBD_REPLY_BYTES + nbd->length))
    return -EAGAIN;
  if (!sf_door_is_whole(c, nbd->offset, nbd->length))
    return read_by_worker(c, request);
  r = sf_door_piece_get(c, request, nbd->length, &request->piece);
  if (r < 0)
    return r;
  describe(request->piece, SF_REQ_READ, nbd->offset, nbd->length);
  to_volume(c, request->piece);
  return 0;
}

static int
begin_write(struct door_connection *c, struct door_request *request) {
  if (!sf_door_out_keep(c, request, NBD_REPLY_BYTES))
    return -EAGAIN;
  request->open = 1;
  c->filling = request;
  c->fill_offset = request->nbd.offset;
  c->fill_left = request->nbd.length;
  return 0;
}

static int
begin_other(struct door_connection *c, struct door_request *request) {
  const struct nbd_request *nbd = &request->nbd;
  struct door_piece *piece;
  int r;

  if (!sf_door_out_keep(c, request, NBD_REPLY_BYTES))
    return -EAGAIN;
  r = sf_door_piece_get(c, request, 0, &piece);
  if (r < 0)
    return r;
  if (nbd->type == NBD_FLUSH) {
    describe(piece, SF_REQ_FLUSH, 0, 0);
    to_volume(c, piece);
    return 0;
  }
  describe(piece, SF_REQ_ZERO, nbd->offset, nbd->length);
  piece->its.request.may_unmap = !(nbd->flags & NBD_NO_HOLE);
  sf_door_work(c, piece);
  return 0;
}

static int
begin(struct door_connection *c, struct door_request *request) {
  switch (request->nbd.type) {
  case NBD_READ:
    return begin_read(c, request);
  case NBD_WRITE:
    return begin_write(c, request);
  default:
    return begin_other(c, request);
  }
}

/* An answer that needs nothing from the volume.  The data of a write that is refused comes all the
 * same. */
static int
answer_at_once(struct door_connection *c, struct door_request *request, int nbd_error) {
  if (!sf_door_out_keep(c, request, NBD_REPLY_BYTES))
    return -EAGAIN;
  sf_door_out_release(c, request);
  say(c, request, nbd_error);
  if (request->nbd.type == NBD_WRITE)
    c->skip = request->nbd.length;
  sf_door_request_put(c, request);
  return 0;
}

/* A fast zero must be faster than writing, and none of ours is sure to be (plugin.c). */
static int
refusal(const struct door_connection *c, const struct nbd_request *nbd) {
  int error = sf_nbd_check_request(&c->export, nbd);

  if (error == 0 && nbd->type == NBD_WRITE_ZEROES && nbd->flags & NBD_FAST_ZERO)
    return ENOTSUP;
  return error;
}

/* -EAGAIN: not now. */
static int
begin_or_refuse(struct door_connection *c, struct door_request *request) {
  int error = refusal(c, &request->nbd), r;

  if (error == 0 && sf_door_waits_too_long(c)) {
    error = ENOMEM;
    sf_door_waits_for_none(c);
    sf_serve_tell_failed(c->door->serve, verb(&request->nbd), -ENOMEM, request->nbd.length,
                         request->nbd.offset);
  }
  if (error != 0)
    return answer_at_once(c, request, error);
  r = begin(c, request);
  if (r < 0)
    sf_door_out_release(c, request);
  return r < 0 && r != -EAGAIN ? answer_at_once(c, request, c->door->nbd_errno(r)) : r;
}

/* False: nothing was taken. */
static bool
take_request(struct door_connection *c) {
  struct nbd_request nbd;
  struct door_request *request;

  if (!sf_nbd_read_request(c->in + c->in_begin, &nbd)) {
    sf_door_drop(c, "a client sent bytes that are no request");
    return false;
  }
  if (nbd.type == NBD_DISC) {
    c->closing = true;
    c->unread_ticks = 0;
    return false;
  }
  request = sf_door_request_get(c, &nbd);
  if (request == NULL) {
    c->blocked = true;
    return false;
  }
  if (begin_or_refuse(c, request) < 0) {
    sf_door_request_put(c, request);
    c->blocked = true;
    return false;
  }
  c->in_begin += NBD_REQUEST_BYTES;
  return true;
}

/* ---- the data of writes ---- */

static uint32_t
piece_length(const struct door_connection *c) {
  uint32_t most = DOOR_PIECE_BYTES;

  /* What begins within a block: the next piece shall not. */
  if (c->fill_offset % sf_serve_unit(c->door->serve) != 0)
    most -= (uint32_t) (c->fill_offset % DOOR_PIECE_BYTES);
  return c->fill_left < most ? c->fill_left : most;
}

/* Has failed for want of a buffer: the rest of its data is not wanted. */
static void
give_up_filling(struct door_connection *c) {
  struct door_request *request = c->filling;

  sf_door_waits_for_none(c);
  if (request->error == 0)
    request->error = -ENOMEM;
  c->skip = c->fill_left;
  c->filling = NULL;
  close_one(c, request);
}

/* A client may send the rest of its data late, or never, and must not keep the pool from others.  False:
 * in memory of the connection's own, as what a worker writes. */
static bool
may_wait_in_pool(struct door_connection *c, uint32_t length) {
  if (c->in_end - c->in_begin >= length)
    return true;
  c->waits_for_data = sf_door_take_share(&c->door->data_left);
  return c->waits_for_data;
}

static void
waits_no_more(struct door_connection *c) {
  if (c->waits_for_data)
    atomic_fetch_add(&c->door->data_left, 1);
  c->waits_for_data = false;
}

/* False: there is no memory for it now. */
static bool
begin_piece(struct door_connection *c) {
  uint32_t length = piece_length(c);
  int r;

  if (sf_door_waits_too_long(c)) {
    give_up_filling(c);
    return true;
  }
  r = sf_door_is_whole(c, c->fill_offset, length) && may_wait_in_pool(c, length)
          ? sf_door_piece_get(c, c->filling, length, &c->piece)
          : sf_door_piece_get_bounce(c, c->filling, length, &c->piece);
  if (r < 0) {
    waits_no_more(c);
    return false;
  }
  sf_door_waits_for_none(c);
  describe(c->piece, SF_REQ_WRITE, c->fill_offset, length);
  c->filled = 0;
  return true;
}

/* All of its data is there. */
static void
end_filling_piece(struct door_connection *c) {
  struct door_piece *piece = c->piece;
  struct door_request *request = c->filling;
  uint32_t length = (uint32_t) piece->its.request.length;

  waits_no_more(c);
  c->piece = NULL;
  c->fill_offset += length;
  c->fill_left -= length;
  if (c->fill_left == 0)
    c->filling = NULL;
  if (piece->data != NULL)
    sf_door_work(c, piece);
  else
    to_volume(c, piece);
  if (c->filling == NULL)
    close_one(c, request);
}

/* False: more has to come, or there is no memory. */
static bool
fill(struct door_connection *c) {
  size_t there = c->in_end - c->in_begin, wanted;

  if (c->piece == NULL && !begin_piece(c)) {
    c->blocked = true;
    return false;
  }
  if (c->piece == NULL)
    return true;
  wanted = (size_t) c->piece->its.request.length - c->filled;
  if (there < wanted)
    wanted = there;
  memcpy(sf_door_piece_data(c->piece) + c->filled, c->in + c->in_begin, wanted);
  c->filled += (uint32_t) wanted;
  c->in_begin += wanted;
  if (c->filled < c->piece->its.request.length)
    return false;
  end_filling_piece(c);
  return true;
}

static bool
skip(struct door_connection *c) {
  size_t there = c->in_end - c->in_begin;
  size_t n = c->skip < there ? (size_t) c->skip : there;

  c->skip -= n;
  c->in_begin += n;
  return c->skip == 0;
}

/* ---- handshake ---- */

static bool
take_option(struct door_connection *c) {
  struct nbd_said said;
  const char *why = NULL;
  size_t used;
  enum nbd_step step;

  if (DOOR_OUT_BYTES - (c->out.head - c->out.tail) < NBD_SAID_MAX) {
    c->blocked = true;
    return false;
  }
  step = sf_nbd_hear(&c->handshake, &c->export, c->in + c->in_begin, c->in_end - c->in_begin, &used,
                     &said, &why);
  c->in_begin += used;
  sf_door_out_say(c, said.bytes, said.n);
  c->serving = step == NBD_SERVE;
  if (c->serving)
    c->quiet_ticks = 0;
  c->closing |= step == NBD_ABORTED;
  if (step == NBD_WRONG)
    sf_door_drop(c, why);
  return step == NBD_ON || step == NBD_SERVE;
}

/* ---- what has come ---- */

static bool
take_one(struct door_connection *c) {
  if (atomic_load(&c->gone) || c->closing || c->stopping > 0)
    return false;
  if (!c->serving)
    return take_option(c);
  if (c->skip > 0)
    return skip(c);
  if (c->filling != NULL)
    return fill(c);
  return c->in_end - c->in_begin >= NBD_REQUEST_BYTES && take_request(c);
}

void
sf_door_take_input(struct door_connection *c) {
  sf_door_long_sent(c);
  c->blocked = c->wants_buffer = false;
  while (take_one(c))
    ;
  if (c->in_begin == c->in_end)
    c->in_begin = c->in_end = 0;
  sf_door_long_next(c);
  sf_door_hand_over(c);
}

/* The rest of a long write goes where it is handed over from, and what follows it after what has
 * come. */
unsigned
sf_door_input_parts(struct door_connection *c, struct iovec part[2]) {
  unsigned n = 0;

  if (c->blocked)
    return 0;
  if (c->in_begin > 0 && c->in_end + NBD_HEARD_MAX > DOOR_IN_BYTES) {
    memmove(c->in, c->in + c->in_begin, c->in_end - c->in_begin);
    c->in_end -= c->in_begin;
    c->in_begin = 0;
  }
  if (c->piece != NULL)
    part[n++] = (struct iovec){sf_door_piece_data(c->piece) + c->filled,
                               (size_t) c->piece->its.request.length - c->filled};
  part[n++] = (struct iovec){c->in + c->in_end, DOOR_IN_BYTES - c->in_end};
  return n;
}

/* The client is gone, and a write of it that has not come whole is not handed over. */
void
sf_door_drop_unfinished(struct door_connection *c) {
  struct door_request *request = c->filling;

  waits_no_more(c);
  if (c->piece != NULL) {
    request->open--;
    sf_door_piece_put(c, c->piece);
    c->piece = NULL;
  }
  c->filling = NULL;
  close_one(c, request);
}

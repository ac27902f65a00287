/* The states of a copy, and what becomes of its piece when it ends. */
#include "volume/ops/copy_end.h"

#include "volume/ground/facts.h"
#include "volume/ground/host.h"
#include "volume/ground/leg_io.h"
#include "volume/ground/lost.h"
#include "volume/ground/steps.h"
#include "volume/ground/unwritten.h"
#include "volume/ops/op.h"
#include "volume/set/bad.h"

enum {
  BACKOFF_MS = 100, /* after a piece that failed */
  BUFFER_WAIT_MS = 5,
  DOUBT_MS = 2000, /* a resync does not ask for longer what cannot be read now */
};

const struct sf_state_table sf_copy_table = {
    .machine = "copy",
    .states = COPY_STATES,
    .name = {"idle", "waiting", "reading", "writing"},
    .moves =
        {
            [COPY_IDLE] = SF_MOVE_TO(COPY_WAITING),
            [COPY_WAITING] =
                SF_MOVE_TO(COPY_READING) | SF_MOVE_TO(COPY_WRITING) | SF_MOVE_TO(COPY_IDLE),
            [COPY_READING] = SF_MOVE_TO(COPY_WRITING) | SF_MOVE_TO(COPY_IDLE),
            [COPY_WRITING] = SF_MOVE_TO(COPY_IDLE),
        },
};

void
sf_copy_move(struct sf_volume *v, struct copy *copy, enum copy_state state) {
  struct sf_state_hooks hooks = sf_volume_hooks;

  if (v->host.trace == NULL)
    hooks.trace = NULL;
  sf_state_move(&copy->machine, state, &hooks, v);
}

/* A piece that no leg can read. The copy goes on block by block. A block is asked for once more, as
 * legs may fail anything. A block that is bad everywhere is recorded (bad.c), and its extent is
 * done without it.  A resync leaves the rest for later: the leg lacks the block. */
static enum copy_end
pass_over(struct sf_op *op) {
  struct sf_volume *v = op->volume;
  struct copy *copy = op->copy;
  struct copying *of = copy->of;
  bool is_bad, is_recorded;

  if (of->piece_bytes > v->block_bytes) {
    sf_map_set(&v->copier.by_block, of->extent);
    return COPY_BAD;
  }
  if (of->converge && legcount(sf_insync_legs(v)) == 1) {
    sf_lost_add(v, op->offset, op->length, op->failed & sf_insync_legs(v), op->error);
    return COPY_LOST; /* it differs from no other, and a resync from it asks again */
  }
  if (of->doubt_ns == 0)
    of->doubt_ns = v->now_ns;
  is_bad = sf_bad_is_found(op);
  if (!is_bad && (of->converge || v->now_ns < of->doubt_ns + DOUBT_MS * SF_MS))
    return COPY_AGAIN;
  is_recorded = is_bad && sf_bad_mark(v, op->offset, op->length, &of->marks);
  sf_lost_add(v, op->offset, op->length, op->failed & sf_insync_legs(v), op->error);
  if (of->converge && !is_recorded)
    return COPY_AGAIN; /* legs may differ there, and nothing would say so */
  of->lacks = of->lacks || !is_recorded;
  of->no_room = of->no_room || (is_bad && !is_recorded);
  return COPY_LOST;
}

static void
give_back(struct sf_op *op) {
  struct sf_volume *v = op->volume;
  struct copy *copy = op->copy;

  sf_copy_move(v, copy, COPY_IDLE);
  for (unsigned i = 0; i < op->ios; i++)
    sf_leg_io_drop(&op->io[i]);
  for (unsigned i = 0; i < v->legs; i++) {
    if (copy->buffer[i] != NULL)
      v->host.buffer_put(v->ctx, copy->buffer[i]);
    copy->buffer[i] = NULL;
  }
  if (copy->run_buffer != NULL)
    v->host.buffer_put(v->ctx, copy->run_buffer);
  copy->run_buffer = NULL;
}

/* It is the slot's again, and the op is nothing's. */
static void
release(struct sf_op *op) {
  op->copy->op = NULL;
  op->copy = NULL;
  op->volume->dirty = true;
}

static void
count_copied(struct sf_op *op) {
  struct sf_volume *v = op->volume;
  const struct copying *of = op->copy->of;

  if (v->lost.n > 0)
    sf_lost_clear(v, op->offset, op->length);
  if (!of->converge) {
    v->leg[of->leg].resync_copied_bytes += op->length;
    v->leg[of->leg].resync_bytes += op->length;
  }
}

/* Zeros that a leg's join, or its exchange, has ended (zeroing.c): that tells of no leg. */
static bool
is_broken_off(const struct sf_volume *v, const struct copying *of) {
  return of->zeroes && !sf_map_test(&v->copier.zeroing, of->extent);
}

static void
note_piece(struct sf_op *op, enum copy_end how) {
  struct sf_volume *v = op->volume;
  struct copier *copier = &v->copier;
  const struct copy *copy = op->copy;
  struct copying *of = copy->of;

  if (how == COPY_PASSED)
    of->marks = v->bad.changes;
  if (how == COPY_LOST || how == COPY_PASSED) {
    of->piece[copy->piece] = PIECE_DONE;
    of->done_pieces++;
    of->sure += of->doubt[copy->piece].failed_ns == 0;
  } else if (how == COPY_DONE) {
    of->piece[copy->piece] = PIECE_DONE;
    of->done_pieces++;
    of->sure += of->doubt[copy->piece].failed_ns == 0;
    of->also &= op->ok;
    if (of->is_first)
      sf_unwritten_advances(v, of->extent);
    count_copied(op);
  } else if (how == COPY_AGAIN) {
    of->piece[copy->piece] = PIECE_AGAIN;
    if (copy->piece < of->again_from)
      of->again_from = copy->piece;
    of->issued_pieces--;
    of->again_ns = v->now_ns;
    of->agains++;
  } else if (how == COPY_LATER || how == COPY_LATE) {
    of->piece[copy->piece] = PIECE_TO_COME;
    if (copy->piece < of->come_from)
      of->come_from = copy->piece;
    of->issued_pieces--;
    copier->issue_at_ns = v->now_ns + (how == COPY_LATE ? BACKOFF_MS : BUFFER_WAIT_MS) * SF_MS;
  } else {
    of->failed = true;
    if (how == COPY_FAILED && !is_broken_off(v, of))
      copier->issue_at_ns = v->now_ns + BACKOFF_MS * SF_MS;
  }
}

void
sf_copy_end(struct sf_op *op, enum copy_end how) {
  struct copy *copy = op->copy;
  struct copying *of = copy->of;

  give_back(op);
  if (of->judge != NULL) {
    release(op);
    of->judge->ended(op->volume, copy, how == COPY_DONE);
    sf_op_end(op);
    return;
  }
  if (how == COPY_BAD)
    how = pass_over(op);
  note_piece(op, how);
  of->in_flight--;
  release(op);
  sf_op_end(op);
}

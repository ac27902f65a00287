/* One piece of a copy between legs, in the order of R6: read from one in-sync leg, or, for
 * convergence, from all of them; written to the legs that want it.  Which pieces, and when:
 * copier.c. */
#include "volume/ops/copy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "volume/ground/facts.h"
#include "volume/ground/flush_lost.h"
#include "volume/ground/host.h"
#include "volume/ground/leg_io.h"
#include "volume/ground/lost.h"
#include "volume/ground/silence.h"
#include "volume/ground/steps.h"
#include "volume/ground/unwritten.h"
#include "volume/ops/copy_end.h"
#include "volume/ops/op.h"
#include "volume/ops/suspend.h"
#include "volume/set/bad.h"
#include "volume/set/flush_failure.h"
#include "volume/set/leg.h"
#include "volume/set/medium.h"

/* Not the leg that answers nothing: writes that copies pass are in flight there. */
static int
choose_source(const struct sf_op *op, legset but) {
  const struct sf_volume *v = op->volume;
  int source = -1;

  but |= v->exchange.unheard;
  EACH_LEG(leg, sf_vol_sources(v, op->offset, op->length) & (legset) ~but) {
    if (source < 0 || (sf_insync_is_avoided(v, (unsigned) source) && !sf_insync_is_avoided(v, leg)))
      source = (int) leg;
  }
  return source;
}

static legset
targets_of(const struct sf_volume *v, const struct copying *of) {
  return of->converge ? sf_insync_legs(v) | of->also : legbit(of->leg);
}

/* Is the target still one to be written to? */
static bool
target_stands(const struct sf_volume *v, const struct copy *copy, unsigned leg) {
  if (copy->of->converge)
    return targets_of(v, copy->of) & legbit(leg);
  return sf_leg_state(&v->leg[leg]) == SF_STATE_CATCHING_UP;
}

static legset
standing(const struct sf_volume *v, const struct copy *copy, legset targets) {
  legset set = 0;

  EACH_LEG(leg, targets)
    if (target_stands(v, copy, leg))
      set |= legbit(leg);
  return set;
}

/* A client that waits for the extent to be converged waits for its copies. */
static enum window_use
use_of(const struct sf_op *op) {
  bool is_waited_for = op->blocks_reads && !op->scrubs && op->volume->parked != NULL;

  return op->hurried || is_waited_for ? WINDOW_CLIENTS : WINDOW_COPIES;
}

static void
read_from(struct sf_op *op, unsigned leg) {
  struct sf_volume *v = op->volume;
  struct leg_io_args args = {
      .op = SF_TIO_READ,
      .kind = SF_READ_KIND,
      .use = use_of(op),
      .legs = legbit(leg),
      .offset = v->data_offset + op->offset,
      .length = op->length,
      .buffer = op->copy->buffer[leg],
  };

  sf_op_send(op, &args);
  if (op->running & legbit(leg))
    op->copy->reading |= legbit(leg);
}

static void go_on_writing(struct sf_op *op);

/* It was never written: all legs are given zeros, and none is read (R17). */
static void
zero_all(struct sf_op *op) {
  struct copy *copy = op->copy;

  copy->differ = copy->unread = copy->run = copy->rewrite = 0;
  copy->reading = copy->tried = copy->well = 0;
  copy->written = 0;
  sf_op_passed_by(op);
  sf_copy_move(op->volume, copy, COPY_WRITING);
  go_on_writing(op);
}

static void
copy_run(struct sf_op *op) {
  struct sf_volume *v = op->volume;
  struct copy *copy = op->copy;
  legset from;
  int source = choose_source(op, 0);

  if (copy->machine.state != COPY_WAITING)
    return;
  sf_op_hold(op, HOLD_NOT);
  copy->targets = targets_of(v, copy->of);
  if (v->phase != PHASE_SERVING || source < 0 || copy->of->failed ||
      standing(v, copy, copy->targets) == 0 ||
      (copy->of->judge != NULL && !copy->of->judge->may_look(op))) {
    sf_copy_end(op, COPY_FAILED);
    return;
  }
  if (sf_op_is_in_the_way(op)) {
    sf_copy_end(op, COPY_LATER);
    return;
  }
  /* In the order of R6: a write that is under way makes it good, and a leg that has the piece gets
   * later ones. */
  if (copy->of->judge == NULL && sf_bad_covers(v, op->offset, op->length)) {
    sf_copy_end(op, COPY_PASSED);
    return;
  }
  copy->source = source;
  if (copy->of->zeroes) {
    zero_all(op);
    return;
  }
  copy->targets &= (legset) ~legbit((unsigned) source);
  copy->differ = copy->unread = copy->run = 0;
  copy->rewrite = copy->of->converge ? sf_flush_failure_unsure(v, op->offset, op->length) : 0;
  copy->reading = copy->tried = copy->well = 0;
  from = legbit((unsigned) source) | (copy->of->converge ? copy->targets : 0);
  EACH_LEG(leg, from) {
    copy->buffer[leg] = v->host.buffer_get(v->ctx, op->length);
    if (copy->buffer[leg] == NULL) {
      sf_copy_end(op, COPY_LATER);
      return;
    }
  }
  sf_op_passed_by(op);
  sf_copy_move(v, copy, COPY_READING);
  EACH_LEG(leg, from)
    read_from(op, leg);
  if (copy->reading != from)
    sf_copy_end(op, COPY_FAILED); /* a leg that is not read is not compared either */
}

/* ---- writing ---- */

static void
put_run(struct sf_volume *v, struct copy *copy) {
  if (copy->run_buffer != NULL)
    v->host.buffer_put(v->ctx, copy->run_buffer);
  copy->run_buffer = NULL;
}

/* Of these legs, the ones that hold something else than the source in a block of the piece. */
static legset
differ_at(const struct sf_volume *v, const struct copy *copy, legset legs, uint64_t at) {
  const uint8_t *good = (const uint8_t *) copy->buffer[copy->source]->data + at;
  legset set = 0;

  EACH_LEG(leg, legs)
    if (((copy->unread | copy->rewrite) & legbit(leg)) ||
        memcmp((const uint8_t *) copy->buffer[leg]->data + at, good, v->block_bytes) != 0)
      set |= legbit(leg);
  return set;
}

/* The next run of blocks in which the same legs differ.  An equal block is not written again: it
 * may be acknowledged, and the power may fail in the middle of a sector. */
static legset
next_run(const struct sf_op *op, uint64_t *from, uint64_t *length) {
  const struct sf_volume *v = op->volume;
  const struct copy *copy = op->copy;
  legset legs = standing(v, copy, copy->differ), run = 0;
  uint64_t at = copy->written;

  while (at < op->length && (run = differ_at(v, copy, legs, at)) == 0)
    at += v->block_bytes;
  *from = at;
  while (at < op->length && differ_at(v, copy, legs, at) == run)
    at += v->block_bytes;
  *length = at - *from;
  return run;
}

static bool
is_zero(const void *data, uint64_t length) {
  const uint8_t *bytes = data;

  return bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0;
}

/* Space is given back where nobody waits to write there, and all can. */
static bool
may_unmap(const struct sf_volume *v, legset legs) {
  EACH_LEG(leg, legs) {
    if (!sf_leg_punches(v, leg))
      return false;
  }
  return v->parked == NULL;
}

/* A leg that catches up does not fill its space with zeros that it was to be rid of, or never
 * had. */
static bool
may_punch(const struct sf_volume *v, const struct copy *copy, uint64_t length) {
  return !copy->of->converge && sf_leg_punches(v, copy->of->leg) &&
         is_zero(copy->buffer[copy->source]->data, length);
}

/* False: the copy has ended for want of a buffer or a slot. */
static bool
write_run_of(struct sf_op *op, legset legs, uint64_t from, uint64_t length) {
  struct sf_volume *v = op->volume;
  struct copy *copy = op->copy;
  struct sf_tio_buffer *source = copy->of->zeroes ? NULL : copy->buffer[copy->source];
  struct leg_io_args args = {
      .op = SF_TIO_WRITE,
      .flags = copy->of->judge != NULL ? SF_TIO_FUA : 0, /* no intent stands for it */
      .kind = SF_WRITE_KIND,
      .use = use_of(op),
      .legs = legs,
      .offset = v->data_offset + op->offset + from,
      .length = length,
      .buffer = source,
  };

  if (copy->of->zeroes) {
    args.op = SF_TIO_ZERO;
    args.flags = may_unmap(v, legs) ? SF_TIO_MAY_UNMAP : 0;
  } else if (from > 0) {
    args.buffer = copy->run_buffer = v->host.buffer_get(v->ctx, length);
    if (args.buffer == NULL) {
      sf_copy_end(op, COPY_LATER);
      return false;
    }
    memcpy(args.buffer->data, (const uint8_t *) source->data + from, length);
  } else if (may_punch(v, copy, length)) {
    args.op = SF_TIO_ZERO;
    args.flags = SF_TIO_MAY_UNMAP;
    args.buffer = NULL;
  }
  copy->of->wrote = true;
  copy->written = from + length;
  copy->run = legs;
  op->ok &= (legset) ~legs;
  op->writing |= legs;
  sf_op_send(op, &args);
  if (!(op->running & legs)) {
    sf_copy_end(op, COPY_FAILED);
    return false;
  }
  return true;
}

/* The source may have lost a flush since it was read, or have left. */
static bool
may_write(const struct sf_op *op) {
  const struct sf_volume *v = op->volume;
  const struct copy *copy = op->copy;

  return !copy->of->failed && (copy->of->zeroes || (sf_vol_sources(v, op->offset, op->length) &
                                                    legbit((unsigned) copy->source)));
}

/* When the run is written on all legs where it still matters: the next one. */
static void
go_on_writing(struct sf_op *op) {
  struct sf_volume *v = op->volume;
  struct copy *copy = op->copy;
  uint64_t from = 0, length = op->length;
  legset legs;

  if ((standing(v, copy, copy->run) & (legset) ~op->ok) != 0)
    return;
  if (!may_write(op)) {
    sf_copy_end(op, COPY_FAILED);
    return;
  }
  put_run(v, copy);
  if (copy->of->converge && !copy->of->zeroes)
    legs = next_run(op, &from, &length);
  else
    legs = copy->written == 0 ? standing(v, copy, copy->targets) : 0;
  if (legs != 0 && v->phase != PHASE_SERVING)
    sf_copy_end(op, COPY_FAILED); /* a stop waits for what is under way alone */
  else if (legs != 0)
    write_run_of(op, legs, from, length);
  else
    sf_copy_end(op, copy->of->converge || standing(v, copy, copy->targets) == copy->targets
                        ? COPY_DONE
                        : COPY_FAILED);
}

void
sf_copy_finish(struct sf_op *op, bool good) {
  sf_copy_end(op, good ? COPY_DONE : COPY_FAILED);
}

static void
start_writing(struct sf_op *op) {
  struct copy *copy = op->copy;

  copy->written = 0;
  copy->run = 0;
  copy->differ |= (op->ok & copy->targets) | (copy->rewrite & legbit((unsigned) copy->source));
  op->ok |= legbit((unsigned) copy->source);
  sf_copy_move(op->volume, copy, COPY_WRITING);
  go_on_writing(op);
}

/* What a scrub has found to be wrong. */
void
sf_copy_repair(struct sf_op *op, unsigned source, legset bad) {
  struct copy *copy = op->copy;

  copy->source = (int) source;
  copy->targets = bad;
  copy->differ = bad;
  start_writing(op);
}

/* ---- reading ---- */

/* A resync asks the next source at once. */
static bool
read_elsewhere(struct sf_op *op, unsigned leg) {
  struct sf_volume *v = op->volume;
  struct copy *copy = op->copy;
  int next;

  copy->tried |= legbit(leg);
  next = choose_source(op, copy->tried);
  if (next < 0)
    return false;
  copy->source = next;
  copy->buffer[next] = copy->buffer[leg];
  copy->buffer[leg] = NULL;
  read_from(op, (unsigned) next);
  if (copy->reading != legbit((unsigned) next))
    sf_copy_end(op, COPY_FAILED);
  v->dirty = true;
  return true;
}

/* They could not read what another leg has read: what none can says nothing of one of them. */
static void
count_failed(struct sf_op *op) {
  EACH_LEG(leg, (op->copy->unread | op->copy->tried) & (legset) ~op->passing)
    sf_medium_failed(op->volume, leg, op->offset, op->error);
}

/* A leg that hangs leaves, if it may, and the extent is tried again without it.  One that stays is
 * busy: where a client waits for the extent the piece is read again, and the others stay copied.
 * Were they read again too, some of them would be late each time where many wait for the same path,
 * and the extent would never be done.  An extent that no client waits for gives its place up. */
static void
read_is_late(struct sf_op *op, unsigned leg) {
  struct sf_volume *v = op->volume;
  bool reads_again;

  v->leg[leg].avoid = true;
  if (sf_insync_leg_hangs(v, leg, SF_READ_KIND) &&
      legcount(sf_insync_witnesses(v, leg, SF_READ_KIND, op->ok & sf_insync_legs(v))) >=
          v->min_legs &&
      sf_leg_can_leave(v, leg)) {
    char reason[128];

    sf_op_reason(op, leg, reason, sizeof reason);
    sf_leg_demote(v, leg, SF_STATE_LATE, reason);
  }
  reads_again =
      (sf_insync_legs(v) & legbit(leg)) && sf_unwritten_is_waited_for(v, op->copy->of->extent);
  sf_copy_end(op, reads_again ? COPY_LATE : COPY_FAILED);
}

/* The source of a convergence has a bad block: another leg takes its place.  False: the copy has ended. */
static bool
take_another_source(struct sf_op *op) {
  struct sf_volume *v = op->volume;
  struct copy *copy = op->copy;
  legset good = (op->ok | copy->reading) & copy->targets & (legset) ~copy->differ;

  if (good == 0) {
    sf_copy_end(op, op->passing == 0 ? COPY_BAD : COPY_FAILED);
    return false;
  }
  if (good & sf_vol_sources(v, op->offset, op->length)) {
    good &= sf_vol_sources(v, op->offset, op->length);
  } else if (op->passing != 0) {
    sf_copy_end(op, COPY_FAILED); /* the leg that has it may be well again */
    return false;
  } else if (copy->of->piece_bytes > v->block_bytes) {
    sf_copy_end(op, COPY_BAD); /* the bad block only */
    return false;
  } else {
    sf_flush_failure_spread(v, copy->of->extent);
  }
  copy->source = __builtin_ctz(good);
  copy->targets &= (legset) ~legbit((unsigned) copy->source);
  return true;
}

/* A leg has not read it.  False: the copy has ended, or reads elsewhere. */
static bool
goes_on_without(struct sf_op *op, unsigned leg, const struct sf_tio_event *event) {
  struct copy *copy = op->copy;
  legset bit = legbit(leg);

  if (copy->of->judge != NULL) {
    if (event->state != SF_TIO_ERROR || (op->passing & bit)) {
      sf_copy_end(op, COPY_FAILED); /* it says nothing of the block */
      return false;
    }
    copy->unread |= bit;
    return true;
  }
  if (event->state == SF_TIO_ERROR && copy->of->converge) {
    /* A bad block there: some other leg's answer goes over it. */
    copy->differ |= bit;
    copy->unread |= bit;
    copy->targets |= bit;
    return (int) leg != copy->source || take_another_source(op);
  }
  if (event->state == SF_TIO_ERROR && read_elsewhere(op, leg))
    return false;
  if (event->state != SF_TIO_ERROR || op->passing != 0)
    op->volume->leg[leg].avoid = true;
  sf_copy_end(op, event->state == SF_TIO_ERROR && op->passing == 0 ? COPY_BAD : COPY_FAILED);
  return false;
}

static void
on_read(struct sf_op *op, unsigned leg, const struct sf_tio_event *event) {
  struct copy *copy = op->copy;

  if (event->state == SF_TIO_TIMEOUT) {
    read_is_late(op, leg);
    return;
  }
  copy->reading &= (legset) ~legbit(leg);
  if (event->state == SF_TIO_ERROR)
    sf_bad_note(op, leg);
  if (event->state == SF_TIO_OK)
    op->volume->leg[leg].avoid = false;
  else if (!goes_on_without(op, leg, event))
    return;
  if (copy->reading != 0)
    return;
  if (copy->of->judge != NULL) {
    copy->of->judge->compare(op);
  } else if (op->ok & legbit((unsigned) copy->source)) {
    count_failed(op);
    start_writing(op);
  } else {
    sf_copy_end(op, COPY_FAILED);
  }
}

/* Zeros have no source that stands for the leg that failed: whether it leaves is judged when the
 * others have answered, or one that fails at once would never leave.  True: it is decided later, or
 * the copy has ended. */
static bool
zeroes_failed(struct sf_op *op) {
  struct copy *copy = op->copy;

  if (!copy->of->zeroes || standing(op->volume, copy, op->failed & copy->run) == 0)
    return false;
  sf_op_judge(op);
  if (op->copy == NULL || standing(op->volume, copy, op->failed & copy->run) == 0)
    return op->copy == NULL;
  if ((op->pending & (legset) ~op->overdue) == 0)
    sf_copy_end(op, COPY_FAILED);
  return true;
}

static void
on_written(struct sf_op *op, unsigned leg, const struct sf_tio_event *event) {
  struct sf_volume *v = op->volume;

  if (event->state != SF_TIO_OK)
    sf_op_judge(op);
  if (op->copy == NULL || zeroes_failed(op))
    return;
  if (event->state == SF_TIO_OK && (op->copy->unread & op->copy->run & legbit(leg)))
    sf_medium_repaired(v, leg, op->offset, op->length, op->error);
  if ((event->state == SF_TIO_ERROR || (op->scrubs && event->state == SF_TIO_CANCELED)) &&
      target_stands(v, op->copy, leg)) {
    sf_copy_end(op, COPY_FAILED); /* it could not be spared: the extent stays as it is */
    return;
  }
  go_on_writing(op);
}

static void
review_overdue(struct sf_op *op) {
  if (op->copy == NULL || op->copy->machine.state != COPY_WRITING) {
    sf_op_judge(op);
    return;
  }
  sf_op_judge(op);
  if (op->copy != NULL && !zeroes_failed(op))
    go_on_writing(op);
}

static void
copy_on_event(struct sf_op *op, unsigned leg, unsigned try, const struct sf_tio_event *event) {
  if (op->copy == NULL)
    return;
  if (op->copy->machine.state == COPY_READING)
    on_read(op, leg, event);
  else if (op->copy->machine.state == COPY_WRITING && (op->writing & legbit(leg)))
    on_written(op, leg, event);
}

static void
copy_review(struct sf_op *op) {
  if (op->overdue != 0)
    review_overdue(op);
}

static void
copy_run_again(struct sf_op *op) {
  op->error = 0;
  copy_run(op);
}

const struct op_kind sf_op_copy = {
    .name = "copy",
    .timeout = SF_WRITE_KIND,
    .copies = true,
    .brings_back = true,
    .run = copy_run,
    .run_again = copy_run_again,
    .ended = sf_op_landed,
    .on_event = copy_on_event,
    .review = copy_review,
};

/* Writes and zeroes: once their intent is durable (R8), to every in-sync leg (R1), to a catching-up
 * leg where its copy is good already, and into the stale maps of all others. */
#include "volume/ops/write.h"

#include <errno.h>

#include "volume/ground/copying.h"
#include "volume/ground/facts.h"
#include "volume/ground/host.h"
#include "volume/ground/leg_io.h"
#include "volume/ground/lost.h"
#include "volume/ground/steps.h"
#include "volume/ops/op.h"
#include "volume/ops/suspend.h"
#include "volume/set/bad.h"
#include "volume/set/intent.h"
#include "volume/set/leg.h"

enum { AGAIN_MS = 100 }; /* after an error that may pass */

/* R16: where one of the legs that would get it could only write zeros, it is done on none.  Not asked
 * any more once some of it was sent: after that it must come about everywhere. */
bool
sf_trim_is_left(const struct sf_volume *v, const struct sf_request *request) {
  EACH_LEG(leg, request->is_trim ? sf_vol_receivers(v) : 0) {
    if (!sf_leg_punches(v, leg))
      return true;
  }
  return false;
}

static void
write_send(struct sf_op *op) {
  struct sf_volume *v = op->volume;
  legset receivers = sf_vol_receivers(v), targets = 0;
  bool zeroes = op->kind == &sf_op_zero;
  struct leg_io_args args = {
      .op = zeroes ? SF_TIO_ZERO : SF_TIO_WRITE,
      .kind = SF_WRITE_KIND,
      .offset = v->data_offset + op->offset,
      .length = op->length,
      .buffer = zeroes ? NULL : op->request->buffer,
  };

  if (!sf_intent_ready(v, op->offset, op->length)) {
    sf_op_hold(op, HOLD_INTENT);
    return;
  }
  if (sf_op_is_passed(op)) { /* while it waited for its intent */
    sf_op_hold(op, HOLD_AGAIN);
    return;
  }
  if (op->hold == HOLD_INTENT)
    sf_op_hold(op, HOLD_NOT);
  for (unsigned i = 0; i < v->legs; i++) {
    if ((op->ok | op->running) & legbit(i))
      continue; /* a second try, after too few had it: only where it is missing */
    if ((sf_set_legs(v) & legbit(i)) ||
        ((receivers & legbit(i)) && sf_leg_wants(v, i, op->offset, op->length)))
      targets |= legbit(i);
    else
      sf_leg_mark_stale(v, i, op->offset, op->length);
  }
  op->request_fua =
      op->request->fua || op->clears != 0 || sf_bad_touches(v, op->offset, op->length);
  if (op->request_fua)
    args.flags |= SF_TIO_FUA;
  if (op->request->may_unmap)
    args.flags |= SF_TIO_MAY_UNMAP;
  args.legs = targets;
  if (targets != 0)
    sf_op_send(op, &args);
}

static void
write_run(struct sf_op *op) {
  bool is_cut = sf_bad_is_cut(op->volume, op->offset, op->length);

  op->request->undone = sf_trim_is_left(op->volume, op->request);
  if (op->request->undone || is_cut)
    sf_op_answer(op, op->request->undone ? 0 : -EIO);
  else
    write_send(op);
}

static void
write_run_again(struct sf_op *op) {
  op->error = 0;
  write_send(op);
}

/* ---- answers ---- */

static void
leave_unconverged(struct sf_op *op) {
  struct sf_volume *v = op->volume;
  uint64_t last = extent_of(v, op->offset + op->length - 1);

  for (uint64_t e = extent_of(v, op->offset); e <= last; e++) {
    sf_map_set(&v->unconverged, e);
    sf_copier_spoil(v, e);
  }
  EACH_LEG(leg, op->request_fua ? op->failed : 0) { /* what its cache shows may go again */
    sf_map_set_range(&v->leg[leg].unsure, extent_of(v, op->offset), last);
  }
  v->dirty = true;
}

/* A write that failed to its client may be on some legs and not on others: those extents are
 * converged before they are read (R11). */
static void
write_fail(struct sf_op *op, int error) {
  sf_op_cancel(op);
  if (op->sent != 0)
    leave_unconverged(op);
  if (error != -ESHUTDOWN) /* given up, or a stop: nothing failed, and nothing is well again */
    op->volume->failed = true;
  sf_op_answer(op, error);
}

static void
write_answered(struct sf_op *op, int error) {
  struct sf_volume *v = op->volume;

  v->writes++;
  if (error != 0)
    return;
  v->late_acks += (op->sent & (legset) ~op->ok) != 0;
  if (!op->request->undone)
    sf_lost_written(v, op->offset, op->length);
}

/* The pending legs are late and cannot be spared, and a leg that failed may be well again. */
static bool
is_stuck_behind_a_hang(const struct sf_op *op) {
  return op->hold != HOLD_AGAIN && op->pending != 0 && (op->pending & (legset) ~op->overdue) == 0 &&
         (op->failed & op->passing & sf_insync_legs(op->volume)) != 0;
}

/* An answer is still to come.  Not from a leg that is unheard, where another one has failed: its own
 * could not make up for that. */
static bool
is_still_asked(const struct sf_op *op) {
  const struct sf_volume *v = op->volume;
  legset others = (legset) ~v->exchange.unheard;

  return (op->pending & others) != 0 ||
         (op->pending != 0 && (op->failed & sf_set_legs(v) & others) == 0);
}

static void
answer_well(struct sf_op *op) {
  enum bad_clearing clearing = sf_bad_clear(op);

  if (clearing == BAD_CLEARED)
    sf_op_answer(op, 0);
  else if (clearing == BAD_NO_ROOM)
    write_fail(op, -EIO);
}

/* Reading 4: min_legs counts legs of the set only, and not one that catches up and has the write;
 * unit/volume-min-legs, an_answer_waits_for_legs_in_sync, holds it. */
static void
write_review(struct sf_op *op) {
  struct sf_volume *v = op->volume;

  if (op->machine.state != OP_RUNNING) {
    sf_op_review_ended(op);
    return;
  }
  if (op->hold == HOLD_INTENT)
    write_send(op);
  if (op->hold == HOLD_INTENT)
    return;
  if ((op->overdue | op->failed) != 0)
    sf_op_judge(op);
  if ((v->ack_legs & (legset) ~op->ok) == 0 &&
      legcount(op->ok & sf_insync_legs(v)) >= v->min_legs) {
    if (!sf_op_waits_to_be_sent(op)) /* to a leg that catches up: its buffer is the request's */
      answer_well(op);
    return;
  }
  if (is_stuck_behind_a_hang(op)) {
    sf_op_hold(op, HOLD_AGAIN); /* a leg that is well again shows that the other one hangs */
    op->again_ns = v->now_ns + AGAIN_MS * SF_MS;
    sf_vol_arm(v, op->again_ns);
  }
  if (is_still_asked(op) || sf_op_awaits_a_word(op) || op->hold == HOLD_AGAIN ||
      sf_record_moves_the_set(v))
    return;
  if (sf_op_may_wait(op))
    sf_op_suspend(op);
  else
    write_fail(op, op->error ? op->error : -EIO);
}

static void
write_on_event(struct sf_op *op, unsigned leg, unsigned try, const struct sf_tio_event *event) {
  if (op->machine.state == OP_DRAINING)
    sf_op_judge(op); /* answered without it: it is behind now */
  write_review(op);
}

/* A zero is a write of nothing that has to be sent. */
#define WRITES                                                                                     \
  .timeout = SF_WRITE_KIND, .writes = true, .run = write_run, .run_again = write_run_again,        \
  .ended = sf_op_landed, .on_event = write_on_event, .review = write_review, .fail = write_fail,   \
  .answered = write_answered

const struct op_kind sf_op_write = {.name = "write", WRITES};
const struct op_kind sf_op_zero = {.name = "zero", WRITES};

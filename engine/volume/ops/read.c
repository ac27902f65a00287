/* Reads: from the in-sync leg that answers soonest; at its timeout the same read goes to the next
 * one and the first good answer wins; an error goes to the next one, and what that one said is
 * written over the bad block. */
#include "volume/ops/read.h"

#include <errno.h>

#include "volume/ground/copying.h"
#include "volume/ground/facts.h"
#include "volume/ground/fault.h"
#include "volume/ground/flush_lost.h"
#include "volume/ground/host.h"
#include "volume/ground/leg_io.h"
#include "volume/ground/silence.h"
#include "volume/ground/steps.h"
#include "volume/ground/trouble.h"
#include "volume/ground/unwritten.h"
#include "volume/ops/op.h"
#include "volume/set/bad.h"
#include "volume/set/leg.h"
#include "volume/set/medium.h"
#include "volume/set/sample.h"

enum {
  STICK_FACTOR = 2, /* a sequential run stays until its leg is so many times slower */
  AGAIN_MS = 100,   /* after errors everywhere */
  RETRY_MS = 5,     /* after there was no room */
};

/* What the next read there may be expected to take: the average, times the queue. */
static uint64_t
expected_ns(const struct leg *leg) {
  return (leg->latency[SF_READ_KIND].average_ns + 1) * (leg->reads_running + 1);
}

static int
choose(const struct sf_volume *v, legset candidates, uint64_t offset) {
  int best = -1, stick = -1;

  EACH_LEG(i, candidates) {
    const struct leg *leg = &v->leg[i];

    if (sf_insync_is_avoided(v, i) && (candidates & (legset) ~legbit(i)) != 0)
      continue;
    if (best < 0 || expected_ns(leg) < expected_ns(&v->leg[best]))
      best = (int) i;
    if (leg->read_end == offset && offset != 0)
      stick = (int) i;
  }
  if (best < 0 && candidates != 0)
    best = __builtin_ctz(candidates);
  if (stick >= 0 && expected_ns(&v->leg[stick]) <= STICK_FACTOR * expected_ns(&v->leg[best]))
    return stick;
  return best;
}

enum asked {
  ASKED,
  ASKED_NOBODY, /* all have been asked */
  ASKED_LATER,  /* no room for it now */
};

/* The first try reads into the client's own; each keeps its buffer for the next. */
static struct sf_tio_buffer *
buffer_of(struct sf_op *op, unsigned try) {
  if (try == op->ios)
    op->buffer[try] = NULL;
  if (op->buffer[try] == NULL)
    op->buffer[try] =
        try == 0 ? op->request->buffer : op->volume->host.buffer_get(op->volume->ctx, op->length);
  return op->buffer[try];
}

static enum asked
ask_leg(struct sf_op *op, unsigned leg) {
  struct sf_volume *v = op->volume;
  struct sf_tio_buffer *buffer;
  int try = sf_op_free_io(op);
  struct leg_io_args args;

  if (try < 0)
    return ASKED_LATER;
  buffer = buffer_of(op, (unsigned) try);
  if (buffer == NULL)
    return ASKED_LATER;
  args = (struct leg_io_args){
      .op = SF_TIO_READ,
      .kind = SF_READ_KIND,
      .legs = legbit(leg),
      .offset = v->data_offset + op->offset,
      .length = op->length,
      .buffer = buffer,
  };
  op->buffer[try] = buffer;
  sf_op_send(op, &args);
  if (op->running & args.legs) {
    v->leg[leg].reads_running++;
    v->leg[leg].read_end = op->offset + op->length;
    return ASKED;
  }
  return op->hold == HOLD_AGAIN ? ASKED_LATER : ASKED_NOBODY;
}

static enum asked
ask_next(struct sf_op *op) {
  struct sf_volume *v = op->volume;
  enum asked asked = ASKED_NOBODY;
  int leg;

  while (asked == ASKED_NOBODY &&
         (leg = choose(v, sf_vol_sources(v, op->offset, op->length) & (legset) ~op->sent,
                       op->offset)) >= 0)
    asked = ask_leg(op, (unsigned) leg);
  if (asked == ASKED_LATER) {
    sf_op_hold(op, HOLD_AGAIN);
    sf_vol_arm(v, v->now_ns + RETRY_MS * SF_MS);
  }
  return asked;
}

static void
put_all_but(struct sf_op *op, unsigned winner) {
  struct sf_volume *v = op->volume;

  for (unsigned i = 0; i < op->ios; i++) {
    if (i == winner)
      continue;
    sf_leg_io_cancel(&op->io[i]);
    if (op->buffer[i] != NULL)
      v->host.buffer_put(v->ctx, op->buffer[i]);
    op->buffer[i] = NULL;
  }
}

/* Reads may overlap, their repairs may not: one is enough. */
static legset
under_repair(const struct sf_op *op) {
  legset set = 0;

  EACH_ACTIVE(other, op->volume) {
    if (other->kind->reads && other->offset < op->offset + op->length &&
        op->offset < other->offset + other->length)
      set |= other->writing & other->running;
  }
  return set;
}

/* The good answer goes over the bad block.  The op keeps its place in the order until that write
 * has ended, so no newer write can be overwritten by it. */
static void
repair(struct sf_op *op, unsigned winner) {
  struct sf_volume *v = op->volume;
  legset bad = op->failed & sf_insync_legs(v) & (legset) ~under_repair(op);
  struct leg_io_args args = {
      .op = SF_TIO_WRITE,
      .flags = SF_TIO_FUA,
      .kind = SF_WRITE_KIND,
      .use = WINDOW_META,
      .alone = true,
      .legs = bad,
      .offset = v->data_offset + op->offset,
      .length = op->length,
      .buffer = op->buffer[winner],
  };

  int free = sf_op_free_io(op);

  EACH_LEG(leg, bad & (legset) ~op->passing) {
    sf_medium_failed(v, leg, op->offset, op->error);
  }
  /* What was never written is not repaired, and has no intent; the next read is of the rest. */
  if (bad == 0 || free < 0 || sf_unwritten_any(v, op->offset, op->length))
    return;
  op->writing = bad;
  op->buffer[free] = NULL; /* the winner's is the client's now, the others' are put */
  sf_op_send(op, &args);
  if (op->hold != HOLD_AGAIN)
    sf_leg_io_drop(&op->io[free]); /* the client takes the buffer with it: the next read repairs */
}

static void
on_repair(struct sf_op *op, unsigned leg, const struct sf_tio_event *event) {
  struct sf_volume *v = op->volume;
  char reason[128];

  if (event->state == SF_TIO_OK) {
    sf_medium_repaired(v, leg, op->offset, op->length, op->error);
  } else if (event->state == SF_TIO_ERROR && (sf_insync_legs(v) & legbit(leg)) &&
             sf_leg_can_leave(v, leg) && sf_insync_leg_is_alone(v, leg, op->started_ns)) {
    sf_op_reason(op, leg, reason, sizeof reason);
    sf_leg_demote(v, leg, sf_leg_state_for(event->error), reason);
  }
}

/* Whether it leaves is not for one read to say (sf_insync_settle): until then others are asked. */
static void
avoid(struct sf_volume *v, legset late) {
  EACH_LEG(leg, late & sf_insync_legs(v))
    v->leg[leg].avoid = true;
}

static void
give_up(struct sf_op *op, int error) {
  put_all_but(op, 0); /* the first buffer is the request's own */
  sf_leg_io_cancel(&op->io[0]);
  sf_op_answer(op, error);
}

static bool
must_be_converged(const struct sf_op *op) {
  return sf_flush_failure_legs(op->volume) != 0 && sf_vol_must_converge(op->volume, op->request);
}

/* Its extent is to be converged first, after all.  A leg that hangs may still read into the
 * client's buffer: then it gets another one. */
static void
read_park(struct sf_op *op) {
  struct sf_volume *v = op->volume;
  struct sf_tio_buffer *fresh;

  put_all_but(op, 0);
  if (op->ios > 0 && op->io[0].running > 0) {
    fresh = v->host.buffer_get(v->ctx, op->length);
    if (fresh == NULL) {
      sf_op_hold(op, HOLD_AGAIN);
      sf_vol_arm(v, v->now_ns + RETRY_MS * SF_MS);
      return;
    }
    v->host.buffer_put(v->ctx, op->request->buffer);
    op->request->buffer = fresh;
  }
  if (op->ios > 0)
    sf_leg_io_cancel(&op->io[0]);
  sf_op_park(op);
}

/* Errors everywhere.  A leg that read something else since it failed this the time before is well,
 * and the block is bad: waiting does not mend that.  So a read of ours is sent to the legs that
 * failed. */
static void
read_too_few(struct sf_op *op) {
  struct sf_volume *v = op->volume;
  legset sources = sf_vol_sources(v, op->offset, op->length);
  legset medium = op->failed & (legset) ~op->passing;
  bool wait = op->passing != 0;
  char reason[128];

  if (must_be_converged(op)) {
    read_park(op);
    return;
  }

  EACH_LEG(leg, medium & op->failed_before) {
    if (v->leg[leg].read_ok_ns > op->round_ns)
      op->bad |= legbit(leg);
  }
  if (v->config.on_too_few == SF_TOO_FEW_SUSPEND)
    wait = (sources & (legset) ~op->bad) != 0;
  if (!wait) {
    give_up(op, op->error ? op->error : -EIO);
    return;
  }
  EACH_LEG(leg, op->failed & sf_insync_legs(v)) {
    sf_op_reason(op, leg, reason, sizeof reason);
    sf_leg_trouble(v, leg, reason);
    sf_probe_sample(v, leg);
  }
  op->failed_before = medium;
  op->round_ns = v->now_ns;
  op->again_ns = v->now_ns + AGAIN_MS * SF_MS;
  sf_op_hold(op, HOLD_AGAIN);
  sf_vol_arm(v, op->again_ns);
}

static void
read_run(struct sf_op *op) {
  bool first = op->sent == 0;

  sf_op_hold(op, HOLD_NOT);
  if (sf_bad_touches(op->volume, op->offset, op->length)) {
    give_up(op, -EIO);
    return;
  }
  if (op->again_ns != 0) {
    op->again_ns = 0;
    op->sent = op->pending;
    op->failed = op->passing = op->ok = 0;
  }
  if (ask_next(op) != ASKED_NOBODY)
    return;
  if (first)
    sf_op_hold(op, HOLD_AGAIN); /* it is not answered from inside submit */
  else if (op->pending == 0)
    read_too_few(op);
}

/* A leg that has left the set meanwhile, or lost a flush, may have had it no more.  Where no leg
 * has all of it for certain, it is read when it is converged. */
static bool
counts(const struct sf_op *op, unsigned leg) {
  const struct sf_volume *v = op->volume;

  if (must_be_converged(op))
    return false;
  return sf_vol_sources(v, op->offset, op->length) & legbit(leg);
}

static void
read_on_event(struct sf_op *op, unsigned leg, unsigned try, const struct sf_tio_event *event) {
  struct sf_volume *v = op->volume;
  legset late;

  if (op->writing & legbit(leg) && op->buffer[try] == NULL) {
    on_repair(op, leg, event);
    return;
  }
  if (event->state != SF_TIO_TIMEOUT) {
    SF_ASSERT(v->leg[leg].reads_running > 0);
    v->leg[leg].reads_running--;
    v->leg[leg].read_last_ns = v->now_ns;
    if (event->state == SF_TIO_OK)
      v->leg[leg].avoid = false;
  }
  if (op->request == NULL || op->machine.state != OP_RUNNING)
    return;
  if (event->state == SF_TIO_OK && sf_bad_touches(v, op->offset, op->length)) {
    give_up(op, -EIO); /* since it was sent: on another leg it may be anything */
  } else if (event->state == SF_TIO_OK && counts(op, leg)) {
    late = op->overdue;
    op->request->buffer = op->buffer[try];
    sf_unwritten_blot(v, op->offset, op->length, op->request->buffer->data);
    put_all_but(op, try);
    repair(op, try);
    avoid(v, late);
    sf_op_answer(op, 0);
  } else if (event->state == SF_TIO_OK && must_be_converged(op)) {
    read_park(op);
  } else if ((op->pending & (legset) ~op->overdue) == 0 && ask_next(op) == ASKED_NOBODY &&
             (op->pending == 0 || op->passing != 0)) {
    read_too_few(op);
  }
}

static bool
read_may_run(struct sf_op *op) {
  if (!sf_vol_must_converge(op->volume, op->request))
    return true;
  sf_op_park(op);
  return false;
}

static void
read_run_again(struct sf_op *op) {
  if (sf_vol_must_converge(op->volume, op->request))
    read_park(op);
  else
    read_run(op);
}

static void
read_review(struct sf_op *op) {
  /* Whether a leg must go for what it owes a read is insync.c's to say. */
}

static void
read_fail(struct sf_op *op, int error) {
  sf_op_cancel(op);
  give_up(op, error);
}

static void
read_answered(struct sf_op *op, int error) {
  op->volume->reads++;
  if (error != 0)
    sf_medium_read_failed(op->volume, op->offset, op->length, error);
}

const struct op_kind sf_op_read = {
    .name = "read",
    .timeout = SF_READ_KIND,
    .reads = true,
    .may_run = read_may_run,
    .run = read_run,
    .run_again = read_run_again,
    .ended = sf_op_landed,
    .on_event = read_on_event,
    .review = read_review,
    .fail = read_fail,
    .answered = read_answered,
};

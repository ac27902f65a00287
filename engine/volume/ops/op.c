/* Ops: their order (R6), what they wait for, and when they are answered (R1, R2). */
#include "volume/ops/op.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "volume/ground/copying.h"
#include "volume/ground/deadline.h"
#include "volume/ground/facts.h"
#include "volume/ground/fault.h"
#include "volume/ground/flush_lost.h"
#include "volume/ground/host.h"
#include "volume/ground/leg_io.h"
#include "volume/ground/meter.h"
#include "volume/ground/request_queue.h"
#include "volume/ground/silence.h"
#include "volume/ground/steps.h"
#include "volume/set/insync.h"
#include "volume/set/leg.h"
#include "volume/set/pace.h"

enum {
  RETRY_MS = 5, /* after a submission that found no room: well within any deadline */
  OPS_RESERVED = 2 * SF_COPY_SLOTS,
};

const struct sf_state_table sf_op_table = {
    .machine = "op",
    .states = OP_STATES,
    .name = {"free", "waiting", "running", "draining"},
    .moves =
        {
            [OP_FREE] = SF_MOVE_TO(OP_WAITING),
            [OP_WAITING] = SF_MOVE_TO(OP_RUNNING) | SF_MOVE_TO(OP_DRAINING),
            [OP_RUNNING] = SF_MOVE_TO(OP_DRAINING),
            [OP_DRAINING] = SF_MOVE_TO(OP_FREE),
        },
};

_Static_assert(OP_STATES <= SF_STATES_MAX, "the op's states fit a table");

void
sf_op_move(struct sf_op *op, enum op_state state) {
  /* Three moves a request: formatting a line for each is dear, so only when a trace is wanted. */
  struct sf_state_hooks hooks = sf_volume_hooks;

  if (op->volume->host.trace == NULL)
    hooks.trace = NULL;
  sf_state_move(&op->machine, state, &hooks, op->volume);
}

/* ---- order ---- */

/* Is it an op that a suspended write lets pass? */
static bool
passes(const struct sf_op *op) {
  return op->kind->copies && !op->scrubs;
}

/* Writes against all, reads against writes; a resync copy, which readers cannot see, not against
 * reads; a copy not against a write that is suspended, unless it compares what that has done
 * half. */
bool
sf_op_conflict(const struct sf_op *a, const struct sf_op *b) {
  if (a->offset >= b->offset + b->length || b->offset >= a->offset + a->length)
    return false;
  if (a->kind->reads && b->kind->reads)
    return false;
  if ((a->passable && passes(b)) || (b->passable && passes(a)))
    return false;
  if (a->kind->reads)
    return !b->kind->copies || b->blocks_reads;
  if (b->kind->reads)
    return !a->kind->copies || a->blocks_reads;
  return true;
}

/* Requests that wait for a leg to come back leave room for what brings it back: copies, flushes. */
bool
sf_op_is_free(const struct sf_volume *v, const struct op_kind *kind) {
  return v->ops_free_n > (kind->brings_back ? 0 : OPS_RESERVED);
}

struct sf_op *
sf_op_new(struct sf_volume *v, const struct op_kind *kind, uint64_t offset, uint64_t length) {
  struct sf_op *op;

  if (!sf_op_is_free(v, kind))
    return NULL;
  v->ops_free_n--;
  op = SF_LIST_ENTRY(v->ops_free.next, struct sf_op, link);
  SF_ASSERT(op->machine.state == OP_FREE);
  sf_list_remove(&op->link);
  op->machine.id = ++v->next_id;
  op->volume = v;
  op->request = op->followers = NULL;
  op->copy = NULL;
  op->kind = kind;
  op->hurried = op->scrubs = false;
  op->blocks_reads = op->passable = op->listed = op->request_fua = false;
  op->hold = HOLD_NOT;
  op->writing = 0;
  op->offset = offset;
  op->length = length;
  op->asked_ns = op->started_ns = v->now_ns;
  op->blockers = 0;
  op->unsent = op->sent = op->pending = op->running = op->ok = op->overdue = op->failed = 0;
  op->hollow = op->passing = op->failed_before = op->bad = 0;
  op->round_ns = op->again_ns = op->paced_ns = op->clears = 0;
  op->error = 0;
  op->ios = 0;
  sf_op_move(op, OP_WAITING);
  return op;
}

/* What it waited for may have failed to its client and left its extents to be converged (R11). */
void
sf_op_park(struct sf_op *op) {
  struct sf_request *request = op->request;

  op->request = NULL;
  sf_op_move(op, OP_DRAINING);
  sf_vol_park(op->volume, request);
  sf_op_release(op);
}

static void
op_run(struct sf_op *op) {
  if (op->kind->may_run != NULL && !op->kind->may_run(op))
    return;
  sf_op_move(op, OP_RUNNING);
  op->kind->run(op);
}

/* A client waits for this copy now. */
static void
op_hurry(struct sf_op *copy) {
  copy->hurried = true;
  for (unsigned i = 0; i < copy->ios; i++)
    sf_leg_io_hurry(&copy->io[i]);
  copy->volume->dirty = true;
}

void
sf_op_enter(struct sf_op *op) {
  struct sf_volume *v = op->volume;

  EACH_ACTIVE(earlier, v) {
    if (!sf_op_conflict(earlier, op))
      continue;
    op->blockers++;
    if (earlier->kind->copies && op->request != NULL)
      op_hurry(earlier);
  }
  sf_list_append(&v->active, &op->link);
  op->listed = true;
  if (op->blockers == 0)
    op_run(op);
  else
    v->waiting_ops++;
}

static struct sf_op *
first_runnable(struct sf_volume *v) {
  EACH_ACTIVE(op, v) {
    if (op->machine.state == OP_WAITING && op->blockers == 0)
      return op;
  }
  return NULL;
}

/* Runs no op itself: the settling does, so that a loop over the list may unlist its current op. */
void
sf_op_unlist(struct sf_op *op) {
  struct sf_volume *v = op->volume;

  if (!op->listed)
    return;
  op->listed = false;
  if (v->waiting_ops > 0)
    EACH_ACTIVE_AFTER(later, op) {
      if (later->machine.state == OP_WAITING && sf_op_conflict(op, later)) {
        SF_ASSERT(later->blockers > 0);
        if (--later->blockers == 0)
          v->dirty = v->runnable = true;
      }
    }
  sf_list_remove(&op->link);
}

void
sf_op_run_all(struct sf_volume *v) {
  struct sf_op *next;

  if (!v->runnable)
    return;
  v->runnable = false;
  while (v->waiting_ops > 0 && (next = first_runnable(v)) != NULL) {
    v->waiting_ops--;
    op_run(next);
  }
}

/* Where a write of this op still runs.  A read that was given up on is no danger to anyone: it
 * ends in memory of its own. */
static legset
op_writing(const struct sf_op *op) {
  return op->kind->writes ? op->running : op->running & op->writing;
}

/* A leg that still gets new I/O must have finished this op before a later one may overlap it;
 * a late leg is fenced instead (R5), and the later one is stale there. */
void
sf_op_release(struct sf_op *op) {
  struct sf_volume *v = op->volume;

  if (op->machine.state != OP_DRAINING)
    return;
  if ((op_writing(op) & sf_vol_receivers(v)) == 0)
    sf_op_unlist(op);
  if (op->listed || op->running != 0)
    return;
  sf_op_move(op, OP_FREE);
  sf_list_prepend(&v->ops_free, &op->link); /* the next one finds it in the cache */
  v->ops_free_n++;
  if (v->held != NULL || v->flush_queue != NULL)
    v->dirty = true;
}

/* ---- answers ---- */

/* Not while flushes fail, whatever else goes well. */
void
sf_vol_well(struct sf_volume *v) {
  if (sf_flush_failure_legs(v) == 0)
    v->failed = false;
}

static void
count_answer(struct sf_op *op, int error) {
  struct sf_volume *v = op->volume;

  if (op->request->internal)
    return;
  v->errors += error != 0 && error != -ESHUTDOWN; /* given up, or a stop: nothing failed */
  op->kind->answered(op, error);
  if (error == 0)
    sf_vol_well(v);
  sf_meter_answer(v, op->request, error);
  sf_copier_foreground(v, v->now_ns - op->started_ns);
}

/* A copy has ended, well or not. */
void
sf_op_end(struct sf_op *op) {
  if (op->machine.state == OP_WAITING) {
    SF_ASSERT(op->volume->waiting_ops > 0);
    op->volume->waiting_ops--;
  }
  sf_op_move(op, OP_DRAINING);
  sf_op_release(op);
}

void
sf_op_answer(struct sf_op *op, int error) {
  struct sf_request *request = op->request;

  SF_ASSERT(request != NULL && op->kind->answered != NULL);
  if (op->hold == HOLD_INTENT)
    sf_op_hold(op, HOLD_NOT);
  count_answer(op, error);
  if (op->machine.state == OP_WAITING) {
    SF_ASSERT(op->volume->waiting_ops > 0);
    op->volume->waiting_ops--;
  }
  op->request = NULL;
  if (op->passable)
    op->volume->suspended--;
  sf_op_move(op, OP_DRAINING);
  sf_request_answer(op->volume, request, error);
  if (!sf_list_empty(&op->volume->active) && op->volume->phase == PHASE_STOPPING)
    op->volume->dirty = true;
  sf_op_release(op);
}

void
sf_op_cancel(struct sf_op *op) {
  for (unsigned i = 0; i < op->ios; i++)
    sf_leg_io_cancel(&op->io[i]);
}

void
sf_op_fail(struct sf_op *op, int error) {
  op->kind->fail(op, error);
}

void
sf_op_reason(const struct sf_op *op, unsigned leg, char *text, size_t size) {
  const struct sf_volume *v = op->volume;

  if (op->failed & legbit(leg))
    snprintf(text, size, "%s at %" PRIu64 ": %s", op->kind->name, op->offset, strerror(-op->error));
  else
    snprintf(text, size, "%s at %" PRIu64 " not answered in %" PRIu64 " ms", op->kind->name,
             op->offset, sf_deadline_of(v, leg, op->kind->timeout) / SF_MS);
}

bool
sf_op_waits_to_be_sent(const struct sf_op *op) {
  for (unsigned i = 0; i < op->ios; i++)
    if (sf_leg_io_waits(&op->io[i]))
      return true;
  return false;
}

/* Legs that must go for what this op has met.  Reading 4: a leg that catches up is no witness;
 * unit/volume-min-legs, a_leg_that_catches_up_does_not_count, holds it. */
void
sf_op_judge(struct sf_op *op) {
  struct sf_volume *v = op->volume;
  legset bad = op->overdue | op->failed;
  char reason[128];

  EACH_LEG(leg, bad) {
    struct miss miss = {.leg = leg,
                        .kind = op->kind->timeout,
                        .offset =
                            op->kind->timeout == SF_FLUSH_KIND ? 0 : v->data_offset + op->offset,
                        .failed = op->failed & legbit(leg),
                        .error = op->error,
                        .witnesses = op->ok & sf_insync_legs(v),
                        .reason = reason};

    if (sf_leg_state(&v->leg[leg]) == SF_STATE_PROBING)
      continue; /* it has left since: what it was asked then says nothing of it now */
    if (!miss.failed && !sf_insync_leg_hangs(v, leg, miss.kind))
      continue;
    sf_op_reason(op, leg, reason, sizeof reason);
    sf_insync_judge(v, &miss);
  }
}

bool
sf_op_lacks_a_word(const struct sf_op *op) {
  const struct sf_volume *v = op->volume;
  legset set = sf_insync_legs(v);

  EACH_LEG(leg, op->failed & set) {
    if (!sf_leg_can_leave(v, leg) ||
        legcount(op->ok & set & (legset) ~sf_flush_failure_lacking(v, leg)) < v->min_legs)
      return false;
  }
  return (op->failed & set) != 0;
}

bool
sf_op_awaits_a_word(const struct sf_op *op) {
  EACH_LEG(leg, op->failed) {
    if (sf_insync_is_blamed(op->volume, leg))
      return true;
  }
  return false;
}

/* Overdue legs are judged again: time has passed, and others have answered. */
void
sf_op_review_ended(struct sf_op *op) {
  if (op->overdue != 0 && op->machine.state == OP_DRAINING)
    sf_op_judge(op);
}

void
sf_op_review(struct sf_op *op) {
  op->kind->review(op);
}

/* ---- I/O ---- */

/* The next that can be used, or -1 while all are with legs that hang. */
int
sf_op_free_io(struct sf_op *op) {
  for (unsigned i = 0; i < op->ios; i++)
    if (op->io[i].running == 0)
      return (int) i;
  return op->ios == SF_LEGS_MAX ? -1 : (int) op->ios;
}

static struct leg_io *
op_io(struct sf_op *op) {
  int free = sf_op_free_io(op);

  if (free == (int) op->ios)
    op->ios++;
  return free < 0 ? NULL : &op->io[free];
}

static void
note_failed(struct sf_op *op, legset legs, int error) {
  op->failed |= legs;
  if (sf_fault_passes(error))
    op->passing |= legs;
  else
    op->passing &= (legset) ~legs;
  op->error = error;
}

/* It may be all that its answer waits for. */
static void
op_on_sent(struct leg_io *io) {
  struct sf_op *op = io->owner;

  if (op->kind->writes)
    sf_op_review(op);
}

void
sf_op_send(struct sf_op *op, const struct leg_io_args *args) {
  struct leg_io *io = op_io(op);
  int r = io == NULL ? -EAGAIN : 0;

  if (r == 0) {
    io->owner = op;
    io->on_event = sf_op_on_event;
    io->on_sent = op_on_sent;
    io->of_client = !op->kind->copies && (!op->kind->reads || args->op == SF_TIO_READ);
    r = sf_leg_io_submit(op->volume, io, args);
  }
  if (r == -EAGAIN) {
    sf_op_hold(op, HOLD_AGAIN);
    sf_vol_arm(op->volume, op->volume->now_ns + RETRY_MS * SF_MS);
    return;
  }
  op->sent |= args->legs;
  if (r < 0) {
    note_failed(op, args->legs, r);
    op->volume->dirty = true;
    return;
  }
  sf_op_hold(op, HOLD_NOT);
  op->failed &= (legset) ~args->legs;
  op->passing &= (legset) ~args->legs;
  op->pending |= args->legs;
  op->running |= args->legs;
}

/* With FUA, and nothing that carries a flush beside it: that one may have failed unheard, and have
 * dropped this. */
static bool
is_stable(const struct sf_op *op, unsigned index, const struct sf_tio_event *event) {
  const struct leg *leg = &op->volume->leg[index];

  return op->request_fua && event->state == SF_TIO_OK && event->error == 0 && leg->flushes == 0 &&
         leg->fua_running <= 1;
}

/* A write has ended on a leg that goes on: well, with an error, or long after it was given up on.
 * Some of it may be there, and a convergence that finds it there alike writes nothing: so it is to
 * be flushed like any other. */
bool
sf_op_landed(struct sf_op *op, unsigned index, const struct sf_tio_event *event) {
  struct sf_volume *v = op->volume;
  bool writes = op->kind->writes || (op->writing & legbit(index)) != 0;
  bool never_ran =
      (event->state == SF_TIO_CANCELED && !event->late && event->error != SF_DROPPED) ||
      event->error == -ECANCELED;
  bool stable = is_stable(op, index, event);

  if (writes && !never_ran && !stable && (sf_vol_receivers(v) & legbit(index)))
    sf_map_set_range(&v->leg[index].unflushed, extent_of(v, op->offset),
                     extent_of(v, op->offset + op->length - 1));
  return false;
}

/* What the event says of the leg. */
static void
note(struct sf_op *op, unsigned leg, const struct sf_tio_event *event) {
  legset bit = legbit(leg);

  if (event->state == SF_TIO_TIMEOUT) {
    op->overdue |= bit;
    return;
  }
  op->pending &= (legset) ~bit;
  op->overdue &= (legset) ~bit;
  if (event->state == SF_TIO_OK) {
    op->ok |= bit;
    sf_pace_note(op, leg);
  } else if (event->state == SF_TIO_ERROR) {
    note_failed(op, bit, event->error);
  } else if (event->error == SF_DROPPED && op->machine.state == OP_RUNNING && !op->kind->reads) {
    if (op->hold != HOLD_INTENT) /* else it goes to all that lack it anyway */
      sf_op_hold(op, HOLD_AGAIN);
    sf_vol_arm(op->volume, op->volume->now_ns + RETRY_MS * SF_MS);
  }
}

void
sf_op_on_event(struct leg_io *io, unsigned leg, const struct sf_tio_event *event) {
  struct sf_op *op = io->owner;

  if (event_is_final(event)) {
    op->running &= (legset) ~legbit(leg);
    if (op->kind->ended(op, leg, event))
      return;
  }
  if (!event->late) {
    note(op, leg, event);
    op->kind->on_event(op, leg, (unsigned) (io - op->io), event);
  }
  sf_op_release(op);
}

/* Ops: their order (R6), what they wait for, and when they are answered (R1, R2). */
#include "volume/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
  RETRY_MS = 5,   /* after a submission that found no room: well within any deadline */
  AGAIN_MS = 100, /* after an error that may pass */
  OPS_RESERVED = 2 * SF_COPY_SLOTS,
};

const struct sf_sm_table sf_op_table = {
    .machine = "op",
    .states = OP_STATES,
    .name = {"free", "waiting", "running", "draining"},
    .moves =
        {
            [OP_FREE] = SF_SM_TO(OP_WAITING),
            [OP_WAITING] = SF_SM_TO(OP_RUNNING) | SF_SM_TO(OP_DRAINING),
            [OP_RUNNING] = SF_SM_TO(OP_DRAINING),
            [OP_DRAINING] = SF_SM_TO(OP_FREE),
        },
};

_Static_assert(OP_STATES <= SF_SM_STATES_MAX, "the op's states fit a table");

void
op_move(struct sf_op *op, enum op_state state) {
  /* Three moves a request: formatting a line for each is dear, so only when somebody reads them. */
  struct sf_sm_hooks hooks = sf_volume_hooks;

  if (op->volume->host.trace == NULL)
    hooks.trace = NULL;
  sf_sm_move(&op->sm, state, &hooks, op->volume);
}

/* ---- order ---- */

/* Is it one that a suspended write lets by? */
static bool
passes(const struct sf_op *op) {
  return op->kind == OP_COPY && !op->scrubs;
}

/* Writes against all, reads against writes; a resync copy, which readers cannot see, not against
 * reads; a copy not against a write that is suspended, unless it compares what that has done half. */
bool
op_conflict(const struct sf_op *a, const struct sf_op *b) {
  if (a->offset >= b->offset + b->length || b->offset >= a->offset + a->length)
    return false;
  if (a->kind == OP_READ && b->kind == OP_READ)
    return false;
  if ((a->passable && passes(b)) || (b->passable && passes(a)))
    return false;
  if (a->kind == OP_READ)
    return b->kind != OP_COPY || b->blocks_reads;
  if (b->kind == OP_READ)
    return a->kind != OP_COPY || a->blocks_reads;
  return true;
}

/* Requests that wait for a leg to come back leave room for what brings it back: copies, flushes. */
bool
op_is_free(const struct sf_volume *v, enum op_kind kind) {
  return v->ops_free_n > (kind == OP_COPY || kind == OP_FLUSH ? 0 : OPS_RESERVED);
}

struct sf_op *
op_new(struct sf_volume *v, enum op_kind kind, uint64_t offset, uint64_t length) {
  struct sf_op *op;

  if (!op_is_free(v, kind))
    return NULL;
  v->ops_free_n--;
  op = SF_LIST_ENTRY(v->ops_free.next, struct sf_op, link);
  SF_MUST(op->sm.state == OP_FREE);
  sf_list_remove(&op->link);
  op->sm.id = ++v->next_id;
  op->volume = v;
  op->request = op->followers = NULL;
  op->copy = NULL;
  op->kind = kind;
  op->hurried = op->scrubs = false;
  op->blocks_reads = op->passable = op->retry = op->listed = op->request_fua = op->gated = false;
  op->writing = 0;
  op->offset = offset;
  op->length = length;
  op->asked_ns = op->started_ns = v->now_ns;
  op->blockers = 0;
  op->unsent = op->sent = op->pending = op->running = op->ok = op->overdue = op->failed = 0;
  op->hollow = op->passing = op->failed_before = op->bad = 0;
  op->round_ns = op->again_ns = op->paced_ns = 0;
  op->error = 0;
  op->ios = 0;
  op_move(op, OP_WAITING);
  return op;
}

/* What it waited for may have failed to its client and left its extents to be converged (R11). */
void
op_park(struct sf_op *op) {
  struct sf_request *request = op->request;

  op->request = NULL;
  op_move(op, OP_DRAINING);
  volume_park(op->volume, request);
  op_release(op);
}

static void
op_run(struct sf_op *op) {
  if (op->kind == OP_READ && volume_must_converge(op->volume, op->request)) {
    op_park(op);
    return;
  }
  op_move(op, OP_RUNNING);
  switch (op->kind) {
  case OP_READ:
    read_run(op);
    break;
  case OP_WRITE:
  case OP_ZERO:
    if (write_may_be_left(op)) {
      op->request->undone = true;
      op_answer(op, 0);
    } else {
      write_run(op);
    }
    break;
  case OP_COPY:
    copy_run(op);
    break;
  case OP_FLUSH:
    SF_MUST(false);
  }
}

/* A client waits for this copy now. */
static void
op_hurry(struct sf_op *copy) {
  copy->hurried = true;
  for (unsigned i = 0; i < copy->ios; i++)
    io_hurry(&copy->io[i]);
  copy->volume->dirty = true;
}

void
op_enter(struct sf_op *op) {
  struct sf_volume *v = op->volume;

  for (struct sf_list *l = v->active.next; l != &v->active; l = l->next) {
    struct sf_op *earlier = SF_LIST_ENTRY(l, struct sf_op, link);

    if (!op_conflict(earlier, op))
      continue;
    op->blockers++;
    if (earlier->kind == OP_COPY && op->request != NULL)
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
  for (struct sf_list *l = v->active.next; l != &v->active; l = l->next) {
    struct sf_op *op = SF_LIST_ENTRY(l, struct sf_op, link);

    if (op->sm.state == OP_WAITING && op->blockers == 0)
      return op;
  }
  return NULL;
}

/* Runs nobody itself: that is left to the settling, so that whoever walks the list may unlist the
 * op he is at. */
void
op_unlist(struct sf_op *op) {
  struct sf_volume *v = op->volume;

  if (!op->listed)
    return;
  op->listed = false;
  if (v->waiting_ops > 0)
    for (struct sf_list *l = op->link.next; l != &v->active; l = l->next) {
      struct sf_op *later = SF_LIST_ENTRY(l, struct sf_op, link);

      if (later->sm.state == OP_WAITING && op_conflict(op, later)) {
        SF_MUST(later->blockers > 0);
        if (--later->blockers == 0)
          v->dirty = v->runnable = true;
      }
    }
  sf_list_remove(&op->link);
}

static void
op_run_all(struct sf_volume *v) {
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
  return op->kind == OP_READ || op->kind == OP_COPY ? op->running & op->writing : op->running;
}

/* A leg that still gets new I/O must have finished this op before a later one may overlap it;
 * a late leg is fenced instead (R5), and the later one is stale there. */
void
op_release(struct sf_op *op) {
  struct sf_volume *v = op->volume;

  if (op->sm.state != OP_DRAINING)
    return;
  if ((op_writing(op) & volume_receivers(v)) == 0)
    op_unlist(op);
  if (op->listed || op->running != 0)
    return;
  op_move(op, OP_FREE);
  sf_list_append(&v->ops_free, &op->link);
  v->ops_free_n++;
  if (v->held != NULL || v->flush_queue != NULL)
    v->dirty = true;
}

/* ---- answers ---- */

/* Not while flushes fail, whatever else goes well. */
void
volume_well(struct sf_volume *v) {
  if (flush_failure_legs(v) == 0)
    v->failed = false;
}

static void
count_answer(struct sf_op *op, int error) {
  struct sf_volume *v = op->volume;

  if (op->request->internal)
    return;
  switch (op->kind) {
  case OP_READ:
    v->reads++;
    break;
  default:
    v->writes++;
  }
  v->errors += error != 0;
  if (error != 0 && op->kind == OP_READ)
    medium_read_failed(v, op->offset, op->length, error);
  if (error == 0) {
    volume_well(v);
    v->late_acks += (op->sent & (legset) ~op->ok) != 0 && op->kind != OP_READ;
  }
  meter_answer(v, op->request, error);
  copier_foreground(v, v->now_ns - op->started_ns);
}

/* A copy has ended, well or not. */
void
op_end(struct sf_op *op) {
  if (op->sm.state == OP_WAITING) {
    SF_MUST(op->volume->waiting_ops > 0);
    op->volume->waiting_ops--;
  }
  op_move(op, OP_DRAINING);
  op_release(op);
}

void
op_answer(struct sf_op *op, int error) {
  struct sf_request *request = op->request;

  SF_MUST(request != NULL && op->kind != OP_FLUSH);
  op->gated = false;
  count_answer(op, error);
  if (op->sm.state == OP_WAITING) {
    SF_MUST(op->volume->waiting_ops > 0);
    op->volume->waiting_ops--;
  }
  op->request = NULL;
  if (error == 0 && op->kind != OP_READ && !request->undone)
    lost_written(op->volume, op->offset, op->length);
  if (op->passable)
    op->volume->suspended--;
  op_move(op, OP_DRAINING);
  request->error = error;
  request->done(request);
  if (!sf_list_empty(&op->volume->active) && op->volume->phase == PHASE_STOPPING)
    op->volume->dirty = true;
  op_release(op);
}

static void
op_leave_unconverged(struct sf_op *op) {
  struct sf_volume *v = op->volume;
  uint64_t last = extent_of(v, op->offset + op->length - 1);

  for (uint64_t e = extent_of(v, op->offset); e <= last; e++) {
    sf_map_set(&v->unconverged, e);
    copier_spoil(v, e);
  }
  EACH_LEG(leg, op->request_fua ? op->failed : 0) { /* what its cache shows may go again */
    sf_map_set_range(&v->leg[leg].unsure, extent_of(v, op->offset), last);
  }
  v->dirty = true;
}

/* A write that failed to its client may be on some legs and not on others: those extents are
 * converged before they are read (R11). */
void
op_fail(struct sf_op *op, int error) {
  struct sf_volume *v = op->volume;

  for (unsigned i = 0; i < op->ios && op->kind != OP_FLUSH; i++)
    io_cancel(&op->io[i]);
  if ((op->kind == OP_WRITE || op->kind == OP_ZERO) && op->sent != 0)
    op_leave_unconverged(op);
  if (op->kind == OP_READ) {
    read_fail(op, error);
    return;
  }
  if (op->kind == OP_FLUSH) {
    flush_end(op, error, error);
    return;
  }
  v->failed = error != -ESHUTDOWN;
  op_answer(op, error);
}

static enum sf_kind
latency_kind(const struct sf_op *op) {
  return op->kind == OP_FLUSH ? SF_FLUSH_KIND : op->kind == OP_READ ? SF_READ_KIND : SF_WRITE_KIND;
}

void
op_reason(const struct sf_op *op, unsigned leg, char *text, size_t size) {
  static const char *const name[] = {"read", "write", "zero", "flush", "copy"};
  const struct sf_volume *v = op->volume;

  if (op->failed & legbit(leg))
    snprintf(text, size, "%s at %" PRIu64 ": %s", name[op->kind], op->offset, strerror(-op->error));
  else
    snprintf(text, size, "%s at %" PRIu64 " not answered in %" PRIu64 " ms", name[op->kind],
             op->offset, deadline_of(v, leg, latency_kind(op)) / SF_MS);
}

/* Legs that must go for what this op has met. */
void
op_judge(struct sf_op *op) {
  struct sf_volume *v = op->volume;
  legset bad = op->overdue | op->failed;
  char reason[128];

  EACH_LEG(leg, bad) {
    struct miss miss = {.leg = leg,
                        .kind = latency_kind(op),
                        .failed = op->failed & legbit(leg),
                        .error = op->error,
                        .witnesses = op->ok & volume_serving(v),
                        .reason = reason};

    if (leg_state(&v->leg[leg]) == SF_STATE_PROBING)
      continue; /* it has left since: what it was asked then says nothing of it now */
    if (!miss.failed && !insync_leg_hangs(v, leg, miss.kind))
      continue;
    op_reason(op, leg, reason, sizeof reason);
    insync_judge(v, &miss);
  }
}

/* What is pending is late and cannot be spared, and what failed may be well again. */
static bool
is_stuck_behind_a_hang(const struct sf_op *op) {
  return !op->retry && op->pending != 0 && (op->pending & (legset) ~op->overdue) == 0 &&
         (op->failed & op->passing & volume_serving(op->volume)) != 0;
}

/* To a leg that catches up, which no answer needs: its buffer is the request's. */
static bool
op_waits_to_be_sent(const struct sf_op *op) {
  for (unsigned i = 0; i < op->ios; i++)
    if (io_waits(&op->io[i]))
      return true;
  return false;
}

/* Those that are overdue are judged again: time has passed, and others have answered. */
static void
op_review_ended(struct sf_op *op) {
  if (op->overdue == 0)
    return;
  if (op->kind == OP_COPY)
    copy_review(op);
  else if (op->sm.state == OP_DRAINING && op->kind != OP_READ)
    op_judge(op);
}

void
op_review(struct sf_op *op) {
  struct sf_volume *v = op->volume;

  if (op->sm.state != OP_RUNNING || op->kind == OP_READ || op->kind == OP_COPY) {
    op_review_ended(op);
    return;
  }
  if (op->kind == OP_FLUSH) {
    flush_review(op);
    return;
  }
  if (op->gated)
    write_run(op);
  if (op->gated)
    return;
  if ((op->overdue | op->failed) != 0)
    op_judge(op);
  if ((v->needs & (legset) ~op->ok) == 0 && legcount(op->ok & volume_serving(v)) >= v->min_legs) {
    if (!op_waits_to_be_sent(op))
      op_answer(op, 0);
    return;
  }
  if (is_stuck_behind_a_hang(op)) {
    op->retry = true; /* a leg that is well again shows that the other one hangs */
    op->again_ns = v->now_ns + AGAIN_MS * SF_MS;
    volume_arm(v, op->again_ns);
  }
  if (op->pending != 0 || op->retry || record_moves_the_set(v))
    return;
  if (op_may_wait(op))
    op_suspend(op);
  else
    op_fail(op, op->error ? op->error : -EIO);
}

/* An op that is answered here leaves the list alone but for itself; then those run that waited. */
void
op_review_all(struct sf_volume *v) {
  SF_LIST_EACH(l, &v->active) {
    struct sf_op *op = SF_LIST_ENTRY(l, struct sf_op, link);

    op_review(op);
    if (op->listed)
      op_release(op);
  }
  if (v->flush_leader != NULL)
    op_review(v->flush_leader);
  op_overtake_all(v);
  op_run_all(v);
}

/* ---- I/O ---- */

/* The next that can be used, or -1 while all are with legs that hang. */
int
op_free_io(struct sf_op *op) {
  for (unsigned i = 0; i < op->ios; i++)
    if (op->io[i].running == 0)
      return (int) i;
  return op->ios == SF_LEGS_MAX ? -1 : (int) op->ios;
}

static struct io *
op_io(struct sf_op *op) {
  int free = op_free_io(op);

  if (free == (int) op->ios)
    op->ios++;
  return free < 0 ? NULL : &op->io[free];
}

static void
note_failed(struct sf_op *op, legset legs, int error) {
  op->failed |= legs;
  if (fault_passes(error))
    op->passing |= legs;
  else
    op->passing &= (legset) ~legs;
  op->error = error;
}

/* It may be all that its answer waits for. */
static void
op_on_sent(struct io *io) {
  struct sf_op *op = io->owner;

  if (op->kind == OP_WRITE || op->kind == OP_ZERO)
    op_review(op);
}

void
op_send(struct sf_op *op, const struct io_args *args) {
  struct io *io = op_io(op);
  int r = io == NULL ? -EAGAIN : 0;

  if (r == 0) {
    io->owner = op;
    io->on_event = op_on_event;
    io->on_sent = op_on_sent;
    io->of_client = op->kind != OP_COPY && (op->kind != OP_READ || args->op == SF_TIO_READ);
    r = io_submit(op->volume, io, args);
  }
  if (r == -EAGAIN) {
    op->retry = true;
    volume_arm(op->volume, op->volume->now_ns + RETRY_MS * SF_MS);
    return;
  }
  op->sent |= args->legs;
  if (r < 0) {
    note_failed(op, args->legs, r);
    op->volume->dirty = true;
    return;
  }
  op->retry = false;
  op->failed &= (legset) ~args->legs;
  op->passing &= (legset) ~args->legs;
  op->pending |= args->legs;
  op->running |= args->legs;
}

/* A write has ended on a leg that goes on: well, with an error, or long after it was given up on.
 * Some of it may be there, and a convergence that finds it there alike writes nothing: so it is to be
 * flushed like any other. */
static void
note_landed(struct sf_op *op, unsigned index, const struct sf_tio_event *event) {
  struct sf_volume *v = op->volume;
  bool writes = op->kind == OP_WRITE || op->kind == OP_ZERO || (op->writing & legbit(index)) != 0;
  bool never_ran =
      (event->state == SF_TIO_CANCELED && !event->late && event->error != SF_DROPPED) ||
      event->error == -ECANCELED;
  bool stable = op->request_fua && event->state == SF_TIO_OK && event->error == 0;

  if (writes && !never_ran && !stable && (volume_receivers(v) & legbit(index)))
    sf_map_set_range(&v->leg[index].unflushed, extent_of(v, op->offset),
                     extent_of(v, op->offset + op->length - 1));
}

void
op_on_event(struct io *io, unsigned leg, const struct sf_tio_event *event) {
  struct sf_op *op = io->owner;
  legset bit = legbit(leg);

  if (op->kind == OP_FLUSH && event->state == SF_TIO_OK && !event->late &&
      flush_waits_for_fua(op, leg)) {
    op->running &= (legset) ~bit;
    op->overdue &= (legset) ~bit;
    flush_ended(op, leg);
    return;
  }
  if (event_is_final(event)) {
    op->running &= (legset) ~bit;
    if (op->kind == OP_FLUSH)
      flush_ended(op, leg);
    else
      note_landed(op, leg, event);
  } else if (op->kind == OP_FLUSH) {
    op->volume->leg[leg].flush_late = op->volume->dirty = true;
  }
  if (event->late) {
    op_release(op);
    return;
  }
  if (event->state == SF_TIO_TIMEOUT) {
    op->overdue |= bit;
  } else {
    op->pending &= (legset) ~bit;
    op->overdue &= (legset) ~bit;
    if (event->state == SF_TIO_OK) {
      op->ok |= bit;
      pace_note(op, leg);
    } else if (event->state == SF_TIO_ERROR) {
      note_failed(op, bit, event->error);
    } else if (event->error == SF_DROPPED && op->sm.state == OP_RUNNING && op->kind != OP_READ) {
      op->retry = true;
      volume_arm(op->volume, op->volume->now_ns + RETRY_MS * SF_MS);
    }
  }
  if (op->kind == OP_READ) {
    read_on_event(op, leg, (unsigned) (io - op->io), event);
  } else if (op->kind == OP_COPY) {
    copy_on_event(op, leg, event);
  } else {
    if (op->kind == OP_FLUSH && event->state == SF_TIO_OK)
      flush_leg_ok(op, leg);
    else if (op->kind == OP_FLUSH && event->state != SF_TIO_TIMEOUT)
      flush_leg_failed(op, leg);
    if (op->sm.state == OP_DRAINING && op->kind != OP_FLUSH)
      op_judge(op); /* answered without it: it is behind now */
    op_review(op);
  }
  op_release(op);
}

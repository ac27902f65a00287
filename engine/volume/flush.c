/* Flushes (R9).  One at a time: those that arrive while one runs share the next.  What a flush
 * makes stable is what had completed on the leg before it was submitted, so each leg's set of
 * unflushed extents changes hands at that moment. */
#include "volume/internal.h"

#include <errno.h>

void
flush_request(struct sf_volume *v, struct sf_request *request) {
  request->next = NULL;
  *v->flush_queue_tail = request;
  v->flush_queue_tail = &request->next;
  flush_next(v);
}

static void
snapshot(struct leg *leg, struct sf_op *op) {
  sf_map_unite(&leg->unflushed, &leg->flushing);
  sf_map_zero(&leg->flushing);
  sf_map_swap(&leg->unflushed, &leg->flushing);
  sf_map_unite(&leg->settling, &leg->settled);
  sf_map_zero(&leg->settled);
  leg->flush_op = op;
}

/* A flush of our own for the maps' sake is for the legs that catch up as well; no answer needs them. */
static legset
whom(const struct sf_volume *v, const struct sf_op *op) {
  return v->counted | (op->checkpoint ? volume_receivers(v) : v->latest.in_sync);
}

static bool
queue_has_checkpoint(const struct sf_volume *v) {
  for (const struct sf_request *r = v->flush_queue; r != NULL; r = r->next)
    if (r == &v->maps.flush)
      return true;
  return false;
}

/* To every leg that has not got it yet.  Not beside an older flush that still runs there: if that one
 * fails, what the newer one says is worth nothing, and the two answers may come in any order.  When
 * the older one is late, so is this one. */
static void
send(struct sf_volume *v, struct sf_op *op) {
  struct io_args args = {.op = SF_TIO_FLUSH, .kind = SF_FLUSH_KIND};

  EACH_LEG(index, op->unsent) {
    struct leg *leg = &v->leg[index];
    legset bit = legbit(index);

    if (!(whom(v, op) & bit) || leg->flush_failed) {
      op->unsent &= (legset) ~bit;
      op->pending &= (legset) ~bit;
      op->overdue &= (legset) ~bit;
      if (leg->flush_failed) {
        op->sent |= bit;
        op->failed |= bit;
        op->error = -EIO;
      }
      v->dirty = true;
    } else if (leg->flushes > 0) {
      if (leg->flush_late && !(op->overdue & bit)) {
        op->overdue |= bit;
        v->dirty = true;
      }
    } else {
      snapshot(leg, op);
      args.legs |= bit;
    }
  }
  if (args.legs == 0)
    return;
  op_send(op, &args);
  if (op->retry) { /* no slot: the next tick sends it */
    op->retry = false;
    EACH_LEG(index, args.legs)
      flush_leg_failed(op, index);
    return;
  }
  op->unsent &= (legset) ~args.legs;
  op->overdue &= (legset) ~args.legs;
  op->pending &= (legset) ~(args.legs & (legset) ~op->running);
  EACH_LEG(index, args.legs & op->running)
    v->leg[index].flushes++;
}

void
flush_next(struct sf_volume *v) {
  struct sf_op *op;

  if (v->flush_leader != NULL) {
    if (v->flush_leader->unsent != 0)
      send(v, v->flush_leader);
    return;
  }
  if (v->flush_queue == NULL)
    return;
  op = op_new(v, OP_FLUSH, 0, 0);
  if (op == NULL)
    return;
  op->request = v->flush_queue;
  op->followers = v->flush_queue->next;
  op->asked_ns = volume_asked(op->request);
  op->started_ns = op->request->since_ns;
  op->checkpoint = queue_has_checkpoint(v);
  v->flush_queue = NULL;
  v->flush_queue_tail = &v->flush_queue;
  v->flush_leader = op;
  sf_sm_move(&op->sm, OP_RUNNING, &(struct sf_sm_hooks){0}, v);

  op->asked = v->needs;
  op->unsent = op->pending = whom(v, op);
  send(v, op);
}

void
flush_leg_ok(struct sf_op *op, unsigned index) {
  struct leg *leg = &op->volume->leg[index];

  if (leg->flush_op != op)
    return;
  leg->flush_op = NULL;
  sf_map_zero(&leg->flushing);
  map_leg_flushed(op->volume, index);
}

void
flush_leg_failed(struct sf_op *op, unsigned index) {
  struct leg *leg = &op->volume->leg[index];

  if (leg->flush_op != op)
    return;
  leg->flush_op = NULL;
  sf_map_unite(&leg->unflushed, &leg->flushing);
  sf_map_zero(&leg->flushing);
  sf_map_unite(&leg->settled, &leg->settling);
  sf_map_zero(&leg->settling);
}

/* Its own completion has come.  A failure that comes after the flush was answered, or given up on,
 * is one all the same: nothing that this leg has not flushed counts as stable there (R9). */
void
flush_ended(struct sf_op *op, unsigned index, const struct sf_tio_event *event) {
  struct sf_volume *v = op->volume;
  struct leg *leg = &v->leg[index];

  SF_MUST(leg->flushes > 0);
  if (--leg->flushes == 0)
    leg->flush_late = false;
  v->dirty = true;
  if (event->error == 0 || event->error == -ECANCELED ||
      (op->sm.state == OP_RUNNING && !event->late))
    return;
  if (volume_serving(v) & legbit(index))
    leg->flush_failed = true;
  else
    leg_fall_back(v, index, leg_state_for(event->error), "a flush failed");
}

/* Who shares it goes on waiting for it. */
void
flush_give_up(struct sf_op *op) {
  struct sf_request *request = op->request;

  if (op->followers == NULL) {
    op_fail(op, -ESHUTDOWN);
    return;
  }
  op->request = op->followers;
  op->followers = op->followers->next;
  op->asked_ns = volume_asked(op->request);
  op->started_ns = op->request->since_ns;
  request->error = -ESHUTDOWN;
  request->done(request);
}

void
flush_answered(struct sf_op *op, int error) {
  struct sf_volume *v = op->volume;
  struct sf_request *request = op->followers, *next;

  SF_MUST(v->flush_leader == op);
  v->flush_leader = NULL;
  op->followers = NULL;
  for (; request != NULL; request = next) {
    next = request->next;
    if (!request->internal)
      v->flushes++;
    request->error = op->few && request->internal ? 0 : error;
    request->done(request);
  }
  v->dirty = true;
}

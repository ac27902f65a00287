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

/* An older flush may still run there, given up on: its success says nothing about what completed
 * since, so what it covers goes back. */
static void
snapshot(struct leg *leg, struct sf_op *op) {
  sf_map_unite(&leg->unflushed, &leg->flushing);
  sf_map_zero(&leg->flushing);
  sf_map_swap(&leg->unflushed, &leg->flushing);
  leg->flush_op = op;
}

void
flush_next(struct sf_volume *v) {
  struct io_args args = {.op = SF_TIO_FLUSH, .kind = SF_FLUSH_KIND};
  struct sf_op *op;

  if (v->flush_leader != NULL || v->flush_queue == NULL)
    return;
  op = op_new(v, OP_FLUSH, 0, 0);
  if (op == NULL)
    return;
  op->request = v->flush_queue;
  op->followers = v->flush_queue->next;
  op->started_ns = op->request->since_ns;
  v->flush_queue = NULL;
  v->flush_queue_tail = &v->flush_queue;
  v->flush_leader = op;
  sf_sm_move(&op->sm, OP_RUNNING, &(struct sf_sm_hooks){0}, v);

  op->asked = v->needs;
  EACH_LEG(leg, v->latest.in_sync | v->counted) {
    if (v->leg[leg].flush_failed) {
      op->sent |= legbit(leg);
      op->failed |= legbit(leg);
      op->error = -EIO;
      v->dirty = true;
      continue;
    }
    snapshot(&v->leg[leg], op);
    args.legs |= legbit(leg);
  }
  if (args.legs != 0)
    op_send(op, &args);
  if (op->retry) {
    op->retry = false; /* no slot below: as if every leg had refused */
    op->sent |= args.legs;
    op->failed |= args.legs;
    op->error = -EIO;
    EACH_LEG(leg, args.legs)
    flush_leg_failed(op, leg);
    v->dirty = true;
  }
}

void
flush_leg_ok(struct sf_op *op, unsigned index) {
  struct leg *leg = &op->volume->leg[index];

  if (leg->flush_op != op)
    return;
  leg->flush_op = NULL;
  sf_map_zero(&leg->flushing);
}

void
flush_leg_failed(struct sf_op *op, unsigned index) {
  struct leg *leg = &op->volume->leg[index];

  if (leg->flush_op != op)
    return;
  leg->flush_op = NULL;
  sf_map_unite(&leg->unflushed, &leg->flushing);
  sf_map_zero(&leg->flushing);
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
    request->error = error;
    request->done(request);
  }
  v->dirty = true;
}

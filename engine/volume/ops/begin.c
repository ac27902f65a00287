/* A request begins: as an op, or it waits for one. */
#include "volume/ops/begin.h"

#include <string.h>

#include "volume/ground/copying.h"
#include "volume/ground/facts.h"
#include "volume/ground/request_queue.h"
#include "volume/ground/unwritten.h"
#include "volume/ops/flush.h"
#include "volume/ops/op.h"
#include "volume/ops/read.h"
#include "volume/ops/write.h"

static const struct op_kind *
kind_of(const struct sf_request *request) {
  switch (request->kind) {
  case SF_REQ_READ:
    return &sf_op_read;
  case SF_REQ_WRITE:
    return &sf_op_write;
  case SF_REQ_ZERO:
    return &sf_op_zero;
  default:
    return &sf_op_flush;
  }
}

/* No leg has to be asked, and nothing that is under way can change it: what was never written is
 * zeros already. */
static bool
needs_no_leg(const struct sf_volume *v, const struct sf_request *request) {
  return (request->kind == SF_REQ_READ || request->kind == SF_REQ_ZERO) &&
         sf_unwritten_all(v, request->offset, request->length) &&
         !sf_bad_any(&v->bad.list, request->offset, request->offset + request->length);
}

static void
answer_without_legs(struct sf_op *op) {
  struct sf_request *request = op->request;

  if (request->kind == SF_REQ_READ)
    memset(request->buffer->data, 0, request->length);
  sf_op_move(op, OP_RUNNING);
  sf_op_answer(op, 0);
}

void
sf_vol_begin(struct sf_volume *v, struct sf_request *request) {
  bool alone = request->kind != SF_REQ_FLUSH && needs_no_leg(v, request), converges, left;
  struct sf_op *op;

  if (request->kind == SF_REQ_FLUSH) {
    sf_flush_request(v, request);
    return;
  }
  converges = !alone && sf_vol_must_converge(v, request);
  /* Not after the zeros (R17), which would fill a leg that the trim was to empty. */
  left = converges && sf_trim_is_left(v, request);
  if (converges && !left) {
    sf_vol_park(v, request);
    return;
  }
  op = sf_op_new(v, kind_of(request), request->offset, request->length);
  if (op == NULL) {
    sf_request_append(request, &v->held_tail);
    return;
  }
  op->request = request;
  op->asked_ns = sf_vol_fails_from(request);
  op->started_ns = request->since_ns;
  request->undone = left;
  if (alone || left)
    answer_without_legs(op);
  else
    sf_op_enter(op);
}

static void
release_list(struct sf_volume *v, struct sf_request **head, struct sf_request ***tail) {
  struct sf_request *request = *head, *next;

  *head = NULL;
  *tail = head;
  for (; request != NULL; request = next) {
    next = request->next;
    sf_vol_begin(v, request);
  }
}

void
sf_vol_release_parked(struct sf_volume *v) {
  release_list(v, &v->parked, &v->parked_tail);
}

void
sf_vol_release_held(struct sf_volume *v) {
  release_list(v, &v->held, &v->held_tail);
}

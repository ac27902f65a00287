/* Writes and zeroes: once their intent is durable (R8), to every in-sync leg (R1), to a catching-up leg
 * where its copy is good already, and into the stale maps of all others. */
#include "volume/internal.h"

/* R16: where one of the legs that would get it could only write zeros, it is done on none.  Asked once,
 * before any of it is sent: after that it must come about everywhere. */
bool
write_may_be_left(const struct sf_op *op) {
  const struct sf_volume *v = op->volume;

  EACH_LEG(leg, op->request->is_trim ? volume_receivers(v) : 0) {
    if (!leg_punches(v, leg))
      return true;
  }
  return false;
}

void
write_run(struct sf_op *op) {
  struct sf_volume *v = op->volume;
  legset receivers = volume_receivers(v), targets = 0;
  struct io_args args = {
      .op = op->kind == OP_ZERO ? SF_TIO_ZERO : SF_TIO_WRITE,
      .kind = SF_WRITE_KIND,
      .offset = v->data_offset + op->offset,
      .length = op->length,
      .buffer = op->kind == OP_ZERO ? NULL : op->request->buffer,
  };

  if (!intent_ready(v, op->offset, op->length)) {
    op->gated = true;
    return;
  }
  if (op_is_passed(op)) { /* while it waited for its intent */
    op->gated = false;
    op->retry = true;
    return;
  }
  op->gated = false;
  for (unsigned i = 0; i < v->legs; i++) {
    if ((op->ok | op->running) & legbit(i))
      continue; /* a second try, after too few had it: only where it is missing */
    if ((v->latest.in_sync & legbit(i)) ||
        ((receivers & legbit(i)) && leg_wants(v, i, op->offset, op->length)))
      targets |= legbit(i);
    else
      leg_mark_stale(v, i, op->offset, op->length);
  }
  op->request_fua = op->request->fua;
  if (op->request->fua)
    args.flags |= SF_TIO_FUA;
  if (op->request->may_unmap)
    args.flags |= SF_TIO_MAY_UNMAP;
  args.legs = targets;
  if (targets != 0)
    op_send(op, &args);
}

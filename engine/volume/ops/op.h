/* Of op.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_OP_H
#define SF_VOLUME_OP_H

#include "volume/state.h"

extern const struct sf_state_table sf_op_table;

void sf_vol_well(struct sf_volume *v); /* a request has gone well */
bool sf_op_is_free(const struct sf_volume *v, const struct op_kind *kind);
struct sf_op *sf_op_new(struct sf_volume *v, const struct op_kind *kind, uint64_t offset,
                        uint64_t length);
void
sf_op_enter(struct sf_op *op); /* takes its place in the order; runs at once if nothing overlaps */
bool sf_op_conflict(const struct sf_op *a, const struct sf_op *b); /* one must wait for the other */
int sf_op_free_io(struct sf_op *op);
void sf_op_park(struct sf_op *op);
void sf_op_unlist(struct sf_op *op);
void sf_op_release(struct sf_op *op); /* answered or given up: leave when nothing runs any more */
void sf_op_move(struct sf_op *op, enum op_state state);
void sf_op_answer(struct sf_op *op, int error);
void sf_op_end(struct sf_op *op);
void sf_op_review(struct sf_op *op);       /* after an event or a change of the set */
void sf_op_review_ended(struct sf_op *op); /* of an answered op */
void sf_op_run_all(struct sf_volume *v);   /* what waits for no other any more */
void sf_op_cancel(struct sf_op *op);
/* As an op's `ended`: what has landed is to be flushed.  Always false. */
bool sf_op_landed(struct sf_op *op, unsigned leg, const struct sf_tio_event *event);
void sf_op_send(struct sf_op *op, const struct leg_io_args *args);
void sf_op_on_event(struct leg_io *io, unsigned leg, const struct sf_tio_event *event);
bool sf_op_waits_to_be_sent(const struct sf_op *op); /* to some leg */
void sf_op_judge(struct sf_op *op);
/* Enough legs have it, and those that failed it leave as soon as these answer (R2). */
bool sf_op_lacks_a_word(const struct sf_op *op);
/* Asked for that, these have not said anything yet. */
bool sf_op_awaits_a_word(const struct sf_op *op);
void sf_op_reason(const struct sf_op *op, unsigned leg, char *text, size_t size);
void sf_op_fail(struct sf_op *op, int error);

#endif

/* Of steps.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_STEPS_H
#define SF_VOLUME_STEPS_H

#include "volume/state.h"

void phase_move(struct sf_volume *v, enum phase to);
void join_move(struct sf_volume *v, enum join_step to);
void stop_move(struct sf_volume *v, enum stop_step to);
void grow_move(struct sf_volume *v, enum grow_step to);
void op_hold(struct sf_op *op, enum op_hold to);

#endif

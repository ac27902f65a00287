/* Of steps.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_STEPS_H
#define SF_VOLUME_STEPS_H

#include "volume/state.h"

void sf_phase_move(struct sf_volume *v, enum phase to);
void sf_join_move(struct sf_volume *v, enum join_step to);
void sf_stop_move(struct sf_volume *v, enum stop_step to);
void sf_grow_move(struct sf_volume *v, enum grow_step to);
void sf_op_hold(struct sf_op *op, enum sf_op_hold to);

#endif

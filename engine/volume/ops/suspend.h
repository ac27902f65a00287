/* Of suspend.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_SUSPEND_H
#define SF_VOLUME_SUSPEND_H

#include "volume/state.h"

void sf_op_suspend(struct sf_op *op);
void sf_op_overtake_all(struct sf_volume *v);
bool sf_op_is_in_the_way(const struct sf_op *copy);
bool sf_op_is_passed(const struct sf_op *op); /* by a copy that has not ended */
void sf_op_passed_by(const struct sf_op *copy);
bool sf_op_waits_for_unheard(const struct sf_op *op);
void sf_op_pass_unheard(struct sf_volume *v);
void sf_op_resend_passed(struct sf_volume *v);
bool sf_op_only_waits(const struct sf_op *op);
bool sf_op_may_wait(const struct sf_op *op); /* rather than fail for what its legs have said */

#endif

/* Of op_time.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_OP_TIME_H
#define SF_VOLUME_OP_TIME_H

#include "volume/state.h"

void sf_op_review_all(struct sf_volume *v);
void sf_op_tick(struct sf_volume *v);
void sf_op_excuse_delay(struct sf_volume *v, uint64_t delay_ns); /* they have waited less */
void sf_op_fail_all(struct sf_volume *v, int error);
void sf_op_give_up(struct sf_volume *v, const struct sf_request *request);

#endif

/* Of flush.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_FLUSH_H
#define SF_VOLUME_FLUSH_H

#include "volume/state.h"

extern const struct op_kind sf_op_flush;

void sf_flush_request(struct sf_volume *v, struct sf_request *request);
void sf_flush_next(struct sf_volume *v);
void sf_flush_fua_ended(struct sf_volume *v, unsigned leg, uint64_t seq);
void sf_flush_expire(struct sf_volume *v);
void sf_flush_tick(struct sf_volume *v);
void sf_flush_excuse_delay(struct sf_volume *v, uint64_t delay_ns);
void sf_flush_give_up(struct sf_op *op);
void sf_flush_release(struct sf_volume *v); /* flushes that wait to be tried again, in time */

#endif

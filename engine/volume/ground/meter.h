/* Of meter.c: what the operator is told of the pace.  Nothing is decided by it.  Called with
 * volume->lock held. */
#ifndef SF_VOLUME_METER_H
#define SF_VOLUME_METER_H

#include "volume/state.h"

/* The leg has ended its part. */
void sf_meter_ended(struct sf_volume *v, const struct leg_io_part *part,
                    const struct sf_tio_event *event);
/* A client's request is answered. */
void sf_meter_answer(struct sf_volume *v, const struct sf_request *request, int error);
void sf_meter_tick(struct sf_volume *v);
void sf_meter_leg_status(const struct sf_volume *v, unsigned leg, struct sf_leg_status *status);
void sf_meter_status(const struct sf_volume *v, struct sf_volume_status *status);

/* Each request of a client that is not answered, and its age. */
typedef void meter_visit_fn(void *ctx, enum sf_kind kind, uint64_t age_ns);
void sf_meter_visit_waiting(const struct sf_volume *v, meter_visit_fn *visit, void *ctx);
legset
sf_meter_overdue(const struct sf_volume *v); /* legs that owe an answer for longer than they may */

#endif

/* Of pace.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_PACE_H
#define SF_VOLUME_PACE_H

#include "volume/state.h"

void pace_note(struct sf_op *op, unsigned leg); /* it has answered well */
void pace_tick(struct sf_volume *v);
bool pace_is_kept(const struct sf_volume *v, unsigned leg, uint64_t latency_ns);
void pace_reason(const struct sf_volume *v, unsigned leg, char *text, size_t size);

#endif

/* Of pace.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_PACE_H
#define SF_VOLUME_PACE_H

#include "volume/state.h"

void sf_pace_note(struct sf_op *op, unsigned leg); /* it has answered well */
void sf_pace_tick(struct sf_volume *v);
bool sf_pace_is_kept(const struct sf_volume *v, unsigned leg, uint64_t latency_ns);
void sf_pace_reason(const struct sf_volume *v, unsigned leg, char *text, size_t size);

#endif

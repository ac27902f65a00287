/* Of grow.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_GROW_H
#define SF_VOLUME_GROW_H

#include "volume/state.h"

void sf_grow_settle(struct sf_volume *v);
void sf_grow_end(struct sf_volume *v); /* its record is durable */
void sf_grow_stopped(struct sf_volume *v);
int sf_grow_to(struct sf_volume *v, uint64_t size_bytes);

#endif

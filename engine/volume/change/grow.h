/* Of grow.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_GROW_H
#define SF_VOLUME_GROW_H

#include "volume/state.h"

void grow_settle(struct sf_volume *v);
void grow_end(struct sf_volume *v); /* its record is durable */
void grow_stopped(struct sf_volume *v);
int grow_to(struct sf_volume *v, uint64_t size_bytes);

#endif

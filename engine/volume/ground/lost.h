/* Of lost.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_LOST_H
#define SF_VOLUME_LOST_H

#include "volume/state.h"

void sf_lost_add(struct sf_volume *v, uint64_t offset, uint64_t length, legset legs, int error);
/* When it was found first, 0: it is not in the list.  Of blocks side by side, the last one's. */
uint64_t sf_lost_since(const struct sf_volume *v, uint64_t offset, uint64_t length);
/* Known since before the start. */
void sf_lost_load(struct sf_volume *v, uint64_t offset, uint64_t length);
void sf_lost_clear(struct sf_volume *v, uint64_t offset, uint64_t length);
void sf_lost_written(struct sf_volume *v, uint64_t offset, uint64_t length);
/* As many as there is room for; the rest at ticks. */
void sf_lost_tell(struct sf_volume *v);
void sf_lost_tick(struct sf_volume *v);
void sf_lost_stopped(struct sf_volume *v);

#endif

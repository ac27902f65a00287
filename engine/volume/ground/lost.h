/* Of lost.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_LOST_H
#define SF_VOLUME_LOST_H

#include "volume/state.h"

void lost_add(struct sf_volume *v, uint64_t offset, uint64_t length, legset legs, int error);
/* Known since before the start. */
void lost_load(struct sf_volume *v, uint64_t offset, uint64_t length);
void lost_clear(struct sf_volume *v, uint64_t offset, uint64_t length);
void lost_written(struct sf_volume *v, uint64_t offset, uint64_t length);
void lost_tell(struct sf_volume *v);

#endif

/* Of leg_memory.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_LEG_MEMORY_H
#define SF_VOLUME_LEG_MEMORY_H

#include "volume/state.h"

int sf_leg_init_memory(struct sf_volume *v, unsigned leg);
void sf_leg_free_memory(struct sf_volume *v, unsigned leg);

#endif

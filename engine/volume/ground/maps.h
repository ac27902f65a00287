/* Of maps.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_MAPS_H
#define SF_VOLUME_MAPS_H

#include "volume/state.h"

/* All maps that are of the volume and of no leg. */
int sf_maps_init(struct sf_volume *v);
void sf_maps_free(struct sf_volume *v);
int sf_maps_init_leg(struct sf_volume *v, unsigned leg);
void sf_maps_free_leg(struct sf_volume *v, unsigned leg);

/* To grow, of the volume and of all legs: first the memory, which may fail and changes nothing that
 * can be seen. */
int sf_maps_reserve(struct sf_volume *v, uint64_t extents, uint64_t pages);
void sf_maps_extend(struct sf_volume *v, uint64_t extents, uint64_t pages);

#endif

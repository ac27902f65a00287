/* Of map_load.c: from what the legs hold at the start.  Called with volume->lock held. */
#ifndef SF_VOLUME_MAP_LOAD_H
#define SF_VOLUME_MAP_LOAD_H

#include "volume/state.h"

int sf_maps_load(struct sf_volume *v, const struct sf_volume_params *params);
void sf_maps_destroy(struct sf_volume *v);

#endif

/* Of map_write.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_MAP_WRITE_H
#define SF_VOLUME_MAP_WRITE_H

#include "volume/state.h"

extern const struct sf_state_table sf_map_write_table;

void sf_map_settle(struct sf_volume *v);

#endif

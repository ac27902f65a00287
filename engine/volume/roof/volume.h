/* Of volume.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_VOLUME_H
#define SF_VOLUME_VOLUME_H

#include "volume/state.h"

void sf_vol_enter(struct sf_volume *v, uint64_t now_ns); /* takes the lock */

extern const struct leg_io_above sf_volume_above_io;

#endif

/* Of stop.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_STOP_H
#define SF_VOLUME_STOP_H

#include "volume/state.h"

void sf_stop_begin(struct sf_volume *v);
void sf_stop_settle(struct sf_volume *v);
/* Every request is answered with this error from now on, and no I/O follows but that under way. */
void sf_vol_end(struct sf_volume *v, int error);

#endif

/* Of takeover.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_TAKEOVER_H
#define SF_VOLUME_TAKEOVER_H

#include "volume/state.h"

void sf_takeover_tick(struct sf_volume *v);

#endif

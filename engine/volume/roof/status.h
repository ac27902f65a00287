/* Of status.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_STATUS_H
#define SF_VOLUME_STATUS_H

#include "volume/state.h"

void sf_status_fill(const struct sf_volume *v, struct sf_volume_status *status);

#endif

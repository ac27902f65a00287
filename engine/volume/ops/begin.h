/* Of begin.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_BEGIN_H
#define SF_VOLUME_BEGIN_H

#include "volume/state.h"

void sf_vol_begin(struct sf_volume *v, struct sf_request *request);
void sf_vol_release_held(struct sf_volume *v);
void sf_vol_release_parked(struct sf_volume *v);

#endif

/* Of begin.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_BEGIN_H
#define SF_VOLUME_BEGIN_H

#include "volume/state.h"

void volume_begin(struct sf_volume *v, struct sf_request *request);
void volume_release_held(struct sf_volume *v);
void volume_release_parked(struct sf_volume *v);

#endif

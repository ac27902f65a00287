/* Of intent.c: which extents may be written, and when that ends.  Called with volume->lock held. */
#ifndef SF_VOLUME_INTENT_H
#define SF_VOLUME_INTENT_H

#include "volume/state.h"

bool sf_intent_ready(struct sf_volume *v, uint64_t offset, uint64_t length);

#endif

/* Of copier.c: which extents, and when.  Called with volume->lock held. */
#ifndef SF_VOLUME_COPIER_H
#define SF_VOLUME_COPIER_H

#include "volume/state.h"

int sf_copier_init(struct sf_volume *v);
void sf_copier_destroy(struct sf_volume *v);
void sf_copier_settle(struct sf_volume *v);
/* A repair is written there to legs in sync alone: all other legs lack it, also a leg that joins or
 * that is being copied to. */
void sf_copier_passes_by(struct sf_volume *v, uint64_t extent);

#endif

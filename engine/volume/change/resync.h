/* Of resync.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_RESYNC_H
#define SF_VOLUME_RESYNC_H

#include "volume/state.h"

/* The next extent that a leg lacks, and the leg.  False: there is none now. */
bool sf_resync_next(struct sf_volume *v, uint64_t *extent, unsigned *leg);
/* The same, where it goes before the zeros of an extent for which a write waits. */
bool sf_resync_goes_first(struct sf_volume *v, uint64_t *extent, unsigned *leg);
unsigned sf_resync_places(const struct sf_volume *v);          /* extents that are being resynced */
void sf_resync_advances(struct sf_volume *v, struct leg *leg); /* it may lack less than ever */

#endif

/* Of copy_rate.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_COPY_RATE_H
#define SF_VOLUME_COPY_RATE_H

#include "volume/state.h"

void sf_copy_rate_adapt(struct sf_volume *v);
uint64_t sf_copy_rate_now(struct sf_volume *v);      /* in force now; 0: no limit */
bool sf_copy_rate_counts(const struct sf_volume *v); /* clients are at work */
bool sf_copy_rate_keeps(const struct sf_volume *v);  /* may another piece be copied now? */
void sf_copy_rate_charge(struct sf_volume *v, uint64_t length); /* a piece is copied */

#endif

/* Of newcomer.c: legs that lack everything by their superblock.  Called with volume->lock held. */
#ifndef SF_VOLUME_NEWCOMER_H
#define SF_VOLUME_NEWCOMER_H

#include "volume/state.h"

bool sf_newcomer_lacks_all(const struct sf_volume *v, const struct sf_superblock *sb);
void sf_newcomer_arrived(struct sf_volume *v, unsigned leg); /* opened: no stale map knows of it */
void sf_newcomer_settle(struct sf_volume *v, unsigned leg);

#endif

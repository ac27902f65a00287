/* Of unwritten.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_UNWRITTEN_H
#define SF_VOLUME_UNWRITTEN_H

#include "volume/state.h"

/* Of this range, is any, is all of it unwritten? */
bool sf_unwritten_any(const struct sf_volume *v, uint64_t offset, uint64_t length);
bool sf_unwritten_all(const struct sf_volume *v, uint64_t offset, uint64_t length);
/* Does it wait for the extent, if that is to be zeroed? */
bool sf_unwritten_is_for(const struct sf_volume *v, const struct sf_request *request,
                         uint64_t extent);
/* Does any parked request wait for the extent, to be zeroed or made alike? */
bool sf_unwritten_is_waited_for(const struct sf_volume *v, uint64_t extent);
/* Some of it was zeroed: fail_timeout counts from now for the writes that wait for it, or behind such. */
void sf_unwritten_advances(struct sf_volume *v, uint64_t extent);
/* What a leg has said of the range: zeros where it is unwritten. */
void sf_unwritten_blot(const struct sf_volume *v, uint64_t offset, uint64_t length, void *data);
/* How many extents legs in sync may hold differently that are not unwritten. */
uint64_t sf_unwritten_others(const struct sf_volume *v);

#endif

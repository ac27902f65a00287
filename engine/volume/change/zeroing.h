/* Of zeroing.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_ZEROING_H
#define SF_VOLUME_ZEROING_H

#include "volume/state.h"

/* A write waits for the extent to be zeroed, and that was not begun. */
bool sf_zeroing_is_due(const struct sf_volume *v, const struct sf_request *request,
                       uint64_t extent);
/* Requests wait, and not for this extent: none of its pieces is issued meanwhile. */
bool sf_zeroing_gives_way(const struct sf_volume *v, const struct copying *c);
/* The next one that nobody waits for. */
bool sf_zeroing_next(struct sf_volume *v, uint64_t *extent);
/* None is under way any more: what is half zeroed still reads as zeros.  True: one was. */
bool sf_zeroing_break_off(struct sf_volume *v);
/* A leg that catches up lacks nothing of what no leg holds.  True: some was called stale. */
bool sf_zeroing_drop_stale(struct sf_volume *v, struct leg *leg);

#endif

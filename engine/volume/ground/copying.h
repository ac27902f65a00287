/* Of copying.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_COPYING_H
#define SF_VOLUME_COPYING_H

#include "volume/state.h"

const struct copying *sf_copying_find(const struct sf_volume *v, uint64_t extent); /* NULL */
bool sf_copier_has_piece(const struct sf_volume *v, unsigned leg, uint64_t extent, uint64_t offset,
                         uint64_t length);
/* What was, or is being, copied of it may come from a leg that has dropped it: to a leg that catches up; and
 * whether a convergence has written such. */
void sf_copier_doubt_resync(struct sf_volume *v, uint64_t extent);
bool sf_copier_has_converged(const struct sf_volume *v, uint64_t extent);
void sf_copier_try_again(struct sf_volume *v, uint64_t offset, uint64_t length);
void sf_copier_put_off(struct sf_volume *v,
                       uint64_t extent); /* its resync: no source can read it now */
void sf_copier_spoil(struct sf_volume *v, uint64_t extent); /* its copies may differ again */
void sf_copier_extent_grows(struct sf_volume *v, uint64_t extent);
void sf_copier_leg_left(struct sf_volume *v, unsigned leg);
void sf_copier_foreground(struct sf_volume *v, uint64_t latency_ns);
bool sf_copier_is_copying(const struct sf_volume *v);

#endif

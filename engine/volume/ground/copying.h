/* Of copying.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_COPYING_H
#define SF_VOLUME_COPYING_H

#include "volume/state.h"

const struct copying *sf_copying_find(const struct sf_volume *v, uint64_t extent); /* NULL */
bool sf_copier_has_piece(const struct sf_volume *v, unsigned leg, uint64_t extent, uint64_t offset,
                         uint64_t length);
/* Copies of the extent to legs that are not in sync, done or under way, may come from a leg that
 * has dropped it: they are made again.  The second: has a convergence written it, unflushed as yet? */
void sf_copier_doubt_resync(struct sf_volume *v, uint64_t extent);
bool sf_copier_has_converged(const struct sf_volume *v, uint64_t extent);
void sf_copier_try_again(struct sf_volume *v, uint64_t offset, uint64_t length);
void sf_copier_put_off(struct sf_volume *v,
                       uint64_t extent); /* its resync: no source can read it now */
void sf_copier_spoil(struct sf_volume *v, uint64_t extent); /* its copies may differ again */
void sf_copier_extent_grows(struct sf_volume *v, uint64_t extent);
void sf_copier_leg_left(struct sf_volume *v, unsigned leg);
/* Is it a read of what legs in sync may hold differently (R11), or a write to what no leg holds as
 * yet (R17)? */
bool sf_vol_must_converge(const struct sf_volume *v, const struct sf_request *request);
void sf_copier_foreground(struct sf_volume *v, uint64_t latency_ns);
bool sf_copier_is_copying_data(const struct sf_volume *v); /* more than zeros */

#endif

/* Of flush_failure.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_FLUSH_FAILURE_H
#define SF_VOLUME_FLUSH_FAILURE_H

#include "volume/state.h"

/* Around the handling of an event that says so: before it, what the leg loses; after it, unless
 * that has taken the leg out, what follows. */
void sf_flush_failure_collect(struct sf_volume *v, unsigned leg, const struct leg_io *io,
                              int error);
void sf_flush_failure_note(struct sf_volume *v, unsigned leg, int error);
void sf_flush_failure_reopened(struct sf_volume *v, unsigned leg);
void sf_flush_failure_load(struct sf_volume *v, const struct sf_volume_params *params);
/* A leg that joins was given what these legs have, and no more. */
bool sf_flush_failure_is_inherited(const struct sf_volume *v);
void sf_flush_failure_inherit(struct sf_volume *v, unsigned leg);
void sf_flush_failure_settle(struct sf_volume *v);
bool sf_flush_failure_heals(const struct sf_volume *v, unsigned leg);
void sf_flush_failure_forgive(struct sf_volume *v, unsigned leg);
/* The extent is copied from a leg that may lack it: then so may the others. */
void sf_flush_failure_spread(struct sf_volume *v, uint64_t extent);

#endif

/* Of flush_lost.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_FLUSH_LOST_H
#define SF_VOLUME_FLUSH_LOST_H

#include "volume/state.h"

/* Legs that hold all acknowledged writes there for certain; if there is none, legs that may. */
legset sf_vol_sources(const struct sf_volume *v, uint64_t offset, uint64_t length);
legset sf_flush_failure_legs(const struct sf_volume *v);
/* Legs in sync that may lack what this one has. */
legset sf_flush_failure_lacking(const struct sf_volume *v, unsigned leg);
void sf_flush_failure_left(struct sf_volume *v, unsigned leg);
/* Legs on which a convergence does not believe what it reads there. */
legset sf_flush_failure_unsure(const struct sf_volume *v, uint64_t offset, uint64_t length);
void sf_flush_failure_converged(struct sf_volume *v, uint64_t extent);

#endif

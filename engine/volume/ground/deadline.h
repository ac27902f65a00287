/* Of deadline.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_DEADLINE_H
#define SF_VOLUME_DEADLINE_H

#include "volume/state.h"

/* What people set and see: so long a leg may take before the others go on without it.  It is the
 * timeout, at which a request is overdue, and the grace, in which the leg may still answer. */
uint64_t sf_deadline_of(const struct sf_volume *v, unsigned leg, enum sf_kind kind);
uint64_t sf_deadline_timeout(const struct sf_volume *v, unsigned leg, enum sf_kind kind);
uint64_t sf_deadline_grace(const struct sf_volume *v, unsigned leg, enum sf_kind kind);
uint64_t sf_deadline_longest(const struct sf_volume *v, enum sf_kind kind); /* of all legs */
uint64_t sf_deadline_longest_timeout(const struct sf_volume *v, enum sf_kind kind);
/* What the leg has is to be answered in so much time. */
uint64_t sf_deadline_target_ns(const struct sf_volume *v, unsigned leg, enum sf_kind kind);
enum sf_deadline_source sf_deadline_source(const struct sf_volume *v, unsigned leg,
                                           enum sf_kind kind);
void sf_deadline_note(struct sf_volume *v, unsigned leg, enum sf_kind kind, uint64_t latency_ns);
void sf_deadline_forget(struct sf_volume *v, unsigned leg); /* it is another disk */
void sf_deadline_tick(struct sf_volume *v);

#endif

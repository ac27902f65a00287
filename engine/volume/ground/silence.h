/* Of silence.c: when an overdue leg counts as late.  Functions that return false arm the timer for
 * when they may return true.  Called with volume->lock held. */
#ifndef SF_VOLUME_SILENCE_H
#define SF_VOLUME_SILENCE_H

#include "volume/state.h"

void sf_insync_leg_answered(struct sf_volume *v, const struct leg_io_part *part);
bool sf_insync_is_overtaken(const struct leg_io_part *part); /* by a request sent a timeout later */
bool sf_insync_is_starved(const struct leg_io_part *part);   /* though the leg answers others */
bool
sf_insync_is_passed_by(const struct leg_io_part *part); /* by so many, or in either direction */
/* So long it has had something and ended nothing; 0: it has nothing. */
uint64_t sf_insync_silent_ns(const struct sf_volume *v, unsigned leg);
bool sf_insync_leg_is_silent(const struct sf_volume *v, unsigned leg);
bool sf_insync_is_avoided(const struct sf_volume *v, unsigned leg); /* reads go elsewhere */
/* It keeps requests waiting: it is silent or fails, or starves one.  Being busy is no reason. */
bool sf_insync_leg_is_awaited(const struct sf_volume *v, unsigned leg, enum sf_kind kind);
bool sf_insync_leg_hangs(struct sf_volume *v, unsigned leg, enum sf_kind kind);
/* Of the legs, those that are evidence against this one. */
legset sf_insync_witnesses(struct sf_volume *v, unsigned leg, enum sf_kind kind, legset legs);
/* Those that may stall as this one does: their next answers say. */
legset sf_insync_doubted(const struct sf_volume *v, unsigned leg, enum sf_kind kind, legset legs);
bool sf_insync_leg_is_alone(struct sf_volume *v, unsigned leg, uint64_t since_ns);

#endif

/* Of silence.c: when a leg that is overdue counts as late.  Those that say no arm the timer for when they may say
 * yes.  Called with volume->lock held. */
#ifndef SF_VOLUME_SILENCE_H
#define SF_VOLUME_SILENCE_H

#include "volume/state.h"

void insync_leg_answered(struct sf_volume *v, const struct io_part *part);
bool insync_is_overtaken(const struct io_part *part); /* by one that was sent a timeout later */
bool insync_is_starved(const struct io_part *part);   /* though the leg answers others */
bool insync_leg_is_silent(const struct sf_volume *v, unsigned leg);
/* It keeps requests waiting: it is silent or fails, or starves one.  Being busy is no reason. */
bool insync_leg_is_awaited(const struct sf_volume *v, unsigned leg, enum sf_kind kind);
bool insync_leg_hangs(struct sf_volume *v, unsigned leg, enum sf_kind kind);
/* Of the legs, those that may testify against this one. */
legset insync_witnesses(struct sf_volume *v, unsigned leg, enum sf_kind kind, legset legs);
bool insync_leg_is_alone(struct sf_volume *v, unsigned leg, uint64_t since_ns);

#endif

/* Of scrub.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_SCRUB_H
#define SF_VOLUME_SCRUB_H

#include "volume/state.h"

void sf_scrub_init(struct sf_volume *v);
void sf_scrub_settle(struct sf_volume *v);
void sf_scrub_stopped(struct sf_volume *v);
int sf_scrub_begin(struct sf_volume *v, const struct sf_scrub_order *order);
int sf_scrub_pause(struct sf_volume *v, bool paused);
int sf_scrub_cancel(struct sf_volume *v);
/* Its disk is another one, or is to be copied whole: earlier findings of it hold no more. */
void sf_scrub_leg_is_another(struct sf_volume *v, unsigned leg);
void sf_scrub_status(const struct sf_volume *v, struct sf_scrub_status *status);

#endif

/* Of scrub_state.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_SCRUB_STATE_H
#define SF_VOLUME_SCRUB_STATE_H

#include "volume/state.h"

bool sf_scrub_is_under_way(const struct sf_volume *v);
bool sf_scrub_holds_a_copy(const struct sf_volume *v);
bool sf_scrub_is_looking(const struct sf_volume *v);
bool sf_scrub_is_at_work(const struct sf_volume *v); /* it goes on without waiting for long */
/* A leg has dropped what it had there, or may have: was that the word for which another leg was
 * written? */
bool sf_scrub_loses_word(struct sf_volume *v, uint64_t extent);
void sf_scrub_believe_words(struct sf_volume *v);
/* That op has made stable all that was there before it. */
void sf_scrub_flushed(struct sf_volume *v, uint64_t op_id);

#endif

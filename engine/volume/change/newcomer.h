/* Of newcomer.c: what a leg that is copied to shows to a start.  Called with volume->lock held. */
#ifndef SF_VOLUME_NEWCOMER_H
#define SF_VOLUME_NEWCOMER_H

#include "volume/state.h"

bool sf_newcomer_lacks_all(const struct sf_volume *v, unsigned leg);
/* It lacks everything: each copy of its superblock is to say so that does not yet. */
void sf_newcomer_trust_no_copy(struct sf_volume *v, unsigned leg);
/* is_older: than we left it. */
void sf_newcomer_opened(struct sf_volume *v, unsigned leg, bool is_older);
/* Before it catches up, as often as anything changes: false while it is told, or has left for it. */
bool sf_newcomer_is_told(struct sf_volume *v, unsigned leg);
void sf_newcomer_settle(struct sf_volume *v, unsigned leg);

#endif

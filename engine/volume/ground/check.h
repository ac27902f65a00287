/* Of check.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_CHECK_H
#define SF_VOLUME_CHECK_H

#include "volume/state.h"

void sf_vol_check(const struct sf_volume *v);
void sf_vol_check_passes(const struct sf_volume *v, unsigned passes); /* of one settle, so far */

#endif

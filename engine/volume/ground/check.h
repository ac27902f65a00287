/* Of check.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_CHECK_H
#define SF_VOLUME_CHECK_H

#include "volume/state.h"

void volume_check(const struct sf_volume *v);
void volume_check_passes(const struct sf_volume *v, unsigned passes); /* of one settle, so far */

#endif

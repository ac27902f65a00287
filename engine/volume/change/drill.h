/* Of drill.c: a leg is kept from answering for a while, so that the operator sees what a disk that
 * hangs does. Called with volume->lock held. */
#ifndef SF_VOLUME_DRILL_H
#define SF_VOLUME_DRILL_H

#include "volume/state.h"

int sf_drill_begin(struct sf_volume *v, unsigned leg, uint64_t duration_ns);
int sf_drill_cancel(struct sf_volume *v);
void sf_drill_settle(struct sf_volume *v);
void sf_drill_stopped(struct sf_volume *v);
uint64_t sf_drill_left(const struct sf_volume *v, unsigned leg); /* 0: no drill there */

#endif

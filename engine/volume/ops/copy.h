/* Of copy.c: one piece.  Called with volume->lock held. */
#ifndef SF_VOLUME_COPY_H
#define SF_VOLUME_COPY_H

#include "volume/state.h"

extern const struct op_kind sf_op_copy;

void sf_copy_finish(struct sf_op *op, bool good); /* a scrub: nothing is written */
void sf_copy_repair(struct sf_op *op, unsigned source, legset bad);

#endif

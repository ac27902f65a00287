/* Of write.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_WRITE_H
#define SF_VOLUME_WRITE_H

#include "volume/state.h"

extern const struct op_kind sf_op_write, sf_op_zero;

/* It is a trim that is answered without being done. */
bool sf_trim_is_left(const struct sf_volume *v, const struct sf_request *request);

#endif

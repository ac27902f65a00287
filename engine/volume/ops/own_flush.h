/* Of own_flush.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_OWN_FLUSH_H
#define SF_VOLUME_OWN_FLUSH_H

#include "volume/state.h"

/* It must not run.  on_end may be NULL: its asker looks at the next turn. */
void sf_own_flush_begin(struct sf_volume *v, struct own_flush *flush,
                        void (*on_end)(struct sf_volume *v, int error));
/* True once for each that has ended. */
bool sf_own_flush_take(struct own_flush *flush);

#endif

/* Of host.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_HOST_H
#define SF_VOLUME_HOST_H

#include "volume/state.h"

extern const struct sf_state_hooks sf_volume_hooks;

void sf_vol_trace(struct sf_volume *v, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void sf_vol_event(struct sf_volume *v, enum sf_volume_event_kind kind, int leg, const char *from,
                  const char *to, const char *reason);
/* With its time and its leg's name put.  Told when the lock has been let go; from and to are there
 * for ever. */
void sf_vol_tell(struct sf_volume *v, struct sf_volume_event *event);
void sf_vol_arm(struct sf_volume *v, uint64_t at_ns);

#endif

/* Of outbox.c: answers and events in the order in which they were decided, until the lock is let go
 * and they are told (roof/delivery.c).  Called with volume->lock held. */
#ifndef SF_VOLUME_OUTBOX_H
#define SF_VOLUME_OUTBOX_H

#include "volume/state.h"

void sf_outbox_init(struct outbox *outbox);
void sf_outbox_put_answer(struct outbox *outbox, struct sf_request *request);
/* A copy; from and to stay where they are, and are there for ever.  Where there is no room for it,
 * it is counted, and SF_EVENT_EVENTS_UNTOLD is told in its place. */
void sf_outbox_put_event(struct outbox *outbox, const struct sf_volume_event *event);
/* For an event that can be told later as well. */
bool sf_outbox_has_room(const struct outbox *outbox);

struct outbox_item { /* the one or the other */
  struct sf_request *request;
  const struct sf_volume_event *event; /* until sf_outbox_told() */
  uint64_t order;
};
bool sf_outbox_is_empty(const struct outbox *outbox);
/* The next one.  An answer is taken out: its request is the caller's again as soon as it is told. */
struct outbox_item sf_outbox_take(struct outbox *outbox);
void sf_outbox_told(struct outbox *outbox, const struct outbox_item *item);

#endif

/* Of request_queue.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_REQUEST_QUEUE_H
#define SF_VOLUME_REQUEST_QUEUE_H

#include "volume/state.h"

void sf_request_append(struct sf_request *request, struct sf_request ***tail);
/* The volume's own is told at once, a client's when the lock has been let go. */
void sf_request_answer(struct sf_volume *v, struct sf_request *request, int error);
void sf_request_fail_list(struct sf_volume *v, struct sf_request **head, struct sf_request ***tail,
                          int error);
/* False: it is not there. */
bool sf_request_remove(struct sf_request **head, struct sf_request ***tail,
                       struct sf_request *request);
void sf_vol_park(struct sf_volume *v, struct sf_request *request); /* until it is converged */

#endif

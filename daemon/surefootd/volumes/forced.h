/* A leg that the volume needs is failed all the same, by the operator's word: its server is killed,
 * the next one is started by force from the legs that were named, and the leg is faulty there. */
#ifndef SUREFOOTD_VOLUMES_FORCED_H
#define SUREFOOTD_VOLUMES_FORCED_H

#include "volumes/volume.h"

/* The next server's force_with, and the plan has no larger min_legs then; NULL: no force. */
const char *sfd_forced_take(struct volume *volume);
/* A server serves that was started so. */
void sfd_forced_served(struct volume *volume);
/* What the volume says of itself.  True: the leg is still to be failed. */
bool sfd_forced_look(struct volume *volume, const json_t *own);
/* Its server has ended. */
void sfd_forced_forget(struct volume *volume);
/* The operator wants something else. */
void sfd_forced_end(struct volume *volume);

#endif

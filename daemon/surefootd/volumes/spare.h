/* Hot spares: a leg that has been faulty or missing for long enough is replaced by a disk that
 * waits for that, by the volume's own `leg replace` with all its checks, and the volume's file
 * follows. */
#ifndef SUREFOOTD_VOLUMES_SPARE_H
#define SUREFOOTD_VOLUMES_SPARE_H

#include "volumes/volume.h"

/* Its server's status: is a leg out for long enough, and is there a spare for it? */
void sfd_spare_look(struct volume *volume, const json_t *own);
/* An event of its server, after it was noted. */
void sfd_spare_heard(struct volume *volume, const json_t *event);
/* Its server has ended: the result of a request to it is not known. */
void sfd_spare_forget(struct volume *volume);
/* Before the volume's end. */
void sfd_spare_end(struct volume *volume);
/* For the status. */
json_t *sfd_spare_describe(const struct volume *volume);

#endif

/* A volume and its device: which one is in force, and the proven connection that it is given. */
#ifndef SUREFOOTD_VOLUMES_ATTACH_H
#define SUREFOOTD_VOLUMES_ATTACH_H

#include "volumes/volume.h"

/* Hands the proven connection, if there is one, to the device, if the volume's uuid is known: so
 * that no other volume's server is ever put behind it. */
void sfd_attach_give(struct volume *volume);
void sfd_attach_drop(struct volume *volume);
/* The server serves: its device, if there is one, gets a connection by the door that is in force.
 * There may be one by nbdkit's already, from the proof. */
void sfd_attach_serving(struct volume *volume);

/* A device that is none.  A volume that never comes to a device stops it all the same. */
struct device sfd_attach_none(struct volume *volume);
/* A server starts with the plan. */
void sfd_attach_take(struct volume *volume);
/* Does the plan name another device than the one in force? */
bool sfd_attach_changes(const struct volume *volume);

#endif

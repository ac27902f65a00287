/* A volume's way from down to serving, and down again when its server ends. */
#ifndef SUREFOOTD_VOLUMES_START_H
#define SUREFOOTD_VOLUMES_START_H

#include "volumes/volume.h"

/* What belongs to one run of a server. */
void sfd_volume_forget_server(struct volume *volume);
/* The server's `ended`. */
void sfd_volume_server_ended(void *ctx, const char *how);

#endif

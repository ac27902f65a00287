/* What a volume's own control socket says: its events, and every few seconds its status. */
#ifndef SUREFOOTD_VOLUMES_FEED_H
#define SUREFOOTD_VOLUMES_FEED_H

#include "volumes/volume.h"

void sfd_feed_open(struct volume *volume);
/* Asks for its status now, and from then on again and again. */
void sfd_feed_look(struct volume *volume);

#endif

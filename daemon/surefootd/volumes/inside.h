/* The ground that the files of this folder stand on: the states of a volume.  Above it, each
 * calling only those left of it in this list: attach, forced, feed, start, stop, volume. */
#ifndef SUREFOOTD_VOLUMES_INSIDE_H
#define SUREFOOTD_VOLUMES_INSIDE_H

#include "volumes/volume.h"

#define SECOND_US UINT64_C(1000000)

enum { HEALTH_ANSWER_S = 5 /* a server that has not answered then is silent */ };

extern const struct sf_state_table sfd_volume_states, sfd_volume_stops;

/* Tells it as an event too.  reason "": none. */
void sfd_volume_move(struct volume *volume, enum volume_state state, const char *reason);
void sfd_volume_stop_move(struct volume *volume, enum volume_stop stop);
/* The one timer of the volume: the next try, or the end of patience when it stops. */
void sfd_volume_set_timer(struct volume *volume, uint64_t in_us, sd_event_time_handler_t handler);
uint64_t sfd_volume_now_us(const struct volume *volume);
void sfd_volume_changed(struct volume *volume);

#endif

/* Of leg.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_LEG_H
#define SF_VOLUME_LEG_H

#include "volume/state.h"

extern const struct sf_sm_table sf_leg_table;

bool leg_can_leave(const struct sf_volume *v, unsigned leg);
void leg_demote(struct sf_volume *v, unsigned leg, enum sf_leg_state to, const char *reason);
void leg_fall_back(struct sf_volume *v, unsigned leg, enum sf_leg_state to, const char *reason);
void leg_record_faulty(struct sf_volume *v, unsigned leg, bool is_faulty);
void leg_look_for(struct sf_volume *v, unsigned leg, const char *reason);
void leg_mark_stale(struct sf_volume *v, unsigned leg, uint64_t offset, uint64_t length);
void leg_move(struct sf_volume *v, unsigned leg, enum sf_leg_state to, const char *reason);
bool leg_wants(const struct sf_volume *v, unsigned leg, uint64_t offset, uint64_t length);
void medium_forget(struct leg *leg);
void pace_forget(struct leg *leg);

#endif

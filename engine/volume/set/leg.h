/* Of leg.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_LEG_H
#define SF_VOLUME_LEG_H

#include "volume/state.h"

extern const struct sf_state_table sf_leg_table;

/* With that superblock, which is the newest there. */
void sf_leg_is_opened(struct sf_volume *v, unsigned leg, struct sf_tio_device *device,
                      const struct sf_superblock *sb, uint64_t bytes);
bool sf_leg_can_leave(const struct sf_volume *v, unsigned leg);
/* The record that names another instead is durable. */
void sf_leg_lost_its_place(struct sf_volume *v, unsigned leg, unsigned to);
/* What it has not flushed is copied again where it was the source. */
void sf_leg_doubt_copies(struct sf_volume *v, unsigned leg);
void sf_leg_demote(struct sf_volume *v, unsigned leg, enum sf_leg_state to, const char *reason);
void sf_leg_fall_back(struct sf_volume *v, unsigned leg, enum sf_leg_state to, const char *reason);
void sf_leg_record_faulty(struct sf_volume *v, unsigned leg, bool is_faulty);
void sf_leg_look_for(struct sf_volume *v, unsigned leg, const char *reason);
void sf_leg_mark_stale(struct sf_volume *v, unsigned leg, uint64_t offset, uint64_t length);
void sf_leg_move(struct sf_volume *v, unsigned leg, enum sf_leg_state to, const char *reason);
bool sf_leg_wants(const struct sf_volume *v, unsigned leg, uint64_t offset, uint64_t length);
void sf_medium_forget(struct leg *leg);
void sf_pace_forget(struct leg *leg);

#endif

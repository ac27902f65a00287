/* Of insync.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_INSYNC_H
#define SF_VOLUME_INSYNC_H

#include "volume/state.h"

/* A leg is overdue, or has failed something. */
struct miss {
  unsigned leg;
  enum sf_kind kind; /* of what it owes */
  uint64_t offset;   /* of that, on the leg; of a flush: 0 */
  bool failed;
  int error;        /* if it has */
  legset witnesses; /* legs of the set that have it (reading 4) */
  const char *reason;
};
/* R2: what follows.  The caller has asked sf_insync_leg_hangs() about a leg that is overdue. */
void sf_insync_judge(struct sf_volume *v, const struct miss *miss);
/* So many of the witnesses count. */
unsigned sf_insync_evidence(struct sf_volume *v, const struct miss *miss);
enum sf_leg_state sf_insync_becomes(const struct miss *miss);
/* It has failed something that others have; these were asked whether they answer, and one of them
 * has not said anything yet. */
bool sf_insync_is_blamed(const struct sf_volume *v, unsigned leg);
void sf_insync_settle(struct sf_volume *v); /* legs that owe a read, or a repair */

#endif

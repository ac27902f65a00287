/* What a volume did with its legs while it ran (replaced, added, removed) and its file did not say
 * when it was last read.  A server that starts again must be told all the same: with the file's old
 * path it would wait for a disk that has lost its place. */
#ifndef SUREFOOTD_CHANGED_LEGS_H
#define SUREFOOTD_CHANGED_LEGS_H

#include <surefoot/config.h>

#include "files/plan.h"

enum { CHANGED_LEGS_MAX = 2 * SF_LEGS_MAX }; /* as many may have come as have gone */

struct changed_leg {
  char name[SF_LEG_NAME_MAX];
  char *in_file, *now; /* paths; "": no such leg */
};

struct changed_legs {
  unsigned count;
  struct changed_leg leg[CHANGED_LEGS_MAX];
};

void sfd_changed_legs_clear(struct changed_legs *kept);

/* The volume has done so; path "": removed.  The plan is changed, and says it to the next server.
 * 0 or -errno: nothing is changed. */
int sfd_changed_legs_note(struct changed_legs *kept, struct plan_volume *plan, const char *leg,
                          const char *path);

/* Its file was made to say so. */
void sfd_changed_legs_said(struct changed_legs *kept, const char *leg);

/* The file was read again, into plan.  Where it says what it said before, the volume's own doing
 * stands: behind() is told, and it goes into the plan.  What the file says anew wins.  behind may
 * be NULL. */
int sfd_changed_legs_apply(const struct changed_legs *kept, struct plan_volume *plan,
                           void (*behind)(void *ctx, const struct changed_leg *leg), void *ctx);
/* Forgets what this plan's file, as it was read, says anew. */
void sfd_changed_legs_settle(struct changed_legs *kept, const struct plan_volume *plan);

#endif

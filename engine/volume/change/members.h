/* Of members.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_MEMBERS_H
#define SF_VOLUME_MEMBERS_H

#include "volume/state.h"

void sf_members_settle(struct sf_volume *v);
void sf_members_stopped(struct sf_volume *v);
int sf_member_replace(struct sf_volume *v, unsigned leg, const struct sf_uuid *uuid,
                      const char *path);
int sf_member_add(struct sf_volume *v, const char *name, const char *path,
                  const struct sf_uuid *uuid, unsigned *leg);
int sf_member_remove(struct sf_volume *v, unsigned leg);
int sf_member_find(const struct sf_volume *v, const char *name); /* -ENOENT */
int sf_member_free_place(const struct sf_volume *v);             /* -ENOSPC */

#endif

/* A rig with legs that fail what they are asked, each answer taking its time. */
#ifndef TEST_VOLUME_TROUBLE_RIG_H
#define TEST_VOLUME_TROUBLE_RIG_H

#include "rig.h"

extern struct rig rig;
extern int error_of_all;
extern unsigned failing;            /* legs to which error_of_all applies: bit i */
extern uint64_t takes_ms[RIG_LEGS]; /* what each answer takes, an error too */

int fails_as_told(const struct rig *r, const struct rig_region *region);   /* rig.fails */
bool takes_its_time(const struct rig *r, const struct rig_region *region); /* rig.holds */
/* A volume of 64 extents and min_legs 1 that serves, without a fault yet; intents stay until the
 * test ends, and fail_timeout is 3 s.  All answers take a millisecond. */
void trouble_rig_init(unsigned legs, enum sf_on_too_few on_too_few);

/* A request of each kind. */
enum { KINDS = 3 };
void submit_all(struct rig_request request[KINDS]);
void put_all(struct rig_request request[KINDS]);

#endif

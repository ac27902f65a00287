/* Of facts.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_FACTS_H
#define SF_VOLUME_FACTS_H

#include "volume/state.h"

enum sf_volume_state sf_vol_state(const struct sf_volume *v);
bool sf_record_is_durable(const struct sf_volume *v);
bool sf_record_is_reached(const struct sf_volume *v, uint64_t version);
/* One is under way that names other legs than the durable one: what lacks legs may lack them no
 * more. */
bool sf_record_moves_the_set(const struct sf_volume *v);
/* It is durable, or names the same legs as the durable one and waits for a leg that answers nothing,
 * whose place a leg that comes back is to take. */
bool sf_record_is_as_good_as_durable(const struct sf_volume *v);
legset sf_members(const struct sf_volume *v); /* places that are not empty */
bool sf_leg_is_member(const struct sf_volume *v, unsigned leg);
bool sf_members_may_open(const struct sf_volume *v, unsigned leg);
enum sf_leg_state sf_leg_state(const struct leg *leg);
bool sf_leg_holds(const struct sf_volume *v, unsigned leg, uint64_t size_bytes);
bool sf_leg_punches(const struct sf_volume *v, unsigned leg);
/* Its disk has left the machine, whatever it answers. */
bool sf_leg_is_dead(const struct sf_volume *v,
                    unsigned leg); /* worth opening beside what we have */
/* Its last answer was an error that says nothing of a block: it may not answer at all any more. */
bool sf_leg_fails(const struct sf_volume *v, unsigned leg);
uint64_t sf_vol_asked(const struct sf_request *request);
uint64_t sf_vol_fails_from(const struct sf_request *request); /* fail_timeout counts from then */
uint64_t sf_vol_oldest_held(const struct sf_volume *v);
/* delay_ns after at_ns, and not after now. */
uint64_t sf_vol_later(const struct sf_volume *v, uint64_t at_ns, uint64_t delay_ns);
/* It has waited so much less, as we could not run. */
void sf_vol_excuse_request(const struct sf_volume *v, struct sf_request *request,
                           uint64_t delay_ns);
legset sf_insync_legs(const struct sf_volume *v); /* in sync, durably and by decision */
/* As decided, and a leg whose place is being taken. */
legset sf_set_legs(const struct sf_volume *v);
legset sf_vol_receivers(const struct sf_volume *v); /* legs that still get new writes */

#endif

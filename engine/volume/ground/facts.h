/* Of facts.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_FACTS_H
#define SF_VOLUME_FACTS_H

#include "volume/state.h"

enum sf_volume_state volume_state(const struct sf_volume *v);
bool volume_must_converge(const struct sf_volume *v, const struct sf_request *request);
bool record_is_durable(const struct sf_volume *v);
bool record_is_reached(const struct sf_volume *v, uint64_t version);
/* One is under way that names other legs than the durable one: what lacks legs may lack them no more. */
bool record_moves_the_set(const struct sf_volume *v);
legset members(const struct sf_volume *v); /* places that are not empty */
bool leg_is_member(const struct sf_volume *v, unsigned leg);
bool members_may_open(const struct sf_volume *v, unsigned leg);
enum sf_leg_state leg_state(const struct leg *leg);
bool leg_holds(const struct sf_volume *v, unsigned leg, uint64_t size_bytes);
bool leg_punches(const struct sf_volume *v, unsigned leg);
/* Its disk has left the machine, whatever it answers. */
bool leg_is_gone(const struct sf_volume *v, unsigned leg);
bool leg_is_dead(const struct sf_volume *v, unsigned leg); /* worth opening beside what we have */
uint64_t volume_asked(const struct sf_request *request);
uint64_t volume_oldest_held(const struct sf_volume *v);
/* delay_ns after at_ns, and not after now. */
uint64_t volume_later(const struct sf_volume *v, uint64_t at_ns, uint64_t delay_ns);
/* It has waited so much less, as we could not run. */
void volume_excuse_request(const struct sf_volume *v, struct sf_request *request,
                           uint64_t delay_ns);
legset volume_serving(const struct sf_volume *v);   /* in sync, durably and by decision */
legset volume_receivers(const struct sf_volume *v); /* legs that still get new writes */

#endif

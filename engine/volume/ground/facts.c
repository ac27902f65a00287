/* What can be asked of the state of a volume and of a leg.  Nothing is changed here. */
#include "volume/ground/facts.h"

#include "volume/ground/fault.h"

enum {
  DEAD_S = 2, /* nothing but errors for so long: its path is looked at */
};

legset
sf_insync_legs(const struct sf_volume *v) {
  return v->latest.in_sync & v->durable.in_sync;
}

legset
sf_set_legs(const struct sf_volume *v) {
  return v->latest.in_sync | v->exchange.leaving;
}

legset
sf_vol_receivers(const struct sf_volume *v) {
  legset set = sf_set_legs(v);

  for (unsigned i = 0; i < v->legs; i++)
    if (sf_leg_state(&v->leg[i]) == SF_STATE_CATCHING_UP)
      set |= legbit(i);
  return set;
}

bool
sf_record_is_durable(const struct sf_volume *v) {
  return v->durable_version == v->version;
}

bool
sf_record_is_reached(const struct sf_volume *v, uint64_t version) {
  return v->durable_version >= version;
}

bool
sf_record_moves_the_set(const struct sf_volume *v) {
  return v->latest.in_sync != v->durable.in_sync ||
         (v->ack_legs & (legset) ~(v->latest.in_sync | v->counted)) != 0;
}

bool
sf_record_is_as_good_as_durable(const struct sf_volume *v) {
  return sf_record_is_durable(v) ||
         (v->exchange.unheard != 0 && v->promoting < 0 && !sf_record_moves_the_set(v));
}

legset
sf_members(const struct sf_volume *v) {
  return (legset) ((1u << v->legs) - 1) & (legset) ~v->identity.removed;
}

bool
sf_leg_is_member(const struct sf_volume *v, unsigned index) {
  return index < v->legs && (sf_members(v) & legbit(index));
}

/* A disk that takes a place is emptied when it is opened: not before a crash would find it in that
 * place, as it may be the leg's own. */
bool
sf_members_may_open(const struct sf_volume *v, unsigned index) {
  return !(v->change.under_way && v->change.leg == index);
}

enum sf_leg_state
sf_leg_state(const struct leg *leg) {
  return (enum sf_leg_state) leg->machine.state;
}

bool
sf_leg_holds(const struct sf_volume *v, unsigned leg, uint64_t size_bytes) {
  return v->leg[leg].bytes >= v->data_offset && v->leg[leg].bytes - v->data_offset >= size_bytes;
}

bool
sf_leg_punches(const struct sf_volume *v, unsigned leg) {
  return v->host.device_punches == NULL || v->host.device_punches(v->ctx, v->leg[leg].device);
}

/* It cannot be spared, and what we have open is no good: maybe what its path leads to is. */
bool
sf_leg_is_dead(const struct sf_volume *v, unsigned index) {
  const struct leg *leg = &v->leg[index];
  enum fault fault = sf_fault_of(leg->trouble);

  if (leg->troubled_ns == 0 || !(sf_insync_legs(v) & legbit(index)))
    return false;
  return ((fault == FAULT_PATH || fault == FAULT_GONE) && leg->outstanding_n == 0) ||
         v->now_ns - leg->troubled_ns >= DEAD_S * SF_S;
}

bool
sf_leg_fails(const struct sf_volume *v, unsigned index) {
  const struct leg *leg = &v->leg[index];

  return leg->troubled_ns != 0 && sf_fault_passes(leg->trouble);
}

const char *
sf_volume_state_name(enum sf_volume_state state) {
  static const char *const name[SF_VOLUME_STATES] = {
      [SF_VOLUME_STARTING] = "starting", [SF_VOLUME_HEALTHY] = "healthy",
      [SF_VOLUME_DEGRADED] = "degraded", [SF_VOLUME_SUSPENDED] = "suspended",
      [SF_VOLUME_FAILED] = "failed",     [SF_VOLUME_STOPPING] = "stopping",
  };

  return name[state];
}

enum sf_volume_state
sf_vol_state(const struct sf_volume *v) {
  if (v->phase == PHASE_CLAIMING || v->phase == PHASE_RECORDING)
    return SF_VOLUME_STARTING;
  if (v->taken)
    return SF_VOLUME_FAILED;
  if (v->phase == PHASE_STOPPING || v->phase == PHASE_STOPPED)
    return SF_VOLUME_STOPPING;
  if (v->failed)
    return SF_VOLUME_FAILED;
  if (v->starved_ns != 0 || v->suspended > 0)
    return SF_VOLUME_SUSPENDED;
  return sf_insync_legs(v) == sf_members(v) ? SF_VOLUME_HEALTHY : SF_VOLUME_DEGRADED;
}

uint64_t
sf_vol_asked(const struct sf_request *request) {
  return request->asked_ns != 0 ? request->asked_ns : request->since_ns;
}

uint64_t
sf_vol_fails_from(const struct sf_request *request) {
  uint64_t asked_ns = sf_vol_asked(request);

  return request->zeroed_ns > asked_ns ? request->zeroed_ns : asked_ns;
}

uint64_t
sf_vol_later(const struct sf_volume *v, uint64_t at_ns, uint64_t delay_ns) {
  return at_ns + delay_ns < v->now_ns ? at_ns + delay_ns : v->now_ns;
}

uint64_t
sf_vol_oldest_held(const struct sf_volume *v) {
  const struct sf_request *const list[] = {v->held, v->parked, v->flush_held};
  uint64_t oldest = v->now_ns;

  for (unsigned i = 0; i < sizeof list / sizeof list[0]; i++)
    for (const struct sf_request *r = list[i]; r != NULL; r = r->next)
      if (r->since_ns < oldest)
        oldest = r->since_ns;
  return oldest;
}

void
sf_vol_excuse_request(const struct sf_volume *v, struct sf_request *request, uint64_t delay_ns) {
  request->since_ns = sf_vol_later(v, request->since_ns, delay_ns);
  if (request->asked_ns != 0)
    request->asked_ns = sf_vol_later(v, request->asked_ns, delay_ns);
  if (request->zeroed_ns != 0)
    request->zeroed_ns = sf_vol_later(v, request->zeroed_ns, delay_ns);
}

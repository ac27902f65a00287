/* What the operator sees: a copy taken under the lock, never a wait. */
#include "volume/roof/status.h"
#include "volume/change/drill.h"

#include <stdio.h>
#include <string.h>

#include "volume/change/scrub.h"
#include "volume/ground/deadline.h"
#include "volume/ground/facts.h"
#include "volume/ground/meter.h"
#include "volume/ground/penalty.h"
#include "volume/set/bad.h"
#include "volume/set/culprit.h"
#include "volume/set/medium.h"
#include "volume/set/pace.h"

enum { RESYNC_STALLS_S = 10, RESYNC_STALLS_EXTENTS = 4 };

/* The last extent may be shorter than the others. */
static uint64_t
bytes_of(const struct sf_volume *v, const struct sf_map *map) {
  uint64_t bytes = map->set << v->extent_shift;
  uint64_t tail = (v->extents << v->extent_shift) - v->size_bytes;

  return sf_map_test(map, v->extents - 1) ? bytes - tail : bytes;
}

/* Copies go on, and clients write as fast; or they wait.  An extent may take long by itself. */
static uint64_t
resync_stalled_ns(const struct sf_volume *v, const struct leg *leg) {
  uint64_t stalled = v->now_ns - leg->resync_least_ns, allowed = RESYNC_STALLS_S * SF_S;

  if (v->config.resync_min_rate > 0)
    allowed += RESYNC_STALLS_EXTENTS * (v->extent_bytes * SF_S / v->config.resync_min_rate);
  return stalled > allowed ? stalled : 0;
}

static void
leg_status(const struct sf_volume *v, const struct leg *leg, struct sf_leg_status *status) {
  const struct sf_config_leg *config = &v->config.leg[leg->index];

  *status = (struct sf_leg_status){
      .state = sf_leg_state(leg),
      .stale_bytes = bytes_of(v, &leg->stale),
      .late_requests = sf_leg_state(leg) == SF_STATE_IN_SYNC ? 0 : leg->running,
      .timeouts = leg->timeouts,
      .errors = leg->errors,
      .repairs = leg->medium.repairs,
      .drill_left_ns = sf_drill_left(v, leg->index),
      .resync_bytes = leg->resync_bytes,
  };
  snprintf(status->name, sizeof status->name, "%s", config->name);
  snprintf(status->path, sizeof status->path, "%s", config->path);
  if (status->state == SF_STATE_PROBING)
    sf_penalty_reason(v, leg->index, status->reason, sizeof status->reason);
  else
    snprintf(status->reason, sizeof status->reason, "%s", leg->reason);
  sf_medium_reason(v, leg->index, status->reason, sizeof status->reason);
  sf_pace_reason(v, leg->index, status->reason, sizeof status->reason);
  for (unsigned kind = 0; kind < SF_KINDS; kind++) {
    status->deadline_ns[kind] = sf_deadline_of(v, leg->index, (enum sf_kind) kind);
    status->deadline_source[kind] = sf_deadline_source(v, leg->index, (enum sf_kind) kind);
  }
  sf_meter_leg_status(v, leg->index, status);
  if (status->state == SF_STATE_CATCHING_UP) {
    uint64_t total = leg->resync_total << v->extent_shift;
    uint64_t took = v->now_ns - leg->resync_since_ns;

    status->resyncing = true;
    if (total < status->stale_bytes)
      total = status->stale_bytes;
    status->resync_total_bytes = total;
    status->resync_done_bytes = total - status->stale_bytes;
    if (took > 0)
      status->resync_rate = (uint64_t) ((double) leg->resync_copied_bytes * 1e9 / (double) took);
    if (leg->stale.set <= v->copier.put_off.set)
      status->resync_rate = 0; /* the rest waits for blocks that no leg can read */
    status->resync_stalled_ns = resync_stalled_ns(v, leg);
    if (status->resync_rate > 0 && status->resync_stalled_ns == 0)
      status->resync_left_ns =
          (uint64_t) ((double) status->stale_bytes * 1e9 / (double) status->resync_rate);
  }
}

void
sf_status_fill(const struct sf_volume *v, struct sf_volume_status *status) {
  *status = (struct sf_volume_status){
      .uuid = v->identity.volume,
      .state = sf_vol_state(v),
      .size_bytes = v->served_bytes,
      .term = v->durable.term,
      .change = v->durable.change,
      .min_legs = v->config.min_legs,
      .legs_in_sync = legcount(sf_insync_legs(v)),
      .reads = v->reads,
      .writes = v->writes,
      .flushes = v->flushes,
      .late_acks = v->late_acks,
      .errors = v->errors,
      .unconverged_bytes = bytes_of(v, &v->unconverged) - bytes_of(v, &v->copier.zeroing),
      .unwritten_bytes = bytes_of(v, &v->unwritten),
      .intent_bytes = bytes_of(v, &v->maps.intent),
      .legs = v->legs,
  };
  snprintf(status->name, sizeof status->name, "%s", v->config.name);
  status->waits_for = sf_culprit_legs(v);
  sf_culprit_text(v, status->reason, sizeof status->reason);
  memcpy(status->lost, v->lost.range, sizeof status->lost);
  status->lost_n = v->lost.n;
  status->lost_more = v->lost.more;
  for (unsigned i = 0; i < status->lost_n; i++) {
    struct sf_lost_range *lost = &status->lost[i];

    lost->recorded = sf_bad_covers(v, lost->begin, lost->end - lost->begin);
  }
  sf_scrub_status(v, &status->scrub);
  sf_meter_status(v, status);
  for (unsigned i = 0; i < v->legs; i++)
    leg_status(v, &v->leg[i], &status->leg[i]);
}

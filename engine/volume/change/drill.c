/* Drills.  The leg's device is frozen below everything that judges it (sf_tio_device_freeze()), so
 * what follows is what follows when a disk hangs, and the rooms of the set need not know of it.
 * Nothing else is made worse: a drill begins on a healthy volume that can spare the leg, and ends
 * as soon as another leg or the volume is in trouble. */
#include "volume/change/drill.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "volume/ground/facts.h"
#include "volume/ground/host.h"
#include "volume/ground/silence.h"
#include "volume/set/leg.h"

/* What is a reason to spare clients the drill; NULL: nothing is. */
static const char *
trouble_of_others(const struct sf_volume *v, unsigned drilled) {
  EACH_LEG(leg, sf_members(v) & (legset) ~legbit(drilled)) {
    if (sf_leg_state(&v->leg[leg]) != SF_STATE_IN_SYNC)
      return "another leg is not in sync";
    if (v->leg[leg].troubled_ns != 0)
      return "another leg fails what it is asked";
    if (sf_insync_leg_is_silent(v, leg))
      return "another leg does not answer";
  }
  return NULL;
}

int
sf_drill_begin(struct sf_volume *v, unsigned leg, uint64_t duration_ns) {
  char text[64];

  if (v->host.device_freeze == NULL)
    return -EOPNOTSUPP;
  if (v->drill.device != NULL)
    return -EALREADY;
  if (duration_ns == 0 || duration_ns > SF_DRILL_MOST_NS)
    return -EINVAL;
  if (sf_vol_state(v) != SF_VOLUME_HEALTHY || sf_leg_state(&v->leg[leg]) != SF_STATE_IN_SYNC ||
      trouble_of_others(v, leg) != NULL)
    return -ENOTCONN;
  if (!sf_leg_can_leave(v, leg))
    return -EBUSY;
  v->drill =
      (struct drill){.device = v->leg[leg].device, .leg = leg, .until_ns = v->now_ns + duration_ns};
  snprintf(text, sizeof text, "it is kept from answering for %" PRIu64 " ms", duration_ns / SF_MS);
  sf_vol_event(v, SF_EVENT_DRILL, (int) leg, NULL, "begins", text);
  v->host.device_freeze(v->ctx, v->drill.device, true);
  v->dirty = true;
  return 0;
}

/* Where the leg has another disk by now, the old one is thawed as it is given back
 * (sf_tio_device_remove()). */
static void
end(struct sf_volume *v, const char *why) {
  unsigned leg = v->drill.leg;

  if (v->leg[leg].device == v->drill.device)
    v->host.device_freeze(v->ctx, v->drill.device, false);
  v->drill.device = NULL;
  sf_vol_event(v, SF_EVENT_DRILL, (int) leg, "begins", "ends", why);
}

int
sf_drill_cancel(struct sf_volume *v) {
  if (v->drill.device == NULL)
    return -ENOENT;
  end(v, "cancelled by the operator");
  v->dirty = true;
  return 0;
}

/* NULL: it goes on. */
static const char *
why_over(const struct sf_volume *v) {
  enum sf_volume_state state = sf_vol_state(v);
  const char *trouble = trouble_of_others(v, v->drill.leg);

  if (v->phase != PHASE_SERVING)
    return "the volume stops";
  if (v->leg[v->drill.leg].device != v->drill.device)
    return "its disk is not in use any more";
  if (trouble != NULL)
    return trouble;
  if (state == SF_VOLUME_SUSPENDED || state == SF_VOLUME_FAILED)
    return "requests wait, or have failed";
  return v->now_ns >= v->drill.until_ns ? "" : NULL;
}

void
sf_drill_settle(struct sf_volume *v) {
  const char *why;

  if (v->drill.device == NULL)
    return;
  why = why_over(v);
  if (why != NULL)
    end(v, why);
  else
    sf_vol_arm(v, v->drill.until_ns);
}

void
sf_drill_stopped(struct sf_volume *v) {
  if (v->drill.device != NULL)
    end(v, "the volume stops");
}

uint64_t
sf_drill_left(const struct sf_volume *v, unsigned leg) {
  if (v->drill.device == NULL || v->drill.leg != leg || v->drill.until_ns <= v->now_ns)
    return 0;
  return v->drill.until_ns - v->now_ns;
}

/* A leg that stays in sync and fails what it is asked. */
#include "volume/ground/trouble.h"

#include <stdio.h>

#include "volume/ground/facts.h"
#include "volume/ground/host.h"

enum {
  TELL_AGAIN_S = 10, /* from one series of errors to the next */
};

void
sf_leg_trouble(struct sf_volume *v, unsigned index, const char *reason) {
  struct leg *leg = &v->leg[index];

  if (sf_leg_state(leg) != SF_STATE_IN_SYNC || leg->reason[0] != '\0')
    return;
  snprintf(leg->reason, sizeof leg->reason, "%s", reason);
  if (leg->told_ns != 0 && v->now_ns - leg->told_ns < TELL_AGAIN_S * SF_S)
    return;
  leg->told_ns = v->now_ns;
  sf_vol_event(v, SF_EVENT_LEG_TROUBLE, (int) index, NULL, NULL, reason);
}

void
sf_leg_well(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  if (leg->troubled_ns != 0)
    leg->well_ns = v->now_ns;
  leg->troubled_ns = leg->drain_until_ns = 0;
  if (sf_leg_state(leg) == SF_STATE_IN_SYNC && !leg->flush_failed)
    leg->reason[0] = '\0';
}

/* A volume that does not go on names the legs that it waits for: what the operator has to look at
 * is one leg, or some, and not the volume. */
#include "volume/set/culprit.h"

#include <inttypes.h>

#include "base/text.h"
#include "volume/ground/facts.h"
#include "volume/ground/host.h"
#include "volume/ground/meter.h"

/* A leg in sync is to blame that is past its time or fails its requests; where too few are in sync,
 * so is each that is not.  If there is none of these: the legs that an answer needs. */
legset
sf_culprit_legs(const struct sf_volume *v) {
  legset serving = sf_insync_legs(v), set = sf_meter_overdue(v) & serving;
  enum sf_volume_state state = sf_vol_state(v);

  if (v->taken || (state != SF_VOLUME_SUSPENDED && state != SF_VOLUME_FAILED))
    return 0;
  EACH_LEG(leg, serving) {
    if (v->leg[leg].troubled_ns != 0 || v->leg[leg].flush_failed)
      set |= legbit(leg);
  }
  if (legcount(serving) < v->min_legs)
    set |= sf_members(v) & (legset) ~serving;
  return set;
}

/* ---- in words ---- */

static void
put_legs(const struct sf_volume *v, legset legs, struct sf_text *text) {
  unsigned left = legcount(legs);

  sf_text_put(text, left > 1 ? "legs " : "leg ");
  EACH_LEG(leg, legs) {
    sf_text_put(text, "%s", v->config.leg[leg].name);
    if (sf_leg_state(&v->leg[leg]) != SF_STATE_IN_SYNC)
      sf_text_put(text, " (%s)", sf_leg_state_name(sf_leg_state(&v->leg[leg])));
    sf_text_put(text, "%s", sf_text_after_name(--left));
  }
}

struct count {
  unsigned waiting[SF_KINDS];
  uint64_t oldest_ns;
};

static void
count_one(void *ctx, enum sf_kind kind, uint64_t age_ns) {
  struct count *count = ctx;

  count->waiting[kind]++;
  if (age_ns > count->oldest_ns)
    count->oldest_ns = age_ns;
}

static void
put_waiting(const struct sf_volume *v, struct sf_text *text) {
  static const char *const one[SF_KINDS] = {"read", "write", "flush"};
  static const char *const many[SF_KINDS] = {"reads", "writes", "flushes"};
  static const enum sf_kind order[] = {SF_WRITE_KIND, SF_READ_KIND, SF_FLUSH_KIND};
  struct count count = {0};
  const char *between = ": ";

  sf_meter_visit_waiting(v, count_one, &count);
  for (unsigned i = 0; i < SF_KINDS; i++) {
    unsigned n = count.waiting[order[i]];

    if (n == 0)
      continue;
    sf_text_put(text, "%s%u %s", between, n, n == 1 ? one[order[i]] : many[order[i]]);
    between = ", ";
  }
  if (count.oldest_ns >= SF_S)
    sf_text_put(text, ", the oldest %.1f s", (double) count.oldest_ns / 1e9);
  else if (count.oldest_ns > 0)
    sf_text_put(text, ", the oldest %" PRIu64 " ms", count.oldest_ns / SF_MS);
}

void
sf_culprit_text(const struct sf_volume *v, char *text, size_t size) {
  enum sf_volume_state state = sf_vol_state(v);
  legset legs = sf_culprit_legs(v);
  struct sf_text to = {text, size};

  text[0] = '\0';
  if (v->taken) {
    sf_text_put(&to, "%s", v->taken_by);
    return;
  }
  if (state != SF_VOLUME_SUSPENDED && state != SF_VOLUME_FAILED)
    return;
  sf_text_put(&to, state == SF_VOLUME_SUSPENDED ? "waits" : "requests failed");
  if (legs != 0) {
    sf_text_put(&to, state == SF_VOLUME_SUSPENDED ? " for " : " for want of ");
    put_legs(v, legs, &to);
  }
  put_waiting(v, &to);
  sf_text_put(&to, "; %u leg%s needed", v->min_legs, v->min_legs == 1 ? "" : "s");
}

void
sf_vol_tell_state(struct sf_volume *v) {
  enum sf_volume_state state = sf_vol_state(v);
  char reason[SF_LEG_REASON_MAX];

  if (state == v->told)
    return;
  sf_culprit_text(v, reason, sizeof reason);
  sf_vol_event(v, SF_EVENT_STATE, -1, sf_volume_state_name(v->told), sf_volume_state_name(state),
               reason);
  v->told = state;
  v->told_ns = v->now_ns;
}

/* Settings that change: the live ones while clients work, and min_legs from one start to the
 * next. */
#include "sim/sim.h"

void
settings_start(void) {
  if (sim.options.settings_gap_ns != 0)
    event_add(random_around(sim.options.settings_gap_ns), EV_SETTINGS, 0, 0);
}

static uint64_t
between(uint64_t least, uint64_t most) {
  return least + random_below(most - least + 1);
}

uint64_t
sim_with_grace(uint64_t timeout_ns) {
  return timeout_ns == SF_CONFIG_AUTO ? SF_CONFIG_AUTO : timeout_ns + timeout_ns / 4;
}

uint64_t
sim_without_grace(uint64_t deadline_ns) {
  return deadline_ns - deadline_ns / 5;
}

void
sim_fit_fail_timeout(struct sf_config *config) {
  for (unsigned k = 0; k < SF_KINDS; k++)
    if (config->deadline_ns[k] != SF_CONFIG_AUTO &&
        config->fail_timeout_ns < config->deadline_ns[k])
      config->fail_timeout_ns = config->deadline_ns[k];
}

static void
draw_live(struct sf_config *c) {
  switch (random_below(6)) {
  case 0:
    c->deadline_ns[SF_READ_KIND] = sim_with_grace(between(10, 120) * SIM_MS);
    c->deadline_ns[SF_WRITE_KIND] = sim_with_grace(between(10, 120) * SIM_MS);
    break;
  case 1:
    c->deadline_ns[SF_FLUSH_KIND] = sim_with_grace(between(10, 1000) * SIM_MS);
    if (c->deadline_ns[SF_FLUSH_KIND] < 125 * SIM_MS) /* no draw more: a seed stays what it is */
      c->deadline_ns[SF_WRITE_KIND] = SF_CONFIG_AUTO;
    break;
  case 2:
    c->fail_timeout_ns = between(1000, 4000) * SIM_MS;
    break;
  case 3:
    c->leg[random_below(c->legs)].timeout_ns[random_below(SF_KINDS)] =
        sim_with_grace(between(0, 60) * SIM_MS);
    break;
  case 4:
    c->intent_delay_ns = between(20, 2000) * SIM_MS;
    c->hot_extents = (unsigned) between(1, 200);
    break;
  default:
    c->resync_max_rate = random_chance(500) ? 0 : c->resync_min_rate * between(1, 16);
  }
  if (random_chance(500))
    c->on_too_few = c->on_too_few == SF_TOO_FEW_SUSPEND ? SF_TOO_FEW_ERROR : SF_TOO_FEW_SUSPEND;
  sim_fit_fail_timeout(c);
}

static void
take(struct sf_config *into, const struct sf_config *from) {
  into->on_too_few = from->on_too_few;
  into->fail_timeout_ns = from->fail_timeout_ns;
  into->intent_delay_ns = from->intent_delay_ns;
  into->hot_extents = from->hot_extents;
  into->resync_max_rate = from->resync_max_rate;
  for (unsigned k = 0; k < SF_KINDS; k++) {
    into->deadline_ns[k] = from->deadline_ns[k];
    for (unsigned i = 0; i < into->legs; i++)
      into->leg[i].timeout_ns[k] = from->leg[i].timeout_ns[k];
  }
}

/* A setting made while no process runs is in force at the next start. */
static void
change(void) {
  struct sf_config drawn = sim.config, now;
  int r = 0;

  draw_live(&drawn);
  sim.troubles++;
  COUNT(settings);
  if (sim.volume != NULL) {
    sf_volume_get_config(sim.volume, &now);
    take(&now, &drawn);
    r = sf_volume_configure(sim.volume, &now, sim.now_ns);
  }
  TRACE("operator: settings: %d", r);
  if (r != 0)
    sim_fail("live settings are refused: %d", r);
  take(&sim.config, &drawn);
  sim_settings_changed();
}

void
settings_event(void) {
  if (sim.healing)
    return;
  event_add(sim.now_ns + random_around(sim.options.settings_gap_ns), EV_SETTINGS, 0, 0);
  if (!sim.lull)
    change();
}

void
settings_before_start(void) {
  unsigned least;

  if (sim.options.min_legs_permille == 0 || sim_is_calm() ||
      !random_chance(sim.options.min_legs_permille))
    return;
  least = 1 + (unsigned) random_below(sim.options.legs_formatted);
  if (least == sim.config.min_legs)
    return;
  COUNT(min_legs_changed);
  sim.troubles++;
  TRACE("operator: min_legs %u, it was %u", least, sim.config.min_legs);
  sim.config.min_legs = least;
  trust_reset();
}

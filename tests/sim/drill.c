/* Drills: an operator keeps a leg from answering.  To everything else here it is a leg that hangs,
 * so all that is asked of a hang is asked of it; and when nothing else is wrong, it begins only
 * where the leg can be spared. */
#include "sim/sim.h"

void
drill_start(void) {
  if (sim.options.drill_gap_ns != 0)
    event_add(random_around(sim.options.drill_gap_ns), EV_DRILL, 0, 0);
}

static void
begin(void) {
  unsigned leg = (unsigned) random_below(sim.options.legs), in_sync = 0;
  uint64_t ns =
      random_chance(700) ? SIM_MS * (1 + random_below(2000)) : SIM_S * (1 + random_below(60));
  int r;

  for (unsigned i = 0; i < sim.options.legs; i++)
    in_sync += i != leg && sim.leg_state[i] == SF_STATE_IN_SYNC;
  r = sf_volume_drill(sim.volume, leg, ns, sim.now_ns);
  TRACE("operator: drill of leg %u for %lu ms: %d", leg, (unsigned long) (ns / SIM_MS), r);
  if (r != 0)
    return;
  COUNT(drills);
  sim.troubles++;
  if (in_sync < inside_min_legs(sim.volume))
    sim_fail("a drill of leg %u leaves %u legs, and %u are needed", leg, in_sync,
             inside_min_legs(sim.volume));
}

void
drill_event(void) {
  if (sim.healing)
    return;
  event_add(sim.now_ns + random_around(sim.options.drill_gap_ns), EV_DRILL, 0, 0);
  if (sim.volume == NULL || sim.stopping)
    return;
  if (random_chance(200))
    sf_volume_drill_cancel(sim.volume, sim.now_ns);
  else
    begin();
}

void
drill_heal(void) {
  if (sim.volume != NULL)
    sf_volume_drill_cancel(sim.volume, sim.now_ns);
}

/* What began before was kept from its answer, whoever ended the drill. */
void
drill_thaw(unsigned index) {
  struct sim_leg *leg = &sim.leg[index];

  if (leg->frozen_device == 0)
    return;
  leg->frozen_device = 0;
  leg->fault_ended_ns = sim.now_ns;
  if (leg->cured_ns < sim.now_ns)
    leg->cured_ns = sim.now_ns;
  tio_unpark(index);
}

/* The disk was never kept from anything. */
void
drill_process_ended(void) {
  for (unsigned i = 0; i < sim.options.legs; i++)
    drill_thaw(i);
}

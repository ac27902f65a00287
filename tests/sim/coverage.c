/* What have the runs seen?  Every allowed move of every checked state machine, and every kind of
 * event in the simulator's own world: what never happens is not tested, whatever the runs say. */
#include <stdio.h>
#include <string.h>

#include "volume/ops/copy.h"
#include "volume/ops/copy_end.h"
#include "volume/ops/op.h"
#include "volume/set/leg.h"
#include "volume/set/map_write.h"
#include "volume/state.h"

#include "sim/main.h"

static const struct sf_state_table *const machine[] = {&sf_leg_table, &sf_op_table, &sf_copy_table,
                                                       &sf_map_write_table};
enum { MACHINES = sizeof machine / sizeof machine[0] };
_Static_assert((int) MACHINES <= (int) MACHINES_MAX, "each machine has its marks");

static uint32_t moves[MACHINES][SF_STATES_MAX][SF_STATES_MAX];

/* The linker puts this in front of sf_state_move(): see --wrap in the CMakeLists.txt. */
void __real_sf_state_move(struct sf_state_machine *mover, unsigned state,
                          const struct sf_state_hooks *hooks, void *owner);
void __wrap_sf_state_move(struct sf_state_machine *mover, unsigned state,
                          const struct sf_state_hooks *hooks, void *owner);

void
__wrap_sf_state_move(struct sf_state_machine *mover, unsigned state,
                     const struct sf_state_hooks *hooks, void *owner) {
  unsigned m = 0;

  while (m < MACHINES && machine[m] != mover->table)
    m++;
  if (m == MACHINES)
    sim_fail("a state machine that coverage.c does not know: %s", mover->table->machine);
  if (mover->state < SF_STATES_MAX && state < SF_STATES_MAX)
    moves[m][mover->state][state]++;
  __real_sf_state_move(mover, state, hooks, owner);
}

void
coverage_publish(void) {
  for (unsigned m = 0; m < MACHINES; m++)
    for (unsigned from = 0; from < SF_STATES_MAX; from++)
      for (unsigned to = 0; to < SF_STATES_MAX; to++)
        shared_add(&shared->moves[m][from][to], moves[m][from][to]);
  memset(moves, 0, sizeof moves);
  for (unsigned i = 0; i < SIM_COUNT_KINDS; i++)
    shared_add(&shared->count[i], sim.count[i]);
}

const char *const sim_count_name[SIM_COUNT_KINDS] = {
#define NAME(name) [COUNT_##name] = #name,
    SIM_COUNTS(NAME)
#undef NAME
};

/* What a draw that is off would count, or another kind of run. */
static bool
is_off(unsigned count) {
  static const struct {
    unsigned count, draw;
  } of[] = {{COUNT_bursts, SWITCH_suspend_storm},
            {COUNT_suspensions, SWITCH_suspend_storm},
            {COUNT_reopenings, SWITCH_all_gone_dead},
            {COUNT_fua_errors, SWITCH_fua_errors},
            {COUNT_forced_starts, SWITCH_forced},
            {COUNT_heads_lost, SWITCH_heads},
            {COUNT_heads_back, SWITCH_heads},
            {COUNT_starts_without_head, SWITCH_heads},
            {COUNT_zeroed_extents, SWITCH_unwritten},
            {COUNT_rotten, SWITCH_scrubs},
            {COUNT_scrubs, SWITCH_scrubs},
            {COUNT_scrubs_done, SWITCH_scrubs},
            {COUNT_drills, SWITCH_drills},
            {COUNT_silences, SWITCH_silent_storm},
            {COUNT_exchanges, SWITCH_silent_storm},
            {COUNT_relapses, SWITCH_silent_storm},
            {COUNT_silent_leavings, SWITCH_silent_storm},
            {COUNT_mismatches, SWITCH_scrubs},
            {COUNT_scrub_repairs, SWITCH_scrubs},
            {COUNT_torn_at_resets, SWITCH_torn_resets},
            {COUNT_torn_unreadable, SWITCH_torn_unreadable},
            {COUNT_late_errors, SWITCH_late_errors},
            {COUNT_late_copies, SWITCH_late_copies},
            {COUNT_slow_deaths, SWITCH_slow_deaths},
            {COUNT_late_openings, SWITCH_late_openings},
            {COUNT_flushes_forgotten, SWITCH_flush_errors_anywhere}};

  if (count >= COUNT_busy_pauses && !busy_is_on())
    return true;
  /* Too rare to be seen in so many seeds for sure; sim/bad-ranges and sim/leaving see to these. */
  if ((count == COUNT_bad_written || count == COUNT_bad_reads || count == COUNT_bad_starts) &&
      !swarm_is_always(SWITCH_bad_storm))
    return true;
  if ((count == COUNT_early_cancels || count == COUNT_silent_forced) &&
      !swarm_is_always(SWITCH_leaving_storm))
    return true;
  for (unsigned i = 0; i < sizeof of / sizeof of[0]; i++)
    if (of[i].count == count && !swarm_is_on(of[i].draw))
      return true;
  return false;
}

/* Zeros are copied from nowhere. */
static bool
is_of_no_run(unsigned m, unsigned from, unsigned to) {
  return machine[m] == &sf_copy_table && from == COPY_WAITING && to == COPY_WRITING &&
         !swarm_is_on(SWITCH_unwritten);
}

unsigned
coverage_print_missing(void) {
  unsigned missing = 0;

  for (unsigned m = 0; m < MACHINES; m++)
    for (unsigned from = 0; from < machine[m]->states; from++)
      for (unsigned to = 0; to < machine[m]->states; to++)
        if ((machine[m]->moves[from] & SF_MOVE_TO(to)) && shared->moves[m][from][to] == 0 &&
            !is_of_no_run(m, from, to)) {
          printf("never seen: %s %s -> %s\n", machine[m]->machine, machine[m]->name[from],
                 machine[m]->name[to]);
          missing++;
        }
  for (unsigned i = 0; i < SIM_COUNT_KINDS; i++)
    if (shared->count[i] == 0 && !is_off(i)) {
      printf("never seen: %s\n", sim_count_name[i]);
      missing++;
    }
  return missing;
}

#include "base/state_machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

void
sf_state_init(struct sf_state_machine *machine, const struct sf_state_table *table, uint64_t id,
              unsigned state) {
  SF_ASSERT(table->states <= SF_STATES_MAX && state < table->states);
  *machine = (struct sf_state_machine){.table = table, .id = id, .state = state};
}

void
sf_state_check(const struct sf_state_table *table, uint64_t id, unsigned from, unsigned to) {
  SF_ASSERT(from < table->states && to < table->states);
  if (table->moves[from] & SF_MOVE_TO(to))
    return;
  fprintf(stderr, "surefoot: %s %" PRIu64 ": the move %s -> %s is not allowed\n", table->machine,
          id, table->name[from], table->name[to]);
  abort();
}

void
sf_state_move(struct sf_state_machine *machine, unsigned state, const struct sf_state_hooks *hooks,
              void *owner) {
  const struct sf_state_table *table = machine->table;
  unsigned from = machine->state;

  sf_state_check(table, machine->id, from, state);
  machine->state = state;
  if (hooks->trace) {
    char line[128];

    snprintf(line, sizeof line, "%s %" PRIu64 ": %s -> %s", table->machine, machine->id,
             table->name[from], table->name[state]);
    hooks->trace(owner, line);
  }
  if (hooks->invariant)
    hooks->invariant(owner, machine);
}

const char *
sf_state_name(const struct sf_state_machine *machine) {
  return machine->table->name[machine->state];
}

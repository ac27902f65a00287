#include "base/sm.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"

void
sf_sm_init(struct sf_sm *sm, const struct sf_sm_table *table, uint64_t id, unsigned state) {
  SF_MUST(table->states <= SF_SM_STATES_MAX && state < table->states);
  *sm = (struct sf_sm){.table = table, .id = id, .state = state};
}

void
sf_sm_check(const struct sf_sm_table *table, uint64_t id, unsigned from, unsigned to) {
  SF_MUST(from < table->states && to < table->states);
  if (table->moves[from] & SF_SM_TO(to))
    return;
  fprintf(stderr, "surefoot: %s %" PRIu64 ": the move %s -> %s is not allowed\n", table->machine,
          id, table->name[from], table->name[to]);
  abort();
}

void
sf_sm_move(struct sf_sm *sm, unsigned state, const struct sf_sm_hooks *hooks, void *owner) {
  const struct sf_sm_table *table = sm->table;
  unsigned from = sm->state;

  sf_sm_check(table, sm->id, from, state);
  sm->state = state;
  if (hooks->trace) {
    char line[128];

    snprintf(line, sizeof line, "%s %" PRIu64 ": %s -> %s", table->machine, sm->id,
             table->name[from], table->name[state]);
    hooks->trace(owner, line);
  }
  if (hooks->invariant)
    hooks->invariant(owner, sm);
}

const char *
sf_sm_state_name(const struct sf_sm *sm) {
  return sm->table->name[sm->state];
}

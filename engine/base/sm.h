/* Checked state machines: a table of allowed moves, an invariant asked after each, a trace line
 * with the machine's ids.  A move that is not in the table is a bug in the program and aborts. */
#ifndef SF_BASE_SM_H
#define SF_BASE_SM_H

#include <stdint.h>

#define SF_SM_STATES_MAX 8

struct sf_sm_table {
  const char *machine; /* "leg", "op", ... */
  unsigned states;
  const char *name[SF_SM_STATES_MAX];
  uint8_t moves[SF_SM_STATES_MAX]; /* bit s: a move to state s is allowed from here */
};

struct sf_sm {
  const struct sf_sm_table *table;
  uint64_t id;
  unsigned state;
};

#define SF_SM_TO(state) ((uint8_t) (1u << (state)))

/* A machine's owner: the invariant and the trace take it as argument. */
struct sf_sm_hooks {
  void (*invariant)(void *owner, const struct sf_sm *sm); /* aborts when broken; may be NULL */
  void (*trace)(void *owner, const char *line);           /* may be NULL */
};

/* For a state that stands elsewhere, before it changes: aborts unless the move is in the table. */
void sf_sm_check(const struct sf_sm_table *table, uint64_t id, unsigned from, unsigned to);
void sf_sm_init(struct sf_sm *sm, const struct sf_sm_table *table, uint64_t id, unsigned state);
void sf_sm_move(struct sf_sm *sm, unsigned state, const struct sf_sm_hooks *hooks, void *owner);
const char *sf_sm_state_name(const struct sf_sm *sm);

#endif

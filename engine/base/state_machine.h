/* Checked state machines: a table of allowed moves, an invariant asked after each, a trace line
 * with the machine's ids.  A move that is not in the table is a bug in the program and aborts. */
#ifndef SF_BASE_STATE_MACHINE_H
#define SF_BASE_STATE_MACHINE_H

#include <stdint.h>

#define SF_STATES_MAX 8

struct sf_state_table {
  const char *machine; /* "leg", "op", ... */
  unsigned states;
  const char *name[SF_STATES_MAX];
  uint8_t moves[SF_STATES_MAX]; /* bit s: a move to state s is allowed from here */
};

struct sf_state_machine {
  const struct sf_state_table *table;
  uint64_t id;
  unsigned state;
};

#define SF_MOVE_TO(state) ((uint8_t) (1u << (state)))

/* A machine's owner: the invariant and the trace take it as argument. */
struct sf_state_hooks {
  void (*invariant)(void *owner,
                    const struct sf_state_machine *machine); /* aborts when broken; may be NULL */
  void (*trace)(void *owner, const char *line);              /* may be NULL */
};

/* For a state that stands elsewhere, before it changes: aborts unless the move is in the table. */
void sf_state_check(const struct sf_state_table *table, uint64_t id, unsigned from, unsigned to);
void sf_state_init(struct sf_state_machine *machine, const struct sf_state_table *table,
                   uint64_t id, unsigned state);
void sf_state_move(struct sf_state_machine *machine, unsigned state,
                   const struct sf_state_hooks *hooks, void *owner);
const char *sf_state_name(const struct sf_state_machine *machine);

#endif

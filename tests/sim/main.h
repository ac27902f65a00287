/* What the worker processes and their parent share. */
#ifndef SIM_MAIN_H
#define SIM_MAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/state_machine.h"
#include "sim/sim.h"

enum { SIM_EXIT_FAILED = 42, JOBS_MAX = 64 };

/* One at a time runs in it. */
struct worker {
  int pid;
  uint64_t seed, ops_in_run;
  char message[4096];
};

struct shared {
  uint64_t next_turn;
  bool stop; /* a worker failed: no new run */
  uint64_t runs, ops, count[SIM_COUNT_KINDS];
  uint64_t moves[MACHINES_MAX][SF_STATES_MAX][SF_STATES_MAX];
  struct worker worker[JOBS_MAX + 1]; /* the last is the parent's, for running a failure again */
};
extern struct shared *shared;
extern struct worker *worker; /* this process's own */

/* Several workers add to it. */
static inline void
shared_add(uint64_t *total, uint64_t n) {
  if (n != 0)
    __atomic_fetch_add(total, n, __ATOMIC_RELAXED);
}

/* coverage.c */
void coverage_publish(void);
unsigned coverage_print_missing(void); /* what never happened; how many */

#endif

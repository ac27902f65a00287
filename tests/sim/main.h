/* What a worker process and its parent share. */
#ifndef SIM_MAIN_H
#define SIM_MAIN_H

#include <stdint.h>

enum { SIM_EXIT_FAILED = 42 };

struct shared {
  uint64_t seed, runs, ops, ops_in_run;
  uint64_t kills, power_cuts, starts, demotions;
  char message[4096];
};
extern struct shared *shared;

#endif

/* How an option is drawn.  Each is drawn from the seed and its own name alone, so that a new one
 * leaves all the others as they were. */
#ifndef SIM_SWARM_H
#define SIM_SWARM_H

#include "sim/sim.h"

extern uint64_t option_seed;
void option(const char *name, unsigned index); /* what follows is drawn for this one */

/* DRAW(field, value): the draws in `value` are that option's own. */
#define DRAW(field, ...) (option(#field, 0), o->field = (__VA_ARGS__))

bool one_in(unsigned n);
uint64_t between(uint64_t least, uint64_t most);
unsigned some(unsigned least, unsigned most);
bool one_in_or_always(unsigned n, unsigned draw);

void most_ops(struct options *o, unsigned most);
void draw_deadlines(struct options *o, unsigned least_ms, unsigned most_ms);
void draw_latencies(struct options *o, unsigned least_us, unsigned most_us);

void swarm_draw_storms(struct options *o); /* storms.c */

#endif

/* Sets of legs. */
#ifndef SF_VOLUME_LEGSET_H
#define SF_VOLUME_LEGSET_H

#include <stdbool.h>
#include <stdint.h>

typedef uint16_t legset; /* bit i: leg i */

static inline legset
legbit(unsigned leg) {
  return (legset) (1u << leg);
}

static inline unsigned
legcount(legset set) {
  return (unsigned) __builtin_popcount(set);
}

/* for (each leg number in set) */
#define EACH_LEG(leg, set)                                                                         \
  for (unsigned leg##_set = (set), leg = 0;                                                        \
       leg##_set != 0 && (leg = (unsigned) __builtin_ctz(leg##_set), true);                        \
       leg##_set &= leg##_set - 1)

#endif

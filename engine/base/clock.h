/* The monotonic clock, in nanoseconds. */
#ifndef SF_BASE_CLOCK_H
#define SF_BASE_CLOCK_H

#include <time.h>

#include "base/assert.h"
#include "base/units.h"

static inline uint64_t
sf_clock_ns(void) {
  struct timespec now;

  SF_ASSERT(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
  return (uint64_t) now.tv_sec * SF_S + (uint64_t) now.tv_nsec;
}

#endif

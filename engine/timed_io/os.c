/* The few calls on threads and time that the rest shares. */
#include "timed_io/internal.h"

#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/thread.h"

uint64_t
sf_tio_now(void) {
  return sf_clock_ns();
}

struct timespec
sf_tio_timespec(uint64_t ns) {
  return (struct timespec){.tv_sec = (time_t) (ns / SF_S), .tv_nsec = (long) (ns % SF_S)};
}

uint64_t
sf_tio_after(uint64_t now_ns, uint64_t delay_ns) {
  return delay_ns < SF_TIO_NEVER - now_ns ? now_ns + delay_ns : SF_TIO_NEVER;
}

void
sf_tio_cond_init(pthread_cond_t *cond) {
  pthread_condattr_t attr;

  SF_ASSERT(pthread_condattr_init(&attr) == 0);
  SF_ASSERT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
  SF_ASSERT(pthread_cond_init(cond, &attr) == 0);
  pthread_condattr_destroy(&attr);
}

int
sf_tio_spawn(pthread_t *thread, const char *prefix, const char *name, void *(*main)(void *),
             void *arg) {
  char full[32];

  snprintf(full, sizeof full, "%.8s-%.6s", prefix, name);
  return sf_thread_start(thread, full, main, arg);
}

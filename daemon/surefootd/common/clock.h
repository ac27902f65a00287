/* Time for what waits without an event loop. */
#ifndef SUREFOOTD_CLOCK_H
#define SUREFOOTD_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC. */
int64_t sfd_clock_ms(void);

#endif

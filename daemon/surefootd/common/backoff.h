/* When to try again: at once after the first failure, then ever later, up to half a minute.  A
 * server that was well before it failed has no lasting fault, so it is tried again at once, the
 * first BACKOFF_AT_ONCE times.  After a minute of being well all is forgotten. */
#ifndef SUREFOOTD_BACKOFF_H
#define SUREFOOTD_BACKOFF_H

#include <stdint.h>

enum { BACKOFF_AT_ONCE = 10 };

struct backoff {
  unsigned failures; /* in a row */
  unsigned at_once;  /* how often it was well, and failed, in less than a minute */
  uint64_t since_us; /* well since; 0: not */
};

void sfd_backoff_well(struct backoff *backoff, uint64_t now_us);
/* A failure: how long to wait before the next try. */
uint64_t sfd_backoff_failed(struct backoff *backoff, uint64_t now_us);

#endif

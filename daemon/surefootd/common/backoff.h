/* When to try again: at once after the first failure, then ever later, up to half a minute.  Who has
 * been well for a minute begins anew. */
#ifndef SUREFOOTD_BACKOFF_H
#define SUREFOOTD_BACKOFF_H

#include <stdint.h>

struct backoff {
  unsigned failures; /* in a row */
  uint64_t since_us; /* well since; 0: not */
};

void backoff_well(struct backoff *backoff, uint64_t now_us);
/* A failure: how long to wait before the next try. */
uint64_t backoff_failed(struct backoff *backoff, uint64_t now_us);

#endif

#include "common/backoff.h"

#include <stdbool.h>

#define SECOND_US UINT64_C(1000000)

enum { WELL_S = 60, DOUBLINGS_MAX = 6 };

static const uint64_t first_us = SECOND_US / 2, most_us = 30 * SECOND_US;

void
sfd_backoff_well(struct backoff *backoff, uint64_t now_us) {
  if (backoff->since_us == 0)
    backoff->since_us = now_us ? now_us : 1;
}

uint64_t
sfd_backoff_failed(struct backoff *backoff, uint64_t now_us) {
  bool was_well = backoff->since_us != 0;
  if (was_well && now_us - backoff->since_us >= WELL_S * SECOND_US)
    *backoff = (struct backoff){0};
  else if (was_well && backoff->at_once < BACKOFF_AT_ONCE) {
    backoff->at_once++;
    backoff->failures = 0;
  }
  backoff->since_us = 0;
  unsigned failures = backoff->failures++;
  if (failures == 0)
    return 0;
  if (failures > DOUBLINGS_MAX)
    return most_us;
  uint64_t wait_us = first_us << (failures - 1);
  return wait_us < most_us ? wait_us : most_us;
}

/* The metrics' HTTP endpoint: GET /metrics.  Off unless the settings give it an address. */
#ifndef SUREFOOTD_METRICS_H
#define SUREFOOTD_METRICS_H

struct daemon;
struct metrics;

int metrics_create(struct daemon *daemon, struct metrics **metrics);
/* NULL is accepted. */
void metrics_destroy(struct metrics *metrics);

#endif

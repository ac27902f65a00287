/* The metrics' HTTP endpoint: GET /metrics.  Off unless the settings give it an address. */
#ifndef SUREFOOTD_METRICS_H
#define SUREFOOTD_METRICS_H

struct volumes;
struct metrics;

int sfd_metrics_create(const struct volumes *volumes, struct metrics **metrics);
/* NULL is accepted. */
void sfd_metrics_destroy(struct metrics *metrics);

#endif

/* The latency of the last hour as drawings, a leg beside the other, on one scale. */
#ifndef SUREFOOTD_PAGE_CHART_H
#define SUREFOOTD_PAGE_CHART_H

#include <jansson.h>
#include <stdio.h>

/* history: as sfd_history_samples.  Kinds of requests that there were none of are left out. */
void sfd_page_charts(FILE *out, const json_t *history);

#endif

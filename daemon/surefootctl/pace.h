/* What two looks at a status say of the time between them. */
#ifndef SUREFOOTCTL_PACE_H
#define SUREFOOTCTL_PACE_H

#include "ctl.h"

enum { PACE_BUCKETS_MAX = 160 };

struct pace_histogram {
  unsigned buckets;
  uint64_t total;
  struct {
    uint64_t ns, count; /* the longest that counts in it */
  } bucket[PACE_BUCKETS_MAX];
};

/* Adds the buckets of one kind of a "latency"; minus those of an earlier look, NULL: none. */
void ctl_pace_add(struct pace_histogram *histogram, const json_t *latency, const json_t *earlier,
                  const char *kind);
/* 0: there is nothing. */
uint64_t ctl_pace_percentile_ns(const struct pace_histogram *histogram, unsigned per_mille);

struct pace {
  bool known; /* there was an earlier look, of the same server */
  double bytes_per_s, requests_per_s;
  uint64_t p50_us, p99_us; /* of reads and writes; 0: none was answered, and none is old */
  uint64_t in_flight, oldest_ms;
};

/* now, earlier: a volume's or a leg's entry in the status; seconds: between the two. */
void ctl_pace_make(struct pace *pace, const json_t *now, const json_t *earlier, double seconds);

#endif

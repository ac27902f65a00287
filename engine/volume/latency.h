/* Latency of one leg and one kind: a histogram with 16 buckets to the octave (so a percentile is
 * at most 6 % above the truth; the idea is HdrHistogram's), and a moving average for choosing. */
#ifndef SF_VOLUME_LATENCY_H
#define SF_VOLUME_LATENCY_H

#include <stdint.h>

#include <surefoot/volume.h>

enum { SF_LATENCY_SUB = 16, SF_LATENCY_OCTAVES = 40 };

struct sf_latency_meter {
  uint64_t count, max_ns;
  uint64_t average_ns; /* exponential, one eighth of each new sample */
  uint32_t bucket[SF_LATENCY_OCTAVES * SF_LATENCY_SUB];
};

/* For the average only: not a client's request. */
void sf_latency_sample(struct sf_latency_meter *meter, uint64_t ns);
void sf_latency_add(struct sf_latency_meter *meter, uint64_t ns);
void sf_latency_read(const struct sf_latency_meter *meter, struct sf_latency *latency);

#endif

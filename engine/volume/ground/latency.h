/* Latency of one kind of request, of a leg or as clients see it: a histogram with 16 buckets to the
 * octave (so a percentile is at most 6 % above the truth; the idea is HdrHistogram's), what it was
 * some slices of time ago, and a moving average for choosing. */
#ifndef SF_VOLUME_LATENCY_H
#define SF_VOLUME_LATENCY_H

#include <stdint.h>

#include <surefoot/volume.h>

enum {
  SF_LATENCY_SUB = 16,
  SF_LATENCY_OCTAVES = 40,
  SF_LATENCY_FINE = SF_LATENCY_OCTAVES * SF_LATENCY_SUB,
  SF_LATENCY_SLICES = 6, /* "recent" is five whole slices and the current one */
  SF_LATENCY_SLICE_S = 10,
};

struct sf_latency_meter {
  uint64_t count;
  uint64_t max_ns;     /* of the slice that runs */
  uint64_t average_ns; /* exponential, one eighth of each new sample */
  uint64_t bucket[SF_LATENCY_FINE];
  /* What the buckets held when each of the last slices ended, modulo 2^32, and the longest in it.
   * Taken by the timer, so that a request pays nothing for it. */
  unsigned slice; /* the oldest: next to be written over */
  uint64_t past_max_ns[SF_LATENCY_SLICES];
  uint32_t past[SF_LATENCY_SLICES][SF_LATENCY_FINE];
};

/* For the average only: not a client's request. */
void sf_latency_sample(struct sf_latency_meter *meter, uint64_t ns);
/* For the histogram only. */
void sf_latency_count(struct sf_latency_meter *meter, uint64_t ns);
/* For both. */
void sf_latency_add(struct sf_latency_meter *meter, uint64_t ns);
/* A slice of time has ended. */
void sf_latency_slice(struct sf_latency_meter *meter);

/* The last minute: take it, add the unanswered requests, read it. */
struct sf_latency_recent {
  uint64_t count, max_ns, p50_ns;
  uint32_t bucket[SF_LATENCY_FINE];
};
void sf_latency_recent(const struct sf_latency_meter *meter, struct sf_latency_recent *recent);
/* It has waited so long.  Not counted before that is longer than the usual: it says nothing till
 * then. */
void sf_latency_recent_wait(struct sf_latency_recent *recent, uint64_t ns);
void sf_latency_read(const struct sf_latency_meter *meter, const struct sf_latency_recent *recent,
                     struct sf_latency *latency);

#endif

#include "volume/latency.h"

enum { BUCKETS = SF_LATENCY_OCTAVES * SF_LATENCY_SUB, SUB_BITS = 4 };

_Static_assert(1 << SUB_BITS == SF_LATENCY_SUB, "sub-buckets are a power of two");

/* Below SF_LATENCY_SUB a bucket is one nanosecond; above, the octave and the next four bits. */
static unsigned
bucket_of(uint64_t ns) {
  unsigned octave, index;

  if (ns < SF_LATENCY_SUB)
    return (unsigned) ns;
  octave = 63 - (unsigned) __builtin_clzll(ns);
  index = (octave - SUB_BITS + 1) * SF_LATENCY_SUB +
          (unsigned) (ns >> (octave - SUB_BITS) & (SF_LATENCY_SUB - 1));
  return index < BUCKETS ? index : BUCKETS - 1;
}

static uint64_t
bucket_top(unsigned index) {
  unsigned shift;

  if (index < SF_LATENCY_SUB)
    return index;
  shift = index / SF_LATENCY_SUB - 1;
  return ((uint64_t) (SF_LATENCY_SUB + index % SF_LATENCY_SUB + 1) << shift) - 1;
}

void
sf_latency_sample(struct sf_latency_meter *meter, uint64_t ns) {
  meter->average_ns =
      meter->average_ns == 0 ? ns : meter->average_ns - meter->average_ns / 8 + ns / 8;
}

void
sf_latency_add(struct sf_latency_meter *meter, uint64_t ns) {
  sf_latency_sample(meter, ns);
  meter->count++;
  meter->bucket[bucket_of(ns)]++;
  if (ns > meter->max_ns)
    meter->max_ns = ns;
}

/* The smallest value that `per_mille` of the samples do not exceed. */
static uint64_t
percentile(const struct sf_latency_meter *meter, uint64_t per_mille) {
  uint64_t rank = (meter->count * per_mille + 999) / 1000, seen = 0;

  for (unsigned i = 0; i < BUCKETS; i++) {
    seen += meter->bucket[i];
    if (seen >= rank) {
      uint64_t top = bucket_top(i);

      return top < meter->max_ns ? top : meter->max_ns;
    }
  }
  return meter->max_ns;
}

void
sf_latency_read(const struct sf_latency_meter *meter, struct sf_latency *latency) {
  *latency = (struct sf_latency){.count = meter->count, .max_ns = meter->max_ns};
  if (meter->count == 0)
    return;
  latency->p50_ns = percentile(meter, 500);
  latency->p99_ns = percentile(meter, 990);
  latency->p999_ns = percentile(meter, 999);
}

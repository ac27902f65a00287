#include "volume/ground/latency.h"

enum { SUB_BITS = 4, FINE_PER_BUCKET = SF_LATENCY_FINE / SF_LATENCY_BUCKETS };

_Static_assert(1 << SUB_BITS == SF_LATENCY_SUB, "sub-buckets are a power of two");
_Static_assert(FINE_PER_BUCKET *SF_LATENCY_BUCKETS == SF_LATENCY_FINE,
               "a bucket has whole sub-buckets");

/* Below SF_LATENCY_SUB a bucket is one nanosecond; above, the octave and the next four bits. */
static unsigned
bucket_of(uint64_t ns) {
  unsigned octave, index;

  if (ns < SF_LATENCY_SUB)
    return (unsigned) ns;
  octave = 63 - (unsigned) __builtin_clzll(ns);
  index = (octave - SUB_BITS + 1) * SF_LATENCY_SUB +
          (unsigned) (ns >> (octave - SUB_BITS) & (SF_LATENCY_SUB - 1));
  return index < SF_LATENCY_FINE ? index : SF_LATENCY_FINE - 1;
}

static uint64_t
bucket_top(unsigned index) {
  unsigned shift;

  if (index < SF_LATENCY_SUB)
    return index;
  shift = index / SF_LATENCY_SUB - 1;
  return ((uint64_t) (SF_LATENCY_SUB + index % SF_LATENCY_SUB + 1) << shift) - 1;
}

uint64_t
sf_latency_bucket_ns(unsigned bucket) {
  return bucket_top((bucket + 1) * FINE_PER_BUCKET - 1);
}

void
sf_latency_sample(struct sf_latency_meter *meter, uint64_t ns) {
  meter->average_ns =
      meter->average_ns == 0 ? ns : meter->average_ns - meter->average_ns / 8 + ns / 8;
}

void
sf_latency_count(struct sf_latency_meter *meter, uint64_t ns) {
  meter->count++;
  meter->bucket[bucket_of(ns)]++;
  if (ns > meter->max_ns)
    meter->max_ns = ns;
}

void
sf_latency_add(struct sf_latency_meter *meter, uint64_t ns) {
  sf_latency_sample(meter, ns);
  sf_latency_count(meter, ns);
}

void
sf_latency_slice(struct sf_latency_meter *meter) {
  uint32_t *past = meter->past[meter->slice];

  for (unsigned i = 0; i < SF_LATENCY_FINE; i++)
    past[i] = (uint32_t) meter->bucket[i];
  meter->past_max_ns[meter->slice] = meter->max_ns;
  meter->max_ns = 0;
  meter->slice = (meter->slice + 1) % SF_LATENCY_SLICES;
}

/* ---- the last minute ---- */

/* The smallest value that `per_mille` of the samples do not exceed. */
static uint64_t
percentile(const struct sf_latency_recent *recent, uint64_t per_mille) {
  uint64_t rank = (recent->count * per_mille + 999) / 1000, seen = 0;

  for (unsigned i = 0; i < SF_LATENCY_FINE; i++) {
    seen += recent->bucket[i];
    if (seen >= rank) {
      uint64_t top = bucket_top(i);

      return top < recent->max_ns ? top : recent->max_ns;
    }
  }
  return recent->max_ns;
}

void
sf_latency_recent(const struct sf_latency_meter *meter, struct sf_latency_recent *recent) {
  const uint32_t *before = meter->past[meter->slice];

  recent->count = 0;
  recent->max_ns = meter->max_ns;
  for (unsigned i = 0; i < SF_LATENCY_FINE; i++) {
    recent->bucket[i] = (uint32_t) meter->bucket[i] - before[i];
    recent->count += recent->bucket[i];
  }
  for (unsigned i = 0; i < SF_LATENCY_SLICES; i++)
    if (i != meter->slice && meter->past_max_ns[i] > recent->max_ns)
      recent->max_ns = meter->past_max_ns[i];
  recent->p50_ns = recent->count == 0 ? 0 : percentile(recent, 500);
}

void
sf_latency_recent_wait(struct sf_latency_recent *recent, uint64_t ns) {
  if (ns <= recent->p50_ns)
    return;
  recent->count++;
  recent->bucket[bucket_of(ns)]++;
  if (ns > recent->max_ns)
    recent->max_ns = ns;
}

void
sf_latency_read(const struct sf_latency_meter *meter, const struct sf_latency_recent *recent,
                struct sf_latency *latency) {
  *latency = (struct sf_latency){.count = meter->count, .recent = recent->count};
  for (unsigned i = 0; i < SF_LATENCY_FINE; i++)
    latency->bucket[i / FINE_PER_BUCKET] += meter->bucket[i];
  if (recent->count == 0)
    return;
  latency->p50_ns = percentile(recent, 500);
  latency->p99_ns = percentile(recent, 990);
  latency->p999_ns = percentile(recent, 999);
  latency->max_ns = recent->max_ns;
}

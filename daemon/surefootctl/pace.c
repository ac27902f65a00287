#include "pace.h"

#include <string.h>

#include "base/assert.h"

/* Buckets come in order, and empty ones are left out. */
static void
add(struct pace_histogram *histogram, uint64_t ns, uint64_t count) {
  unsigned i = 0;
  while (i < histogram->buckets && histogram->bucket[i].ns < ns)
    i++;
  if (i == histogram->buckets || histogram->bucket[i].ns != ns) {
    if (histogram->buckets == PACE_BUCKETS_MAX)
      return;
    memmove(&histogram->bucket[i + 1], &histogram->bucket[i],
            (histogram->buckets - i) * sizeof histogram->bucket[0]);
    histogram->buckets++;
    histogram->bucket[i].ns = ns;
    histogram->bucket[i].count = 0;
  }
  histogram->bucket[i].count += count;
  histogram->total += count;
}

static uint64_t
count_at(const json_t *buckets, uint64_t ns) {
  size_t i;
  json_t *pair;
  json_array_foreach(buckets, i, pair)
    if ((uint64_t) json_integer_value(json_array_get(pair, 0)) == ns)
      return (uint64_t) json_integer_value(json_array_get(pair, 1));
  return 0;
}

void
ctl_pace_add(struct pace_histogram *histogram, const json_t *latency, const json_t *earlier,
             const char *kind) {
  const json_t *buckets = json_object_get(json_object_get(latency, kind), "buckets");
  const json_t *before = json_object_get(json_object_get(earlier, kind), "buckets");
  size_t i;
  json_t *pair;
  json_array_foreach(buckets, i, pair) {
    uint64_t ns = (uint64_t) json_integer_value(json_array_get(pair, 0));
    uint64_t count = (uint64_t) json_integer_value(json_array_get(pair, 1));
    uint64_t old = count_at(before, ns);
    if (count > old)
      add(histogram, ns, count - old);
  }
}

uint64_t
ctl_pace_percentile_ns(const struct pace_histogram *histogram, unsigned per_mille) {
  SF_ASSERT(per_mille <= 1000);
  uint64_t rank = (histogram->total * per_mille + 999) / 1000, seen = 0;
  for (unsigned i = 0; i < histogram->buckets; i++) {
    seen += histogram->bucket[i].count;
    if (seen >= rank && seen > 0)
      return histogram->bucket[i].ns;
  }
  return 0;
}

static uint64_t
sum(const json_t *entry) {
  const json_t *requests = json_object_get(entry, "requests");
  return ctl_json_number(requests, "reads") + ctl_json_number(requests, "writes") +
         ctl_json_number(requests, "flushes");
}

static uint64_t
bytes(const json_t *entry) {
  return ctl_json_number(entry, "bytes_read") + ctl_json_number(entry, "bytes_written");
}

/* Unanswered requests are as slow as the oldest is old, if they are so many that the quantile is
 * among them. */
static uint64_t
with_waiting(const struct pace *pace, uint64_t answered, uint64_t us, unsigned per_mille) {
  uint64_t oldest_us = pace->oldest_ms * 1000, all = answered + pace->in_flight;
  bool among = answered * 1000 < all * per_mille;
  return among && oldest_us > us ? oldest_us : us;
}

void
ctl_pace_make(struct pace *pace, const json_t *now, const json_t *earlier, double seconds) {
  struct pace_histogram histogram = {0};
  const json_t *latency = json_object_get(now, "latency");
  const json_t *before = json_object_get(earlier, "latency");
  *pace = (struct pace){.in_flight = ctl_json_number(now, "in_flight"),
                        .oldest_ms = ctl_json_number(now, "oldest_ms")};
  /* A server that was started meanwhile begins at 0. */
  if (earlier == NULL || seconds <= 0 || sum(now) < sum(earlier) || bytes(now) < bytes(earlier))
    return;
  pace->known = true;
  pace->bytes_per_s = (double) (bytes(now) - bytes(earlier)) / seconds;
  pace->requests_per_s = (double) (sum(now) - sum(earlier)) / seconds;
  ctl_pace_add(&histogram, latency, before, "read");
  ctl_pace_add(&histogram, latency, before, "write");
  pace->p50_us =
      with_waiting(pace, histogram.total, ctl_pace_percentile_ns(&histogram, 500) / 1000, 500);
  pace->p99_us =
      with_waiting(pace, histogram.total, ctl_pace_percentile_ns(&histogram, 990) / 1000, 990);
}

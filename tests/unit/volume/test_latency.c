/* Latencies as they are shown: quantiles, the last minute of them, and what waits still. */
#include "rig.h"

#include <string.h>

#include "volume/ground/latency.h"

static struct sf_latency_meter meter;
static struct sf_latency_recent recent;
static struct sf_latency shown;

static void
look(void) {
  sf_latency_recent(&meter, &recent);
  sf_latency_read(&meter, &recent, &shown);
}

static void
add(uint64_t first, uint64_t last) {
  for (uint64_t ns = first; ns <= last; ns++)
    sf_latency_add(&meter, ns);
}

static void
nothing_is_no_latency(void **state) {
  memset(&meter, 0, sizeof meter);
  look();
  assert_int_equal(shown.count, 0);
  assert_int_equal(shown.p50_ns, 0);
  assert_int_equal(shown.max_ns, 0);
}

/* Below 16 ns each value has a bucket of its own, so that quantiles are exact there. */
static void
a_quantile_is_a_sample(void **state) {
  memset(&meter, 0, sizeof meter);
  add(7, 7);
  look();
  assert_int_equal(shown.p50_ns, 7);
  assert_int_equal(shown.p999_ns, 7);
  memset(&meter, 0, sizeof meter);
  add(1, 2);
  look();
  assert_int_equal(shown.p50_ns, 1);
  assert_int_equal(shown.p99_ns, 2);
  memset(&meter, 0, sizeof meter);
  for (unsigned i = 0; i < 100; i++)
    add(1, 10);
  look();
  assert_int_equal(shown.count, 1000);
  assert_int_equal(shown.recent, 1000);
  assert_int_equal(shown.p50_ns, 5);
  assert_int_equal(shown.p99_ns, 10);
  assert_int_equal(shown.max_ns, 10);
  add(15, 15); /* one of 1001 */
  look();
  assert_int_equal(shown.p999_ns, 10);
  assert_int_equal(shown.max_ns, 15);
}

/* Of a thousand, the last that a quantile covers and the first that it does not. */
static void
quantiles_end_where_they_say(void **state) {
  static const struct {
    unsigned low;
    uint64_t p50, p99, p999;
  } cases[] = {{499, 2, 2, 2}, {500, 1, 2, 2}, {501, 1, 2, 2}, {989, 1, 2, 2},
               {990, 1, 1, 2}, {998, 1, 1, 2}, {999, 1, 1, 1}};

  for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    memset(&meter, 0, sizeof meter);
    for (unsigned n = 0; n < 1000; n++)
      sf_latency_add(&meter, n < cases[i].low ? 1 : 2);
    look();
    assert_int_equal(recent.p50_ns, cases[i].p50);
    assert_int_equal(shown.p50_ns, cases[i].p50);
    assert_int_equal(shown.p99_ns, cases[i].p99);
    assert_int_equal(shown.p999_ns, cases[i].p999);
  }
}

/* Above, the top of a bucket is less than a sixteenth over the sample, and never over the
 * longest. */
static void
a_bucket_is_a_sixteenth_wide(void **state) {
  for (uint64_t ns = 1; ns < UINT64_C(1) << 38; ns = ns * 9 / 8 + 1) {
    memset(&meter, 0, sizeof meter);
    sf_latency_add(&meter, ns);
    sf_latency_add(&meter, 4 * ns);
    sf_latency_add(&meter, 4 * ns);
    look();
    assert_in_range(shown.p50_ns, 4 * ns, 4 * ns);
    sf_latency_add(&meter, ns);
    sf_latency_add(&meter, ns);
    look();
    assert_in_range(shown.p50_ns, ns, ns + ns / 16);
  }
  sf_latency_add(&meter, UINT64_MAX); /* too long for any */
  look();
  assert_int_equal(shown.max_ns, UINT64_MAX);
}

static void
bounds_rise(void **state) {
  for (unsigned i = 1; i < SF_LATENCY_BUCKETS; i++)
    assert_true(sf_latency_bucket_ns(i) > sf_latency_bucket_ns(i - 1));
  for (unsigned i = 0; i < SF_LATENCY_BUCKETS; i++) {
    memset(&meter, 0, sizeof meter);
    sf_latency_add(&meter, sf_latency_bucket_ns(i));
    look();
    assert_int_equal(shown.bucket[i], 1);
  }
}

/* Five whole slices and the current one. */
static void
a_minute_is_recent(void **state) {
  memset(&meter, 0, sizeof meter);
  add(9, 9);
  for (unsigned i = 0; i < SF_LATENCY_SLICES - 1; i++) {
    sf_latency_slice(&meter);
    look();
    assert_int_equal(shown.recent, 1);
    assert_int_equal(shown.max_ns, 9);
  }
  add(3, 3);
  sf_latency_slice(&meter);
  look();
  assert_int_equal(shown.count, 2);
  assert_int_equal(shown.recent, 1);
  assert_int_equal(shown.p50_ns, 3);
  assert_int_equal(shown.max_ns, 3);
  for (unsigned i = 0; i < SF_LATENCY_SLICES; i++)
    sf_latency_slice(&meter);
  look();
  assert_int_equal(shown.recent, 0);
  assert_int_equal(shown.max_ns, 0);
  assert_int_equal(shown.count, 2);
}

/* What waits counts from when it has waited longer than is usual. */
static void
what_waits_counts(void **state) {
  memset(&meter, 0, sizeof meter);
  add(5, 5);
  add(5, 5);
  sf_latency_recent(&meter, &recent);
  sf_latency_recent_wait(&recent, 5);
  sf_latency_read(&meter, &recent, &shown);
  assert_int_equal(shown.recent, 2);
  sf_latency_recent_wait(&recent, 6);
  sf_latency_read(&meter, &recent, &shown);
  assert_int_equal(shown.recent, 3);
  assert_int_equal(shown.count, 2);
  assert_int_equal(shown.p99_ns, 6);
  assert_int_equal(shown.max_ns, 6);
  for (unsigned i = 0; i < 3; i++)
    sf_latency_recent_wait(&recent, 6);
  sf_latency_read(&meter, &recent, &shown);
  assert_int_equal(shown.p50_ns, 6);
}

static void
the_average_moves_by_an_eighth(void **state) {
  memset(&meter, 0, sizeof meter);
  sf_latency_sample(&meter, 800);
  assert_int_equal(meter.average_ns, 800);
  sf_latency_sample(&meter, 1600);
  assert_int_equal(meter.average_ns, 900);
  assert_int_equal(meter.count, 0);
  sf_latency_add(&meter, 1700);
  assert_int_equal(meter.average_ns, 1000);
  sf_latency_count(&meter, 5000);
  assert_int_equal(meter.average_ns, 1000);
  assert_int_equal(meter.count, 2);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nothing_is_no_latency),
      cmocka_unit_test(a_quantile_is_a_sample),
      cmocka_unit_test(quantiles_end_where_they_say),
      cmocka_unit_test(a_bucket_is_a_sixteenth_wide),
      cmocka_unit_test(bounds_rise),
      cmocka_unit_test(a_minute_is_recent),
      cmocka_unit_test(what_waits_counts),
      cmocka_unit_test(the_average_moves_by_an_eighth),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

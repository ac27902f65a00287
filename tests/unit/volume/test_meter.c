/* The pace in the status: requests under way and their age, a leg's work, and quantiles of the last
 * minute in which a leg that does not answer is not fast. */
#include "rig.h"

#include <string.h>

enum { EXTENT = 65536, PIECE = 4096 };

static struct rig rig;
static struct sf_volume_status status;
static unsigned frozen; /* legs that answer nothing: bit i */

static bool
holds_frozen(const struct rig *r, const struct rig_region *region) {
  return (frozen & (1u << region->leg)) != 0 || rig_takes_a_moment(r, region);
}

static void
init(unsigned min_legs) {
  frozen = 0;
  rig_init(&rig, 3, min_legs, EXTENT, 64);
  rig_start_fully(&rig);
  rig.holds = holds_frozen;
}

static const struct sf_volume_status *
look(void) {
  sf_volume_status(rig.volume, rig.now_ns, &status);
  return &status;
}

static const struct sf_latency *
writes_of(unsigned leg) {
  return &look()->leg[leg].latency[SF_WRITE_KIND];
}

static void
ask(enum sf_request_kind kind, uint64_t offset, uint64_t length, uint64_t ms) {
  struct rig_request request;

  rig_submit(&rig, &request, kind, offset, length, 7);
  rig_pass(&rig, ms);
  assert_true(request.done);
  assert_int_equal(request.request.error, 0);
  if (kind != SF_REQ_FLUSH && kind != SF_REQ_ZERO)
    rig_put(&request);
}

/* Two writes and a read are counted once on every leg that did them, in bytes and in number; a
 * zeroing is no data. */
static void
what_was_done_is_counted(void **state) {
  uint64_t read = 0, reads = 0;

  init(1);
  ask(SF_REQ_WRITE, 0, PIECE, 20);
  ask(SF_REQ_WRITE, EXTENT, 2 * PIECE, 20);
  ask(SF_REQ_ZERO, 2 * EXTENT, PIECE, 20);
  ask(SF_REQ_READ, 0, PIECE, 20);
  ask(SF_REQ_FLUSH, 0, 0, 20);
  ask(SF_REQ_FLUSH, 0, 0, 20);
  assert_int_equal(look()->bytes_written, 3 * PIECE);
  assert_int_equal(status.bytes_read, PIECE);
  assert_int_equal(status.latency[SF_WRITE_KIND].count, 3);
  assert_int_equal(status.latency[SF_READ_KIND].count, 1);
  assert_int_equal(status.reads, 1);
  assert_int_equal(status.writes, 3);
  assert_int_equal(status.flushes, 2);
  assert_int_equal(status.errors, 0);
  assert_int_equal(status.late_acks, 0);
  assert_int_equal(status.in_flight, 0);
  for (unsigned i = 0; i < 3; i++) {
    assert_in_range(status.leg[i].state_age_ns, 20 * SF_MS, SF_S);
    assert_int_equal(status.leg[i].bytes_written, 3 * PIECE);
    assert_in_range(status.leg[i].window, 1, SF_OPS_MAX);
    assert_int_equal(status.leg[i].latency[SF_WRITE_KIND].count, 3);
    read += status.leg[i].bytes_read;
    reads += status.leg[i].latency[SF_READ_KIND].count;
  }
  assert_int_equal(read, PIECE);
  assert_int_equal(reads, 1);
  rig_free(&rig);
}

/* A leg that hangs has requests in flight that grow old, and they count in its quantiles: it is not
 * the fastest because its last answers were.  Neither the other legs nor the client's view have
 * them, once the client has its answer. */
static void
what_is_not_answered_counts_with_its_age(void **state) {
  init(1);
  for (unsigned i = 0; i < 20; i++)
    ask(SF_REQ_WRITE, i * PIECE, PIECE, 5);
  assert_in_range(writes_of(2)->max_ns, SF_MS, 2 * SF_MS);
  frozen = 4;
  ask(SF_REQ_WRITE, 0, PIECE, 400);
  assert_int_equal(look()->leg[2].state, SF_STATE_LATE);
  assert_true(status.leg[2].in_flight > 0);
  assert_in_range(status.leg[2].oldest_ns, 380 * SF_MS, 420 * SF_MS);
  assert_in_range(status.leg[2].state_age_ns, 200 * SF_MS, 320 * SF_MS);
  assert_in_range(status.leg[2].latency[SF_WRITE_KIND].max_ns, 380 * SF_MS, 420 * SF_MS);
  assert_in_range(status.leg[2].latency[SF_WRITE_KIND].p99_ns, 380 * SF_MS, 420 * SF_MS);
  assert_int_equal(status.leg[2].latency[SF_WRITE_KIND].count, 20);
  assert_int_equal(status.leg[2].latency[SF_WRITE_KIND].recent, 21);
  assert_in_range(status.leg[0].latency[SF_WRITE_KIND].max_ns, SF_MS, 2 * SF_MS);
  assert_int_equal(status.leg[0].in_flight, 0);
  assert_int_equal(status.in_flight, 0);

  frozen = 0; /* then it has taken that long */
  rig_pass(&rig, 20);
  assert_int_equal(writes_of(2)->count, 21);
  assert_in_range(status.leg[2].latency[SF_WRITE_KIND].max_ns, 380 * SF_MS, 450 * SF_MS);
  rig_free(&rig);
}

/* Too few legs: the client's own wait is told, and so is what it waits for. */
static void
a_client_that_waits_is_seen(void **state) {
  struct rig_request write;

  init(3);
  rig.config.on_too_few = SF_TOO_FEW_SUSPEND;
  assert_int_equal(sf_volume_configure(rig.volume, &rig.config, rig.now_ns), 0);
  frozen = 4;
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, PIECE, 7);
  rig_pass(&rig, 2000);
  assert_false(write.done);
  assert_int_equal(look()->in_flight, 1);
  assert_in_range(status.oldest_ns, 1990 * SF_MS, 2010 * SF_MS);
  assert_in_range(status.latency[SF_WRITE_KIND].p50_ns, 1990 * SF_MS, 2010 * SF_MS);
  assert_int_equal(status.latency[SF_WRITE_KIND].count, 0);
  assert_int_equal(status.state, SF_VOLUME_SUSPENDED);
  assert_in_range(status.state_age_ns, 1, 1900 * SF_MS);
  frozen = 0;
  rig_pass(&rig, 50);
  assert_true(write.done);
  assert_in_range(look()->latency[SF_WRITE_KIND].max_ns, 1990 * SF_MS, 2050 * SF_MS);
  rig_put(&write);
  rig_free(&rig);
}

static uint64_t
in_buckets(const struct sf_latency *latency, uint64_t from_ns) {
  uint64_t n = 0;

  for (unsigned i = 0; i < SF_LATENCY_BUCKETS; i++)
    if (sf_latency_bucket_ns(i) >= from_ns)
      n += latency->bucket[i];
  return n;
}

/* Slow writes are out of the quantiles a minute later and stay in the buckets, which only grow. */
static void
quantiles_are_of_the_last_minute(void **state) {
  init(1);
  rig.config.deadline_ns[SF_WRITE_KIND] = rig_deadline(10 * SF_S);
  assert_int_equal(sf_volume_configure(rig.volume, &rig.config, rig.now_ns), 0);
  ask(SF_REQ_WRITE, 0, PIECE, 5); /* its intent is there */
  frozen = 1;
  struct rig_request slow;
  rig_submit(&rig, &slow, SF_REQ_WRITE, 0, PIECE, 7);
  rig_pass(&rig, 500);
  frozen = 0;
  rig_pass(&rig, 5);
  assert_true(slow.done);
  rig_put(&slow);
  for (unsigned i = 0; i < 3; i++)
    ask(SF_REQ_WRITE, PIECE, PIECE, 5);
  assert_in_range(writes_of(0)->p99_ns, 490 * SF_MS, 520 * SF_MS);
  for (unsigned s = 0; s < 40; s += 10) {
    rig.now_ns += 10 * SF_S;
    rig_pass(&rig, 1100);
  }
  assert_in_range(writes_of(0)->max_ns, 490 * SF_MS, 520 * SF_MS);
  for (unsigned s = 0; s < 30; s += 10) {
    rig.now_ns += 10 * SF_S;
    rig_pass(&rig, 1100);
  }
  assert_int_equal(writes_of(0)->recent, 0);
  assert_int_equal(writes_of(0)->max_ns, 0);
  ask(SF_REQ_WRITE, PIECE, PIECE, 5);
  assert_in_range(writes_of(0)->p99_ns, 1, 2 * SF_MS);
  assert_in_range(writes_of(0)->max_ns, 1, 2 * SF_MS);
  assert_int_equal(writes_of(0)->recent, 1);
  assert_int_equal(writes_of(0)->count, 6);
  assert_int_equal(in_buckets(writes_of(0), 0), 6);
  assert_int_equal(in_buckets(writes_of(0), 400 * SF_MS), 1);
  assert_int_equal(look()->latency[SF_WRITE_KIND].recent, 1);
  rig_free(&rig);
}

/* A copy to a leg is no client's request. */
static void
a_resync_is_not_counted(void **state) {
  uint64_t before;

  init(1);
  ask(SF_REQ_WRITE, 0, EXTENT, 20);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 1, rig.now_ns), 0);
  ask(SF_REQ_WRITE, 0, EXTENT, 20);
  before = look()->leg[1].bytes_written;
  assert_int_equal(before, EXTENT);
  assert_int_equal(sf_volume_leg_return(rig.volume, 1, rig.now_ns), 0);
  rig_pass(&rig, 5000);
  assert_int_equal(look()->leg[1].state, SF_STATE_IN_SYNC);
  assert_int_equal(status.leg[1].resync_bytes, EXTENT);
  assert_int_equal(status.leg[1].bytes_written, before);
  assert_true(status.leg[1].state_age_ns < 5 * SF_S);
  assert_true(status.leg[0].state_age_ns > 5 * SF_S);
  rig_free(&rig);
}

/* A stop is not a failure. */
static void
a_stop_is_called_so(void **state) {
  init(1);
  assert_int_equal(look()->state, SF_VOLUME_HEALTHY);
  sf_volume_stop(rig.volume, rig.now_ns);
  assert_int_equal(look()->state, SF_VOLUME_STOPPING);
  rig_pass(&rig, 200);
  assert_true(sf_volume_stopped(rig.volume));
  assert_int_equal(look()->state, SF_VOLUME_STOPPING);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_was_done_is_counted),
      cmocka_unit_test(what_is_not_answered_counts_with_its_age),
      cmocka_unit_test(a_client_that_waits_is_seen),
      cmocka_unit_test(quantiles_are_of_the_last_minute),
      cmocka_unit_test(a_resync_is_not_counted),
      cmocka_unit_test(a_stop_is_called_so),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

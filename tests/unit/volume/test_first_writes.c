/* R17: many writes to what was never written, at a time. */
#include <errno.h>

#include "rig.h"
#include "volume/ground/copying.h"

static struct rig rig;

enum { SLOW_MS = 10, MANY = 12, LARGE = 4 << 20, PIECES = LARGE / SF_COPY_PIECE_BYTES };

static bool
leg_1_is_slow(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && rig_is_data(r, region) && rig_in_turn(&rig, region, SLOW_MS * SF_MS);
}

/* Proves what first writes wait for on a leg that zeroes one piece after the other, when many come at once:
 * each for the extents of those before it and its own, and not for the background, which is in the
 * middle of others; no leg leaves for it, and none fails although all take longer than fail_timeout. */
static void
many_first_writes(void **state) {
  static struct rig_request write[MANY];
  const uint64_t extent_ns = (uint64_t) PIECES * SLOW_MS * SF_MS;
  /* The background's pieces that were on the leg, and those of later extents before the flush and before the write itself. */
  const uint64_t in_flight_ns = (uint64_t) 3 * SF_COPY_SLOTS * SLOW_MS * SF_MS;
  uint64_t asked_ns, last_ns = 0;

  rig_init_unwritten(&rig, 2, LARGE, 16);
  rig.config.resync_max_rate = 0;
  rig.config.resync_min_rate = 1 << 30;
  rig.config.on_too_few = SF_TOO_FEW_ERROR;
  rig.config.fail_timeout_ns = SF_S;
  rig.windows = true;
  rig.holds = leg_1_is_slow;
  rig_start_fully(&rig);
  rig_pass(&rig, 100); /* the background is at work */
  asked_ns = rig.now_ns;
  for (unsigned i = 0; i < MANY; i++)
    rig_submit(&rig, &write[i], SF_REQ_WRITE, (uint64_t) (15 - i) * LARGE + 4096, 4096, 0x77);
  rig_pass(&rig, 30000);
  for (unsigned i = 0; i < MANY; i++) {
    assert_true(write[i].done);
    assert_int_equal(write[i].request.error, 0);
    uint64_t took_ns = write[i].done_ns - asked_ns;
    assert_in_range(took_ns, 0, (i + 1) * extent_ns * 3 / 2 + in_flight_ns);
    assert_true(took_ns >= last_ns);
    last_ns = took_ns;
    rig_put(&write[i]);
  }
  assert_true(last_ns > rig.config.fail_timeout_ns);
  for (unsigned i = 0; i < 2; i++)
    assert_int_equal(rig_state(&rig, i), SF_STATE_IN_SYNC);
  rig_pass(&rig, 10000);
  assert_int_equal(rig.volume->unwritten.set, 0);
  rig_free(&rig);
}

/* Proves that the background, with all places for copies taken and much of each extent to come, makes
 * room for a write, and for a read of what is converged block by block. */
static void
the_background_makes_room(void **state) {
  const uint64_t pieces = 2 * LARGE / SF_COPY_PIECE_BYTES;
  struct rig_request write;

  rig_init_unwritten(&rig, 2, 2 * LARGE, 8);
  rig.config.resync_max_rate = 0;
  rig.config.resync_min_rate = 1 << 30;
  rig.holds = leg_1_is_slow;
  rig_start_fully(&rig);
  rig_pass(&rig, 100);
  EACH_COPYING(c, &rig.volume->copier)
    assert_true(c->active && c->issued_pieces < c->pieces);
  rig_submit(&rig, &write, SF_REQ_WRITE, (uint64_t) 6 * 2 * LARGE, 4096, 0x22);
  rig_pass(&rig, (SF_COPY_SLOTS + 2 * pieces) * SLOW_MS);
  assert_true(write.done);
  assert_int_equal(write.request.error, 0);
  rig_put(&write);
  sf_map_set(&rig.volume->unconverged, 6);
  sf_map_set(&rig.volume->copier.by_block, 6);
  rig_submit(&rig, &write, SF_REQ_READ, (uint64_t) 6 * 2 * LARGE, 4096, 0xaa);
  rig.holds = NULL;
  rig_pass(&rig, 5000);
  assert_true(write.done);
  rig_put(&write);
  rig_free(&rig);
}

/* The last piece of an extent, or a flush. */
static bool fails_flushes;

static int
leg_1_has_a_bad_spot(const struct rig *r, const struct rig_region *region) {
  bool is_spot = rig_is_data(r, region) && region->op != SF_TIO_READ &&
                 region->offset - SF_DATA_OFFSET >= LARGE - SF_COPY_PIECE_BYTES &&
                 region->offset - SF_DATA_OFFSET < LARGE;

  return region->leg == 1 && (fails_flushes ? region->op == SF_TIO_FLUSH : is_spot) ? -EIO : 0;
}

/* Proves that a first write fails by fail_timeout where a leg that cannot be spared does not take the
 * zeros, or never has them stable: that other zeros are written again and again beside these, or
 * those of younger writes, is no reason to go on waiting. */
static void
zeros_that_fail(void **state) {
  for (unsigned i = 0; i < 2; i++) {
    struct rig_request write[9];

    fails_flushes = i == 1;
    rig_init_unwritten(&rig, 2, LARGE, 16);
    rig.config.min_legs = 2;
    rig.config.on_too_few = SF_TOO_FEW_ERROR;
    rig.config.fail_timeout_ns = SF_S;
    rig_start_fully(&rig);
    rig.fails = leg_1_has_a_bad_spot;
    for (unsigned n = 0; n < 9; n++) {
      rig_submit(&rig, &write[n], SF_REQ_WRITE, (uint64_t) n * LARGE, 4096, 0x77);
      rig_pass(&rig, 500);
    }
    assert_true(write[0].done);
    assert_int_equal(write[0].request.error, -EIO);
    rig_pass(&rig, 5000);
    for (unsigned n = 0; n < 9; n++) {
      assert_true(write[n].done);
      rig_put(&write[n]);
    }
    rig_free(&rig);
  }
}

enum { SMALL = 65536 };

static int
leg_1_fails_flushes(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && region->op == SF_TIO_FLUSH ? -EIO : 0;
}

/* Proves that a first write fails by fail_timeout although a leg that catches up tries to join again and
 * again, for which the zeros are broken off and begun anew each time. */
static void
joins_beside_zeros_that_fail(void **state) {
  struct rig_request write, flush;

  rig_init_unwritten(&rig, 3, SMALL, 64);
  rig.config.min_legs = 2;
  rig.config.on_too_few = SF_TOO_FEW_ERROR;
  rig.config.fail_timeout_ns = SF_S;
  rig_start_fully(&rig);
  rig_lacks(&rig, 2, 2);
  rig_submit(&rig, &flush, SF_REQ_FLUSH, 0, 0, 0);
  rig_pass(&rig, 100);
  assert_true(flush.done);
  rig_put(&flush);
  rig_copies_may_go(&rig, 1 << 30);
  rig.fails = leg_1_fails_flushes;
  rig_submit(&rig, &write, SF_REQ_WRITE, (uint64_t) 40 * SMALL, 4096, 0x77);
  rig_pass(&rig, 3000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_CATCHING_UP);
  assert_true(write.done);
  assert_int_equal(write.request.error, -EIO);
  rig_put(&write);
  rig.fails = NULL;
  rig_free(&rig);
}

static int
leg_1_fails_joins(const struct rig *r, const struct rig_region *region) {
  return r->volume->join_step == JOIN_FLUSH ? leg_1_fails_flushes(r, region) : 0;
}

static uint64_t zeros_take_ns;

static bool
zeros_take_their_time(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && rig_is_data(r, region) && region->op == SF_TIO_ZERO &&
         r->now_ns - region->since_ns < zeros_take_ns;
}

static void
a_first_write_beside_joins_that_fail(struct rig_request *write, uint64_t takes_ns) {
  rig_init_unwritten(&rig, 3, SMALL, 64);
  rig.config.min_legs = 2;
  rig.config.fail_timeout_ns = 1000 * SF_S;
  rig_start_fully(&rig);
  rig_lacks(&rig, 2, 2);
  rig_never_late(&rig.volume->config);
  rig.fails = leg_1_fails_joins;
  zeros_take_ns = takes_ns;
  rig.holds = zeros_take_their_time;
  rig_copies_may_go(&rig, 1 << 30);
  rig_submit(&rig, write, SF_REQ_WRITE, (uint64_t) 40 * SMALL, 4096, 0x77);
}

/* Proves that joins which fail again and again for another leg's flush leave first writes the time for
 * their zeros. */
static void
zeros_beside_joins_that_fail(void **state) {
  struct rig_request write;

  a_first_write_beside_joins_that_fail(&write, 300 * SF_MS); /* longer than the first waits */
  rig_pass(&rig, 5000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_CATCHING_UP);
  assert_true(write.done);
  assert_int_equal(write.request.error, 0);
  rig_put(&write);
  rig.fails = NULL;
  rig.holds = NULL;
  rig_free(&rig);
}

/* Proves that each attempt which breaks zeros off leaves twice the time before the next, 8 s at most. */
static void
joins_that_break_zeros_off_become_rarer(void **state) {
  struct rig_request write;

  a_first_write_beside_joins_that_fail(&write, 10 * SF_S);
  rig_until_joining_ms(&rig, 2, true);
  for (uint64_t ms = 100; ms <= 20000; ms *= 2) {
    rig_until_joining_ms(&rig, 2, false);
    assert_in_range(rig_until_joining_ms(&rig, 2, true), ms < 8000 ? ms : 8000,
                    (ms < 8000 ? ms : 8000) + 50);
  }
  rig.fails = NULL;
  rig.holds = NULL;
  rig_pass(&rig, 20000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  assert_true(write.done);
  rig_put(&write);
  rig_free(&rig);
}

static bool copies_wait;

static bool
zeros_take_long_on_leg_1(const struct rig *r, const struct rig_region *region) {
  if (region->leg == 2 && rig_is_data(r, region))
    return copies_wait;
  return region->leg == 1 && rig_is_data(r, region) && region->op == SF_TIO_ZERO &&
         region->since_ns + 90 * SF_MS > r->now_ns;
}

/* Proves that a leg which lacks nothing joins beside zeros that are half done: they are broken off, count
 * as what was never written, and are written anew on that leg too before the write is answered. */
static void
a_join_breaks_zeros_off(void **state) {
  struct rig_request write;
  bool joined = false;

  rig_init_unwritten(&rig, 3, SMALL, 64);
  rig_start_fully(&rig);
  rig_lacks(&rig, 2, 1);
  copies_wait = true;
  rig.holds = zeros_take_long_on_leg_1;
  rig_submit(&rig, &write, SF_REQ_WRITE, (uint64_t) 20 * SMALL, 4096, 0x44);
  rig_pass(&rig, 20);
  assert_int_equal(rig.volume->copier.zeroing.set, 1);
  copies_wait = false;
  for (unsigned ms = 0; ms < 3000 && rig_state(&rig, 2) != SF_STATE_IN_SYNC; ms++) {
    struct sf_volume_status status;

    rig_pass(&rig, 1);
    sf_volume_status(rig.volume, rig.now_ns, &status);
    assert_int_equal(status.unconverged_bytes, 0);
    if (rig.volume->joining == 2 && !joined) {
      const struct copying *c = sf_copying_find(rig.volume, 20);

      assert_true(c != NULL && c->failed);
      assert_int_equal(rig.volume->copier.copied.set, 0);
      assert_int_equal(rig.volume->copier.flushing_copied.set, 0);
      joined = rig.volume->copier.zeroing.set == 0 && !write.done;
    }
    assert_in_range(rig.volume->copier.issue_at_ns, 0, rig.now_ns);
  }
  assert_true(joined);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  rig_pass(&rig, 3000);
  assert_true(write.done);
  assert_int_equal(write.request.error, 0);
  rig_put(&write);
  assert_int_equal(rig.leg[2][SF_DATA_OFFSET + 20 * SMALL], 0x44);
  assert_int_equal(rig.leg[2][SF_DATA_OFFSET + 20 * SMALL + 4096], 0);
  rig.holds = NULL;
  rig_free(&rig);
}

static bool leg_2_stands;

static bool
zeros_take_longer_on_leg_1(const struct rig *r, const struct rig_region *region) {
  if (region->leg == 2)
    return rig_is_data(r, region) && copies_wait;
  return region->leg == 1 && rig_is_data(r, region) && region->op == SF_TIO_ZERO &&
         region->since_ns + 2000 * SF_MS > r->now_ns;
}

static int
leg_2_breaks(const struct rig *r, const struct rig_region *region) {
  return region->leg == 2 && leg_2_stands ? -EIO : 0;
}

/* Proves that an extent whose zeros were broken off is not begun again beside a piece of it that is with a leg,
 * when the leg that was to join breaks. */
static void
no_extent_is_zeroed_twice_at_a_time(void **state) {
  struct rig_request write, other;
  bool late = false;

  rig_init_unwritten(&rig, 3, SMALL, 64);
  rig.config.min_legs = 2;
  rig_start_fully(&rig);
  rig_lacks(&rig, 2, 1);
  copies_wait = true;
  leg_2_stands = false;
  rig.holds = zeros_take_longer_on_leg_1;
  rig.fails = leg_2_breaks;
  rig_submit(&rig, &write, SF_REQ_WRITE, (uint64_t) 20 * SMALL, 4096, 0x44);
  rig_pass(&rig, 20);
  assert_int_equal(rig.volume->copier.zeroing.set, 1);
  copies_wait = false;
  for (unsigned ms = 0; ms < 1000 && rig.volume->joining < 0; ms++)
    rig_pass(&rig, 1);
  assert_int_equal(rig.volume->joining, 2);
  assert_non_null(sf_copying_find(rig.volume, 20));
  leg_2_stands = true;
  rig_submit(&rig, &other, SF_REQ_WRITE, 0, 4096, 0x55);
  for (unsigned ms = 0; ms < 1900 && !late; ms++) {
    rig_pass(&rig, 1);
    late = rig.volume->joining < 0;
  }
  assert_true(late);
  rig_pass(&rig, 5);
  for (unsigned i = 0, n = 0; i < SF_COPY_EXTENTS; i++) {
    n += rig.volume->copier.extent[i].active && rig.volume->copier.extent[i].extent == 20;
    assert_in_range(n, 0, 1);
  }
  leg_2_stands = false;
  rig_pass(&rig, 6000);
  assert_true(other.done);
  rig_put(&other);
  assert_true(write.done);
  assert_int_equal(write.request.error, 0);
  rig_put(&write);
  rig.holds = NULL;
  rig.fails = NULL;
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(many_first_writes),
      cmocka_unit_test(the_background_makes_room),
      cmocka_unit_test(zeros_that_fail),
      cmocka_unit_test(joins_beside_zeros_that_fail),
      cmocka_unit_test(zeros_beside_joins_that_fail),
      cmocka_unit_test(joins_that_break_zeros_off_become_rarer),
      cmocka_unit_test(a_join_breaks_zeros_off),
      cmocka_unit_test(no_extent_is_zeroed_twice_at_a_time),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* R17: a leg that catches up beside first writes. */
#include <errno.h>

#include "rig.h"
#include "volume/change/resync.h"

static struct rig rig;

enum { SLOW_MS = 10, LARGE = 4 << 20, SMALL = 65536, WAITING = 8, STALE = 24 };

static bool
two_legs_are_slow(const struct rig *r, const struct rig_region *region) {
  return region->leg != 0 && rig_is_data(r, region) &&
         (!rig_is_oldest(r, region) || rig_in_turn(&rig, region, SLOW_MS * SF_MS));
}

/* Proves that a leg catches up while clients write to ever new extents, as many at a time as could take
 * all places for copies with their zeros; and that the writes go on. */
static void
a_resync_beside_first_writes(void **state) {
  static struct rig_request write[WAITING];
  uint64_t next = STALE;

  rig_init_unwritten(&rig, 3, SMALL, 512);
  rig_start_fully(&rig);
  rig_lacks(&rig, 2, STALE);
  rig_copies_may_go(&rig, 1);
  rig.holds = two_legs_are_slow;
  for (unsigned i = 0; i < WAITING; i++)
    rig_submit(&rig, &write[i], SF_REQ_WRITE, SMALL * next++, 4096, 0x77);
  for (unsigned ms = 0; ms < 4000 && rig_state(&rig, 2) != SF_STATE_IN_SYNC; ms++) {
    rig_pass(&rig, 1);
    for (unsigned i = 0; i < WAITING; i++)
      if (write[i].done) {
        assert_int_equal(write[i].request.error, 0);
        rig_put(&write[i]);
        rig_submit(&rig, &write[i], SF_REQ_WRITE, SMALL * next++, 4096, 0x77);
      }
  }
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  assert_in_range(next, STALE + 2 * WAITING, 511);
  rig.holds = NULL;
  rig_pass(&rig, 1000);
  for (unsigned i = 0; i < WAITING; i++) {
    assert_true(write[i].done);
    assert_int_equal(write[i].request.error, 0);
    rig_put(&write[i]);
  }
  rig_free(&rig);
}

static unsigned leg_2_takes_ms;

static bool
leg_2_is_slower(const struct rig *r, const struct rig_region *region) {
  if (!rig_is_data(r, region))
    return false;
  return !rig_is_oldest(r, region) ||
         rig_in_turn(&rig, region, (region->leg == 2 ? leg_2_takes_ms : 1) * SF_MS);
}

struct in_order { /* how such writes went */
  unsigned writes;
  uint64_t sum_ms;
};

/* One write to a new extent after the other, each that many ms after the answer to the last, until the
 * leg has joined, or there are no more. */
static struct in_order
writes_in_order(uint64_t next, uint64_t last, unsigned pause_ms) {
  struct in_order o = {0};
  struct rig_request write;

  for (; next < last && rig_state(&rig, 2) == SF_STATE_CATCHING_UP; next++, o.writes++) {
    uint64_t asked_ns = rig.now_ns;

    rig_submit(&rig, &write, SF_REQ_WRITE, rig.volume->extent_bytes * next, 4096, 0x77);
    for (unsigned ms = 0; ms < 20000 && !write.done; ms++)
      rig_pass(&rig, 1);
    assert_true(write.done);
    assert_int_equal(write.request.error, 0);
    o.sum_ms += (write.done_ns - asked_ns) / SF_MS;
    rig_put(&write);
    rig_pass(&rig, pause_ms);
  }
  return o;
}

/* What leg 2 lacks when they begin, how long it takes for a piece where the others take 1 ms, and how
 * long each write comes after the answer to the last: a leg that catches up is whole before long, and
 * no write waits for much more than its zeros on that leg. */
static void
first_writes_beside(unsigned lacks, unsigned takes_ms, unsigned pause_ms) {
  const uint64_t extent_bytes = LARGE / 4, pieces = extent_bytes / SF_COPY_PIECE_BYTES;
  struct in_order o;

  rig_init_unwritten(&rig, 3, extent_bytes, 112);
  rig.windows = true;
  rig_start_fully(&rig);
  rig_lacks(&rig, 2, lacks);
  rig_copies_may_go(&rig, 1 << 20);
  leg_2_takes_ms = takes_ms;
  rig.holds = leg_2_is_slower;
  o = writes_in_order(lacks, 112, pause_ms);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  assert_in_range(o.writes, 1, 3 * lacks + 12);
  assert_in_range(o.sum_ms / o.writes, 1, 4 * pieces * takes_ms + 30);
  rig.holds = NULL;
  rig_free(&rig);
}

/* Proves that such writes cannot keep a leg out, whatever it lacks and however slow it is: whether it is
 * whole does not hang on how the end of a copy and the end of zeros fall together. */
static void
first_writes_in_order(void **state) {
  static const unsigned lacks[] = {1, 5, 8, 11, 12, 20}, takes_ms[] = {1, 2, 40};

  for (unsigned i = 0; i < sizeof lacks / sizeof lacks[0]; i++)
    for (unsigned k = 0; k < sizeof takes_ms / sizeof takes_ms[0]; k++)
      first_writes_beside(lacks[i], takes_ms[k], i % 2 * 7);
}

enum { FRESH = 20 }; /* an extent that was never written */

static bool zeros_wait_on_2, flushes_wait_on_1, flushes_wait_on_2;

static bool
some_wait(const struct rig *r, const struct rig_region *region) {
  if (region->leg == 2)
    return rig_is_data(r, region) ? zeros_wait_on_2
                                  : flushes_wait_on_2 && region->op == SF_TIO_FLUSH;
  return flushes_wait_on_1 && region->leg == 1 && region->op == SF_TIO_FLUSH;
}

static void
leg_2_catches_up(void) {
  rig_init_unwritten(&rig, 3, SMALL, 64);
  rig_start_fully(&rig);
  rig_lacks(&rig, 2, 2);
  zeros_wait_on_2 = flushes_wait_on_1 = flushes_wait_on_2 = false;
  rig.holds = some_wait;
}

static void
write_fresh(struct rig_request *write) {
  rig_submit(&rig, write, SF_REQ_WRITE, (uint64_t) FRESH * SMALL, 4096, 0x44);
}

static void
leg_2_leaves_and_is_back(void) {
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  for (unsigned ms = 0; ms < 1000 && rig_state(&rig, 2) != SF_STATE_CATCHING_UP; ms++)
    rig_pass(&rig, 1);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_CATCHING_UP);
}

/* Leg 2 is whole in the end. */
static void
all_is_well(struct rig_request *write) {
  const uint8_t *fresh = rig.leg[2] + SF_DATA_OFFSET + (uint64_t) FRESH * SMALL;

  assert_true(write->done);
  assert_int_equal(write->request.error, 0);
  rig_put(write);
  zeros_wait_on_2 = false;
  rig_copies_may_go(&rig, 1 << 30);
  for (unsigned ms = 0; ms < 20000 && rig_state(&rig, 2) != SF_STATE_IN_SYNC; ms++)
    rig_pass(&rig, 1);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  assert_int_equal(fresh[0], 0x44);
  assert_int_equal(fresh[4096], 0);
  assert_int_equal(fresh[SMALL - 1], 0);
  rig.holds = NULL;
  rig_free(&rig);
}

/* Proves that a first write gives a leg that catches up the zeros and itself, so that it lacks no more
 * than before. */
static void
a_leg_that_catches_up_gets_the_zeros(void **state) {
  struct rig_request write;
  uint64_t lacked;

  leg_2_catches_up();
  lacked = rig.volume->leg[2].stale.set;
  write_fresh(&write);
  rig_pass(&rig, 100);
  assert_true(write.done);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_CATCHING_UP);
  assert_in_range(rig.volume->leg[2].stale.set, 0, lacked);
  assert_false(sf_map_test(&rig.volume->leg[2].stale, FRESH));
  assert_int_equal(rig.leg[2][SF_DATA_OFFSET + FRESH * SMALL], 0x44);
  assert_int_equal(rig.leg[2][SF_DATA_OFFSET + FRESH * SMALL + 4096], 0);
  all_is_well(&write);
}

/* Proves that one which hangs with the zeros leaves, holds the write up no longer, and lacks it. */
static void
one_that_hangs_with_the_zeros_lacks_them(void **state) {
  struct rig_request write;

  leg_2_catches_up();
  zeros_wait_on_2 = true;
  write_fresh(&write);
  rig_pass(&rig, 500);
  assert_true(write.done);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_LATE);
  assert_true(sf_map_test(&rig.volume->leg[2].stale, FRESH));
  all_is_well(&write);
}

/* Proves that zeros which were all on a leg count for nothing when it leaves before they are flushed on
 * the others, also where it is back by then. */
static void
one_that_leaves_with_the_zeros_lacks_them(void **state) {
  struct rig_request write;

  leg_2_catches_up();
  flushes_wait_on_1 = true;
  write_fresh(&write);
  rig_pass(&rig, 20);
  assert_false(write.done);
  assert_true(sf_map_test(&rig.volume->leg[2].zeroed, FRESH));
  leg_2_leaves_and_is_back();
  assert_false(write.done);
  flushes_wait_on_1 = false;
  rig_pass(&rig, 100);
  assert_true(sf_map_test(&rig.volume->leg[2].stale, FRESH));
  all_is_well(&write);
}

static bool zeros_wait_on_1;

static bool
zeros_wait(const struct rig *r, const struct rig_region *region) {
  return zeros_wait_on_1 && region->leg == 1 && rig_is_data(r, region) && region->op == SF_TIO_ZERO;
}

/* Proves the same of one that was away in the midst of the zeros, and gets the rest of them. */
static void
one_that_was_away_meanwhile_lacks_them(void **state) {
  struct rig_request write;

  rig_init_unwritten(&rig, 3, (uint64_t) 2 * LARGE, 32);
  rig_start_fully(&rig);
  rig_lacks(&rig, 2, 2);
  rig_never_late(&rig.volume->config);
  zeros_wait_on_1 = true;
  rig.holds = zeros_wait;
  rig_submit(&rig, &write, SF_REQ_WRITE, (uint64_t) FRESH * 2 * LARGE, 4096, 0x44);
  rig_pass(&rig, 20);
  leg_2_leaves_and_is_back();
  assert_false(write.done);
  zeros_wait_on_1 = false;
  rig_pass(&rig, 100);
  assert_true(write.done);
  rig_put(&write);
  assert_true(sf_map_test(&rig.volume->leg[2].stale, FRESH));
  rig.holds = NULL;
  rig_free(&rig);
}

/* Proves that nothing is zeroed in the background while a leg is copied to, however slow it is. */
static void
the_background_waits_for_a_resync(void **state) {
  rig_init_unwritten(&rig, 3, LARGE / 4, 256);
  rig.windows = true;
  rig_start_fully(&rig);
  rig_lacks(&rig, 2, 12);
  rig_copies_may_go(&rig, 1 << 20);
  leg_2_takes_ms = 10;
  rig.holds = leg_2_is_slower;
  for (unsigned ms = 0; ms < 3000 && rig_state(&rig, 2) == SF_STATE_CATCHING_UP; ms++)
    rig_pass(&rig, 1);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  assert_int_equal(rig.volume->unwritten.set, 256 - 12);
  rig.holds = NULL;
  rig_free(&rig);
}

static unsigned flushes_fail_on_1;

static int
some_fail(const struct rig *r, const struct rig_region *region) {
  if (region->leg != 1 || region->op != SF_TIO_FLUSH || flushes_fail_on_1 == 0)
    return 0;
  flushes_fail_on_1--;
  return -EIO;
}

/* Proves that a leg which left with zeros lacks them no longer when it is given them again. */
static void
one_that_gets_the_zeros_again_has_them(void **state) {
  struct rig_request write;

  leg_2_catches_up();
  flushes_wait_on_1 = true;
  write_fresh(&write);
  rig_pass(&rig, 20);
  leg_2_leaves_and_is_back();
  assert_false(write.done);
  assert_true(sf_map_test(&rig.volume->leg[2].stale, FRESH));
  flushes_fail_on_1 = 1; /* so they begin anew */
  rig.fails = some_fail;
  flushes_wait_on_1 = false;
  for (unsigned ms = 0; ms < 1000 && !write.done; ms++)
    rig_pass(&rig, 1);
  assert_int_equal(flushes_fail_on_1, 0);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_CATCHING_UP);
  assert_false(sf_map_test(&rig.volume->leg[2].stale, FRESH));
  all_is_well(&write);
}

static bool
is_stale_on_disk(uint64_t extent) {
  struct sf_map_page page;

  assert_true(sf_map_page_decode(rig.leg[0] + SF_MAP_PAGE_OFFSET(0), &rig.format.volume, 0, &page));
  return page.stale[2][extent / 8] >> extent % 8 & 1;
}

/* Proves that the page calls the zeros lacked only until they are flushed there. */
static void
the_page_says_when_they_are_flushed(void **state) {
  struct rig_request write;

  leg_2_catches_up();
  rig.volume->config.deadline_ns[SF_FLUSH_KIND] = 100 * SF_S;
  rig_submit(&rig, &write, SF_REQ_WRITE, (uint64_t) (FRESH + 1) * SMALL, 4096, 0x44);
  rig_pass(&rig, 20000); /* the extent that is copied before its zeros is the last one for long */
  assert_true(write.done);
  rig_put(&write);
  assert_int_equal(rig.volume->leg[2].settled.set, 0);
  flushes_wait_on_2 = true;
  write_fresh(&write);
  rig_pass(&rig, 500);
  assert_true(write.done);
  assert_true(is_stale_on_disk(FRESH));
  flushes_wait_on_2 = false;
  for (unsigned ms = 0; ms < 5000 && is_stale_on_disk(FRESH); ms++)
    rig_pass(&rig, 1);
  assert_false(is_stale_on_disk(FRESH));
  all_is_well(&write);
}

static bool
data_waits(const struct rig *r, const struct rig_region *region) {
  return zeros_wait_on_2 && region->leg != 0 && rig_is_data(r, region);
}

/* Proves that a resync has one place and a quarter of the pieces while first writes wait, and that
 * these have the rest. */
static void
a_resync_leaves_most_to_first_writes(void **state) {
  static struct rig_request write[WAITING];
  unsigned copies = 0, zeros = 0;

  rig_init_unwritten(&rig, 3, LARGE, 32);
  rig_start_fully(&rig);
  rig_lacks(&rig, 2, 4);
  rig.volume->config.resync_max_rate = 0; /* and its turn for more has not come */
  rig_never_late(&rig.volume->config);
  zeros_wait_on_2 = true;
  rig.holds = data_waits;
  for (unsigned i = 0; i < WAITING; i++)
    rig_submit(&rig, &write[i], SF_REQ_WRITE, (uint64_t) LARGE * (8 + i), 4096, 0x77);
  rig_pass(&rig, 50);
  EACH_COPYING(c, &rig.volume->copier)
    if (c->active)
      *(c->converge ? &zeros : &copies) += c->in_flight;
  assert_int_equal(sf_resync_places(rig.volume), 1);
  assert_int_equal(copies, SF_COPY_SLOTS / 4);
  assert_int_equal(zeros, SF_COPY_SLOTS - SF_COPY_SLOTS / 4);
  zeros_wait_on_2 = false;
  rig_pass(&rig, 1000);
  for (unsigned i = 0; i < WAITING; i++) {
    assert_true(write[i].done);
    rig_put(&write[i]);
  }
  rig.holds = NULL;
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_resync_beside_first_writes),
      cmocka_unit_test(first_writes_in_order),
      cmocka_unit_test(a_leg_that_catches_up_gets_the_zeros),
      cmocka_unit_test(one_that_hangs_with_the_zeros_lacks_them),
      cmocka_unit_test(one_that_leaves_with_the_zeros_lacks_them),
      cmocka_unit_test(one_that_was_away_meanwhile_lacks_them),
      cmocka_unit_test(the_background_waits_for_a_resync),
      cmocka_unit_test(one_that_gets_the_zeros_again_has_them),
      cmocka_unit_test(the_page_says_when_they_are_flushed),
      cmocka_unit_test(a_resync_leaves_most_to_first_writes),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

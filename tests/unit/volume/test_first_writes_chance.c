/* R17 beside R15 by chance: two legs catch up beside each other while clients write to ever new
 * extents, and leave in the midst with all that they have not flushed lost.  tests/sim has more of
 * everything, and so hardly ever all of this at once: zeros that are whole on a leg which leaves, and
 * is back before another, slow leg has flushed them. */
#include <errno.h>
#include <string.h>

#include "rig.h"

static struct rig rig;

enum { LEGS = 4, SLOW = 1, FIRST_OUT = 2, RUNS = 4 };
enum { EXTENT = 4 * SF_COPY_PIECE_BYTES, EXTENTS = 64, LACKS = 8, AT_A_TIME = 6 };

/* Of legs that left, over all runs: without them these prove nothing. */
static struct seen {
  unsigned zeroed; /* extents that they had the zeros of */
  unsigned also;   /* that they were being given them in */
  unsigned lost;   /* of which they lost something */
} seen;

static uint64_t chance;

static unsigned
choose(unsigned n) {
  chance ^= chance << 13;
  chance ^= chance >> 7;
  chance ^= chance << 17;
  return (unsigned) (chance >> 33) % n;
}

static bool
some_take_long(const struct rig *r, const struct rig_region *region) {
  unsigned part = (unsigned) (region->handle * 0x9e3779b97f4a7c15u >> 40), takes_ms = part % 4;

  if (region->op == SF_TIO_FLUSH)
    takes_ms = region->leg == SLOW ? 400 : 20;
  else if (region->leg == SLOW && region->op == SF_TIO_ZERO)
    takes_ms = part % 8 == 0 ? 600 : part % 95;
  else if (region->leg >= FIRST_OUT)
    takes_ms = part % 25;
  return r->now_ns - region->since_ns < takes_ms * SF_MS;
}

static uint8_t *
data(unsigned leg, uint64_t extent) {
  return rig.leg[leg] + SF_DATA_OFFSET + extent * EXTENT;
}

/* What a disk may do that loses its power. */
static void
loses_what_is_not_flushed(unsigned index) {
  const struct leg *leg = &rig.volume->leg[index];

  for (uint64_t e = 0; e < EXTENTS; e++)
    if (sf_map_test(&leg->unflushed, e) || sf_map_test(&leg->flushing, e)) {
      memset(data(index, e), 0xee, EXTENT);
      seen.lost++;
    }
  seen.zeroed += (unsigned) leg->zeroed.set;
  EACH_COPYING(c, &rig.volume->copier)
    seen.also += c->active && (c->also >> index & 1);
}

static void
may_leave(unsigned leg) {
  if (rig_state(&rig, leg) != SF_STATE_CATCHING_UP || choose(1000) != 0)
    return;
  loses_what_is_not_flushed(leg);
  assert_int_equal(sf_volume_leg_fail(rig.volume, leg, rig.now_ns), 0);
}

/* At once, or as soon as nothing is under way on it. */
static void
comes_back(unsigned leg) {
  int error = 0;

  if (rig_state(&rig, leg) == SF_STATE_FAULTY)
    error = sf_volume_leg_return(rig.volume, leg, rig.now_ns);
  assert_true(error == 0 || error == -EBUSY);
  if (rig_state(&rig, leg) == SF_STATE_MISSING && (rig.opening >> leg & 1))
    rig_open(&rig, leg);
}

static struct writes {
  struct rig_request write[EXTENTS];
  uint64_t next, done; /* the first extents without a write, and without an answer */
} writes;

/* In order, a few at a time. */
static void
writes_go_on(bool more) {
  struct writes *w = &writes;

  for (; w->done < w->next && w->write[w->done].done; w->done++) {
    assert_int_equal(w->write[w->done].request.error, 0);
    rig_put(&w->write[w->done]);
  }
  if (!more || w->next == EXTENTS || w->next - w->done == AT_A_TIME || choose(6) != 0)
    return;
  rig_submit(&rig, &w->write[w->next], SF_REQ_WRITE,
             w->next * EXTENT + 4096 * choose(EXTENT / 4096), 4096, (uint8_t) (w->next | 1));
  w->next++;
}

static bool
all_is_done(void) {
  for (unsigned leg = FIRST_OUT; leg < LEGS; leg++)
    if (rig_state(&rig, leg) != SF_STATE_IN_SYNC)
      return false;
  return writes.done == writes.next;
}

static void
no_leg_differs(unsigned seed) {
  for (uint64_t e = 0; e < EXTENTS; e++)
    for (unsigned leg = 1; leg < LEGS && !sf_map_test(&rig.volume->unwritten, e); leg++)
      if (memcmp(data(0, e), data(leg, e), EXTENT) != 0)
        fail_msg("seed %u: extent %u of leg %u differs", seed, (unsigned) e, leg);
}

static void
run(unsigned seed) {
  chance = seed * 0x9e3779b97f4a7c15u;
  writes = (struct writes){.next = LACKS, .done = LACKS};
  rig_init_unwritten(&rig, LEGS, EXTENT, EXTENTS);
  rig.windows = seed % 2;
  rig_start_fully(&rig);
  assert_int_equal(sf_volume_leg_fail(rig.volume, FIRST_OUT + 1, rig.now_ns), 0);
  rig_lacks(&rig, FIRST_OUT, LACKS);
  rig_never_late(&rig.volume->config);
  rig_copies_may_go(&rig, EXTENT / 2);
  rig.volume->config.resync_max_rate = EXTENT; /* they are out until all is written */
  rig.holds = some_take_long;
  for (unsigned ms = 0; writes.next < EXTENTS && ms < 12000; ms++) {
    rig_pass(&rig, 1);
    writes_go_on(true);
    for (unsigned leg = FIRST_OUT; leg < LEGS; leg++) {
      may_leave(leg);
      comes_back(leg);
    }
  }
  rig_copies_may_go(&rig, 1 << 30);
  rig.holds = NULL;
  for (unsigned ms = 0; ms < 60000 && !all_is_done(); ms++) {
    for (unsigned leg = FIRST_OUT; leg < LEGS; leg++)
      comes_back(leg);
    rig_pass(&rig, 1);
    writes_go_on(false);
  }
  assert_true(all_is_done());
  rig_pass(&rig, 100);
  no_leg_differs(seed);
  rig_free(&rig);
}

/* Proves that a leg which leaves at any moment of a first write, and loses its cache, is the same as
 * the others when it is in sync again. */
static void
legs_that_leave_amid_first_writes(void **state) {
  seen = (struct seen){0};
  for (unsigned seed = 1; seed <= RUNS; seed++)
    run(seed);
  assert_true(seen.zeroed >= RUNS && seen.also >= RUNS && seen.lost >= RUNS);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(legs_that_leave_amid_first_writes),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

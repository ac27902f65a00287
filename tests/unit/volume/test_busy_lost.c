/* Legs that cannot be spared and lose requests, and legs whose answers come in a burst after a
 * pause. */
#include "rig.h"

#include <string.h>

#include "volume/ground/deadline.h"
#include "volume/ground/facts.h"
#include "volume/ground/window.h"
#include "volume/set/sample.h"

enum { WRITES = 128, EXTENT = 65536, EXTENTS = 64 };

static struct rig rig;
static struct rig_request w[WRITES];
static uint64_t lost_from_ns, lost_until_ns, stall_until_ns, takes_ns;
static unsigned most_on_leg_1;

static bool
is_write_of_leg_1(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && region->op == SF_TIO_WRITE && rig_is_data(r, region);
}

/* What leg 1 was sent in a certain time is never ended. */
static bool
is_lost(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && region->since_ns >= lost_from_ns && region->since_ns < lost_until_ns;
}

static void
start(unsigned min_legs) {
  rig_init(&rig, 2, min_legs, EXTENT, EXTENTS);
  rig.windows = true;
  rig.config.on_too_few = min_legs == 1 ? SF_TOO_FEW_ERROR : SF_TOO_FEW_SUSPEND;
  rig_start_fully(&rig);
  lost_from_ns = lost_until_ns = stall_until_ns = 0;
  most_on_leg_1 = 0;
  memset(w, 0, sizeof w);
}

/* All ends, lost requests too. */
static void
finish(void) {
  rig.holds = NULL;
  rig_pass(&rig, 3000);
  for (unsigned k = 0; k < WRITES; k++)
    if (w[k].request.buffer != NULL) {
      assert_true(w[k].done);
      rig_put(&w[k]);
    }
  rig_free(&rig);
}

static void
submit(unsigned k) {
  rig_submit(&rig, &w[k], SF_REQ_WRITE, (uint64_t) (k * 7 % 32) * EXTENT + 4096 + k / 32 * 4096,
             4096, 2);
}

static unsigned
clients_work_for(unsigned n, unsigned ms) {
  unsigned done = 0;

  for (unsigned i = 0; i < ms; i++) {
    for (unsigned k = 0; k < n; k++) {
      if (w[k].request.buffer != NULL && !w[k].done)
        continue;
      if (w[k].request.buffer != NULL) {
        rig_put(&w[k]);
        done++;
      }
      submit(k);
    }
    rig_pass(&rig, 1);
  }
  return done;
}

/* A sample (or a look, or a page) is lost, and the next page of metadata waits for its room for
 * ever, and all that clients ask for behind it: none is sent that would show that the leg
 * answers. */
static void
a_lost_page_does_not_keep_all_others_out(void **state) {
  static struct rig_request fresh, old;

  start(2);
  rig_touch_extents(&rig, 32, EXTENT);
  rig.holds = is_lost;
  lost_from_ns = rig.now_ns;
  lost_until_ns = rig.now_ns + 300 * SF_MS;
  sf_probe_sample(rig.volume, 1);                               /* as for a leg that reads avoid */
  rig_pass(&rig, 400);                                          /* from now on it answers */
  rig_submit(&rig, &fresh, SF_REQ_WRITE, 40 * EXTENT, 4096, 2); /* it needs its intent first */
  rig_submit(&rig, &old, SF_REQ_WRITE, 4096, 4096, 2);
  rig_pass(&rig, 20000);
  assert_true(old.done);
  assert_true(fresh.done);
  rig_put(&fresh);
  rig_put(&old);
  finish();
}

/* The same with writes of clients that were lost too. */
static void
lost_writes_and_a_lost_page(void **state) {
  static struct rig_request fresh, old;

  start(2);
  rig_touch_extents(&rig, 32, EXTENT);
  clients_work_for(32, 20);
  rig.holds = is_lost;
  for (unsigned class = 0; class < WINDOW_CLASSES; class ++) {
    rig.volume->leg[1].window.cost_ns[class] = 20 * SF_MS;
    rig.volume->leg[1].window.seen[class] = 200;
  }
  lost_from_ns = rig.now_ns;
  lost_until_ns = rig.now_ns + 300 * SF_MS;
  clients_work_for(32, 10);
  sf_probe_sample(rig.volume, 1);
  rig_pass(&rig, 400);
  rig_submit(&rig, &fresh, SF_REQ_WRITE, 40 * EXTENT, 4096, 2);
  rig_submit(&rig, &old, SF_REQ_WRITE, 50 * EXTENT, 4096, 2);
  rig_pass(&rig, 20000);
  assert_true(old.done);
  assert_true(fresh.done);
  rig_put(&fresh);
  rig_put(&old);
  finish();
}

/* No page of metadata is involved. */
static void
lost_writes(void **state) {
  static struct rig_request old;
  uint64_t began;

  start(2);
  rig_touch_extents(&rig, 64, EXTENT);
  clients_work_for(32, 20);
  rig.holds = is_lost;
  for (unsigned class = 0; class < WINDOW_CLASSES; class ++) {
    rig.volume->leg[1].window.cost_ns[class] = 20 * SF_MS;
    rig.volume->leg[1].window.seen[class] = 200;
  }
  lost_from_ns = rig.now_ns;
  lost_until_ns = rig.now_ns + 300 * SF_MS;
  clients_work_for(32, 10);
  rig_pass(&rig, 400);
  began = rig.now_ns;
  rig_submit(&rig, &old, SF_REQ_WRITE, 50 * EXTENT, 4096, 2);
  while (!old.done && rig.now_ns - began < 20000 * SF_MS)
    rig_pass(&rig, 1);
  assert_true(old.done);
  rig_put(&old);
  finish();
}

static bool
is_lost_read(const struct rig *r, const struct rig_region *region) {
  return is_lost(r, region) && region->op == SF_TIO_READ;
}

/* Reads are lost, and fill the window; writes are answered. */
static void
lost_reads_do_not_keep_writes_waiting(void **state) {
  start(2);
  rig_touch_extents(&rig, 64, EXTENT);
  clients_work_for(32, 20);
  for (unsigned k = 0; k < 32; k++) {
    rig_pass(&rig, 5);
    if (w[k].request.buffer != NULL)
      rig_put(&w[k]);
  }
  rig.holds = is_lost_read;
  for (unsigned class = 0; class < WINDOW_CLASSES; class ++) {
    rig.volume->leg[1].window.cost_ns[class] = 12 * SF_MS;
    rig.volume->leg[1].window.seen[class] = 200;
  }
  lost_from_ns = rig.now_ns;
  lost_until_ns = rig.now_ns + 300 * SF_MS;
  rig.volume->leg[0].avoid = true;
  for (unsigned k = 0; k < 32; k++)
    rig_submit(&rig, &w[64 + k], SF_REQ_READ, (uint64_t) (k * 7 % 32) * EXTENT + 4096, 4096, 2);
  clients_work_for(16, 500);
  assert_true(clients_work_for(16, 100) > 100);
  finish();
}

/* ---- bursts ---- */

static bool
in_turn_but_for_a_burst(const struct rig *r, const struct rig_region *region) {
  unsigned n = rig_count(r, is_write_of_leg_1);

  if (n > most_on_leg_1)
    most_on_leg_1 = n;
  if (region->leg == 1 && r->now_ns < stall_until_ns)
    return true;
  if (is_write_of_leg_1(r, region) && region->since_ns < stall_until_ns)
    return false; /* what was on its way through the stall: its completions come at once */
  return is_write_of_leg_1(r, region) && rig_in_turn(&rig, region, takes_ns);
}

static void
burst(unsigned takes_ms, unsigned stall_ms, unsigned *before, unsigned *after) {
  start(2);
  rig_touch_extents(&rig, 64, EXTENT);
  takes_ns = takes_ms * SF_MS;
  rig.holds = in_turn_but_for_a_burst;
  clients_work_for(WRITES, 3000);
  most_on_leg_1 = 0;
  clients_work_for(WRITES, 300);
  *before = most_on_leg_1;
  stall_until_ns = rig.now_ns + stall_ms * SF_MS;
  clients_work_for(WRITES, stall_ms);
  most_on_leg_1 = 0;
  clients_work_for(WRITES, 200);
  *after = most_on_leg_1;
  finish();
}

/* A path was away; what the disk had done meanwhile is told at once.  That is not its pace. */
static void
a_burst_after_a_pause_is_no_pace(void **state) {
  unsigned before, after;

  burst(1, 80, &before, &after);
  burst(1, 350, &before, &after);
  assert_true(after <= before + 8);
}

static void
a_burst_of_a_slower_leg_is_no_pace(void **state) {
  unsigned before, after;

  burst(2, 80, &before, &after);
  burst(2, 350, &before, &after);
  assert_true(after <= before + 8);
}

/* ---- an unknown class in a stall ---- */

static bool
stalls(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && r->now_ns < stall_until_ns;
}

static bool
stalls_then_a_moment(const struct rig *r, const struct rig_region *region) {
  return stalls(r, region) || rig_takes_a_moment(r, region);
}

/* A request of a class that is not known yet is in a long stall: the stall is not its cost. */
static void
a_stall_is_not_the_cost_of_a_new_class(void **state) {
  static struct rig_request big;
  unsigned class;
  struct window unused = {0};

  start(2);
  rig_touch_extents(&rig, 64, EXTENT);
  rig.holds = stalls_then_a_moment;
  stall_until_ns = rig.now_ns + 20 * SF_S;
  rig_submit(&rig, &big, SF_REQ_WRITE, 60 * EXTENT, 2 * EXTENT, 2);
  rig_pass(&rig, 20 * 1000 + 50);
  assert_true(big.done);
  rig_put(&big);
  class = sf_window_class(&unused, SF_TIO_WRITE, false, 1, 2 * EXTENT);
  assert_true(rig.volume->leg[1].window.cost_ns[class] <= 100 * SF_MS);
  finish();
}

/* ---- reads ---- */

static unsigned reads_of_leg_1;

static bool
frozen(const struct rig *r, const struct rig_region *region) {
  if (region->leg == 1 && region->op == SF_TIO_READ && rig_is_data(r, region))
    reads_of_leg_1++;
  return stalls(r, region) || is_lost(r, region);
}

static void
read_for(unsigned ms) {
  static struct rig_request read;

  for (unsigned i = 0; i < ms; i++) {
    if (read.request.buffer == NULL || read.done) {
      if (read.request.buffer != NULL)
        rig_put(&read);
      rig_submit(&rig, &read, SF_REQ_READ, (uint64_t) (i * 7 % 32) * EXTENT + 8192, 4096, 0);
    }
    rig_pass(&rig, 1);
  }
  while (!read.done)
    rig_pass(&rig, 1);
  rig_put(&read);
}

static void
a_frozen_leg_leaves_though_clients_only_read(void **state) {
  uint64_t began;

  start(1);
  rig_touch_extents(&rig, 32, EXTENT);
  rig.holds = frozen;
  read_for(200);
  rig.volume->leg[0].latency[SF_READ_KIND].average_ns = 10 * SF_MS;
  began = rig.now_ns;
  stall_until_ns = UINT64_MAX;
  while (rig_state(&rig, 1) == SF_STATE_IN_SYNC && rig.now_ns - began < 5 * SF_S)
    read_for(5);
  assert_true(rig.now_ns - began <= 250 * SF_MS);
  finish();
}

/* One read is lost on a leg that cannot be spared, and answers all others: it is read again. */
static void
a_lost_read_does_not_keep_reads_away(void **state) {
  start(2);
  rig_touch_extents(&rig, 32, EXTENT);
  rig.holds = frozen;
  lost_from_ns = rig.now_ns;
  lost_until_ns = rig.now_ns + 20 * SF_MS;
  rig.volume->leg[0].latency[SF_READ_KIND].average_ns = SF_S;
  read_for(30);
  read_for(1500);
  reads_of_leg_1 = 0;
  rig.volume->leg[0].latency[SF_READ_KIND].average_ns = SF_S;
  read_for(500);
  assert_true(reads_of_leg_1 > 1);
  finish();
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_lost_page_does_not_keep_all_others_out),
      cmocka_unit_test(lost_writes_and_a_lost_page),
      cmocka_unit_test(lost_writes),
      cmocka_unit_test(lost_reads_do_not_keep_writes_waiting),
      cmocka_unit_test(a_burst_after_a_pause_is_no_pace),
      cmocka_unit_test(a_burst_of_a_slower_leg_is_no_pace),
      cmocka_unit_test(a_stall_is_not_the_cost_of_a_new_class),
      cmocka_unit_test(a_frozen_leg_leaves_though_clients_only_read),
      cmocka_unit_test(a_lost_read_does_not_keep_reads_away),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

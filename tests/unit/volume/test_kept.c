/* A leg that keeps one request for ever and answers all others that it gets now and then: how long
 * that one is waited for. */
#include "rig.h"

#include "volume/ground/deadline.h"
#include "volume/ground/facts.h"

enum { EXTENT = 65536, EXTENTS = 64 };

static struct rig rig;
static struct rig_request flush, w[4];
static uint64_t began_ns, timeout_ns, stall_until_ns;

static bool
leg_1_keeps_flushes(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && region->op == SF_TIO_FLUSH;
}

static void
start(void) {
  rig_start_fully(&rig);
  rig_touch_extents(&rig, EXTENTS, EXTENT);
  timeout_ns = sf_deadline_timeout(rig.volume, 1, SF_FLUSH_KIND);
}

static void
init(void) {
  rig_init(&rig, 2, 1, EXTENT, EXTENTS);
}

static void
write_well(uint64_t ms) {
  rig_submit(&rig, &w[0], SF_REQ_WRITE, 4096, 4096, 2);
  rig_pass(&rig, ms);
  assert_true(w[0].done);
  assert_int_equal(w[0].request.error, 0);
  rig_put(&w[0]);
}

static void
flush_begins(void) {
  rig.holds = leg_1_keeps_flushes;
  began_ns = rig.now_ns;
  rig_submit(&rig, &flush, SF_REQ_FLUSH, 0, 0, 0);
}

static void
flush_was_answered(void) {
  assert_true(flush.done);
  assert_int_equal(flush.request.error, 0);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_LATE);
  rig_free(&rig);
}

/* The leg answers each write, and never the flush. */
static void
flush_is_lost_beside_writes_each(unsigned ms) {
  start();
  write_well(5);
  flush_begins();
  while (!flush.done && rig.now_ns - began_ns < 20 * timeout_ns)
    write_well(ms);
}

/* Clients pause for longer than a write may take, and for less than a flush may.  In between the leg
 * has nothing but the flush that it keeps, and no pause is a silence that excuses it. */
static void
writes_now_and_then_do_not_excuse_a_lost_flush(void **state) {
  init();
  flush_is_lost_beside_writes_each(130);
  assert_in_range(rig.now_ns - began_ns, 3 * timeout_ns, 3 * timeout_ns + 150 * SF_MS);
  flush_was_answered();
}

/* The pauses are longer than the flush's own timeout, and end before it is judged. */
static void
a_pause_of_a_flush_timeout_does_not_either(void **state) {
  init();
  rig.config.deadline_ns[SF_FLUSH_KIND] = rig_deadline(110 * SF_MS);
  flush_is_lost_beside_writes_each(128);
  assert_in_range(rig.now_ns - began_ns, 3 * timeout_ns, 4 * timeout_ns + 50 * SF_MS);
  flush_was_answered();
}

/* No client asks for anything else: looks at the superblock are answered each two seconds, in which
 * the flush is not judged late yet. */
static void
looks_do_not_excuse_a_lost_flush(void **state) {
  init();
  rig.holder = (struct sf_holder){.host = "here", .since_s = 1, .pid = 100};
  rig.config.deadline_ns[SF_FLUSH_KIND] = rig_deadline(2 * SF_S);
  start();
  write_well(5);
  flush_begins();
  while (!flush.done && rig.now_ns - began_ns < 20 * timeout_ns)
    rig_pass(&rig, 50);
  assert_true(rig.now_ns - began_ns <= 8 * timeout_ns + 100 * SF_MS);
  flush_was_answered();
}

static bool
leg_1_keeps_flushes_and_reads_slowly(const struct rig *r, const struct rig_region *region) {
  return leg_1_keeps_flushes(r, region) || (region->leg == 1 && region->op == SF_TIO_READ &&
                                            r->now_ns - region->since_ns < 70 * SF_MS);
}

/* Each read takes longer than a write may, and not longer than a read may: the leg is never silent
 * for too long. */
static void
reads_slower_than_writes_do_not_excuse_a_lost_flush(void **state) {
  init();
  rig.config.deadline_ns[SF_WRITE_KIND] = rig_deadline(50 * SF_MS);
  rig.config.deadline_ns[SF_READ_KIND] = rig_deadline(500 * SF_MS);
  start();
  write_well(5);
  flush_begins();
  rig.holds = leg_1_keeps_flushes_and_reads_slowly;
  while (!flush.done && rig.now_ns - began_ns < 20 * timeout_ns) {
    rig.volume->leg[0].latency[SF_READ_KIND].average_ns = SF_S; /* leg 1 was quicker */
    rig_submit(&rig, &w[0], SF_REQ_READ, 8192, 4096, 0);
    while (!w[0].done)
      rig_pass(&rig, 1);
    rig_put(&w[0]);
  }
  assert_true(rig.now_ns - began_ns <= 8 * timeout_ns + 100 * SF_MS);
  flush_was_answered();
}

static void
leg_1_has_kept_a_flush_beside(unsigned writes) {
  init();
  start();
  write_well(5);
  flush_begins();
  for (unsigned i = 0; i < writes; i++)
    write_well(100);
}

static void
leg_0_has_left_and_leg_1_goes_on(void) {
  assert_int_equal(rig_state(&rig, 0), SF_STATE_LATE);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig.holds = NULL;
  rig_pass(&rig, 20);
  assert_true(flush.done);
}

static bool
leg_0_freezes_and_leg_1_keeps_flushes(const struct rig *r, const struct rig_region *region) {
  return leg_1_keeps_flushes(r, region) || region->leg == 0;
}

/* A flush is passed by, and not judged yet, when the other leg freezes: what answers all that it got
 * since is a witness, or no leg could leave for the other's sake. */
static void
a_leg_that_keeps_a_flush_is_a_witness_against_a_frozen_one(void **state) {
  leg_1_has_kept_a_flush_beside(12);
  rig.holds = leg_0_freezes_and_leg_1_keeps_flushes;
  began_ns = rig.now_ns;
  write_well(300);
  assert_true(w[0].done_ns - began_ns <= 150 * SF_MS);
  leg_0_has_left_and_leg_1_goes_on();
  rig_free(&rig);
}

/* It has passed the flush by, however long we could not run since: it need not be asked. */
static void
our_own_delay_does_not_undo_it_as_a_witness(void **state) {
  leg_1_has_kept_a_flush_beside(12);
  rig.holds = leg_0_freezes_and_leg_1_keeps_flushes;
  rig_submit(&rig, &w[1], SF_REQ_WRITE, EXTENT, 4096, 2);
  rig_pass(&rig, 20);
  rig.now_ns += 500 * SF_MS;
  sf_volume_tick(rig.volume, rig.now_ns);
  rig_pass(&rig, 110);
  assert_true(w[1].done);
  leg_0_has_left_and_leg_1_goes_on();
  rig_put(&w[1]);
  rig_free(&rig);
}

/* The flush is not passed by yet, and one client waits for its write: nothing more is sent that
 * leg 1 would answer.  It is asked for something. */
static void
a_leg_that_may_only_keep_a_flush_is_asked(void **state) {
  leg_1_has_kept_a_flush_beside(3);
  rig.holds = leg_0_freezes_and_leg_1_keeps_flushes;
  began_ns = rig.now_ns;
  write_well(400);
  assert_true(w[0].done_ns - began_ns <= 200 * SF_MS);
  leg_0_has_left_and_leg_1_goes_on();
  rig_free(&rig);
}

static bool
both_stall_and_leg_1_keeps_flushes(const struct rig *r, const struct rig_region *region) {
  if (region->leg == 0 && r->now_ns < stall_until_ns + 10 * SF_MS)
    return true;
  if (region->leg == 1 && r->now_ns >= began_ns + 5 * SF_MS && r->now_ns < stall_until_ns)
    return true;
  return leg_1_keeps_flushes(r, region);
}

/* Leg 1 ended the write just before both stalled.  When it is awake it answers first, which is no
 * evidence for a grace: leg 0 answers within that. */
static void
its_first_answer_after_a_stall_of_both_is_no_evidence(void **state) {
  leg_1_has_kept_a_flush_beside(3);
  began_ns = rig.now_ns;
  stall_until_ns = began_ns + 200 * SF_MS;
  rig.holds = both_stall_and_leg_1_keeps_flushes;
  rig_submit(&rig, &w[1], SF_REQ_WRITE, EXTENT, 4096, 2);
  rig_pass(&rig, 250);
  assert_true(w[1].done);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig.holds = NULL;
  rig_pass(&rig, 20);
  assert_true(flush.done);
  rig_put(&w[1]);
  rig_free(&rig);
}

static bool
leg_0_freezes_and_leg_1_takes_10_ms(const struct rig *r, const struct rig_region *region) {
  return leg_0_freezes_and_leg_1_keeps_flushes(r, region) ||
         (rig_is_data(r, region) && r->now_ns - region->since_ns < 10 * SF_MS);
}

/* It was given something a moment ago: it is not silent over that for all the time since its last
 * answer. */
static void
it_is_one_with_something_new_to_do(void **state) {
  leg_1_has_kept_a_flush_beside(12);
  rig.holds = leg_0_freezes_and_leg_1_takes_10_ms;
  rig_submit(&rig, &w[1], SF_REQ_WRITE, EXTENT, 4096, 2);
  rig_pass(&rig, 124);
  rig_submit(&rig, &w[2], SF_REQ_WRITE, 2 * EXTENT, 4096, 2);
  rig_pass(&rig, 3);
  assert_false(w[2].done);
  assert_true(w[1].done);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_LATE);
  rig.holds = NULL;
  rig_pass(&rig, 20);
  assert_true(w[2].done && flush.done);
  rig_put(&w[1]);
  rig_put(&w[2]);
  rig_free(&rig);
}

/* ---- and what is a silence ---- */

static bool
both_stall_and_leg_1_ends_the_first_last(const struct rig *r, const struct rig_region *region) {
  if (region->leg < 2 && r->now_ns < stall_until_ns)
    return true;
  return region->leg == 1 && region->offset == SF_DATA_OFFSET &&
         r->now_ns < stall_until_ns + 60 * SF_MS;
}

/* Both stall for longer than three timeouts.  What the leg answers first when it is awake was sent
 * a moment before: it shows that what was sent at the beginning is passed by, and does not make the
 * leg one that was idle all the time. */
static void
what_is_answered_first_does_not_undo_a_stall(void **state) {
  init();
  start();
  stall_until_ns = rig.now_ns + 330 * SF_MS;
  rig.holds = both_stall_and_leg_1_ends_the_first_last;
  rig_submit(&rig, &w[1], SF_REQ_WRITE, 0, 4096, 2);
  rig_pass(&rig, 310);
  rig_submit(&rig, &w[2], SF_REQ_WRITE, EXTENT, 4096, 2);
  rig_pass(&rig, 21);
  for (unsigned i = 0; i < 20; i++)
    write_well(5);
  assert_true(w[1].done && w[2].done);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_put(&w[1]);
  rig_put(&w[2]);
  rig_free(&rig);
}

/* Leg 1 needs 920 ms for a flush while it is awake, and all stall for 360 ms, which is less than a
 * flush may take. */
static bool
both_stall_and_leg_1_flushes_slowly(const struct rig *r, const struct rig_region *region) {
  uint64_t begins = stall_until_ns - 360 * SF_MS, stalled = 0;

  if (region->leg < 2 && r->now_ns >= begins && r->now_ns < stall_until_ns)
    return true;
  if (r->now_ns >= stall_until_ns)
    stalled = 360 * SF_MS;
  if (region->leg == 1 && region->offset == SF_DATA_OFFSET && stalled != 0)
    return r->now_ns < stall_until_ns + 5 * SF_MS; /* the newest write is answered first */
  return leg_1_keeps_flushes(r, region) && r->now_ns - region->since_ns - stalled < 920 * SF_MS;
}

static void
flush_meets_a_stall_in_which_leg_1_gets(uint64_t first, uint64_t second) {
  init();
  rig.config.deadline_ns[SF_WRITE_KIND] = rig_deadline(50 * SF_MS);
  rig.config.deadline_ns[SF_FLUSH_KIND] = rig_deadline(400 * SF_MS);
  start();
  write_well(5);
  stall_until_ns = rig.now_ns + 1160 * SF_MS;
  flush_begins();
  rig.holds = both_stall_and_leg_1_flushes_slowly;
  while (rig.now_ns < stall_until_ns - 360 * SF_MS)
    write_well(5);
  rig_submit(&rig, &w[1], SF_REQ_WRITE, first, 4096, 2);
  rig_pass(&rig, 350);
  rig_submit(&rig, &w[2], SF_REQ_WRITE, second, 4096, 3);
  rig_pass(&rig, 20);
  assert_true(w[1].done && w[2].done);
  while (!flush.done && rig.now_ns - began_ns < 5 * SF_S)
    write_well(5);
  assert_true(flush.done);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_put(&w[1]);
  rig_put(&w[2]);
  rig_free(&rig);
}

/* Where the leg had another request that became overdue, it was no pause of clients. */
static void
a_stall_excuses_a_slow_flush_though_it_is_shorter_than_a_flush_may_be(void **state) {
  flush_meets_a_stall_in_which_leg_1_gets(EXTENT, 2 * EXTENT);
}

static void
it_does_where_the_leg_answers_first_what_it_got_last(void **state) {
  flush_meets_a_stall_in_which_leg_1_gets(0, EXTENT);
}

/* ---- a look, which says nothing of the leg ---- */

static uint64_t takes_ns;
static bool leg_0_freezes;

static bool
leg_1_keeps_looks(const struct rig *r, const struct rig_region *region) {
  if (leg_0_freezes && region->leg == 0)
    return true;
  if (region->leg != 1)
    return false;
  if (region->op == SF_TIO_READ && region->offset < SF_PROBE_OFFSET)
    return true;
  return rig_is_data(r, region) && r->now_ns - region->since_ns < takes_ns;
}

/* A look at leg 1 is lost, and nothing else is asked for since. */
static void
lose_a_look(void) {
  init();
  rig.holder = (struct sf_holder){.host = "here", .since_s = 1, .pid = 100};
  start();
  write_well(5);
  takes_ns = 0;
  leg_0_freezes = false;
  rig.holds = leg_1_keeps_looks;
  rig_pass(&rig, 5000);
}

/* It is no witness while it is silent itself, and over a look alone it is not. */
static void
a_lost_look_does_not_keep_a_frozen_leg_in(void **state) {
  lose_a_look();
  leg_0_freezes = true;
  began_ns = rig.now_ns;
  rig_submit(&rig, &w[1], SF_REQ_WRITE, 4096, 4096, 3);
  rig_pass(&rig, 2000);
  assert_true(w[1].done);
  assert_true(w[1].done_ns - began_ns <= 150 * SF_MS);
  assert_int_equal(w[1].request.error, 0);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_LATE);
  rig_put(&w[1]);
  rig_free(&rig);
}

/* The seconds before a write are not a part of the silence over it. */
static void
a_lost_look_takes_no_grace_away(void **state) {
  lose_a_look();
  takes_ns = 112 * SF_MS;
  write_well(120);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

/* Reads still go to the leg, which is quicker. */
static void
a_lost_look_does_not_keep_reads_away(void **state) {
  uint64_t read;

  lose_a_look();
  read = rig.volume->leg[1].bytes_read;
  rig.volume->leg[0].latency[SF_READ_KIND].average_ns = SF_S;
  rig_submit(&rig, &w[1], SF_REQ_READ, 8192, 4096, 0);
  rig_pass(&rig, 3);
  assert_true(w[1].done);
  assert_true(rig.volume->leg[1].bytes_read > read);
  rig_put(&w[1]);
  rig_free(&rig);
}

static bool leg_1_freezes;

static bool
leg_1_keeps_looks_and_writes_take_5_ms(const struct rig *r, const struct rig_region *region) {
  if (leg_1_freezes && region->leg == 1)
    return true;
  return leg_1_keeps_looks(r, region) ||
         (region->leg == 0 && rig_is_data(r, region) && r->now_ns - region->since_ns < takes_ns);
}

/* The leg's window is full with the look and a 4 KiB write or two, when a write of 1 MiB comes.  How
 * long that takes: */
static uint64_t
write_much_when_a_look_is_old(uint64_t ms, bool freezes) {
  uint64_t took_ns;

  init();
  rig.windows = true;
  rig.holder = (struct sf_holder){.host = "here", .since_s = 1, .pid = 100};
  start();
  takes_ns = 5 * SF_MS;
  leg_0_freezes = leg_1_freezes = false;
  rig.holds = leg_1_keeps_looks_and_writes_take_5_ms;
  for (unsigned i = 0; i < 40; i++) {
    rig_submit(&rig, &w[0], SF_REQ_WRITE, (i * 7919 % 60) * EXTENT + 8192, 4096, 2);
    while (!w[0].done)
      rig_pass(&rig, 1);
    rig_put(&w[0]);
  }
  while (rig.volume->leg[1].look_io.running == 0)
    rig_pass(&rig, 1);
  leg_1_freezes = freezes;
  rig_pass(&rig, ms);
  began_ns = rig.now_ns;
  rig_submit(&rig, &w[1], SF_REQ_WRITE, 10 * EXTENT, 1024 * 1024, 3);
  rig_pass(&rig, 2000);
  assert_true(w[1].done);
  assert_int_equal(w[1].request.error, 0);
  took_ns = w[1].done_ns - began_ns;
  rig_put(&w[1]);
  return took_ns;
}

static void
a_lost_look_holds_no_place_in_the_window(void **state) {
  assert_true(write_much_when_a_look_is_old(110, false) <= 30 * SF_MS);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

/* The look was the first that the leg did not answer. */
static void
a_leg_that_froze_with_a_look_is_late_at_its_time(void **state) {
  assert_true(write_much_when_a_look_is_old(300, true) <= 160 * SF_MS);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_LATE);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(writes_now_and_then_do_not_excuse_a_lost_flush),
      cmocka_unit_test(a_pause_of_a_flush_timeout_does_not_either),
      cmocka_unit_test(looks_do_not_excuse_a_lost_flush),
      cmocka_unit_test(reads_slower_than_writes_do_not_excuse_a_lost_flush),
      cmocka_unit_test(a_leg_that_keeps_a_flush_is_a_witness_against_a_frozen_one),
      cmocka_unit_test(our_own_delay_does_not_undo_it_as_a_witness),
      cmocka_unit_test(a_leg_that_may_only_keep_a_flush_is_asked),
      cmocka_unit_test(its_first_answer_after_a_stall_of_both_is_no_evidence),
      cmocka_unit_test(it_is_one_with_something_new_to_do),
      cmocka_unit_test(what_is_answered_first_does_not_undo_a_stall),
      cmocka_unit_test(a_stall_excuses_a_slow_flush_though_it_is_shorter_than_a_flush_may_be),
      cmocka_unit_test(it_does_where_the_leg_answers_first_what_it_got_last),
      cmocka_unit_test(a_lost_look_does_not_keep_a_frozen_leg_in),
      cmocka_unit_test(a_lost_look_takes_no_grace_away),
      cmocka_unit_test(a_lost_look_does_not_keep_reads_away),
      cmocka_unit_test(a_lost_look_holds_no_place_in_the_window),
      cmocka_unit_test(a_leg_that_froze_with_a_look_is_late_at_its_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

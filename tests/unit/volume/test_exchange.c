/* A leg that cannot be spared answers nothing any more while another one catches up: that one takes
 * its place (reading 14). */
#include "rig.h"

#include "volume/ground/facts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { EXTENT = 65536, SILENT = 1, COMES = 2, PAGES = 18 };

static struct rig rig;
static unsigned hung;        /* legs that end nothing: bit i */
static unsigned keeps_heads; /* the same, of superblocks */
static unsigned keeps_data;  /* the same, of what is written to the data */

static bool
holds(const struct rig *r, const struct rig_region *region) {
  bool is_head = rig_is_superblock(region);

  return (hung >> region->leg & 1) || (is_head && (keeps_heads >> region->leg & 1)) ||
         (region->op == SF_TIO_WRITE && rig_is_data(r, region) && (keeps_data >> region->leg & 1));
}

static void
init(uint64_t extent_bytes, uint64_t extents, bool suspend) {
  rig_init(&rig, 3, 2, extent_bytes, extents);
  rig.config.on_too_few = suspend ? SF_TOO_FEW_SUSPEND : SF_TOO_FEW_ERROR;
  rig.config.fail_timeout_ns = 2 * SF_S;
  for (unsigned kind = 0; kind < SF_KINDS; kind++)
    rig.config.deadline_ns[kind] = rig_deadline(100 * SF_MS);
  hung = keeps_heads = keeps_data = 0;
  rig.holds = holds;
  rig_start_fully(&rig);
}

/* The third leg has missed a write, and is on its way back. */
static void
one_is_out(uint64_t extent_bytes) {
  assert_int_equal(sf_volume_leg_fail(rig.volume, COMES, rig.now_ns), 0);
  rig_pass(&rig, 100);
  rig_touch_extents(&rig, 4, extent_bytes);
}

static void
it_comes_back(void) {
  assert_int_equal(sf_volume_leg_return(rig.volume, COMES, rig.now_ns), 0);
  for (unsigned ms = 0; rig_state(&rig, COMES) != SF_STATE_CATCHING_UP; ms += 10) {
    assert_true(ms < 5000);
    rig_pass(&rig, 10);
  }
}

static void
start(bool suspend) {
  init(EXTENT, 64, suspend);
  one_is_out(EXTENT);
  keeps_data = 1 << COMES;
  it_comes_back();
  hung = 1 << SILENT;
  keeps_data = 0;
}

static void
assert_states(enum sf_leg_state silent, enum sf_leg_state comes) {
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  assert_int_equal(rig_state(&rig, SILENT), silent);
  assert_int_equal(rig_state(&rig, COMES), comes);
}

static void
assert_holds(unsigned leg, uint64_t offset, uint8_t fill) {
  assert_int_equal(rig.leg[leg][SF_DATA_OFFSET + offset], fill);
  assert_int_equal(rig.leg[leg][SF_DATA_OFFSET + offset + 4095], fill);
}

static void
assert_done(struct rig_request *request, int error) {
  assert_true(request->done);
  assert_int_equal(request->request.error, error);
  rig_put(request);
}

static void
it_is_there_again(void) {
  hung = 0;
  rig_pass(&rig, 40000);
  assert_states(SF_STATE_IN_SYNC, SF_STATE_IN_SYNC);
}

/* Into an extent that has its intent, into one that has not, and behind the first; and a flush. */
static void
its_place_is_taken(void **state) {
  struct rig_request known, fresh, behind, flush;

  start(true);
  rig_submit(&rig, &known, SF_REQ_WRITE, 0, 4096, 5);
  rig_submit(&rig, &fresh, SF_REQ_WRITE, 20 * EXTENT, 4096, 6);
  rig_submit(&rig, &behind, SF_REQ_WRITE, 0, 4096, 7);
  rig_submit(&rig, &flush, SF_REQ_FLUSH, 0, 0, 0);
  rig_pass(&rig, 4900);
  assert_false(known.done || fresh.done || behind.done || flush.done);
  assert_int_equal(rig_state(&rig, SILENT), SF_STATE_IN_SYNC);
  rig_pass(&rig, 1500);
  assert_states(SF_STATE_LATE, SF_STATE_IN_SYNC);
  assert_done(&known, 0);
  assert_done(&fresh, 0);
  assert_done(&behind, 0);
  assert_done(&flush, 0);
  for (unsigned leg = 0; leg < 3; leg += COMES) {
    assert_holds(leg, 0, 7);
    assert_holds(leg, 20 * EXTENT, 6);
  }
  it_is_there_again();
  assert_holds(SILENT, 0, 7);
  assert_holds(SILENT, 20 * EXTENT, 6);
  rig_free(&rig);
}

/* What failed to its client has left an extent to be converged, by the legs that stay. */
static void
where_requests_fail_it_is_the_same(void **state) {
  struct rig_request fails, read, write;

  start(false);
  rig_submit(&rig, &fails, SF_REQ_WRITE, 0, 4096, 5);
  rig_pass(&rig, 2200);
  assert_done(&fails, -EIO);
  rig_pass(&rig, 5000);
  assert_states(SF_STATE_LATE, SF_STATE_IN_SYNC);
  rig_submit(&rig, &read, SF_REQ_READ, 0, 4096, 0);
  rig_submit(&rig, &write, SF_REQ_WRITE, 4096, 4096, 8);
  rig_pass(&rig, 1000);
  assert_done(&read, 0);
  assert_done(&write, 0);
  assert_int_equal(rig.volume->unconverged.set, 0);
  it_is_there_again();
  assert_memory_equal(rig.leg[0] + SF_DATA_OFFSET, rig.leg[SILENT] + SF_DATA_OFFSET, 64 * EXTENT);
  assert_memory_equal(rig.leg[0] + SF_DATA_OFFSET, rig.leg[COMES] + SF_DATA_OFFSET, 64 * EXTENT);
  rig_free(&rig);
}

static unsigned fails_left;

static int
first_leg_fails(const struct rig *r, const struct rig_region *region) {
  bool fails =
      region->leg == 0 && region->op == SF_TIO_WRITE && rig_is_data(r, region) && fails_left > 0;

  fails_left -= fails;
  return fails ? -EIO : 0;
}

/* Another leg, which cannot be spared either, has failed the write: that it may be written again
 * depends on no word of the silent one.  A copy has to pass it where it was written. */
static void
a_write_that_failed_elsewhere_does_not_bar_it(void **state) {
  struct rig_request write;

  start(true);
  fails_left = 1;
  rig.fails = first_leg_fails;
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 5);
  rig_pass(&rig, 8000);
  assert_int_equal(fails_left, 0);
  assert_states(SF_STATE_LATE, SF_STATE_IN_SYNC);
  assert_done(&write, 0);
  for (unsigned leg = 0; leg < 3; leg += COMES)
    assert_holds(leg, 0, 5);
  rig.fails = NULL;
  it_is_there_again();
  assert_holds(SILENT, 0, 5);
  rig_free(&rig);
}

static void
its_first_word_ends_it(void **state) {
  struct rig_request write;

  start(true);
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 5);
  rig_pass(&rig, 4900);
  keeps_data = 1 << COMES;
  for (unsigned ms = 0; rig.volume->exchange.unheard == 0; ms++) {
    assert_true(ms < 300);
    rig_pass(&rig, 1);
  }
  assert_int_equal(rig.volume->exchange.unheard, 1 << SILENT);
  hung = 0;
  rig_pass(&rig, 100);
  assert_int_equal(rig.volume->exchange.unheard, 0);
  assert_done(&write, 0);
  keeps_data = 0;
  rig_pass(&rig, 40000);
  assert_states(SF_STATE_IN_SYNC, SF_STATE_IN_SYNC);
  assert_holds(COMES, 0, 5);
  rig_free(&rig);
}

/* Legs that are silent together have one cause. */
static void
not_while_another_one_is_silent(void **state) {
  struct rig_request write;

  start(true);
  hung |= 1;
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 5);
  rig_pass(&rig, 20000);
  assert_int_equal(rig.volume->exchange.unheard, 0);
  hung = 1 << SILENT;
  rig_pass(&rig, 8000);
  assert_int_equal(rig_state(&rig, SILENT), SF_STATE_LATE);
  assert_done(&write, 0);
  rig_free(&rig);
}

/* The operator brings the third one back when the second is silent already: the record that says so
 * lacks nothing but that one. */
static void
a_record_that_only_it_lacks_is_not_waited_for(void **state) {
  struct rig_request write;

  init(EXTENT, 64, true);
  one_is_out(EXTENT);
  hung = 1 << SILENT;
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 5);
  rig_pass(&rig, 1000);
  it_comes_back();
  rig_pass(&rig, 8000);
  assert_states(SF_STATE_LATE, SF_STATE_IN_SYNC);
  assert_done(&write, 0);
  it_is_there_again();
  rig_free(&rig);
}

static void
it_falls_silent_while_a_promotion_waits_for_it(void **state) {
  struct rig_request write;

  init(EXTENT, 64, true);
  one_is_out(EXTENT);
  it_comes_back();
  for (unsigned ms = 0; rig.volume->promoting < 0; ms++) {
    assert_true(ms < 3000);
    keeps_heads = 1 << SILENT;
    rig_pass(&rig, 1);
  }
  hung = 1 << SILENT;
  keeps_heads = 0;
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 5);
  rig_pass(&rig, 7000);
  assert_states(SF_STATE_LATE, SF_STATE_IN_SYNC);
  assert_done(&write, 0);
  it_is_there_again();
  rig_free(&rig);
}

/* The newcomer hangs for a moment, so its promotion is undone by a record that the silent leg does
 * not answer either. */
static void
a_promotion_waits_and_is_undone(struct rig_request *write, unsigned keeps) {
  init(EXTENT, 64, true);
  one_is_out(EXTENT);
  it_comes_back();
  keeps_heads = keeps;
  for (unsigned ms = 0; rig.volume->promoting < 0; ms++) {
    assert_true(ms < 3000);
    rig_pass(&rig, 1);
  }
  rig_pass(&rig, 10);
  hung = 1 << SILENT | 1 << COMES;
  rig_submit(&rig, write, SF_REQ_WRITE, 0, 4096, 5);
  rig_pass(&rig, 1000);
  assert_states(SF_STATE_IN_SYNC, SF_STATE_LATE);
  assert_true(rig.volume->promoting < 0);
  assert_false(sf_record_is_durable(rig.volume));
  keeps_heads = 0;
}

static void
a_promotion_that_is_undone_does_not_bar_it(void **state) {
  struct rig_request write;

  a_promotion_waits_and_is_undone(&write, 1 << SILENT);
  hung = 1 << SILENT;
  rig_pass(&rig, 60000);
  assert_states(SF_STATE_LATE, SF_STATE_IN_SYNC);
  assert_done(&write, 0);
  it_is_there_again();
  assert_holds(SILENT, 0, 5);
  rig_free(&rig);
}

static bool
is_head_of_newcomer(const struct rig *r, const struct rig_region *region) {
  return region->leg == COMES && rig_is_superblock(region);
}

/* R5: the newcomer is not told before it has ended all that it held. */
static void
until_the_newcomer_is_told(void) {
  rig_pass(&rig, 6000);
  assert_false(sf_record_is_durable(rig.volume));
  assert_int_equal(rig_count(&rig, is_head_of_newcomer), 0);
  hung = 1 << SILENT;
  for (unsigned ms = 0; !sf_record_is_durable(rig.volume); ms++) {
    assert_true(ms < 1000);
    rig_pass(&rig, 1);
  }
  assert_int_equal(rig.volume->durable.in_sync, 3);
}

static bool starts(unsigned absent, unsigned unreadable);

/* It has that record, and its newcomer is behind. */
static void
no_start_trusts_a_promotion_that_is_undone(void **state) {
  struct rig_request write;
  struct sf_superblock sb;

  a_promotion_waits_and_is_undone(&write, 1);
  rig_read_superblock(&rig, SILENT, &sb);
  assert_int_equal(sb.record.in_sync, 7);
  until_the_newcomer_is_told();
  for (unsigned leg = 0; leg < 3; leg += COMES)
    assert_int_equal(rig.volume->leg[leg].meta.copies, SF_SUPERBLOCK_COPIES);
  rig_kill(&rig);
  hung = 0;
  assert_false(starts(1, 0));
  assert_false(starts(1, 1 << COMES));
  assert_false(starts(1 << SILENT, 0));
  assert_false(starts(1 << SILENT, 1));
  assert_true(starts(1 << COMES, 0));
  rig_put(&write);
  rig_free(&rig);
}

/* The newcomer goes on hanging. */
static void
a_promotion_is_undone_with_its_own_word_too(void **state) {
  struct rig_request write;

  a_promotion_waits_and_is_undone(&write, 1 << SILENT);
  rig_pass(&rig, 8000);
  assert_false(write.done);
  hung = 1 << COMES;
  rig_pass(&rig, 500);
  assert_true(sf_record_is_durable(rig.volume));
  assert_done(&write, 0);
  it_is_there_again();
  rig_free(&rig);
}

/* That one answers again, and now another leg of the set does not. */
static void
a_promotion_is_undone_without_whichever_leg_is_silent(void **state) {
  struct rig_request write;

  a_promotion_waits_and_is_undone(&write, 1 << SILENT);
  rig_pass(&rig, 1000);
  keeps_heads = 1;
  rig_pass(&rig, 5000);
  assert_int_equal(rig.volume->exchange.unasked, 1 << SILENT);
  hung = 1;
  rig_pass(&rig, 500);
  assert_false(sf_record_is_durable(rig.volume));
  rig_pass(&rig, 20000);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_LATE);
  assert_int_equal(rig_state(&rig, SILENT), SF_STATE_IN_SYNC);
  assert_int_equal(rig_state(&rig, COMES), SF_STATE_IN_SYNC);
  assert_done(&write, 0);
  keeps_heads = 0;
  it_is_there_again();
  rig_free(&rig);
}

/* The exchange took over from a promotion, and the newcomer does not take its record. */
static void
a_promotion_and_then_an_exchange_are_undone(void **state) {
  struct rig_request write;

  init(EXTENT, 64, true);
  one_is_out(EXTENT);
  it_comes_back();
  keeps_heads = 1 << SILENT;
  for (unsigned ms = 0; rig.volume->promoting < 0; ms++) {
    assert_true(ms < 3000);
    rig_pass(&rig, 1);
  }
  rig_pass(&rig, 10);
  hung = 1 << SILENT;
  keeps_heads = 1 << COMES;
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 5);
  for (unsigned ms = 0; rig.volume->exchange.leaving == 0; ms++) {
    assert_true(ms < 6000);
    rig_pass(&rig, 1);
  }
  rig_pass(&rig, 1000);
  assert_int_equal(rig.volume->exchange.leaving, 0);
  assert_false(sf_record_is_durable(rig.volume));
  assert_states(SF_STATE_IN_SYNC, SF_STATE_LATE);
  keeps_heads = 0;
  rig_pass(&rig, 20000);
  assert_states(SF_STATE_LATE, SF_STATE_IN_SYNC);
  assert_done(&write, 0);
  it_is_there_again();
  rig_free(&rig);
}

/* Whatever of the new size it keeps from being durable. */
static void
it_falls_silent_while_the_volume_grows(void **state) {
  struct rig_request write;

  rig_init(&rig, 3, 2, EXTENT, 64);
  for (unsigned i = 0; i < 3; i++) {
    rig.leg[i] = realloc(rig.leg[i], rig.leg_bytes + 4 * EXTENT);
    assert_non_null(rig.leg[i]);
    memset(rig.leg[i] + rig.leg_bytes, 0x10 + (int) i, 4 * EXTENT);
  }
  rig.leg_bytes += 4 * EXTENT;
  rig.config.on_too_few = SF_TOO_FEW_SUSPEND;
  hung = keeps_heads = keeps_data = 0;
  rig.holds = holds;
  rig_start_fully(&rig);
  one_is_out(EXTENT);
  keeps_data = 1 << COMES;
  it_comes_back();
  hung = 1 << SILENT;
  keeps_data = 0;
  assert_int_equal(sf_volume_grow(rig.volume, 68 * EXTENT, rig.now_ns), 0);
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 5);
  rig_pass(&rig, 10000);
  assert_states(SF_STATE_LATE, SF_STATE_IN_SYNC);
  assert_done(&write, 0);
  assert_int_equal(rig.volume->served_bytes, 68 * EXTENT);
  it_is_there_again();
  for (unsigned leg = 1; leg < 3; leg++)
    assert_memory_equal(rig.leg[0] + SF_DATA_OFFSET, rig.leg[leg] + SF_DATA_OFFSET, 68 * EXTENT);
  rig_free(&rig);
}

/* The newcomer does not take the record: the old set is named again without the silent leg's word,
 * and then it is tried once more. */
static void
what_does_not_come_about_is_undone(void **state) {
  struct rig_request write;
  struct sf_superblock sb;

  start(true);
  keeps_heads = 1 << COMES;
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 5);
  rig_pass(&rig, 6500);
  assert_false(write.done);
  assert_int_equal(rig.volume->exchange.leaving, 0);
  assert_int_equal(rig.volume->durable.in_sync, 3);
  assert_int_equal(rig.volume->durable_version, rig.volume->version);
  assert_int_equal(rig.volume->leg[0].meta.copies, SF_SUPERBLOCK_COPIES);
  assert_int_equal(rig_state(&rig, SILENT), SF_STATE_IN_SYNC);
  keeps_heads = 0;
  rig_pass(&rig, 20000);
  assert_states(SF_STATE_LATE, SF_STATE_IN_SYNC);
  assert_done(&write, 0);
  rig_read_superblock(&rig, 0, &sb);
  assert_int_equal(sb.record.in_sync, 1 | 1 << COMES);
  rig_free(&rig);
}

/* The silent leg is told of the record that it was not asked for. */
static void
it_has_its_place_back_and_knows_it(void **state) {
  struct rig_request write;
  struct sf_superblock sb;

  start(true);
  keeps_heads = 1 << COMES;
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 5);
  rig_pass(&rig, 6500);
  assert_false(write.done);
  hung = 0;
  rig_pass(&rig, 500);
  assert_done(&write, 0);
  assert_states(SF_STATE_IN_SYNC, SF_STATE_LATE);
  rig_read_superblock(&rig, SILENT, &sb);
  assert_int_equal(sf_record_compare(&sb.record, &rig.volume->durable), 0);
  keeps_heads = 0;
  it_is_there_again();
  rig_free(&rig);
}

static bool
starts(unsigned absent, unsigned unreadable) {
  for (unsigned i = 0; i < 3; i++)
    rig.absent[i] = absent >> i & 1;
  rig.unreadable = unreadable;
  return rig_would_start(&rig);
}

/* Whichever superblock is lost: the one that has left starts with nobody. */
static void
no_start_trusts_the_leg_that_left(void **state) {
  struct rig_request write;

  start(true);
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 5);
  rig_pass(&rig, 6500);
  assert_done(&write, 0);
  rig_kill(&rig);
  hung = 0;
  assert_false(starts(1 << COMES, 0));
  assert_false(starts(1 << COMES, 1));
  assert_false(starts(1, 0));
  assert_false(starts(1, 1 << COMES));
  assert_false(starts(1 | 1 << COMES, 0));
  assert_true(starts(1 << SILENT, 0));
  rig_free(&rig);
}

/* More pages than are written at a time hang on it. */
static void
pages_that_it_owes_keep_no_place(void **state) {
  struct rig_request write[PAGES];

  init(4096, PAGES * SF_MAP_EXTENTS, true);
  one_is_out(4096);
  keeps_data = 1 << COMES;
  it_comes_back();
  hung = 1 << SILENT;
  for (unsigned i = 0; i < PAGES; i++)
    rig_submit(&rig, &write[i], SF_REQ_WRITE, (uint64_t) i * SF_MAP_EXTENTS * 4096 + 8192, 4096, 9);
  rig_pass(&rig, 300);
  keeps_data = 0;
  rig_pass(&rig, 8000);
  assert_states(SF_STATE_LATE, SF_STATE_IN_SYNC);
  for (unsigned i = 0; i < PAGES; i++)
    assert_done(&write[i], 0);
  rig_free(&rig);
}

/* One that can be spared leaves by R2, and sooner. */
static void
one_that_can_be_spared_just_leaves(void **state) {
  struct rig_request write;

  init(EXTENT, 64, true);
  hung = 1 << SILENT;
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 5);
  rig_pass(&rig, 1000);
  assert_states(SF_STATE_LATE, SF_STATE_IN_SYNC);
  assert_done(&write, 0);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(its_place_is_taken),
      cmocka_unit_test(where_requests_fail_it_is_the_same),
      cmocka_unit_test(a_write_that_failed_elsewhere_does_not_bar_it),
      cmocka_unit_test(its_first_word_ends_it),
      cmocka_unit_test(not_while_another_one_is_silent),
      cmocka_unit_test(a_record_that_only_it_lacks_is_not_waited_for),
      cmocka_unit_test(it_falls_silent_while_a_promotion_waits_for_it),
      cmocka_unit_test(a_promotion_that_is_undone_does_not_bar_it),
      cmocka_unit_test(no_start_trusts_a_promotion_that_is_undone),
      cmocka_unit_test(a_promotion_is_undone_with_its_own_word_too),
      cmocka_unit_test(a_promotion_is_undone_without_whichever_leg_is_silent),
      cmocka_unit_test(a_promotion_and_then_an_exchange_are_undone),
      cmocka_unit_test(it_falls_silent_while_the_volume_grows),
      cmocka_unit_test(what_does_not_come_about_is_undone),
      cmocka_unit_test(it_has_its_place_back_and_knows_it),
      cmocka_unit_test(no_start_trusts_the_leg_that_left),
      cmocka_unit_test(pages_that_it_owes_keep_no_place),
      cmocka_unit_test(one_that_can_be_spared_just_leaves),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

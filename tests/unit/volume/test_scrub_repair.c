/* A scrub's repairs: which legs lack them from then on, and how far the operator's word is good for
 * them. */
#include "rig.h"

#include <errno.h>

enum { EXTENT = 1 << 20, EXTENTS = 4, BLOCK = 4096 };

static struct rig rig;
static unsigned flush_fails; /* on these legs: bit i */

static int
fails(const struct rig *r, const struct rig_region *region) {
  return region->op == SF_TIO_FLUSH && (flush_fails >> region->leg & 1) ? -EIO : 0;
}

static void
init(unsigned legs) {
  flush_fails = 0;
  rig_init(&rig, legs, 1, EXTENT, EXTENTS);
  rig.fails = fails;
  rig_start_fully(&rig);
}

static void
spoil(unsigned leg, uint64_t offset, uint8_t byte) {
  rig.leg[leg][SF_DATA_OFFSET + offset] = byte;
}

static uint8_t
byte_of(unsigned leg, uint64_t offset) {
  return rig.leg[leg][SF_DATA_OFFSET + offset];
}

static struct sf_scrub_status
status(void) {
  static struct sf_volume_status s;

  sf_volume_status(rig.volume, rig.now_ns, &s);
  return s.scrub;
}

static void
begin(int from, uint64_t rate) {
  struct sf_scrub_order order = {.repair = true, .from = from, .rate = rate};

  assert_int_equal(sf_volume_scrub(rig.volume, &order, rig.now_ns), 0);
}

static struct sf_scrub_status
scrub(int from) {
  begin(from, 0);
  rig_pass(&rig, 3000);
  assert_int_equal(status().state, SF_SCRUB_DONE);
  return status();
}

static void
until_it_repairs(void) {
  for (unsigned i = 0; i < 500 && status().repaired_bytes == 0; i++)
    rig_pass(&rig, 1);
  assert_true(status().repaired_bytes > 0);
}

static void
comes_back(unsigned leg) {
  assert_int_equal(sf_volume_leg_return(rig.volume, leg, rig.now_ns), 0);
  rig_pass(&rig, 5000);
  assert_int_equal(rig_state(&rig, leg), SF_STATE_IN_SYNC);
}

/* Else it comes back with something else than what the legs in sync agreed on without it. */
static void
a_leg_that_is_out_lacks_what_is_repaired(void **state) {
  init(3);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 100);
  spoil(1, EXTENT + 5 * BLOCK, 9);
  scrub(1);
  assert_int_equal(byte_of(0, EXTENT + 5 * BLOCK), 9);
  comes_back(2);
  assert_int_equal(byte_of(2, EXTENT + 5 * BLOCK), 9);
  assert_int_equal(scrub(-1).mismatches, 0);
  rig_free(&rig);
}

static bool
is_flush_of_leg_2(const struct rig *r, const struct rig_region *region) {
  return region->op == SF_TIO_FLUSH && region->leg == 2;
}

/* The same for a leg that is being counted already. */
static void
a_leg_that_joins_lacks_what_is_repaired(void **state) {
  init(3);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 100);
  spoil(1, 5 * BLOCK, 9);
  rig.holds = is_flush_of_leg_2;
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  for (unsigned i = 0; i < 5000 && rig.volume->join_step != JOIN_FLUSH; i++)
    rig_pass(&rig, 1);
  assert_int_equal(rig.volume->join_step, JOIN_FLUSH);
  begin(1, 0);
  rig_run(&rig);
  assert_int_equal(byte_of(0, 5 * BLOCK), 9);
  rig.holds = NULL;
  rig_pass(&rig, 6000);
  assert_int_equal(status().state, SF_SCRUB_DONE);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  assert_int_equal(byte_of(2, 5 * BLOCK), 9);
  rig_free(&rig);
}

static void
write_and_flush(uint64_t offset) {
  struct rig_request write, flush;

  rig_submit(&rig, &write, SF_REQ_WRITE, offset, BLOCK, 7);
  rig_pass(&rig, 10);
  rig_submit(&rig, &flush, SF_REQ_FLUSH, 0, 0, 0);
  rig_pass(&rig, 3000);
  assert_true(write.done && flush.done);
  assert_int_equal(flush.request.error, 0);
  rig_put(&write);
}

/* A leg's word is in doubt until its next flush, and not for ever: else a flush that fails there
 * long after makes every leg lack what all of them have. */
static void
a_word_that_was_flushed_is_not_doubted(void **state) {
  for (unsigned hot = 0; hot < 2; hot++) {
    struct rig_request write;

    init(2);
    rig_touch_extents(&rig, 1, EXTENT);
    if (hot) {
      rig_submit(&rig, &write, SF_REQ_WRITE, 7 * BLOCK, BLOCK, 3);
      rig_run(&rig);
      rig_put(&write);
    } else {
      write_and_flush(BLOCK);
    }
    spoil(1, 0, 9);
    begin(0, EXTENT);
    until_it_repairs();
    assert_int_equal(sf_volume_scrub_cancel(rig.volume, rig.now_ns), 0);
    rig_run(&rig);
    if (hot)
      write_and_flush(BLOCK);
    flush_fails = 1;
    write_and_flush(0);
    assert_int_not_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
    rig_free(&rig);
  }
}

/* Two legs have dropped what the third one has, and have not said so yet.  They outvote it. */
static void
what_was_outvoted_is_not_called_safe(void **state) {
  struct rig_request write, flush;

  init(3);
  rig_touch_extents(&rig, 1, EXTENT);
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, BLOCK, 7);
  rig_run(&rig);
  assert_true(write.done);
  spoil(0, 0, 0);
  spoil(1, 0, 0);
  begin(-1, 0);
  until_it_repairs();
  assert_int_equal(byte_of(2, 0), 0);
  flush_fails = 3;
  rig_submit(&rig, &flush, SF_REQ_FLUSH, 0, 0, 0);
  rig_run(&rig);
  flush_fails = 0;
  rig_pass(&rig, 10000);
  assert_true(flush.done);
  assert_int_not_equal(flush.request.error, 0);
  rig_put(&write);
  rig_free(&rig);
}

/* The operator named a disk that another has replaced now. */
static void
whom_the_operator_named_is_not_another_disk(void **state) {
  static const struct sf_uuid new_uuid = {{1, 2, 3}};

  init(3);
  begin(2, EXTENT);
  rig_pass(&rig, 10);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 100);
  assert_int_equal(status().state, SF_SCRUB_RUNNING);
  assert_int_equal(sf_volume_leg_replace(rig.volume, 2, &new_uuid, "/new", rig.now_ns), 0);
  assert_int_equal(status().state, SF_SCRUB_CANCELED);
  rig_pass(&rig, 100);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_leg_that_is_out_lacks_what_is_repaired),
      cmocka_unit_test(a_leg_that_joins_lacks_what_is_repaired),
      cmocka_unit_test(a_word_that_was_flushed_is_not_doubted),
      cmocka_unit_test(what_was_outvoted_is_not_called_safe),
      cmocka_unit_test(whom_the_operator_named_is_not_another_disk),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

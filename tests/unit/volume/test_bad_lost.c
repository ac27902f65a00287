/* Bad ranges (R15): what must not be lost by calling a block bad, and what must not be answered
 * before it is good. */
#include "rig.h"

#include <errno.h>
#include <string.h>

#include "volume/set/bad.h"

enum { EXTENT = 1 << 20, EXTENTS = 4, SECTOR = 512, PAGE = 4096, BAD_AT = 5 * PAGE, NEW = 9 };
enum { BAD_MOST = 64 };

static struct rig rig;
static uint64_t bad[RIG_LEGS][BAD_MOST]; /* sectors, offset into the volume plus one; 0: none */
static bool (*also_holds)(const struct rig *rig, const struct rig_region *region);

static bool
covers(const struct rig_region *region, uint64_t sector) {
  uint64_t at = sector - 1 + SF_DATA_OFFSET;

  return sector != 0 && region->op != SF_TIO_FLUSH && region->offset < at + SECTOR &&
         at < region->offset + region->length;
}

static bool
reads_bad(const struct rig_region *region) {
  for (unsigned i = 0; i < BAD_MOST; i++)
    if (region->op == SF_TIO_READ && covers(region, bad[region->leg][i]))
      return true;
  return false;
}

static int
fails(const struct rig *r, const struct rig_region *region) {
  for (unsigned i = 0; i < BAD_MOST; i++)
    if (region->op != SF_TIO_READ && covers(region, bad[region->leg][i]))
      bad[region->leg][i] = 0;
  return reads_bad(region) ? -EIO : 0;
}

static bool
holds(const struct rig *r, const struct rig_region *region) {
  return rig_takes_a_moment(r, region) || (also_holds != NULL && also_holds(r, region));
}

static void
start(void) {
  rig.holds = NULL;
  rig.fails = fails;
  rig_start_fully(&rig);
  rig.holds = holds;
}

static void
init(unsigned legs, uint32_t block_bytes) {
  memset(bad, 0, sizeof bad);
  also_holds = NULL;
  rig_init(&rig, legs, 1, EXTENT, EXTENTS);
  rig.block_bytes = block_bytes;
  rig.config.intent_delay_ns = 600 * SF_S;
  rig_never_late(&rig.config);
  start();
}

static void
crash_and_start(void) {
  rig_kill(&rig);
  start();
}

static void
make_bad(unsigned leg, unsigned which, uint64_t offset) {
  bad[leg][which] = offset + 1;
}

static int
ask(enum sf_request_kind kind, uint64_t offset, uint64_t length, uint8_t fill) {
  struct rig_request request;
  int r;

  rig_submit(&rig, &request, kind, offset, length, fill);
  rig_pass(&rig, kind == SF_REQ_READ ? 3000 : 50);
  assert_true(request.done);
  r = request.request.error;
  if (r == 0 && kind == SF_REQ_READ)
    r = ((uint8_t *) request.request.buffer->data)[length - 1];
  if (kind == SF_REQ_READ || kind == SF_REQ_WRITE)
    rig_put(&request);
  return r;
}

static int
write_at(uint64_t offset, uint64_t length, uint8_t fill) {
  return ask(SF_REQ_WRITE, offset, length, fill);
}

/* The byte that is read, or -errno. */
static int
read_at(uint64_t offset, uint64_t length) {
  return ask(SF_REQ_READ, offset, length, 0);
}

static void
flush(void) {
  assert_int_equal(ask(SF_REQ_FLUSH, 0, 0, 0), 0);
}

static void
take_out(unsigned leg) {
  flush();
  assert_int_equal(sf_volume_leg_fail(rig.volume, leg, rig.now_ns), 0);
  rig_pass(&rig, 50);
}

static void
comes_back(unsigned leg) {
  assert_int_equal(sf_volume_leg_return(rig.volume, leg, rig.now_ns), 0);
  rig_pass(&rig, 30000);
}

static void
write_all(uint8_t fill) {
  for (unsigned i = 0; i < EXTENTS; i++)
    assert_int_equal(write_at((uint64_t) i * EXTENT, EXTENT, fill), 0);
}

/* Leg 1 joins without a sector that leg 0 cannot read. */
static void
joined(uint32_t block_bytes) {
  init(2, block_bytes);
  write_all(3);
  take_out(1);
  write_all(7);
  make_bad(0, 0, BAD_AT);
  comes_back(1);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_int_equal(read_at(BAD_AT, SECTOR), -EIO);
}

static bool
is_superblock(const struct rig *r, const struct rig_region *region) {
  return rig_is_superblock(region);
}

/* A write has reached the legs and its client is gone before the record says that the block is
 * good; the next one there must not be answered before that either. */
static void
a_second_write_is_not_answered_while_the_record_calls_it_bad(void **state) {
  struct rig_request first, second;
  bool answered;

  joined(SECTOR);
  also_holds = is_superblock;
  rig_submit(&rig, &first, SF_REQ_WRITE, BAD_AT, SECTOR, 8);
  rig_pass(&rig, 50);
  assert_false(first.done);
  sf_volume_give_up(rig.volume, &first.request, rig.now_ns);
  rig_pass(&rig, 50);
  assert_true(first.done);
  rig.fua = true;
  rig_submit(&rig, &second, SF_REQ_WRITE, BAD_AT, SECTOR, NEW);
  rig.fua = false;
  rig_pass(&rig, 50);
  answered = second.done && second.request.error == 0;
  crash_and_start();
  if (answered)
    assert_int_equal(read_at(BAD_AT, SECTOR), NEW);
  rig_put(&first);
  rig_put(&second);
  rig_free(&rig);
}

/* The unit of copies is a page, that of clients a sector.  A write answered for a part of a bad
 * page is not taken back when the next copy meets the part that is bad still. */
static void
a_written_part_of_a_bad_block_stays_written(void **state) {
  int r;

  joined(PAGE);
  r = write_at(BAD_AT + SECTOR, SECTOR, NEW);
  flush();
  if (r == 0)
    assert_int_equal(read_at(BAD_AT + SECTOR, SECTOR), NEW);
  take_out(1);
  assert_int_equal(write_at(EXTENT / 2, PAGE, 8), 0);
  comes_back(1);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_int_equal(read_at(BAD_AT + SECTOR, SECTOR), r == 0 ? NEW : -EIO);
  assert_int_equal(write_at(BAD_AT, PAGE, NEW), 0);
  assert_int_equal(read_at(BAD_AT, PAGE), NEW);
  rig_free(&rig);
}

static bool
is_write_to_leg_2(const struct rig *r, const struct rig_region *region) {
  return region->leg == 2 && region->op == SF_TIO_WRITE && rig_is_data(r, region);
}

/* Leg 2 catches up too, and lacks nothing in that extent. */
static void
a_leg_that_catches_up_and_has_it_is_waited_for(void **state) {
  init(3, SECTOR);
  write_all(3);
  take_out(1);
  write_all(7);
  take_out(2);
  assert_int_equal(write_at(3 * EXTENT, EXTENT, 7), 0);
  make_bad(0, 0, BAD_AT);
  also_holds = is_write_to_leg_2;
  comes_back(2);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_CATCHING_UP);
  assert_false(sf_map_test(&rig.volume->leg[2].stale, 0));
  comes_back(1);
  also_holds = NULL;
  rig_pass(&rig, 10000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  assert_int_equal(read_at(BAD_AT, SECTOR), 7);
  rig_free(&rig);
}

/* What no leg can read says nothing of one leg alone. */
static void
blocks_that_are_bad_on_all_legs_do_not_cost_a_leg(void **state) {
  init(2, SECTOR);
  write_all(7);
  for (unsigned i = 0; i < 24; i++)
    for (unsigned leg = 0; leg < 2; leg++)
      make_bad(leg, i, BAD_AT + (uint64_t) i * 2 * SECTOR);
  crash_and_start();
  rig_pass(&rig, 20000);
  assert_int_equal(rig.volume->unconverged.set, 0);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

static uint64_t flap_until_ns;
static struct rig_request pending_read;

static bool
is_flush(const struct rig *r, const struct rig_region *region) {
  return region->op == SF_TIO_FLUSH;
}

static void
submit_read(uint64_t offset) {
  rig_submit(&rig, &pending_read, SF_REQ_READ, offset, SECTOR, 0);
}

static int
fails_for_a_while(const struct rig *r, const struct rig_region *region) {
  bool is_there = rig_is_data(r, region) && region->offset >= SF_DATA_OFFSET + EXTENT / 2 &&
                  region->offset < SF_DATA_OFFSET + EXTENT;

  return is_there && region->leg == 0 && region->op == SF_TIO_READ && r->now_ns < flap_until_ns
             ? -EIO
             : 0;
}

/* A part of the leg answers EIO for a second, as a disk behind a concatenation does while it is
 * reset. */
static void
what_fails_for_a_second_is_not_lost(void **state) {
  init(2, PAGE);
  write_all(3);
  take_out(1);
  write_all(7);
  rig.fails = fails_for_a_while;
  assert_int_equal(sf_volume_leg_return(rig.volume, 1, rig.now_ns), 0);
  flap_until_ns = UINT64_MAX;
  while (rig_state(&rig, 1) != SF_STATE_CATCHING_UP)
    rig_pass(&rig, 1);
  flap_until_ns = rig.now_ns + SF_S;
  rig_pass(&rig, 100000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_int_equal(rig.volume->bad.list.n, 0);
  assert_int_equal(read_at(EXTENT - PAGE, PAGE), 7);
  rig_free(&rig);
}

static int
fails_for_a_while_beside_bad_ones(const struct rig *r, const struct rig_region *region) {
  int error = fails_for_a_while(r, region);

  return error != 0 ? error : fails(r, region);
}

/* In much less time than a block is in doubt. */
static int
read_soon(uint64_t offset) {
  struct rig_request read;
  int byte;

  rig_submit(&rig, &read, SF_REQ_READ, offset, SECTOR, 0);
  rig_pass(&rig, 300);
  assert_true(read.done);
  assert_int_equal(read.request.error, 0);
  byte = ((uint8_t *) read.request.buffer->data)[0];
  rig_put(&read);
  return byte;
}

/* Of one that is to be converged, one leg really cannot read a block, and the other one, which reads otherwise, comes
 * round after seconds.  All else of the extent is read and written meanwhile. */
static void
what_one_leg_fails_for_seconds_is_not_bad(void **state) {
  struct rig_request read;

  init(2, SECTOR);
  write_all(7);
  make_bad(1, 0, EXTENT - 2 * SECTOR);
  rig_kill(&rig);
  rig.fails = fails_for_a_while_beside_bad_ones;
  rig.holds = NULL;
  rig_start_fully(&rig);
  rig.holds = holds;
  flap_until_ns = rig.now_ns + 6 * SF_S;
  rig_submit(&rig, &read, SF_REQ_READ, EXTENT - 2 * SECTOR, SECTOR, 0);
  rig_pass(&rig, 1000);
  assert_int_equal(read_soon(0), 7);
  assert_int_equal(read_soon(EXTENT - 4 * SECTOR), 7);
  assert_int_equal(write_at(EXTENT - 4 * SECTOR, SECTOR, NEW), 0);
  assert_int_equal(read_soon(EXTENT - 4 * SECTOR), NEW);
  assert_int_equal(read_soon(2 * EXTENT), 7);
  assert_true(rig.now_ns < flap_until_ns);
  assert_false(read.done);
  assert_true(sf_map_test(&rig.volume->maps.intent, 0));
  rig_pass(&rig, 20000);
  assert_true(read.done);
  assert_int_equal(read.request.error, 0);
  rig_put(&read);
  assert_int_equal(rig.volume->bad.list.n, 0);
  assert_int_equal(rig.volume->unconverged.set, 0);
  assert_int_equal(read_at(EXTENT - 2 * SECTOR, SECTOR), 7);
  assert_memory_equal(rig.leg[0] + SF_DATA_OFFSET, rig.leg[1] + SF_DATA_OFFSET, EXTENT);
  rig_free(&rig);
}

/* What is read of such an extent is flushed first on all, and is so again after a write there has failed. */
static void
what_is_read_beside_a_doubt_is_stable(void **state) {
  init(2, SECTOR);
  write_all(7);
  rig.leg[1][SF_DATA_OFFSET] = 3;
  make_bad(0, 0, BAD_AT);
  make_bad(1, 0, BAD_AT);
  crash_and_start();
  also_holds = is_flush;
  rig_pass(&rig, 1000);
  submit_read(0);
  rig_pass(&rig, 1000);
  assert_false(pending_read.done);
  also_holds = NULL;
  rig_pass(&rig, 50);
  assert_true(pending_read.done);
  assert_int_equal(rig.leg[1][SF_DATA_OFFSET], 7);
  rig_put(&pending_read);
  rig_pass(&rig, 20000);
  assert_int_equal(rig.volume->unconverged.set, 0);
  assert_int_equal(rig.volume->bad.list.n, 1);
  rig_free(&rig);
}

static int
leg_0_reads_few(const struct rig *r, const struct rig_region *region) {
  bool is_sample = region->op == SF_TIO_READ && region->offset == SF_PROBE_OFFSET;

  return region->leg == 0 && is_sample ? -EIO : fails(r, region);
}

/* Blocks that stay in doubt, in as many extents as are copied at a time, keep nobody from the other extents. */
static void
doubts_do_not_keep_others_out(void **state) {
  memset(bad, 0, sizeof bad);
  also_holds = NULL;
  rig_init(&rig, 2, 1, EXTENT, 2 + SF_COPY_EXTENTS);
  rig.config.intent_delay_ns = 600 * SF_S;
  start();
  for (unsigned i = 0; i < 2 + SF_COPY_EXTENTS; i++)
    assert_int_equal(write_at((uint64_t) i * EXTENT, EXTENT, 7), 0);
  for (unsigned i = 0; i < 1 + SF_COPY_EXTENTS; i++)
    for (unsigned leg = 0; leg < 2; leg++)
      make_bad(leg, i, (uint64_t) i * EXTENT + BAD_AT);
  rig_kill(&rig);
  rig.holds = NULL;
  rig.fails = leg_0_reads_few;
  rig_start_fully(&rig);
  rig.holds = holds;
  rig_pass(&rig, 2000);
  assert_int_equal(read_at((1 + SF_COPY_EXTENTS) * EXTENT, SECTOR), 7);
  for (unsigned i = 0; i < 1 + SF_COPY_EXTENTS; i++) {
    struct rig_request read;

    rig_submit(&rig, &read, SF_REQ_READ, (uint64_t) i * EXTENT, SECTOR, 0);
    rig_pass(&rig, 25000);
    assert_true(read.done);
    assert_int_equal(read.request.error, 0);
    rig_put(&read);
  }
  assert_int_equal(rig.volume->unconverged.set, 1 + SF_COPY_EXTENTS);
  assert_int_equal(rig.volume->bad.list.n, 0);
  rig.fails = fails;
  rig_pass(&rig, 100000);
  assert_int_equal(rig.volume->unconverged.set, 0);
  assert_int_equal(rig.volume->bad.list.n, 1 + SF_COPY_EXTENTS);
  rig_free(&rig);
}

static bool
is_read_of_data(const struct rig *r, const struct rig_region *region) {
  return region->op == SF_TIO_READ && rig_is_data(r, region);
}

/* It waits for no leg, so it does not wait for the rest of its extent to be made equal either. */
static void
a_bad_block_answers_at_once(void **state) {
  struct rig_request read;

  joined(SECTOR);
  rig_kill(&rig);
  rig.fails = fails;
  rig.holds = is_read_of_data;
  rig_start_fully(&rig);
  rig_submit(&rig, &read, SF_REQ_READ, BAD_AT, SECTOR, 0);
  rig_pass(&rig, 1000);
  assert_true(read.done);
  assert_int_equal(read.request.error, -EIO);
  rig_put(&read);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_second_write_is_not_answered_while_the_record_calls_it_bad),
      cmocka_unit_test(a_written_part_of_a_bad_block_stays_written),
      cmocka_unit_test(a_leg_that_catches_up_and_has_it_is_waited_for),
      cmocka_unit_test(blocks_that_are_bad_on_all_legs_do_not_cost_a_leg),
      cmocka_unit_test(what_fails_for_a_second_is_not_lost),
      cmocka_unit_test(what_one_leg_fails_for_seconds_is_not_bad),
      cmocka_unit_test(what_is_read_beside_a_doubt_is_stable),
      cmocka_unit_test(doubts_do_not_keep_others_out),
      cmocka_unit_test(a_bad_block_answers_at_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

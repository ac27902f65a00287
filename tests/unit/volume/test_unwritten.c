/* R17: what was never written reads as zeros, whatever the legs hold. */
#include "rig.h"

#include <errno.h>
#include <string.h>

enum { EXTENT = 65536, EXTENTS = 16 };

static struct rig rig;

static void
made_on_full_legs(unsigned legs) {
  rig_init_unwritten(&rig, legs, EXTENT, EXTENTS);
}

static bool
is_all(const uint8_t *bytes, uint8_t fill, size_t length) {
  return bytes[0] == fill && memcmp(bytes, bytes + 1, length - 1) == 0;
}

static void
reads(uint64_t offset, uint8_t fill, uint64_t length) {
  struct rig_request read;

  rig_submit(&rig, &read, SF_REQ_READ, offset, length, 0xaa);
  rig_pass(&rig, 50);
  assert_true(read.done);
  assert_int_equal(read.request.error, 0);
  assert_true(is_all(read.request.buffer->data, fill, length));
  rig_put(&read);
}

static void
writes(uint64_t offset, uint8_t fill) {
  struct rig_request write;

  rig_submit(&rig, &write, SF_REQ_WRITE, offset, 4096, fill);
  rig_pass(&rig, 200);
  assert_true(write.done);
  assert_int_equal(write.request.error, 0);
  rig_put(&write);
}

static bool
data_is_held(const struct rig *r, const struct rig_region *region) {
  return rig_is_data(r, region);
}

/* Proves that neither a read nor a zero of such an extent asks a leg. */
static void
no_leg_is_asked(void **state) {
  struct rig_request zero;

  made_on_full_legs(2);
  rig_start_fully(&rig);
  rig.holds = data_is_held;
  reads(15 * EXTENT, 0, EXTENT);
  rig_submit(&rig, &zero, SF_REQ_ZERO, 14 * EXTENT, EXTENT, 0);
  rig_run(&rig);
  assert_true(zero.done);
  assert_true(sf_map_test(&rig.volume->unwritten, 14));
  rig.holds = NULL;
  rig_free(&rig);
}

static bool zeros_were_everywhere;

/* A write of the map's page with the bit cleared, or of data: are zeros behind it by then? */
static bool
looks_for_zeros(const struct rig *r, const struct rig_region *region) {
  if (region->op == SF_TIO_WRITE && rig_is_data(r, region))
    for (unsigned i = 0; i < 2; i++) {
      struct sf_map_page page;

      for (unsigned second = 0; second < 2; second++) {
        const uint8_t *at = r->leg[i] + (second ? SF_MAP_SECOND_OFFSET(0) : SF_MAP_PAGE_OFFSET(0));

        assert_true(sf_map_page_decode(at, &r->format.volume, 0, &page));
        assert_int_equal(page.unwritten[0] >> 7 & 1, 0); /* extent 7 */
        assert_int_equal(page.intent[0] >> 7 & 1, 1);
      }
      zeros_were_everywhere =
          is_all(r->leg[i] + SF_DATA_OFFSET + (size_t) 7 * EXTENT + 8192, 0, EXTENT - 8192);
      assert_true(zeros_were_everywhere);
    }
  return false;
}

/* Proves the order: zeros on all legs, then the page in both copies, then the data; and that the
 * rest of the extent reads as zeros afterwards, also by each leg alone. */
static void
the_first_write_comes_last(void **state) {
  made_on_full_legs(2);
  rig_start_fully(&rig);
  zeros_were_everywhere = false;
  rig.holds = looks_for_zeros;
  writes((uint64_t) 7 * EXTENT + 4096, 0x77);
  rig.holds = NULL;
  assert_true(zeros_were_everywhere);
  reads((uint64_t) 7 * EXTENT, 0, 4096);
  reads((uint64_t) 7 * EXTENT + 4096, 0x77, 4096);
  reads((uint64_t) 7 * EXTENT + 8192, 0, 4096);
  rig_kill(&rig);
  rig.absent[1] = true;
  rig.force = true;
  rig_start_fully(&rig);
  reads((uint64_t) 7 * EXTENT + 4096, 0x77, 4096);
  reads((uint64_t) 7 * EXTENT + 8192, 0, 4096);
  reads((uint64_t) 9 * EXTENT, 0, 4096);
  rig_free(&rig);
}

/* Proves that a read over both kinds has zeros where nothing was written. */
static void
a_read_of_both(void **state) {
  struct rig_request read;

  made_on_full_legs(2);
  rig_start_fully(&rig);
  writes((uint64_t) 8 * EXTENT - 4096, 0x66);
  assert_true(sf_map_test(&rig.volume->unwritten, 8));
  rig_submit(&rig, &read, SF_REQ_READ, (uint64_t) 8 * EXTENT - 4096, 8192, 0);
  rig_pass(&rig, 50);
  assert_true(read.done);
  assert_true(is_all(read.request.buffer->data, 0x66, 4096));
  assert_true(is_all((uint8_t *) read.request.buffer->data + 4096, 0, 4096));
  rig_put(&read);
  rig_free(&rig);
}

static void
spoil(unsigned leg, uint64_t offset) {
  memset(rig.leg[leg] + offset, 0x5a, 100);
}

/* Proves that one lost copy of a page costs nothing, on all legs at once, and that it is written
 * anew; and that where no copy is left, what was acknowledged is not read as zeros. */
static void
lost_copies(void **state) {
  made_on_full_legs(2);
  rig_start_fully(&rig);
  writes(0, 0x11);
  rig_kill(&rig);
  spoil(0, SF_MAP_PAGE_OFFSET(0));
  spoil(1, SF_MAP_PAGE_OFFSET(0));
  rig_start_fully(&rig);
  rig_pass(&rig, 300);
  reads(0, 0x11, 4096);
  reads((uint64_t) 12 * EXTENT, 0, 4096);
  rig_kill(&rig);
  spoil(0, SF_MAP_SECOND_OFFSET(0));
  spoil(1, SF_MAP_SECOND_OFFSET(0));
  rig_start_fully(&rig);
  reads(0, 0x11, 4096);
  reads((uint64_t) 12 * EXTENT, 0, 4096);
  rig_kill(&rig);
  spoil(0, SF_MAP_PAGE_OFFSET(0));
  spoil(0, SF_MAP_SECOND_OFFSET(0));
  rig_start_fully(&rig); /* the other leg tells */
  reads((uint64_t) 12 * EXTENT, 0, 4096);
  rig_kill(&rig);
  for (unsigned leg = 0; leg < 2; leg++) {
    spoil(leg, SF_MAP_PAGE_OFFSET(0));
    spoil(leg, SF_MAP_SECOND_OFFSET(0));
  }
  rig_start_fully(&rig);
  rig_pass(&rig, 1000);
  assert_int_equal(rig.volume->unwritten.set, 0);
  reads(0, 0x11, 4096);
  rig_free(&rig);
}

/* Proves R17's last resort after a clean stop too, when no intent counts: where no copy of a page is
 * left on any leg, legs in sync are made equal, and do not go on with what each disk held. */
static void
lost_copies_after_a_clean_stop(void **state) {
  made_on_full_legs(2);
  rig_start_fully(&rig);
  writes(0, 0x11);
  sf_volume_stop(rig.volume, rig.now_ns);
  rig_pass(&rig, 2000);
  assert_true(sf_volume_stopped(rig.volume));
  rig_kill(&rig);
  for (unsigned leg = 0; leg < 2; leg++) {
    spoil(leg, SF_MAP_PAGE_OFFSET(0));
    spoil(leg, SF_MAP_SECOND_OFFSET(0));
  }
  rig.config.resync_max_rate = 0;
  rig.config.resync_min_rate = 1 << 30;
  rig_start_fully(&rig);
  rig_pass(&rig, 3000);
  reads(0, 0x11, 4096);
  assert_int_equal(rig.volume->unwritten.set, 0);
  assert_memory_equal(rig.leg[0] + SF_DATA_OFFSET, rig.leg[1] + SF_DATA_OFFSET,
                      (size_t) EXTENT * EXTENTS);
  rig_free(&rig);
}

/* Proves that the background zeroes all of it, and that the superblock is then as it was. */
static void
the_end(void **state) {
  struct sf_superblock sb;

  made_on_full_legs(2);
  rig.config.resync_max_rate = 0;
  rig.config.resync_min_rate = 1 << 30;
  rig_start_fully(&rig);
  rig_pass(&rig, 3000);
  assert_int_equal(rig.volume->unwritten.set, 0);
  assert_false(rig.volume->maps.twice);
  for (unsigned i = 0; i < 2; i++) {
    assert_true(is_all(rig.leg[i] + SF_DATA_OFFSET, 0, (size_t) EXTENT * EXTENTS));
    rig_read_superblock(&rig, i, &sb);
    assert_false(sb.unwritten);
  }
  rig_free(&rig);
}

static bool
last_record_is_held(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && rig_is_superblock(region) && r->volume->unwritten.set == 0 &&
         !r->volume->identity.unwritten;
}

/* Proves that a start from legs of which only one says that nothing is unwritten any more reads
 * zeros and keeps what is written, whichever of their pages are lost in one copy. */
static void
the_end_on_one_leg(void **state) {
  struct sf_superblock sb[2];

  made_on_full_legs(2);
  rig.config.resync_max_rate = 0;
  rig.config.resync_min_rate = 1 << 30;
  rig.holds = last_record_is_held;
  rig_start_fully(&rig);
  for (unsigned i = 0; i < 3000 && rig.volume->identity.unwritten; i++)
    rig_pass(&rig, 1);
  rig_run(&rig);
  rig_kill(&rig);
  for (unsigned i = 0; i < 2; i++)
    rig_read_superblock(&rig, i, &sb[i]);
  assert_false(sb[0].unwritten);
  assert_true(sb[1].unwritten);
  spoil(1, SF_MAP_PAGE_OFFSET(0));
  spoil(0, SF_MAP_SECOND_OFFSET(0));
  rig_start_fully(&rig);
  reads((uint64_t) 12 * EXTENT, 0, EXTENT);
  writes((uint64_t) 5 * EXTENT, 0x55);
  rig_kill(&rig);
  rig_start_fully(&rig);
  reads((uint64_t) 5 * EXTENT, 0x55, 4096);
  reads((uint64_t) 5 * EXTENT + 4096, 0, 4096);
  rig_pass(&rig, 1000);
  assert_memory_equal(rig.leg[0] + SF_DATA_OFFSET, rig.leg[1] + SF_DATA_OFFSET,
                      (size_t) EXTENT * EXTENTS);
  rig_free(&rig);
}

/* Proves the same where one leg still calls unwritten what the other calls written. */
static void
legs_that_do_not_agree(void **state) {
  struct sf_map_page page;

  made_on_full_legs(2);
  rig_start_fully(&rig);
  writes((uint64_t) 5 * EXTENT, 0x55);
  rig_kill(&rig);
  page = (struct sf_map_page){.volume = rig.format.volume};
  memset(page.unwritten, 0xff, EXTENTS / 8); /* an older page of leg 0 */
  sf_map_page_encode(&page, rig.leg[0] + SF_MAP_PAGE_OFFSET(0));
  sf_map_page_encode(&page, rig.leg[0] + SF_MAP_SECOND_OFFSET(0));
  rig_start_fully(&rig);
  reads((uint64_t) 5 * EXTENT, 0x55, 4096);
  reads((uint64_t) 5 * EXTENT + 4096, 0, 4096);
  reads((uint64_t) 12 * EXTENT, 0, EXTENT);
  writes((uint64_t) 5 * EXTENT + 8192, 0x56); /* durable on leg 0 too before it is sent */
  rig_kill(&rig);
  rig.absent[1] = true;
  rig.force = true;
  rig_start_fully(&rig);
  reads((uint64_t) 5 * EXTENT + 8192, 0x56, 4096);
  rig.absent[1] = rig.force = false;
  rig_free(&rig);
}

static bool
leg_1_hangs(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1;
}

/* Proves that a leg that was away while an extent was written first lacks the zeros, and that a
 * leg that comes back is not copied what nobody has written. */
static void
a_leg_that_was_away(void **state) {
  made_on_full_legs(2);
  rig_start_fully(&rig);
  rig.holds = leg_1_hangs;
  writes(0, 0x11);
  rig_pass(&rig, 1000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_LATE);
  writes((uint64_t) 3 * EXTENT, 0x33);
  assert_true(sf_map_test(&rig.volume->leg[1].stale, 3));
  rig.holds = NULL;
  rig.volume->config.resync_max_rate = 0;
  rig.volume->config.resync_min_rate = 1 << 30;
  rig.volume->copier.rate = rig.volume->copier.pace_ns = 0;
  rig_pass(&rig, 5000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_true(is_all(rig.leg[1] + SF_DATA_OFFSET + (size_t) 3 * EXTENT, 0x33, 4096));
  assert_true(is_all(rig.leg[1] + SF_DATA_OFFSET + (size_t) 3 * EXTENT + 4096, 0, EXTENT - 4096));
  rig_free(&rig);
}

/* Proves that a stop is clean while the background is at work, and that the bits are kept. */
static void
a_stop_does_not_wait(void **state) {
  struct sf_superblock sb;

  made_on_full_legs(2);
  rig_start_fully(&rig);
  rig_pass(&rig, 50);
  sf_volume_stop(rig.volume, rig.now_ns);
  rig_pass(&rig, 2000);
  assert_true(sf_volume_stopped(rig.volume));
  rig_read_superblock(&rig, 0, &sb);
  assert_true(sb.record.clean);
  assert_true(sb.unwritten);
  rig_kill(&rig);
  rig_start_fully(&rig);
  assert_true(rig.volume->unwritten.set > EXTENTS / 2);
  reads((uint64_t) 12 * EXTENT, 0, 4096);
  rig_free(&rig);
}

static int
leg_1_fails_data(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && rig_is_data(r, region) && region->op != SF_TIO_READ ? -EIO : 0;
}

static bool
leg_0_takes_a_moment(const struct rig *r, const struct rig_region *region) {
  return region->leg == 0 && rig_is_data(r, region) && r->now_ns - region->since_ns < 5 * SF_MS;
}

/* Proves that a leg that fails zeros before the other one has them leaves, as it would for a write:
 * else what waits for the zeros waited without end. */
static void
a_leg_that_fails_first(void **state) {
  struct rig_request write;

  made_on_full_legs(2);
  rig_start_fully(&rig);
  rig.fails = leg_1_fails_data;
  rig.holds = leg_0_takes_a_moment;
  rig_submit(&rig, &write, SF_REQ_WRITE, (uint64_t) 4 * EXTENT, 4096, 0x44);
  rig_pass(&rig, 25000);
  assert_true(write.done);
  assert_int_equal(write.request.error, 0);
  rig_put(&write);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  assert_int_not_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

static bool
zero_on_leg_1(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && region->op == SF_TIO_ZERO && rig_is_data(r, region);
}

static unsigned
zeros_under_way(void) {
  unsigned n = 0;

  for (unsigned i = 0; i < rig.regions; i++)
    n += rig.region[i].used && rig.region[i].op == SF_TIO_ZERO;
  return n;
}

/* Proves that no record calls a stop clean while zeros are on their way to a leg of the set: the
 * next server may be another host's, which no lock keeps from writing there before they land. */
static void
a_clean_stop_leaves_no_zeros(void **state) {
  struct sf_superblock sb;

  made_on_full_legs(2);
  rig_start(&rig);
  rig.holds = zero_on_leg_1;
  rig_run(&rig);
  rig_pass(&rig, 20);
  assert_int_not_equal(zeros_under_way(), 0);
  sf_volume_stop(rig.volume, rig.now_ns);
  for (unsigned ms = 0; ms < 60; ms++) {
    rig_pass(&rig, 1);
    rig_read_superblock(&rig, 0, &sb);
    if (sb.record.clean)
      assert_int_equal(zeros_under_way(), 0);
  }
  rig.holds = NULL;
  rig_pass(&rig, 2000);
  rig_read_superblock(&rig, 0, &sb);
  assert_true(sb.record.clean);
  rig_free(&rig);
}

/* Proves that a scrub compares what is written while most of the volume is not, finds what differs
 * there, counts the rest, and is not overtaken by the background, which goes on afterwards. */
static void
a_scrub_does_not_wait(void **state) {
  const struct sf_scrub_order order = {.from = -1};
  const struct sf_scrub_status *told;

  made_on_full_legs(2);
  rig.config.resync_max_rate = rig.config.resync_min_rate = EXTENT; /* one a second */
  rig_start_fully(&rig);
  for (unsigned i = 0; i < 3; i++)
    writes((uint64_t) (2 * i + 1) * EXTENT, 0x33);
  rig.leg[1][SF_DATA_OFFSET + (size_t) 3 * EXTENT + 1000] ^= 1;
  told = &rig.volume->scrub.told;
  assert_int_equal(sf_volume_scrub(rig.volume, &order, rig.now_ns), 0);
  rig_pass(&rig, 2500);
  uint64_t zeroing = rig.volume->copier.zeroing.set;
  assert_in_range(rig.volume->unwritten.set, EXTENTS / 2, EXTENTS);
  for (unsigned ms = 0; ms < 8000 && told->state != SF_SCRUB_DONE; ms += 100) {
    rig_pass(&rig, 100);
    assert_in_range(rig.volume->copier.zeroing.set, 0, zeroing);
  }
  assert_int_equal(told->state, SF_SCRUB_DONE);
  assert_int_equal(told->mismatch_bytes, rig.volume->block_bytes);
  assert_int_equal(told->done_bytes, told->total_bytes);
  assert_in_range(told->unwritten_bytes, EXTENT * EXTENTS / 2, told->done_bytes - 3 * EXTENT);
  assert_in_range(rig.volume->unwritten.set, EXTENTS / 2, EXTENTS);
  rig_pass(&rig, 30000);
  assert_int_equal(rig.volume->unwritten.set, 0);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(no_leg_is_asked),
      cmocka_unit_test(the_first_write_comes_last),
      cmocka_unit_test(a_read_of_both),
      cmocka_unit_test(lost_copies),
      cmocka_unit_test(lost_copies_after_a_clean_stop),
      cmocka_unit_test(the_end),
      cmocka_unit_test(the_end_on_one_leg),
      cmocka_unit_test(legs_that_do_not_agree),
      cmocka_unit_test(a_leg_that_was_away),
      cmocka_unit_test(a_stop_does_not_wait),
      cmocka_unit_test(a_leg_that_fails_first),
      cmocka_unit_test(a_clean_stop_leaves_no_zeros),
      cmocka_unit_test(a_scrub_does_not_wait),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

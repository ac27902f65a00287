/* Growing with the clients there: when each step is taken, which sizes are refused, and that legs
 * read alike behind the old end whatever they held there. */
#include "rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "volume/ground/steps.h"

enum { EXTENT = 65536, EXTENTS = 16, ROOM = 4 * EXTENT, OLD = EXTENTS * EXTENT };

static struct rig rig;
static unsigned grown, failed;
static char said[256];
static bool (*holds_more)(const struct rig_region *region);

static void
listen(const struct sf_volume_event *event) {
  if (event->kind != SF_EVENT_GROWN && event->kind != SF_EVENT_GROW_FAILED)
    return;
  *(event->kind == SF_EVENT_GROWN ? &grown : &failed) += 1;
  assert_true(event->leg < 0);
  snprintf(said, sizeof said, "%s", event->reason);
}

static bool
holds(const struct rig *r, const struct rig_region *region) {
  return rig_takes_a_moment(r, region) || (holds_more != NULL && holds_more(region));
}

/* Legs with room behind the volume, and each with something else in it. */
static void
init(unsigned legs, unsigned min_legs) {
  rig_init(&rig, legs, min_legs, EXTENT, EXTENTS);
  for (unsigned i = 0; i < legs; i++) {
    rig.leg[i] = realloc(rig.leg[i], rig.leg_bytes + ROOM);
    assert_non_null(rig.leg[i]);
    memset(rig.leg[i] + rig.leg_bytes, 0x10 + (int) i, ROOM);
  }
  rig.leg_bytes += ROOM;
  rig.config.intent_delay_ns = 600 * SF_S;
  rig.event = listen;
  grown = failed = 0;
  holds_more = NULL;
  rig_start_fully(&rig);
  rig.holds = holds;
}

static int
grow(uint64_t size_bytes) {
  return sf_volume_grow(rig.volume, size_bytes, rig.now_ns);
}

static int
ask(enum sf_request_kind kind, uint64_t offset, uint8_t fill) {
  struct rig_request request;
  int error;

  rig_submit(&rig, &request, kind, offset, 4096, fill);
  rig_pass(&rig, 1000);
  assert_true(request.done);
  error = request.request.error;
  rig_put(&request);
  return error;
}

static void
assert_alike(uint64_t bytes) {
  for (unsigned i = 1; i < rig.legs; i++)
    assert_memory_equal(rig.leg[i] + SF_DATA_OFFSET, rig.leg[0] + SF_DATA_OFFSET, bytes);
}

static bool
is_superblock(const struct rig_region *region) {
  return rig_is_superblock(region);
}

static bool
maps_of_leg_1(const struct rig_region *region) {
  return region->leg == 1 && rig_is_map(region);
}

static bool
superblocks_of_leg_1(const struct rig_region *region) {
  return region->leg == 1 && is_superblock(region);
}

static bool
data_and_superblocks_of_leg_1(const struct rig_region *region) {
  return region->leg == 1 && (is_superblock(region) ||
                              (region->op != SF_TIO_FLUSH && region->offset >= SF_DATA_OFFSET));
}

static bool
flushes_of_leg_1(const struct rig_region *region) {
  return region->leg == 1 && region->op == SF_TIO_FLUSH;
}

static void
long_deadlines(void) {
  rig_never_late(&rig.config);
}

/* The pages first, on every leg; then the record, on every leg; then clients may use it. */
static void
the_steps_are_durable_one_by_one(void **state) {
  struct sf_superblock sb;

  init(2, 1);
  rig_kill(&rig);
  long_deadlines();
  rig_start_fully(&rig);
  rig.holds = holds;
  holds_more = maps_of_leg_1;
  assert_int_equal(grow(OLD + 2 * EXTENT), 0);
  assert_int_equal(grow(OLD + 3 * EXTENT), -EBUSY);
  rig_pass(&rig, 200);
  assert_int_equal(rig.volume->grow.step, GROW_PAGES);
  assert_int_equal(rig.volume->extents, EXTENTS + 2);
  assert_false(sf_map_test(&rig.volume->maps.intent, EXTENTS - 1));
  for (unsigned e = EXTENTS; e < EXTENTS + 2; e++)
    assert_true(sf_map_test(&rig.volume->maps.intent, e));
  rig_read_superblock(&rig, 0, &sb);
  assert_int_equal(sb.data_bytes, OLD);
  holds_more = superblocks_of_leg_1;
  rig_pass(&rig, 200);
  assert_int_equal(rig.volume->grow.step, GROW_RECORD);
  assert_int_equal(rig.volume->served_bytes, OLD);
  rig_read_superblock(&rig, 0, &sb);
  assert_int_equal(sb.data_bytes, OLD + 2 * EXTENT);
  assert_int_equal(grown, 0);
  holds_more = NULL;
  rig_pass(&rig, 200);
  assert_int_equal(grown, 1);
  assert_int_equal(atoi(said), OLD + 2 * EXTENT);
  assert_int_equal(rig.volume->grow.step, GROW_NONE);
  assert_int_equal(rig.volume->served_bytes, OLD + 2 * EXTENT);
  rig_read_superblock(&rig, 1, &sb);
  assert_int_equal(sb.data_bytes, OLD + 2 * EXTENT);
  rig_free(&rig);
}

/* Twice, and the second time the last extent is continued. */
static void
legs_read_alike_behind_the_old_end(void **state) {
  init(3, 1);
  assert_int_equal(grow(OLD + 8192), 0);
  rig_pass(&rig, 3000);
  assert_int_equal(grown, 1);
  assert_int_equal(rig.volume->extents, EXTENTS + 1);
  assert_int_equal(rig.volume->unconverged.set, 0);
  assert_alike(OLD + 8192);
  assert_int_equal(ask(SF_REQ_WRITE, OLD + 4096, 7), 0);
  assert_int_equal(grow(OLD + EXTENT + 4096), 0);
  rig_pass(&rig, 3000);
  assert_int_equal(grown, 2);
  assert_int_equal(rig.volume->extents, EXTENTS + 2);
  assert_int_equal(rig.volume->unconverged.set, 0);
  assert_alike(OLD + EXTENT + 4096);
  assert_int_equal(rig.leg[2][SF_DATA_OFFSET + OLD + 4096], 7);
  assert_int_equal(ask(SF_REQ_READ, OLD + EXTENT, 0), 0);
  rig_free(&rig);
}

/* It has been converged as far as it went; its new part has not. */
static void
an_extent_that_goes_on_is_converged_again(void **state) {
  init(2, 1);
  assert_int_equal(grow(OLD + 8192), 0);
  for (unsigned i = 0; i < 100 && grown == 0; i++)
    rig_pass(&rig, 1);
  assert_int_equal(grown, 1);
  assert_true(sf_map_test(&rig.volume->unconverged, EXTENTS));
  for (unsigned i = 0; i < 1000 && !sf_map_test(&rig.volume->copier.copied, EXTENTS) &&
                       !sf_map_test(&rig.volume->copier.flushing_copied, EXTENTS);
       i++)
    rig_pass(&rig, 1);
  assert_true(sf_map_test(&rig.volume->unconverged, EXTENTS));
  assert_int_equal(grow(OLD + EXTENT), 0);
  rig_pass(&rig, 3000);
  assert_int_equal(grown, 2);
  assert_alike(OLD + EXTENT);
  rig_free(&rig);
}

/* The same while a piece of it is on its way. */
static void
a_copy_under_way_there_does_not_count(void **state) {
  init(2, 1);
  rig_kill(&rig);
  long_deadlines();
  rig_start_fully(&rig);
  rig.holds = holds;
  assert_int_equal(grow(OLD + 8192), 0);
  for (unsigned i = 0; i < 100 && grown == 0; i++)
    rig_pass(&rig, 1);
  holds_more = data_and_superblocks_of_leg_1;
  rig_pass(&rig, 300);
  assert_int_equal(grow(OLD + EXTENT), 0);
  rig_pass(&rig, 300);
  holds_more = NULL;
  rig_pass(&rig, 3000);
  assert_int_equal(grown, 2);
  assert_int_equal(rig.volume->unconverged.set, 0);
  assert_alike(OLD + EXTENT);
  rig_free(&rig);
}

static void
what_cannot_be_is_refused(void **state) {
  init(2, 1);
  assert_int_equal(grow(OLD + 512), -EINVAL);
  assert_int_equal(grow(INT64_MAX - INT64_MAX % 4096), -EINVAL);
  assert_int_equal(grow(OLD), -EALREADY);
  assert_int_equal(grow(OLD - EXTENT), -EALREADY);
  assert_int_equal(grow((uint64_t) SF_EXTENTS_MAX * EXTENT + 4096), -EFBIG);
  assert_int_equal(grow((uint64_t) SF_EXTENTS_MAX * EXTENT), -ENOSPC);
  assert_int_equal(grow(OLD + ROOM + 4096), -ENOSPC);
  assert_int_equal(grow(OLD + ROOM), 0);
  rig_pass(&rig, 3000);
  assert_int_equal(grown, 1);
  assert_int_equal(failed, 0);
  sf_volume_stop(rig.volume, rig.now_ns);
  rig_pass(&rig, 1000);
  assert_int_equal(grow(OLD + ROOM + EXTENT), -EBUSY);
  rig_free(&rig);
}

/* Between the asking and the beginning a leg of the set may have turned out to be another disk. */
static void
a_leg_that_is_too_short_by_then_ends_it(void **state) {
  init(2, 1);
  rig.volume->grow.size_bytes = OLD + ROOM + 4096;
  sf_grow_move(rig.volume, GROW_WAIT);
  rig.volume->dirty = true;
  sf_volume_tick(rig.volume, rig.now_ns);
  rig_pass(&rig, 100);
  assert_int_equal(failed, 1);
  assert_non_null(strstr(said, "leg l0 is too short"));
  assert_int_equal(rig.volume->size_bytes, OLD);
  assert_int_equal(rig.volume->grow.step, GROW_NONE);
  assert_int_equal(grow(OLD + EXTENT), 0);
  rig_pass(&rig, 3000);
  assert_int_equal(grown, 1);
  rig_free(&rig);
}

/* The new part is missing on a leg that is out; a leg without room for it cannot catch up any
 * more. */
static void
a_leg_outside_lacks_what_is_new(void **state) {
  for (unsigned turn = 0; turn < 2; turn++) {
    init(3, 1);
    rig.volume->config.resync_max_rate = rig.volume->config.resync_min_rate = 1;
    assert_int_equal(sf_volume_leg_fail(rig.volume, 1, rig.now_ns), 0);
    rig_pass(&rig, 50);
    for (unsigned e = 0; e < EXTENTS; e++)
      assert_int_equal(ask(SF_REQ_WRITE, (uint64_t) e * EXTENT, 7), 0);
    holds_more = data_and_superblocks_of_leg_1;
    assert_int_equal(sf_volume_leg_return(rig.volume, 1, rig.now_ns), 0);
    holds_more = NULL;
    for (unsigned i = 0; i < 5000 && rig_state(&rig, 1) != SF_STATE_CATCHING_UP; i++)
      rig_pass(&rig, 1);
    assert_int_equal(rig_state(&rig, 1), SF_STATE_CATCHING_UP);
    rig.volume->leg[1].bytes -= turn == 0 ? 0 : ROOM;
    assert_int_equal(grow(OLD + 2 * EXTENT), 0);
    for (unsigned i = 0; i < 100 && grown == 0; i++)
      rig_pass(&rig, 1);
    assert_int_equal(grown, 1);
    assert_true(sf_map_test(&rig.volume->leg[1].stale, EXTENTS));
    assert_true(sf_map_test(&rig.volume->leg[1].stale, EXTENTS + 1));
    assert_int_equal(rig.volume->leg[0].stale.set, 0);
    if (turn == 0)
      assert_int_equal(rig_state(&rig, 1), SF_STATE_CATCHING_UP);
    else
      assert_int_equal(rig_state(&rig, 1), SF_STATE_MISSING);
    rig_free(&rig);
  }
}

/* It waits for a promotion that is under way, whichever of its steps that has come to. */
static void
it_waits_for_a_leg_that_joins(void **state) {
  bool (*const step[])(const struct rig_region *) = {flushes_of_leg_1, superblocks_of_leg_1};

  for (unsigned i = 0; i < 2; i++) {
    init(2, 1);
    rig_kill(&rig);
    long_deadlines();
    rig_start_fully(&rig);
    rig.holds = holds;
    assert_int_equal(sf_volume_leg_fail(rig.volume, 1, rig.now_ns), 0);
    rig_pass(&rig, 50);
    assert_int_equal(ask(SF_REQ_WRITE, 0, 7), 0);
    assert_int_equal(sf_volume_leg_return(rig.volume, 1, rig.now_ns), 0);
    for (unsigned ms = 0; ms < 10000 && rig_state(&rig, 1) != SF_STATE_CATCHING_UP; ms++)
      rig_pass(&rig, 1);
    holds_more = step[i];
    rig_pass(&rig, 10000);
    assert_int_equal(rig_state(&rig, 1), SF_STATE_CATCHING_UP);
    assert_int_equal(rig.volume->joining, 1);
    assert_int_equal(grow(OLD + EXTENT), 0);
    rig_pass(&rig, 1000);
    assert_int_equal(rig.volume->grow.step, GROW_WAIT);
    holds_more = NULL;
    rig_pass(&rig, 3000);
    assert_int_equal(grown, 1);
    assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
    assert_alike(OLD + EXTENT);
    rig_free(&rig);
  }
}

static void
a_stop_before_it_is_durable_is_told(void **state) {
  init(2, 1);
  holds_more = superblocks_of_leg_1;
  assert_int_equal(grow(OLD + EXTENT), 0);
  rig_pass(&rig, 20);
  assert_int_equal(rig.volume->grow.step, GROW_RECORD);
  sf_volume_stop(rig.volume, rig.now_ns);
  holds_more = NULL;
  rig_pass(&rig, 2000);
  assert_true(sf_volume_stopped(rig.volume));
  assert_int_equal(grown + failed, 1);
  assert_int_equal(rig.volume->grow.step, GROW_NONE);
  rig_free(&rig);
}

enum { SMALL = 4096, MANY = SF_MAP_EXTENTS - 2, MORE = 2 * SF_MAP_EXTENTS + 100 };

/* From the end of one page of the maps into a third one: the new ones are written before the
 * record, and a write there has its intent on disk first. */
static void
into_new_pages_of_the_maps(void **state) {
  struct rig_request write;

  rig_init(&rig, 2, 1, SMALL, MANY);
  for (unsigned i = 0; i < 2; i++) {
    rig.leg[i] = realloc(rig.leg[i], SF_DATA_OFFSET + (uint64_t) MORE * SMALL);
    assert_non_null(rig.leg[i]);
    memset(rig.leg[i] + rig.leg_bytes, 0x10 + (int) i, (size_t) (MORE - MANY) * SMALL);
  }
  rig.leg_bytes = SF_DATA_OFFSET + (uint64_t) MORE * SMALL;
  rig.config.intent_delay_ns = 600 * SF_S;
  rig.event = listen;
  grown = failed = 0;
  long_deadlines();
  rig_start_fully(&rig);
  holds_more = maps_of_leg_1;
  rig.holds = holds;
  assert_int_equal(grow((uint64_t) MORE * SMALL), 0);
  rig_pass(&rig, 100);
  assert_int_equal(rig.volume->grow.step, GROW_PAGES);
  assert_int_equal(rig.volume->maps.pages, 3);
  assert_int_equal(rig.volume->grow.first_page, 0);
  holds_more = NULL;
  for (unsigned i = 0; i < 1000 && grown == 0; i++)
    rig_pass(&rig, 1);
  assert_int_equal(grown, 1);
  for (uint64_t e = MANY; e < MORE; e++) /* each has the version that holds its bit */
    assert_int_equal(rig.volume->maps.intent_version[e],
                     rig.volume->maps.page[e / SF_MAP_EXTENTS].done[1]);
  for (uint64_t e = 0; e < MANY; e++)
    assert_int_equal(rig.volume->maps.intent_version[e], 0);
  rig_pass(&rig, 20000);
  assert_int_equal(rig.volume->unconverged.set, 0);
  assert_memory_equal(rig.leg[0] + SF_DATA_OFFSET, rig.leg[1] + SF_DATA_OFFSET,
                      (size_t) MORE * SMALL);
  rig_submit(&rig, &write, SF_REQ_WRITE, (uint64_t) (MORE - 1) * SMALL, SMALL, 7);
  rig_pass(&rig, 100);
  assert_true(write.done);
  rig_put(&write);
  rig_kill(&rig);
  rig.format.data_bytes = (uint64_t) MORE * SMALL;
  rig_start_fully(&rig);
  assert_int_equal(rig.volume->extents, MORE);
  assert_true(sf_map_test(&rig.volume->maps.intent, MORE - 1));
  rig_free(&rig);
}

/* The new part may be used on each of them, and nothing beyond it is touched. */
static void
as_many_legs_as_there_may_be(void **state) {
  struct sf_superblock base;

  init(SF_LEGS_MAX, 1);
  base = rig.volume->base;
  assert_int_equal(grow(OLD + EXTENT), 0);
  rig_pass(&rig, 3000);
  assert_int_equal(grown, 1);
  assert_memory_equal(&base, &rig.volume->base, sizeof base);
  assert_alike(OLD + EXTENT);
  assert_int_equal(ask(SF_REQ_WRITE, OLD, 7), 0);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_steps_are_durable_one_by_one),
      cmocka_unit_test(legs_read_alike_behind_the_old_end),
      cmocka_unit_test(an_extent_that_goes_on_is_converged_again),
      cmocka_unit_test(a_copy_under_way_there_does_not_count),
      cmocka_unit_test(what_cannot_be_is_refused),
      cmocka_unit_test(a_leg_that_is_too_short_by_then_ends_it),
      cmocka_unit_test(a_leg_outside_lacks_what_is_new),
      cmocka_unit_test(it_waits_for_a_leg_that_joins),
      cmocka_unit_test(a_stop_before_it_is_durable_is_told),
      cmocka_unit_test(into_new_pages_of_the_maps),
      cmocka_unit_test(as_many_legs_as_there_may_be),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

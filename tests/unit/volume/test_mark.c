/* A leg without its mark is given it while it serves, once, and nobody waits for that, hears of it, or is taken for
 * late by it. */
#include "rig.h"

#include <errno.h>
#include <string.h>

enum { EXTENT = 65536, EXTENTS = 64 };

static struct rig rig;
static int mark_error;
static bool mark_hangs, looks_fail;

static bool
is_mark(const struct rig_region *region) {
  return region->op != SF_TIO_FLUSH && region->offset == SF_MARK_OFFSET;
}

static bool
holds_mark(const struct rig *r, const struct rig_region *region) {
  return mark_hangs && region->leg == 1 && is_mark(region) && region->op == SF_TIO_WRITE;
}

static int
fails_mark(const struct rig *r, const struct rig_region *region) {
  if (looks_fail && region->leg == 1 && region->op == SF_TIO_READ &&
      region->offset < SF_SUPERBLOCK_OFFSET(SF_SUPERBLOCK_COPIES))
    return -EIO;
  return region->leg == 1 && is_mark(region) ? mark_error : 0;
}

static void
serves(void) {
  rig_init(&rig, 3, 2, EXTENT, EXTENTS);
  rig.holder = (struct sf_holder){.host = "here", .since_s = 1, .pid = 100};
  rig.holds = holds_mark;
  rig.fails = fails_mark;
  mark_error = 0;
  mark_hangs = false;
  rig_start_fully(&rig);
}

static bool
is_marked(unsigned leg) {
  struct sf_mark mark;

  return sf_mark_decode(rig.leg[leg] + SF_MARK_OFFSET, &mark) &&
         sf_mark_is_leg(&mark, &rig.volume->identity, leg);
}

static void
unmark(unsigned leg) {
  memset(rig.leg[leg] + SF_MARK_OFFSET, 0, SF_PAGE_BYTES);
}

static void
write_is_answered(void) {
  struct rig_request w;

  rig_submit(&rig, &w, SF_REQ_WRITE, 0, EXTENT, 3);
  rig_pass(&rig, 50);
  assert_true(w.done && w.request.error == 0);
  rig_put(&w);
}

/* A volume from before there were marks. */
static void
an_old_volume_is_marked(void **state) {
  serves();
  for (unsigned i = 0; i < 3; i++)
    assert_false(is_marked(i));
  rig_pass(&rig, 2 * SF_LOOK_MS);
  for (unsigned i = 0; i < 3; i++)
    assert_true(is_marked(i));
  rig_free(&rig);
}

/* What is right is left alone, and what was looked at is not looked at again; a wrong one, of another leg or with an
 * old name, is written anew at the next start. */
static void
it_is_written_once(void **state) {
  serves();
  rig_pass(&rig, 2 * SF_LOOK_MS);
  unmark(0);
  rig_pass(&rig, 10 * SF_LOOK_MS);
  assert_false(is_marked(0));
  memcpy(rig.leg[0] + SF_MARK_OFFSET, rig.leg[1] + SF_MARK_OFFSET, SF_PAGE_BYTES);
  rig_kill(&rig);
  rig_start_fully(&rig);
  rig_pass(&rig, 2 * SF_LOOK_MS);
  for (unsigned i = 0; i < 3; i++)
    assert_true(is_marked(i));
  rig_free(&rig);
}

/* A leg that comes back is looked at, and one that is out is not written to. */
static void
a_leg_that_comes_back_is_marked(void **state) {
  serves();
  rig_pass(&rig, 2 * SF_LOOK_MS);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 1, rig.now_ns), 0);
  rig_pass(&rig, 1000);
  assert_int_equal(sf_volume_leg_discard(rig.volume, 1, rig.now_ns), 0);
  rig_pass(&rig, 100);
  rig_empty_leg(&rig, 1, &rig.volume->identity);
  rig_pass(&rig, 3 * SF_LOOK_MS);
  assert_false(is_marked(1));
  rig_open(&rig, 1);
  rig_pass(&rig, 10000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_true(is_marked(1));
  rig_free(&rig);
}

/* A write of it that hangs keeps nobody waiting, and the leg is as well as before. */
static void
a_mark_that_hangs_costs_nobody(void **state) {
  serves();
  mark_hangs = true;
  rig_pass(&rig, SF_LOOK_MS + 100);
  assert_false(is_marked(1));
  for (unsigned i = 0; i < 20; i++) {
    write_is_answered();
    rig_pass(&rig, 500);
  }
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  assert_int_equal(rig.volume->leg[1].timeouts, 0);
  mark_hangs = false;
  rig_pass(&rig, 2 * SF_LOOK_MS);
  assert_true(is_marked(1));
  rig_free(&rig);
}

/* Nor does one that fails, for a bad block there or for want of room. */
static void
a_mark_that_fails_costs_nobody(void **state) {
  static const int errors[] = {-EIO, -ENOSPC};

  for (unsigned i = 0; i < 2; i++) {
    serves();
    mark_error = errors[i];
    rig_pass(&rig, 3 * SF_LOOK_MS);
    write_is_answered();
    assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
    assert_int_equal(rig.volume->leg[1].errors, 0);
    assert_int_equal(rig.volume->leg[1].no_room_ns, 0);
    assert_int_equal(rig.volume->latest.faulty, 0);
    assert_false(is_marked(1));
    rig_free(&rig);
  }
}

/* Behind a superblock that is not ours any more stands no mark of ours: whoever made another leg of this disk gave it
 * his, and what is overwritten is nothing that we know. */
static void
the_mark_of_another_is_left_alone(void **state) {
  struct sf_superblock sb;
  struct sf_mark mark, now;

  for (unsigned overwritten = 0; overwritten < 2; overwritten++) {
    looks_fail = true;
    serves();
    rig_pass(&rig, 3 * SF_LOOK_MS); /* the superblocks of the start are written */
    assert_false(is_marked(1));
    looks_fail = false;
    rig_read_superblock(&rig, 1, &sb);
    memset(sb.volume.bytes, 0x66, sizeof sb.volume.bytes);
    for (unsigned i = 0; i < SF_SUPERBLOCK_COPIES; i++) {
      sb.serial += 10;
      sf_superblock_encode(&sb, rig.leg[1] + SF_SUPERBLOCK_OFFSET(i));
      if (overwritten)
        memset(rig.leg[1] + SF_SUPERBLOCK_OFFSET(i), 0, SF_PAGE_BYTES);
    }
    sf_mark_of(&sb, &mark);
    sf_mark_encode(&mark, rig.leg[1] + SF_MARK_OFFSET);
    rig_pass(&rig, 4 * SF_LOOK_MS);
    assert_true(is_marked(0) && is_marked(2));
    assert_true(sf_mark_decode(rig.leg[1] + SF_MARK_OFFSET, &now));
    assert_memory_equal(&now, &mark, sizeof now);
    rig_free(&rig);
  }
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_old_volume_is_marked),
      cmocka_unit_test(it_is_written_once),
      cmocka_unit_test(a_leg_that_comes_back_is_marked),
      cmocka_unit_test(a_mark_that_hangs_costs_nobody),
      cmocka_unit_test(a_mark_that_fails_costs_nobody),
      cmocka_unit_test(the_mark_of_another_is_left_alone),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

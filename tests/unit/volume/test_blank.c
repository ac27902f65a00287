/* What the operator wants of a leg's disk, and when a disk is opened with it: emptied is only what
 * the volume agreed to, once, and not before a start would find it in that place. */
#include "rig.h"

#include <errno.h>
#include <string.h>

enum { EXTENT = 65536, EXTENTS = 64, SECONDS = 1000 };

static struct rig rig;
static const struct sf_uuid new_uuid = {{0x5e, 1, 2, 3}};
static unsigned told;
static char told_last[256];

static void
on_event(const struct sf_volume_event *event) {
  if (event->kind != SF_EVENT_LEG_NOT_OPENED)
    return;
  told++;
  snprintf(told_last, sizeof told_last, "%s", event->reason);
}

/* Leg 2 is missing, and its opening is under way. */
static void
begin(void) {
  rig_init(&rig, 3, 2, EXTENT, EXTENTS);
  rig.absent[2] = true;
  rig.event = on_event;
  told = 0;
  rig_start_fully(&rig);
  rig_pass(&rig, 100);
  assert_true(rig.opening >> 2 & 1);
  assert_int_equal(rig.blank[2], SF_BLANK_NOT);
}

static void
assert_opens_with(enum sf_leg_blank blank) {
  rig_pass(&rig, 3 * SECONDS);
  assert_true(rig.opening >> 2 & 1);
  assert_int_equal(rig.blank[2], blank);
}

static void
assert_reason(const char *reason) {
  struct sf_volume_status status;

  sf_volume_status(rig.volume, rig.now_ns, &status);
  assert_string_equal(status.leg[2].reason, reason);
}

/* As sf_leg_discard() leaves the disk that the volume knows as leg 2. */
static void
empty_leg_2(void) {
  struct sf_superblock sb;

  sf_volume_get_identity(rig.volume, &sb);
  rig_empty_leg(&rig, 2, &sb);
}

static void
what_was_refused_is_not_done(void **state) {
  begin();
  assert_int_equal(sf_volume_leg_discard(rig.volume, 2, rig.now_ns), -EBUSY);
  assert_int_equal(sf_volume_leg_replace(rig.volume, 2, &new_uuid, NULL, rig.now_ns), -EBUSY);
  rig_cannot_open(&rig, 2, -EIO, "broken");
  assert_opens_with(SF_BLANK_NOT);
  rig_open(&rig, 2);
  rig_pass(&rig, 3 * SECONDS);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  assert_int_equal(sf_volume_leg_discard(rig.volume, 2, rig.now_ns), -EBUSY);
  assert_int_equal(rig.volume->leg[2].blank, SF_BLANK_NOT);
  rig_free(&rig);
}

static int
leg_2_is_gone(const struct rig *r, const struct rig_region *region) {
  return region->leg == 2 ? -ENODEV : 0;
}

static void
a_discard_is_asked_for_until_it_is_done(void **state) {
  struct rig_request w;

  begin();
  rig_cannot_open(&rig, 2, -ENOENT, "not there");
  assert_int_equal(sf_volume_leg_discard(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 100);
  assert_true(rig.opening >> 2 & 1);
  assert_int_equal(rig.blank[2], SF_BLANK_OWN);
  /* A discard that comes too late does not take it back. */
  assert_int_equal(sf_volume_leg_discard(rig.volume, 2, rig.now_ns), -EBUSY);
  rig_cannot_open(&rig, 2, -EIO, "broken");
  assert_opens_with(SF_BLANK_OWN);
  empty_leg_2();
  rig_open(&rig, 2);
  rig_pass(&rig, 5 * SECONDS);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);

  rig.fails = leg_2_is_gone;
  rig_submit(&rig, &w, SF_REQ_WRITE, 0, 4096, 1);
  rig_run(&rig);
  rig.fails = NULL;
  rig_put(&w);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_MISSING);
  assert_opens_with(SF_BLANK_NOT);
  rig_free(&rig);
}

/* What hung may hang again: an operator who wants another disk there is not shut out by the next opening. */
static void
after_an_opening_that_hung_there_is_a_pause(void **state) {
  static const int error[] = {-ETIMEDOUT, -ECANCELED};

  for (unsigned i = 0; i < 2; i++) {
    begin();
    rig_pass(&rig, 30 * SECONDS);
    rig_cannot_open(&rig, 2, error[i], "it hung");
    rig_pass(&rig, 1900);
    assert_false(rig.opening >> 2 & 1);
    assert_opens_with(SF_BLANK_NOT);
    rig_pass(&rig, 30 * SECONDS);
    rig_cannot_open(&rig, 2, error[i], "it hung");
    rig_pass(&rig, 1900);
    assert_int_equal(sf_volume_leg_discard(rig.volume, 2, rig.now_ns), 0);
    assert_opens_with(SF_BLANK_OWN);
    rig_free(&rig);
  }
}

static void
another_disk_is_not_discarded(void **state) {
  begin();
  rig_cannot_open(&rig, 2, -ENOENT, "not there");
  assert_int_equal(sf_volume_leg_discard(rig.volume, 2, rig.now_ns), 0);
  rig_pass(&rig, 100);
  rig_cannot_open(&rig, 2, -EEXIST, "of another volume");
  assert_int_equal(rig_state(&rig, 2), SF_STATE_FAULTY);
  assert_reason("of another volume");
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  assert_opens_with(SF_BLANK_NOT);
  rig_free(&rig);
}

static bool
holds_superblocks_of_leg_0(const struct rig *r, const struct rig_region *region) {
  return region->leg == 0 && rig_is_superblock(region);
}

/* The disk may be the leg's own: a crash before leaves it as it was. */
static void
a_disk_is_not_emptied_before_it_has_its_place(void **state) {
  uint64_t since_ns;

  begin();
  rig_cannot_open(&rig, 2, -ENOENT, "not there");
  rig.holds = holds_superblocks_of_leg_0;
  assert_int_equal(sf_volume_leg_replace(rig.volume, 2, &new_uuid, NULL, rig.now_ns), 0);
  rig_pass(&rig, rig.config.deadline_ns[SF_WRITE_KIND] / SF_MS / 2);
  assert_true(rig.volume->change.under_way);
  assert_false(rig.opening >> 2 & 1);
  rig.holds = NULL;
  rig_run(&rig);
  assert_false(rig.volume->change.under_way);
  since_ns = rig.now_ns;
  while (!(rig.opening >> 2 & 1) && rig.now_ns - since_ns < 3 * SF_S)
    rig_pass(&rig, 1);
  assert_true(rig.now_ns - since_ns <= 2 * SF_MS);
  assert_int_equal(rig.blank[2], SF_BLANK_NEW);
  rig_free(&rig);
}

/* It cannot be the leg's own before it was made so. */
static void
a_discard_leaves_a_new_disk_new(void **state) {
  begin();
  rig_cannot_open(&rig, 2, -ENOENT, "not there");
  assert_int_equal(sf_volume_leg_replace(rig.volume, 2, &new_uuid, "/new", rig.now_ns), 0);
  rig_pass(&rig, 100);
  assert_int_equal(rig.blank[2], SF_BLANK_NEW);
  rig_cannot_open(&rig, 2, -EEXIST, "carries data");
  assert_int_equal(rig_state(&rig, 2), SF_STATE_MISSING);
  assert_int_equal(sf_volume_leg_discard(rig.volume, 2, rig.now_ns), 0);
  assert_opens_with(SF_BLANK_NEW);
  empty_leg_2();
  rig_open(&rig, 2);
  rig_pass(&rig, 5 * SECONDS);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  assert_int_equal(rig.volume->leg[2].blank, SF_BLANK_NOT);
  rig_free(&rig);
}

static void
a_removed_leg_is_no_leg(void **state) {
  unsigned leg;

  begin();
  rig_cannot_open(&rig, 2, -ENOENT, "not there");
  assert_int_equal(sf_volume_leg_discard(rig.volume, 2, rig.now_ns), 0);
  assert_int_equal(sf_volume_leg_remove(rig.volume, 2, rig.now_ns), 0);
  for (unsigned i = 2; i < 4; i++) {
    assert_int_equal(sf_volume_leg_fail(rig.volume, i, rig.now_ns), -ENOENT);
    assert_int_equal(sf_volume_leg_return(rig.volume, i, rig.now_ns), -ENOENT);
    assert_int_equal(sf_volume_leg_discard(rig.volume, i, rig.now_ns), -ENOENT);
    assert_int_equal(sf_volume_leg_replace(rig.volume, i, &new_uuid, "/new", rig.now_ns), -ENOENT);
    assert_int_equal(sf_volume_leg_remove(rig.volume, i, rig.now_ns), -ENOENT);
  }
  rig_pass(&rig, 5 * SECONDS);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_FAULTY);
  assert_false(rig.opening >> 2 & 1);
  assert_int_equal(sf_volume_leg_add(rig.volume, "new", "/new", &new_uuid, &leg, rig.now_ns), 0);
  assert_int_equal(leg, 2);
  assert_opens_with(SF_BLANK_NEW);
  rig_free(&rig);
}

/* It is tried every two seconds. */
static void
why_it_is_missing_is_told_once(void **state) {
  begin();
  for (unsigned i = 0; i < 3; i++) {
    rig_cannot_open(&rig, 2, -ENOENT, "not there");
    assert_opens_with(SF_BLANK_NOT);
  }
  assert_int_equal(told, 1);
  rig_cannot_open(&rig, 2, -EBADMSG, "damaged");
  assert_int_equal(told, 2);
  assert_string_equal(told_last, "damaged");
  assert_reason("damaged");
  assert_opens_with(SF_BLANK_NOT);
  rig_cannot_open(&rig, 2, -ESHUTDOWN, NULL);
  assert_int_equal(told, 2);
  assert_reason("damaged");
  assert_int_equal(sf_volume_leg_discard(rig.volume, 2, rig.now_ns), 0);
  assert_reason("discarded by the operator");
  assert_opens_with(SF_BLANK_OWN);
  rig_cannot_open(&rig, 2, -EBADMSG, "damaged");
  assert_int_equal(told, 3);
  rig_free(&rig);
}

static void
put_record(unsigned leg, uint64_t change, unsigned in_sync, unsigned faulty, uint64_t claim) {
  struct sf_superblock sb;

  rig_read_superblock(&rig, leg, &sb);
  sb.record.term = 4;
  sb.record.change = change;
  sb.record.in_sync = (uint16_t) in_sync;
  sb.record.faulty = (uint16_t) faulty;
  sb.claim = claim;
  sb.serial++;
  sf_superblock_encode(&sb, rig.leg[leg] + SF_SUPERBLOCK_OFFSET(sb.serial % SF_SUPERBLOCK_COPIES));
}

static bool
holds_superblocks_of_leg_1(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && region->op == SF_TIO_WRITE && region->offset < SF_MAPS_OFFSET;
}

static bool
holds_records(const struct rig *r, const struct rig_region *region) {
  struct sf_superblock sb;

  return region->op == SF_TIO_WRITE && region->offset < SF_MAPS_OFFSET &&
         sf_superblock_decode(region->buffer->data, &sb) == 0 && sb.record.term == sb.claim;
}

/* R12: leg 1 doubts the record that leaves leg 2 out, and only leg 2 can tell that no start went on
 * from the older one; the next start asks it again, if this one breaks off. */
static void
nothing_is_emptied_while_a_start_claims_its_term(void **state) {
  rig_init(&rig, 3, 2, EXTENT, EXTENTS);
  put_record(0, 3, 3, 4, 4);
  put_record(1, 2, 7, 0, 5);
  put_record(2, 2, 7, 0, 4);
  rig.absent[2] = true;
  rig.may_refuse = true;
  rig_start(&rig);
  assert_true(rig.refused);
  rig.may_refuse = false;
  rig.absent[2] = false;

  rig.holds = holds_superblocks_of_leg_1;
  rig_start(&rig);
  rig_pass(&rig, 5);
  assert_int_equal(rig.volume->phase, PHASE_CLAIMING);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_FAULTY);
  assert_int_equal(sf_volume_leg_discard(rig.volume, 2, rig.now_ns), -EAGAIN);
  rig_pass(&rig, 5);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_FAULTY);
  assert_false(rig.opening >> 2 & 1);
  rig_kill(&rig);

  rig.holds = holds_records;
  rig_start(&rig);
  rig_pass(&rig, 5);
  assert_int_equal(rig.volume->phase, PHASE_RECORDING);
  assert_int_equal(sf_volume_leg_discard(rig.volume, 2, rig.now_ns), -EAGAIN);
  assert_int_equal(rig.volume->leg[2].blank, SF_BLANK_NOT);
  rig.holds = NULL;
  rig_run(&rig);
  assert_int_equal(rig.volume->phase, PHASE_SERVING);
  assert_int_equal(sf_volume_leg_discard(rig.volume, 2, rig.now_ns), 0);
  assert_opens_with(SF_BLANK_OWN);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_was_refused_is_not_done),
      cmocka_unit_test(a_discard_is_asked_for_until_it_is_done),
      cmocka_unit_test(after_an_opening_that_hung_there_is_a_pause),
      cmocka_unit_test(another_disk_is_not_discarded),
      cmocka_unit_test(a_disk_is_not_emptied_before_it_has_its_place),
      cmocka_unit_test(a_discard_leaves_a_new_disk_new),
      cmocka_unit_test(a_removed_leg_is_no_leg),
      cmocka_unit_test(nothing_is_emptied_while_a_start_claims_its_term),
      cmocka_unit_test(why_it_is_missing_is_told_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

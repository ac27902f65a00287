/* Which legs the volume has, and what it takes for one of them: a change of the legs is one record,
 * and a disk that is opened again must show that it is the leg, in the line of history that goes
 * on. */
#include "rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { EXTENT = 65536, EXTENTS = 16 };

static struct rig rig;
static const struct sf_uuid new_uuid = {{0x5e, 1, 2, 3}};
static struct {
  unsigned n;
  enum sf_volume_event_kind kind;
  char leg[SF_LEG_NAME_MAX], reason[256];
} told;

static void
listen(const struct sf_volume_event *event) {
  if (event->kind != SF_EVENT_LEG_ADDED && event->kind != SF_EVENT_LEG_REMOVED &&
      event->kind != SF_EVENT_LEG_REPLACED && event->kind != SF_EVENT_CHANGE_FAILED)
    return;
  told.n++;
  told.kind = event->kind;
  snprintf(told.leg, sizeof told.leg, "%s", event->leg_name);
  snprintf(told.reason, sizeof told.reason, "%s", event->reason);
}

static void
assert_told(enum sf_volume_event_kind kind, const char *leg, const char *reason) {
  assert_int_equal(told.n, 1);
  assert_int_equal(told.kind, kind);
  assert_string_equal(told.leg, leg);
  assert_string_equal(told.reason, reason);
  told.n = 0;
}

/* The last leg has room for one more behind it. */
static void
init(unsigned legs, unsigned min_legs) {
  rig_init(&rig, legs, min_legs, EXTENT, EXTENTS);
  rig_never_late(&rig.config);
  rig.event = listen;
  rig_start_fully(&rig);
  told.n = 0;
}

static void
take_out(unsigned leg) {
  assert_int_equal(sf_volume_leg_fail(rig.volume, leg, rig.now_ns), 0);
  rig_pass(&rig, 100);
}

static bool
superblocks_of_leg_0(const struct rig *r, const struct rig_region *region) {
  return region->leg == 0 && rig_is_superblock(region);
}

static bool
superblocks(const struct rig *r, const struct rig_region *region) {
  return rig_is_superblock(region);
}

static void
identity_on_leg_0(struct sf_superblock *sb) {
  rig_read_superblock(&rig, 0, sb);
}

/* ---- one more ---- */

static void
an_added_leg_is_one_when_that_is_durable(void **state) {
  struct sf_superblock sb;
  unsigned leg = 99, other;

  init(2, 1);
  assert_int_equal(sf_volume_free_place(rig.volume), 2);
  assert_int_equal(sf_volume_leg_add(rig.volume, "l1", "/n", &new_uuid, &leg, rig.now_ns), -EEXIST);
  rig.holds = superblocks_of_leg_0;
  assert_int_equal(sf_volume_leg_add(rig.volume, "new", "/n", &new_uuid, &leg, rig.now_ns), 0);
  assert_int_equal(leg, 2);
  assert_int_equal(sf_volume_leg_add(rig.volume, "more", "/m", &new_uuid, &other, rig.now_ns),
                   -EBUSY);
  rig_pass(&rig, 5000);
  assert_int_equal(told.n, 0);
  assert_int_equal(rig.opening, 0);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_MISSING);
  assert_int_equal(sf_volume_find_leg(rig.volume, "new"), 2);
  rig.holds = NULL;
  rig_pass(&rig, 10);
  assert_told(SF_EVENT_LEG_ADDED, "new", "/n");
  assert_int_equal(rig.opening, 4);
  assert_int_equal(rig.blank[2], SF_BLANK_NEW);
  identity_on_leg_0(&sb);
  assert_int_equal(sb.legs, 3);
  assert_int_equal(sb.removed, 0);
  assert_int_equal(sb.record.in_sync, 3);
  assert_string_equal(sb.leg_name[2], "new");
  assert_true(sf_uuid_equal(&sb.leg_uuid[2], &new_uuid));
  assert_int_equal(sf_volume_free_place(rig.volume), 3);

  rig.legs = 3;
  rig.leg[2] = calloc(1, rig.leg_bytes);
  assert_non_null(rig.leg[2]);
  sf_volume_get_identity(rig.volume, &sb);
  rig_empty_leg(&rig, 2, &sb);
  rig_open(&rig, 2);
  rig_pass(&rig, 10000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  assert_memory_equal(rig.leg[0] + SF_DATA_OFFSET, rig.leg[2] + SF_DATA_OFFSET, EXTENTS * EXTENT);
  rig_free(&rig);
}

static void
there_are_so_many_places(void **state) {
  unsigned leg;

  init(SF_LEGS_MAX, 1);
  assert_int_equal(sf_volume_free_place(rig.volume), -ENOSPC);
  assert_int_equal(sf_volume_leg_add(rig.volume, "new", "/n", &new_uuid, &leg, rig.now_ns),
                   -ENOSPC);
  take_out(3);
  take_out(7);
  assert_int_equal(sf_volume_leg_remove(rig.volume, 7, rig.now_ns), 0);
  rig_pass(&rig, 100);
  assert_told(SF_EVENT_LEG_REMOVED, "l7", "/l7");
  assert_int_equal(sf_volume_leg_remove(rig.volume, 3, rig.now_ns), 0);
  rig_pass(&rig, 100);
  assert_told(SF_EVENT_LEG_REMOVED, "l3", "/l3");
  assert_int_equal(sf_volume_free_place(rig.volume), 3); /* the lowest */
  assert_int_equal(sf_volume_leg_add(rig.volume, "new", "/n", &new_uuid, &leg, rig.now_ns), 0);
  assert_int_equal(leg, 3);
  rig_free(&rig);
}

/* ---- one less ---- */

static void
a_removed_leg_leaves_its_place(void **state) {
  struct sf_superblock sb;
  struct sf_config config;

  init(3, 2);
  assert_int_equal(sf_volume_leg_remove(rig.volume, 1, rig.now_ns), -EBUSY); /* in sync */
  take_out(1);
  identity_on_leg_0(&sb);
  assert_int_equal(sb.record.faulty, 2);
  rig.holds = superblocks_of_leg_0;
  assert_int_equal(sf_volume_leg_remove(rig.volume, 1, rig.now_ns), 0);
  assert_int_equal(sf_volume_leg_remove(rig.volume, 1, rig.now_ns), -ENOENT);
  rig_pass(&rig, 1000);
  assert_int_equal(told.n, 0);
  rig.holds = NULL;
  rig_pass(&rig, 10);
  assert_told(SF_EVENT_LEG_REMOVED, "l1", "/l1");
  identity_on_leg_0(&sb);
  assert_int_equal(sb.removed, 2);
  assert_int_equal(sb.legs, 3);
  assert_int_equal(sb.record.faulty, 0);
  assert_int_equal(sf_volume_find_leg(rig.volume, "l1"), -ENOENT);
  assert_int_equal(sf_volume_find_leg(rig.volume, "l2"), 2);
  sf_volume_get_config(rig.volume, &config);
  assert_string_equal(config.leg[1].name, "");
  assert_string_equal(config.leg[2].name, "l2");
  rig_free(&rig);
}

/* R2: as many as an answer needs stay members, by the number in the file and by the one in
 * force. */
static void
enough_members_are_left(void **state) {
  init(3, 2);
  take_out(1);
  rig.volume->config.min_legs = 3;
  assert_int_equal(sf_volume_leg_remove(rig.volume, 1, rig.now_ns), -EPERM);
  rig.volume->config.min_legs = 1;
  rig.volume->min_legs = 3;
  assert_int_equal(sf_volume_leg_remove(rig.volume, 1, rig.now_ns), -EPERM);
  rig.volume->min_legs = rig.volume->config.min_legs = 2;
  assert_int_equal(sf_volume_leg_remove(rig.volume, 1, rig.now_ns), 0);
  rig_free(&rig);
}

static void
a_change_that_a_stop_cuts_off_is_told(void **state) {
  init(3, 1);
  take_out(1);
  rig.holds = superblocks;
  assert_int_equal(sf_volume_leg_remove(rig.volume, 1, rig.now_ns), 0);
  sf_volume_stop(rig.volume, rig.now_ns);
  rig_pass(&rig, 400 * 1000);
  assert_true(sf_volume_stopped(rig.volume));
  assert_told(SF_EVENT_CHANGE_FAILED, "l1", "the volume was stopped before it was durable");
  rig_free(&rig);
}

/* ---- another disk ---- */

static void
a_replaced_leg_lacks_everything(void **state) {
  struct sf_superblock sb;
  char path[PATH_MAX];

  init(3, 1);
  assert_int_equal(sf_volume_leg_replace(rig.volume, 1, &new_uuid, "/n", rig.now_ns), -EBUSY);
  take_out(1);
  rig.volume->leg[1].medium.errors = 7;
  rig.volume->leg[1].deadline[SF_READ_KIND].timeout_ns = 5;
  assert_int_equal(sf_volume_leg_replace(rig.volume, 1, &new_uuid, "/n", rig.now_ns), 0);
  assert_int_equal(rig.volume->leg[1].stale.set, EXTENTS);
  assert_int_equal(rig.volume->leg[1].medium.errors, 0);
  assert_int_equal(rig.volume->leg[1].deadline[SF_READ_KIND].timeout_ns, 0);
  assert_int_equal(rig.volume->leg[1].meta.done, 0);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_MISSING);
  rig_pass(&rig, 100);
  assert_told(SF_EVENT_LEG_REPLACED, "l1", "/n");
  sf_volume_leg_path(rig.volume, 1, path);
  assert_string_equal(path, "/n");
  identity_on_leg_0(&sb);
  assert_true(sf_uuid_equal(&sb.leg_uuid[1], &new_uuid));
  assert_int_equal(sb.record.faulty, 0);
  assert_int_equal(rig.opening, 2);
  rig_free(&rig);
}

/* ---- opened again ---- */

/* What the volume says to a disk of leg 1 with this superblock, and what the leg is then. */
static int
open_with(const struct sf_superblock *sb, uint64_t bytes, enum sf_leg_state becomes) {
  int r;

  for (unsigned i = 0; i < 5000 && !(rig.opening >> 1 & 1); i++)
    rig_pass(&rig, 1);
  assert_int_equal(rig.opening, 2);
  rig.opening = 0;
  rig.opened |= 2;
  r = sf_volume_leg_opened(rig.volume, 1, (struct sf_tio_device *) (uintptr_t) 2, sb, bytes, 0,
                           NULL, rig.now_ns);
  assert_int_equal(rig_state(&rig, 1), becomes);
  if (becomes == SF_STATE_FAULTY)
    assert_int_equal(sf_volume_leg_return(rig.volume, 1, rig.now_ns), 0);
  return r;
}

static int
gone(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 ? -ENODEV : 0;
}

/* In the second line of history, which began at record 1.5 of the first. */
static void
leg_1_is_missing(struct sf_superblock *sb) {
  struct rig_request write;

  init(2, 1);
  rig.fails = gone;
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 1);
  rig_pass(&rig, 100);
  assert_true(write.done);
  rig_put(&write);
  rig.fails = NULL;
  assert_int_equal(rig_state(&rig, 1), SF_STATE_MISSING);
  rig.volume->identity.ancestors = 1;
  rig.volume->identity.ancestor[0] = (struct sf_ancestor){.lineage = {{7}}, .term = 1, .change = 5};
  rig_read_superblock(&rig, 1, sb);
}

static void
what_is_not_the_leg_is_not_taken(void **state) {
  struct sf_superblock leg, sb;

  leg_1_is_missing(&leg);
  sb = leg;
  sb.volume.bytes[3] ^= 1;
  assert_int_equal(open_with(&sb, rig.leg_bytes, SF_STATE_FAULTY), -EINVAL);
  sb = leg;
  sb.leg_index = 0;
  assert_int_equal(open_with(&sb, rig.leg_bytes, SF_STATE_FAULTY), -EINVAL);
  sb = leg;
  sb.leg_uuid[1].bytes[3] ^= 1;
  assert_int_equal(open_with(&sb, rig.leg_bytes, SF_STATE_FAULTY), -EINVAL);
  sb = leg;
  sb.record.term = rig.volume->latest.term + 1;
  assert_int_equal(open_with(&sb, rig.leg_bytes, SF_STATE_FAULTY), -EINVAL);
  sb = leg;
  sb.claim = rig.volume->claim + 1;
  assert_int_equal(open_with(&sb, rig.leg_bytes, SF_STATE_FAULTY), -EINVAL);
  assert_int_equal(open_with(&leg, rig.leg_bytes - 1, SF_STATE_MISSING), -EINVAL);
  assert_int_equal(rig.opened, 1); /* nothing of it is kept */
  assert_int_equal(open_with(&leg, rig.leg_bytes, SF_STATE_PROBING), 0);
  assert_int_equal(rig.volume->leg[1].stale.set, 1);
  rig_pass(&rig, 10000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

static void
lines_of_history_are_told_apart(void **state) {
  struct sf_superblock leg, sb;

  leg_1_is_missing(&leg);
  sb = leg;
  sb.lineage = (struct sf_uuid){{8}}; /* not known */
  assert_int_equal(open_with(&sb, rig.leg_bytes, SF_STATE_FAULTY), -EINVAL);
  sb.lineage = (struct sf_uuid){{7}};
  sb.record.term = 1;
  sb.record.change = 6; /* it went past the fork */
  assert_int_equal(open_with(&sb, rig.leg_bytes, SF_STATE_FAULTY), -EINVAL);
  sb.record.change = 5;
  assert_int_equal(open_with(&sb, rig.leg_bytes, SF_STATE_PROBING), 0);
  assert_int_equal(rig.volume->leg[1].stale.set, EXTENTS); /* from another line: all of it */
  rig_free(&rig);
}

/* Of the terms and claims that are no newer than ours, each is good; an older copy of the leg lacks
 * more than the maps say. */
static void
an_older_copy_lacks_everything(void **state) {
  struct sf_superblock leg;

  leg_1_is_missing(&leg);
  leg.serial--;
  assert_int_equal(open_with(&leg, rig.leg_bytes, SF_STATE_PROBING), 0);
  assert_int_equal(rig.volume->leg[1].stale.set, EXTENTS);
  rig_free(&rig);
}

/* ---- the file ---- */

static void
a_file_of_other_legs_is_refused(void **state) {
  struct sf_config config;

  init(2, 1);
  for (unsigned i = 0; i < 4; i++) {
    sf_volume_get_config(rig.volume, &config);
    if (i == 0)
      config.legs++;
    else if (i == 1)
      config.min_legs++;
    else if (i == 2)
      strcpy(config.name, "other");
    else
      strcpy(config.leg[1].path, "/other");
    config.resync_max_rate = 77;
    assert_int_equal(sf_volume_configure(rig.volume, &config, rig.now_ns), -EINVAL);
    assert_int_not_equal(rig.volume->config.resync_max_rate, 77);
  }
  sf_volume_get_config(rig.volume, &config);
  config.resync_max_rate = 77;
  assert_int_equal(sf_volume_configure(rig.volume, &config, rig.now_ns), 0);
  assert_int_equal(rig.volume->config.resync_max_rate, 77);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_added_leg_is_one_when_that_is_durable),
      cmocka_unit_test(there_are_so_many_places),
      cmocka_unit_test(a_removed_leg_leaves_its_place),
      cmocka_unit_test(enough_members_are_left),
      cmocka_unit_test(a_change_that_a_stop_cuts_off_is_told),
      cmocka_unit_test(a_replaced_leg_lacks_everything),
      cmocka_unit_test(what_is_not_the_leg_is_not_taken),
      cmocka_unit_test(lines_of_history_are_told_apart),
      cmocka_unit_test(an_older_copy_lacks_everything),
      cmocka_unit_test(a_file_of_other_legs_is_refused),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

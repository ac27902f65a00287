/* Another host's superblock on a leg ends the volume at once: every request fails, also one that
 * would wait without end, and nothing more is sent.  And a superblock of no other host never
 * does. */
#include "rig.h"

#include <errno.h>
#include <string.h>

enum { EXTENT = 65536, EXTENTS = 64, OURS = 100, ANOTHER = 200 };

static struct rig rig;
static char last_reason[SF_LEG_REASON_MAX], last_state[16];
static bool previous_is_gone;
static unsigned stops_told;

static void
note(const struct sf_volume_event *event) {
  stops_told += event->kind == SF_EVENT_STOPPED;
  if (event->kind != SF_EVENT_STATE)
    return;
  snprintf(last_reason, sizeof last_reason, "%s", event->reason);
  snprintf(last_state, sizeof last_state, "%s", event->to);
}

static void
serves(unsigned legs, unsigned min_legs) {
  rig_init(&rig, legs, min_legs, EXTENT, EXTENTS);
  rig.holder = (struct sf_holder){.host = "here", .since_s = 1, .pid = OURS};
  rig.event = note;
  last_reason[0] = '\0';
  rig_start_fully(&rig);
  rig_pass(&rig, 5000);
}

/* As another program would write it: to the copy that is not the newest. */
static void
write_superblock(unsigned leg, int64_t serials, int64_t terms, uint32_t pid, const char *host) {
  struct sf_superblock sb;

  rig_read_superblock(&rig, leg, &sb);
  sb.serial += (uint64_t) serials;
  sb.claim += (uint64_t) terms;
  sb.holder = (struct sf_holder){.since_s = pid != 0, .pid = pid};
  snprintf(sb.holder.host, sizeof sb.holder.host, "%s", host);
  sf_superblock_encode(&sb, rig.leg[leg] + SF_SUPERBLOCK_OFFSET(sb.serial % SF_SUPERBLOCK_COPIES));
}

static bool
anything(const struct rig *r, const struct rig_region *region) {
  return true;
}

static bool
holds_data(const struct rig *r, const struct rig_region *region) {
  return rig_is_data(r, region);
}

static void
still_serves(void) {
  struct rig_request w;

  rig_pass(&rig, 15000);
  rig_submit(&rig, &w, SF_REQ_WRITE, 0, EXTENT, 3);
  rig_pass(&rig, 200);
  assert_true(w.done && w.request.error == 0);
  assert_string_equal(last_reason, "");
  rig_put(&w);
  rig_free(&rig);
}

/* Proves: a claim of a later term by another host fails requests that are held, that wait and that
 * come, within two looks, with EIO under `suspend` too; the status and an event name the host and
 * the term; not one more region is submitted. */
static void
taken_by_another(void **state) {
  struct rig_request held, after, flush;
  struct sf_volume_status status;
  struct sf_superblock sb;
  uint64_t handles;

  serves(2, 2);
  rig.config.on_too_few = SF_TOO_FEW_SUSPEND;
  assert_int_equal(sf_volume_configure(rig.volume, &rig.config, rig.now_ns), 0);
  rig.holds = holds_data;
  rig_submit(&rig, &held, SF_REQ_WRITE, 0, EXTENT, 3);
  rig_pass(&rig, 1000);
  assert_false(held.done);
  write_superblock(1, 1, 1, ANOTHER, "there");
  rig_read_superblock(&rig, 1, &sb);
  rig_pass(&rig, 2 * SF_LOOK_MS + 1100);
  assert_true(held.done);
  assert_int_equal(held.request.error, -EIO);
  sf_volume_status(rig.volume, rig.now_ns, &status);
  assert_int_equal(status.state, SF_VOLUME_FAILED);
  assert_non_null(strstr(status.reason, "taken over by there, term"));
  assert_string_equal(last_reason, status.reason);
  assert_string_equal(last_state, "failed");
  rig.holds = NULL;
  rig_pass(&rig, 1000);
  assert_int_equal(rig_count(&rig, anything), 0);
  handles = rig.handles;
  rig_submit(&rig, &after, SF_REQ_WRITE, 0, EXTENT, 4);
  rig_submit(&rig, &flush, SF_REQ_FLUSH, 0, 0, 0);
  assert_true(after.done && flush.done);
  assert_int_equal(after.request.error, -EIO);
  assert_int_equal(flush.request.error, -EIO);
  sf_volume_leg_fail(rig.volume, 0, rig.now_ns);
  sf_volume_leg_return(rig.volume, 0, rig.now_ns);
  rig_pass(&rig, 20000);
  assert_int_equal(stops_told, 0);
  sf_volume_stop(rig.volume, rig.now_ns);
  sf_volume_stop(rig.volume, rig.now_ns);
  assert_int_equal(stops_told, 1);
  assert_true(sf_volume_stopped(rig.volume));
  rig_pass(&rig, 20000);
  assert_int_equal(rig.handles, handles);
  rig_read_superblock(&rig, 1, &sb);
  assert_int_equal(sb.holder.pid, ANOTHER);
  rig_put(&held);
  rig_put(&after);
  rig_free(&rig);
}

/* Proves: so does one of the same term, of two that started at the same time; and one without a
 * holder, of a host that has stopped clean meanwhile. */
static void
taken_at_the_same_time(void **state) {
  for (unsigned clean = 0; clean < 2; clean++) {
    serves(2, 1);
    write_superblock(0, 1, clean, clean ? 0 : ANOTHER, clean ? "" : "there");
    rig_pass(&rig, 2 * SF_LOOK_MS + 1100);
    assert_string_equal(last_state, "failed");
    rig_free(&rig);
  }
}

/* Proves: an older copy, damaged ones, another volume's page, and an earlier term's write that
 * lands late leave the volume alone. */
static void
not_taken(void **state) {
  struct sf_superblock sb;

  serves(2, 1);
  write_superblock(0, -1, -1, ANOTHER, "before");
  write_superblock(1, 1, -1, ANOTHER, "before"); /* landed late */
  still_serves();

  serves(2, 1);
  memset(rig.leg[0], 0x5a, (size_t) SF_SUPERBLOCK_COPIES * SF_PAGE_BYTES);
  still_serves();

  serves(2, 1);
  rig_read_superblock(&rig, 0, &sb);
  sb.serial++;
  sb.claim++;
  sb.volume.bytes[0]++;
  sf_superblock_encode(&sb, rig.leg[0] + SF_SUPERBLOCK_OFFSET(sb.serial % SF_SUPERBLOCK_COPIES));
  still_serves();
}

static bool
gone(void *ctx, const struct sf_holder *holder) {
  return previous_is_gone;
}

/* Proves: the claim of a server of this machine that was killed in it, of our own term and landing
 * behind ours, counts only while that server is there. */
static void
killed_in_its_claim(void **state) {
  serves(2, 1);
  rig.volume->host.holder_is_gone = gone;
  previous_is_gone = true;
  write_superblock(0, 1, 0, ANOTHER, "here");
  still_serves();

  serves(2, 1);
  rig.volume->host.holder_is_gone = gone;
  previous_is_gone = false;
  write_superblock(0, 1, 0, ANOTHER, "here");
  rig_pass(&rig, 2 * SF_LOOK_MS + 1100);
  assert_string_equal(last_state, "failed");
  rig_free(&rig);
}

static bool
holds_b(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1;
}

/* Proves: a leg that comes back, with a claim of our term that a start that was broken off has
 * left, is no sign of another host. */
static void
a_leg_returns_with_a_claim(void **state) {
  struct rig_request w;

  rig_init(&rig, 3, 1, EXTENT, EXTENTS);
  rig.holder = (struct sf_holder){.host = "here", .since_s = 1, .pid = OURS};
  rig.event = note;
  last_reason[0] = '\0';
  rig_start_fully(&rig);
  rig.holds = holds_b;
  rig_submit(&rig, &w, SF_REQ_WRITE, 0, EXTENT, 3);
  rig_pass(&rig, 1000);
  assert_true(w.done);
  rig_put(&w);
  rig_kill(&rig);
  rig.holds = NULL;
  rig.absent[1] = true;
  rig.holder.pid++;
  rig_start_fully(&rig);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_MISSING);
  write_superblock(1, 1, 1, ANOTHER, "there"); /* our own term */
  rig.absent[1] = false;
  rig_pass(&rig, 3000);
  rig_open(&rig, 1);
  rig_pass(&rig, 10000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  still_serves();
}

static bool
holds_looks(const struct rig *r, const struct rig_region *region) {
  return region->op == SF_TIO_READ && region->offset < SF_PROBE_OFFSET;
}

static int
fails_looks(const struct rig *r, const struct rig_region *region) {
  return holds_looks(r, region) ? -EIO : 0;
}

/* Proves: looks that are not answered, or fail, make no leg late or faulty, and are no errors of
 * it. */
static void
looks_that_go_wrong(void **state) {
  struct sf_volume_status status;

  serves(2, 1);
  rig.holds = holds_looks;
  rig_pass(&rig, 20000);
  assert_int_equal(rig_count(&rig, holds_looks), 2);
  rig.holds = NULL;
  rig.fails = fails_looks;
  rig_pass(&rig, 20000);
  sf_volume_status(rig.volume, rig.now_ns, &status);
  assert_int_equal(status.state, SF_VOLUME_HEALTHY);
  for (unsigned i = 0; i < 2; i++) {
    assert_int_equal(status.leg[i].timeouts, 0);
    assert_int_equal(status.leg[i].errors, 0);
    assert_string_equal(status.leg[i].reason, "");
  }
  rig.fails = NULL;
  still_serves();
}

/* Proves: a clean stop lets go of the legs, and only that. */
static void
lets_go(void **state) {
  struct sf_superblock sb;

  serves(2, 1);
  rig_read_superblock(&rig, 0, &sb);
  assert_int_equal(sb.holder.pid, OURS);
  sf_volume_stop(rig.volume, rig.now_ns);
  rig_pass(&rig, 500);
  rig_read_superblock(&rig, 0, &sb);
  assert_true(sb.record.clean);
  assert_int_equal(sb.holder.since_s, 0);
  rig_free(&rig);
}

/* Proves: a volume that takes the legs from another does nothing but claim them until that one has
 * had the time to see it. */
static void
takes(void **state) {
  struct rig_request r;
  uint64_t began;

  rig_init(&rig, 2, 1, EXTENT, EXTENTS);
  rig.holder = (struct sf_holder){.host = "here", .since_s = 1, .pid = OURS};
  rig.takes = true;
  began = rig.now_ns;
  rig_start(&rig);
  rig_submit(&rig, &r, SF_REQ_READ, 0, 4096, 0);
  rig_pass(&rig, 2 * SF_LOOK_MS + 1000);
  assert_false(r.done);
  rig_pass(&rig, 2 * SF_LOOK_MS);
  assert_true(r.done && r.request.error == 0);
  assert_true(r.done_ns - began >= (2 * SF_LOOK_MS + 1000) * SF_MS);
  rig_put(&r);
  rig_free(&rig);
}

static unsigned drill_ends;

static void
note_drill(const struct sf_volume_event *event) {
  drill_ends += event->kind == SF_EVENT_DRILL && strcmp(event->to, "ends") == 0;
}

/* Proves: a drill ends with the volume that another host takes over. */
static void
taken_while_a_drill(void **state) {
  serves(3, 1);
  rig.event = note_drill;
  drill_ends = 0;
  assert_int_equal(sf_volume_drill(rig.volume, 0, 600000 * SF_MS, rig.now_ns), 0);
  write_superblock(1, 1, 1, ANOTHER, "there");
  rig_pass(&rig, 2 * SF_LOOK_MS + 1100);
  assert_int_equal(rig.frozen, 0);
  assert_int_equal(drill_ends, 1);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(taken_while_a_drill),
      cmocka_unit_test(taken_by_another),
      cmocka_unit_test(taken_at_the_same_time),
      cmocka_unit_test(not_taken),
      cmocka_unit_test(killed_in_its_claim),
      cmocka_unit_test(a_leg_returns_with_a_claim),
      cmocka_unit_test(looks_that_go_wrong),
      cmocka_unit_test(lets_go),
      cmocka_unit_test(takes),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

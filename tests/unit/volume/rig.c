/* Legs, starts and requests of the rig. */
#include "rig_host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assembly/blank.h"
#include "volume/ground/facts.h"

/* ---- legs ---- */

uint64_t
rig_deadline(uint64_t timeout_ns) {
  return timeout_ns + timeout_ns / 4;
}

void
rig_never_late(struct sf_config *config) {
  for (unsigned kind = 0; kind < SF_KINDS; kind++)
    config->deadline_ns[kind] = 100 * SF_S;
}

void
rig_init(struct rig *rig, unsigned legs, unsigned min_legs, uint64_t extent_bytes,
         uint64_t extents) {
  struct sf_superblock *sb = &rig->format;
  char error[SF_CONFIG_ERROR_MAX];

  memset(rig, 0, sizeof *rig);
  rig->legs = legs;
  rig->buffers = -1;
  rig->now_ns = 1000 * 3600 * SF_S; /* the machine has been up for long: no time is near 0 */
  sf_config_init(&rig->config);
  rig->config.deadline_ns[SF_READ_KIND] = rig->config.deadline_ns[SF_WRITE_KIND] =
      rig_deadline(100 * SF_MS);
  rig->config.deadline_ns[SF_FLUSH_KIND] = rig_deadline(SF_S);
  snprintf(rig->config.name, sizeof rig->config.name, "vol");
  rig->config.min_legs = min_legs;
  rig->config.legs = legs;
  *sb = (struct sf_superblock){.legs = (uint8_t) legs,
                               .data_offset = SF_DATA_OFFSET,
                               .data_bytes = extents * extent_bytes,
                               .extent_bytes = extent_bytes,
                               .claim = 1};
  sb->record = (struct sf_record){.term = 1,
                                  .change = 1,
                                  .in_sync = (uint16_t) ((1u << legs) - 1),
                                  .min_legs = (uint8_t) min_legs,
                                  .clean = true};
  snprintf(sb->volume_name, sizeof sb->volume_name, "vol");
  sf_uuid_generate(&sb->volume);
  sf_uuid_generate(&sb->lineage);
  for (unsigned i = 0; i < legs; i++) {
    snprintf(rig->config.leg[i].name, sizeof rig->config.leg[i].name, "l%u", i);
    snprintf(rig->config.leg[i].path, sizeof rig->config.leg[i].path, "/l%u", i);
    snprintf(sb->leg_name[i], sizeof sb->leg_name[i], "l%u", i);
    sf_uuid_generate(&sb->leg_uuid[i]);
  }
  assert_int_equal(sf_config_complete(&rig->config, error), 0);
  rig->leg_bytes = SF_DATA_OFFSET + sb->data_bytes;
  for (unsigned i = 0; i < legs; i++) {
    rig->leg[i] = calloc(1, rig->leg_bytes);
    assert_non_null(rig->leg[i]);
    sb->leg_index = (uint8_t) i;
    for (sb->serial = 2; sb->serial < 4; sb->serial++)
      sf_superblock_encode(sb, rig->leg[i] + SF_SUPERBLOCK_OFFSET(sb->serial % 2));
    for (uint32_t p = 0; p < sf_map_pages(sb->data_bytes, sb->extent_bytes); p++) {
      const struct sf_map_page page = {.volume = sb->volume, .page = p};

      sf_map_page_encode(&page, rig->leg[i] + SF_MAP_PAGE_OFFSET(p));
    }
  }
}

void
rig_init_unwritten(struct rig *rig, unsigned legs, uint64_t extent_bytes, uint64_t extents) {
  struct sf_superblock *sb = &rig->format;
  struct sf_map_page page;

  rig_init(rig, legs, 1, extent_bytes, extents);
  sb->unwritten = true;
  page = (struct sf_map_page){.volume = sb->volume};
  memset(page.unwritten, 0xff, extents / 8);
  for (unsigned i = 0; i < legs; i++) {
    sb->leg_index = (uint8_t) i;
    for (sb->serial = 2; sb->serial < 4; sb->serial++)
      sf_superblock_encode(sb, rig->leg[i] + SF_SUPERBLOCK_OFFSET(sb->serial % 2));
    sf_map_page_encode(&page, rig->leg[i] + SF_MAP_PAGE_OFFSET(0));
    sf_map_page_encode(&page, rig->leg[i] + SF_MAP_SECOND_OFFSET(0));
    memset(rig->leg[i] + SF_DATA_OFFSET, 0x50 + (int) i, extent_bytes * extents);
  }
  rig->config.resync_max_rate = rig->config.resync_min_rate = 1; /* the background stands still */
}

void
rig_free(struct rig *rig) {
  if (rig->volume != NULL)
    rig_kill(rig);
  for (unsigned i = 0; i < rig->legs; i++)
    free(rig->leg[i]);
}

void
rig_read_superblock(const struct rig *rig, unsigned leg, struct sf_superblock *sb) {
  assert_int_equal(sf_superblock_pick((const uint8_t(*)[SF_PAGE_BYTES]) rig->leg[leg], sb, NULL),
                   0);
}

void
rig_empty_leg(struct rig *rig, unsigned leg, const struct sf_superblock *reference) {
  struct sf_superblock sb = *reference;

  memset(rig->leg[leg], 0, sb.data_offset);
  sb.leg_index = (uint8_t) leg;
  sb.record = (struct sf_record){.term = SF_BLANK_TERM,
                                 .change = SF_BLANK_CHANGE,
                                 .in_sync = ((1u << rig->legs) - 1) & ~(1u << leg),
                                 .min_legs = reference->record.min_legs};
  for (sb.serial = 1; sb.serial <= SF_SUPERBLOCK_COPIES; sb.serial++)
    sf_superblock_encode(&sb, rig->leg[leg] + SF_SUPERBLOCK_OFFSET(sb.serial % 2));
}

/* As if each leg had answered each class of request in a nanosecond: what waits then waits for
 * another reason. */
static void
open_windows(struct rig *rig) {
  for (unsigned i = 0; i < SF_LEGS_MAX; i++)
    for (unsigned class = 0; class < WINDOW_CLASSES; class ++) {
      rig->volume->leg[i].window.cost_ns[class] = 1;
      rig->volume->leg[i].window.seen[class] = UINT8_MAX;
    }
}

/* The newest copy cannot be read any more; the older one is found. */
static void
lose_newest_copy(struct rig *rig, unsigned leg, struct sf_leg_found *found) {
  memset(rig->leg[leg] + SF_SUPERBLOCK_OFFSET(found->sb.serial % SF_SUPERBLOCK_COPIES), 0,
         SF_PAGE_BYTES);
  rig_read_superblock(rig, leg, &found->sb);
  found->doubtful = true;
}

void
rig_start(struct rig *rig) {
  struct sf_assembly assembly;
  struct sf_leg_found found[SF_LEGS_MAX] = {0};
  struct sf_volume_params params = {.config = &rig->config,
                                    .assembly = &assembly,
                                    .block_bytes = rig->block_bytes != 0 ? rig->block_bytes : 512};

  rig->opened = 0;
  for (unsigned i = 0; i < rig->legs; i++) {
    if (rig->absent[i])
      continue;
    found[i] = (struct sf_leg_found){.present = true, .bytes = rig->leg_bytes};
    rig_read_superblock(rig, i, &found[i].sb);
    if (rig->unreadable >> i & 1)
      lose_newest_copy(rig, i, &found[i]);
    rig->opened |= 1u << i;
    params.leg[i] = (struct sf_volume_leg){
        .bytes = rig->leg_bytes,
        .device = rig_device_of(i),
        .sb = found[i].sb,
        .maps = rig->leg[i] + SF_MAP_PAGE_OFFSET(0),
        .map_pages = sf_map_pages(rig->format.data_bytes, rig->format.extent_bytes),
        .second = rig->leg[i] + SF_MAP_SECOND_OFFSET(0)};
  }
  sf_assemble(&rig->config, found, rig->force, &assembly);
  rig->refused = !assembly.may_start;
  if (rig->refused && rig->may_refuse)
    return;
  assert_true(assembly.may_start);
  params.holder = rig->holder;
  params.takes = rig->takes;
  assert_int_equal(sf_volume_create(&params, &rig_host, rig, &rig->volume), 0);
  rig->volume->checks_all = true;
  if (!rig->windows)
    open_windows(rig);
  sf_volume_start(rig->volume, rig->now_ns);
}

void
rig_start_fully(struct rig *rig) {
  rig_start(rig);
  rig_run(rig);
  assert_int_equal(rig->volume->phase, PHASE_SERVING);
}

/* What a killed process leaves behind is freed all the same, so that leaks are seen. */
void
rig_kill(struct rig *rig) {
  struct sf_volume *v = rig->volume;

  rig->holds = NULL;
  rig->fails = NULL;
  for (unsigned i = 0; i < RIG_REGIONS; i++) {
    if (rig->region[i].used)
      rig_buffer_unref(rig->region[i].buffer);
    rig->region[i].used = false;
  }
  for (unsigned i = 0; i < v->legs; i++)
    v->leg[i].running = 0;
  for (unsigned i = 0; i < SF_OPS_MAX; i++) {
    struct sf_op *op = &v->ops[i];

    for (unsigned k = 1; op->machine.state == OP_RUNNING && op->kind->reads && k < op->ios; k++)
      rig_buffer_unref(op->buffer[k]);
  }
  for (unsigned i = 0; i < SF_COPY_SLOTS; i++)
    for (unsigned k = 0; k < v->legs; k++)
      if (v->copier.slot[i].machine.state != COPY_IDLE)
        rig_buffer_unref(v->copier.slot[i].buffer[k]);
  for (unsigned i = 0; i < SF_SCRUB_SLOTS; i++)
    for (unsigned k = 0; k < v->legs; k++)
      if (v->scrub.slot[i].copy.machine.state != COPY_IDLE)
        rig_buffer_unref(v->scrub.slot[i].copy.buffer[k]);
  assert_int_equal(sf_volume_destroy(v), 0);
  rig->volume = NULL;
  rig->opening = rig->reopening = 0;
  memset(rig->look, 0, sizeof rig->look);
  rig->tick_ns = 0;
}

bool
rig_would_start(struct rig *rig) {
  rig->may_refuse = true;
  rig_start(rig);
  if (rig->refused)
    return false;
  rig_kill(rig);
  return true;
}

void
rig_open(struct rig *rig, unsigned leg) {
  struct sf_superblock sb;

  assert_true(rig->opening >> leg & 1);
  rig->opening &= ~(1u << leg);
  rig->opened |= 1u << leg;
  rig_read_superblock(rig, leg, &sb);
  sf_volume_leg_opened(rig->volume, leg, rig_device_of(leg), &sb, rig->leg_bytes, 0, NULL,
                       rig->now_ns);
  rig_run(rig);
}

int
rig_reopen(struct rig *rig, unsigned leg) {
  struct sf_superblock sb;
  int r;

  assert_true(rig->reopening >> leg & 1);
  rig->reopening &= ~(1u << leg);
  rig_read_superblock(rig, leg, &sb);
  r = sf_volume_leg_opened(rig->volume, leg, rig_device_of(leg), &sb, rig->leg_bytes, 0, NULL,
                           rig->now_ns);
  rig_run(rig);
  return r;
}

void
rig_cannot_open(struct rig *rig, unsigned leg, int error, const char *why) {
  assert_true(rig->opening >> leg & 1);
  rig->opening &= ~(1u << leg);
  sf_volume_leg_opened(rig->volume, leg, NULL, NULL, 0, error, why, rig->now_ns);
  rig_run(rig);
}

enum sf_leg_state
rig_state(const struct rig *rig, unsigned leg) {
  return sf_leg_state(&rig->volume->leg[leg]);
}

/* ---- requests ---- */

static void
request_done(struct sf_request *request) {
  struct rig_request *r = request->host;

  assert_false(r->done);
  r->done = true;
  r->done_ns = r->rig->now_ns;
}

void
rig_submit(struct rig *rig, struct rig_request *r, enum sf_request_kind kind, uint64_t offset,
           uint64_t length, uint8_t fill) {
  *r = (struct rig_request){.rig = rig,
                            .request = {.kind = kind,
                                        .offset = offset,
                                        .length = length,
                                        .fua = rig->fua,
                                        .may_unmap = rig->unmap,
                                        .is_trim = rig->trim,
                                        .done = request_done,
                                        .host = r,
                                        .asked_ns = rig->asked_ns}};
  if (kind == SF_REQ_READ || kind == SF_REQ_WRITE) {
    r->request.buffer = rig_buffer_new(length);
    memset(r->request.buffer->data, fill, length);
  }
  sf_volume_submit(rig->volume, &r->request, rig->now_ns);
}

uint64_t
rig_until_joining_ms(struct rig *rig, unsigned leg, bool joins) {
  uint64_t from_ns = rig->now_ns;

  while ((rig->volume->joining == (int) leg) != joins) {
    assert_true(rig->now_ns - from_ns < 20 * SF_S);
    rig_pass(rig, 1);
  }
  return (rig->now_ns - from_ns) / SF_MS;
}

void
rig_touch_extents(struct rig *rig, uint64_t extents, uint64_t extent_bytes) {
  struct rig_request write;

  for (uint64_t i = 0; i < extents; i++) {
    rig_submit(rig, &write, SF_REQ_WRITE, i * extent_bytes, 4096, 1);
    rig_pass(rig, 2);
    assert_true(write.done);
    rig_put(&write);
  }
}

void
rig_put(struct rig_request *r) {
  rig_buffer_unref(r->request.buffer);
  r->request.buffer = NULL;
}

static unsigned hanging;

static bool
one_hangs(const struct rig *rig, const struct rig_region *region) {
  return region->leg == hanging;
}

void
rig_lacks(struct rig *rig, unsigned leg, unsigned extents) {
  struct rig_request write;

  hanging = leg;
  rig->holds = one_hangs;
  for (unsigned i = 0; i < extents; i++) {
    rig_submit(rig, &write, SF_REQ_WRITE, (uint64_t) i * rig->volume->extent_bytes, 4096, 0x33);
    rig_pass(rig, 500);
    assert_true(write.done);
    rig_put(&write);
  }
  assert_int_equal(rig_state(rig, leg), SF_STATE_LATE);
  rig->holds = NULL;
  for (unsigned ms = 0; ms < 20000 && rig_state(rig, leg) != SF_STATE_CATCHING_UP; ms++)
    rig_pass(rig, 1);
  assert_in_range(rig->volume->leg[leg].stale.set, extents - 1, extents);
}

void
rig_copies_may_go(struct rig *rig, uint64_t least) {
  rig->volume->config.resync_max_rate = 0;
  rig->volume->config.resync_min_rate = least;
  rig->volume->copier.rate = rig->volume->copier.pace_ns = 0;
}

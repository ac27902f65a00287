#include "rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assembly/blank.h"
#include "volume/ground/facts.h"

struct buffer {
  struct sf_tio_buffer pub;
  unsigned refs;
};

/* ---- buffers ---- */

static struct sf_tio_buffer *
buffer_new(size_t length) {
  struct buffer *buffer = calloc(1, sizeof *buffer);

  assert_non_null(buffer);
  buffer->pub.data = calloc(1, length);
  buffer->pub.size = length;
  buffer->refs = 1;
  return &buffer->pub;
}

static void
buffer_unref(struct sf_tio_buffer *pub) {
  struct buffer *buffer = (struct buffer *) pub;

  if (pub == NULL || --buffer->refs > 0)
    return;
  free(pub->data);
  free(buffer);
}

static struct sf_tio_buffer *
host_buffer_get(void *ctx, size_t length) {
  struct rig *rig = ctx;

  if (rig->buffers == 0)
    return NULL;
  if (rig->buffers > 0)
    rig->buffers--;
  return buffer_new(length);
}

static void
host_buffer_put(void *ctx, struct sf_tio_buffer *buffer) {
  buffer_unref(buffer);
}

/* ---- regions ---- */

static unsigned
leg_of(const struct sf_tio_device *device) {
  return (unsigned) (uintptr_t) device - 1;
}

static struct sf_tio_device *
device_of(unsigned leg) {
  return (struct sf_tio_device *) (uintptr_t) (leg + 1);
}

static struct rig_region *
free_region(struct rig *rig) {
  for (unsigned i = 0; i < RIG_REGIONS; i++)
    if (!rig->region[i].used) {
      if (i >= rig->regions)
        rig->regions = i + 1;
      return &rig->region[i];
    }
  fail_msg("too many regions");
  return NULL;
}

static int
host_submit(void *ctx, const struct sf_tio_control *control, const struct sf_tio_region *regions,
            unsigned n, uint64_t *handle) {
  struct rig *rig = ctx;

  for (unsigned i = 0; i < n; i++)
    if (rig->full >> leg_of(regions[i].device) & 1)
      return -EAGAIN;
  *handle = ++rig->handles;
  for (unsigned i = 0; i < n; i++) {
    struct rig_region *region = free_region(rig);

    *region = (struct rig_region){.used = true,
                                  .leg = leg_of(regions[i].device),
                                  .index = i,
                                  .op = control->op,
                                  .flags = control->flags,
                                  .offset = regions[i].offset,
                                  .length = regions[i].length,
                                  .since_ns = rig->now_ns,
                                  .deadline_ns = rig->now_ns + regions[i].timeout_ns,
                                  .handle = *handle,
                                  .buffer = control->buffer,
                                  .notify = control->notify,
                                  .context = control->context};
    assert_true(rig->opened >> region->leg & 1);
    if (control->buffer != NULL)
      ((struct buffer *) control->buffer)->refs++;
  }
  return 0;
}

static struct sf_tio_canceled
host_cancel_by_device(void *ctx, struct sf_tio_device *device) {
  struct rig *rig = ctx;

  for (unsigned i = 0; i < RIG_REGIONS; i++)
    if (rig->region[i].used && rig->region[i].leg == leg_of(device))
      rig->region[i].canceled = true;
  return (struct sf_tio_canceled){0};
}

static struct sf_tio_canceled
host_cancel_by_handle(void *ctx, uint64_t handle) {
  struct rig *rig = ctx;

  for (unsigned i = 0; i < RIG_REGIONS; i++)
    if (rig->region[i].used && rig->region[i].handle == handle)
      rig->region[i].canceled = true;
  return (struct sf_tio_canceled){0};
}

static unsigned
host_device_running(void *ctx, struct sf_tio_device *device) {
  return 0;
}

static bool
host_device_punches(void *ctx, struct sf_tio_device *device) {
  const struct rig *rig = ctx;

  return !(rig->cannot_punch >> leg_of(device) & 1);
}

static bool
host_device_is_gone(void *ctx, struct sf_tio_device *device) {
  struct rig *rig = ctx;

  if (pthread_mutex_trylock(&rig->volume->lock) == 0)
    pthread_mutex_unlock(&rig->volume->lock);
  else
    rig->asked_with_lock++;
  return rig->gone >> leg_of(device) & 1;
}

static void
host_timer(void *ctx, uint64_t at_ns) {
  struct rig *rig = ctx;

  rig->tick_ns = at_ns;
}

static int
host_open_leg(void *ctx, unsigned leg, enum sf_leg_blank blank) {
  struct rig *rig = ctx;

  if (rig->cannot_open)
    return -EAGAIN;
  rig->opening |= 1u << leg;
  rig->blank[leg] = blank;
  return 0;
}

static int
host_reopen_leg(void *ctx, unsigned leg) {
  struct rig *rig = ctx;

  rig->reopening |= 1u << leg;
  return 0;
}

static void
host_close_leg(void *ctx, unsigned leg) {
  struct rig *rig = ctx;

  rig->opened &= ~(1u << leg);
}

static void
host_event(void *ctx, const struct sf_volume_event *event) {
  struct rig *rig = ctx;

  if (rig->event != NULL)
    rig->event(event);
}

static void
tell(struct rig *rig, const struct rig_region *region, enum sf_tio_state state,
     enum sf_tio_kind kind, int error, bool late) {
  const struct sf_tio_event event = {.handle = region->handle,
                                     .context = region->context,
                                     .device = device_of(region->leg),
                                     .region = region->index,
                                     .state = state,
                                     .kind = kind,
                                     .error = error,
                                     .now_ns = rig->now_ns,
                                     .latency_ns = rig->now_ns - region->since_ns,
                                     .late = late};

  if (late)
    sf_volume_late(&event);
  else
    region->notify(&event);
}

static void
perform(struct rig *rig, const struct rig_region *region) {
  uint8_t *at = rig->leg[region->leg] + region->offset;

  if (region->op != SF_TIO_FLUSH)
    assert_true(region->offset + region->length <= rig->leg_bytes);
  if (region->op == SF_TIO_WRITE)
    memcpy(at, region->buffer->data, region->length);
  else if (region->op == SF_TIO_READ)
    memcpy(region->buffer->data, at, region->length);
  else if (region->op == SF_TIO_ZERO)
    memset(at, 0, region->length);
}

static void
end_region(struct rig *rig, struct rig_region *region) {
  struct rig_region was = *region;
  int error = rig->fails == NULL ? 0 : rig->fails(rig, region);

  if (error == 0)
    perform(rig, region);
  region->used = false;
  if (was.canceled_told)
    tell(rig, &was, SF_TIO_CANCELED, SF_TIO_DETACHED, error, true);
  else if (error == 0)
    tell(rig, &was, SF_TIO_OK, SF_TIO_NONE, 0, false);
  else
    tell(rig, &was, SF_TIO_ERROR, SF_TIO_NONE, error, false);
  buffer_unref(was.buffer);
}

static bool
step(struct rig *rig) {
  bool moved = false;

  for (unsigned i = 0; i < rig->regions; i++) {
    struct rig_region *region = &rig->region[i];

    if (!region->used)
      continue;
    if (region->canceled && !region->canceled_told) {
      region->canceled_told = moved = true;
      tell(rig, region, SF_TIO_CANCELED, SF_TIO_DETACHED, 0, false);
    } else if (rig->holds == NULL || !rig->holds(rig, region)) {
      end_region(rig, region);
      moved = true;
    } else if (!region->timed_out && !region->canceled && rig->now_ns >= region->deadline_ns) {
      region->timed_out = moved = true;
      tell(rig, region, SF_TIO_TIMEOUT, SF_TIO_NONE, 0, false);
    }
  }
  return moved;
}

/* A crash from here would have nothing converged, were the record clean. */
static void
check_record(const struct rig *rig) {
  enum phase phase = rig->volume->phase;

  if (phase == PHASE_RECORDING || phase == PHASE_SERVING)
    assert_false(rig->volume->latest.clean);
}

void
rig_run(struct rig *rig) {
  unsigned rounds = 0;

  while (step(rig))
    assert_true(++rounds < 10000);
  check_record(rig);
}

void
rig_pass(struct rig *rig, uint64_t ms) {
  for (uint64_t i = 0; i < ms; i++) {
    rig->now_ns += SF_MS;
    rig_run(rig);
    if (rig->tick_ns != 0 && rig->now_ns >= rig->tick_ns) {
      rig->tick_ns = 0;
      sf_volume_tick(rig->volume, rig->now_ns);
      rig_run(rig);
    }
  }
}

unsigned
rig_count(const struct rig *rig, bool (*which)(const struct rig *, const struct rig_region *)) {
  unsigned n = 0;

  for (unsigned i = 0; i < RIG_REGIONS; i++)
    n += rig->region[i].used && which(rig, &rig->region[i]);
  return n;
}

static bool
is_first_of_its_kind(const struct rig *rig, const struct rig_region *region) {
  for (unsigned i = 0; i < RIG_REGIONS; i++) {
    const struct rig_region *other = &rig->region[i];

    if (other->used && other->leg == region->leg && other->op == region->op &&
        rig_is_data(rig, other) && other->handle < region->handle)
      return false;
  }
  return true;
}

bool
rig_in_turn(struct rig *rig, const struct rig_region *region, uint64_t takes_ns) {
  uint64_t *last_ns = &rig->turn_ns[region->leg];

  if (!is_first_of_its_kind(rig, region) || rig->now_ns - *last_ns < takes_ns)
    return true;
  *last_ns = rig->now_ns;
  return false;
}

bool
rig_takes_a_moment(const struct rig *rig, const struct rig_region *region) {
  return region->since_ns == rig->now_ns;
}

bool
rig_is_map(const struct rig_region *region) {
  return region->op == SF_TIO_WRITE && region->offset >= SF_MAPS_OFFSET &&
         region->offset < SF_DATA_OFFSET;
}

bool
rig_is_data(const struct rig *rig, const struct rig_region *region) {
  return region->op != SF_TIO_FLUSH && region->offset >= SF_DATA_OFFSET;
}

/* ---- legs ---- */

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
  rig->config.deadline_ns[SF_READ_KIND] = rig->config.deadline_ns[SF_WRITE_KIND] = 100 * SF_MS;
  rig->config.deadline_ns[SF_FLUSH_KIND] = SF_S;
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
  const struct sf_volume_host host = {.submit = host_submit,
                                      .cancel_by_device = host_cancel_by_device,
                                      .cancel_by_handle = host_cancel_by_handle,
                                      .device_running = host_device_running,
                                      .device_punches = host_device_punches,
                                      .device_is_gone = host_device_is_gone,
                                      .buffer_get = host_buffer_get,
                                      .buffer_put = host_buffer_put,
                                      .timer = host_timer,
                                      .open_leg = host_open_leg,
                                      .reopen_leg = host_reopen_leg,
                                      .event = host_event,
                                      .close_leg = host_close_leg};
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
        .device = device_of(i),
        .sb = found[i].sb,
        .maps = rig->leg[i] + SF_MAP_PAGE_OFFSET(0),
        .map_pages = sf_map_pages(rig->format.data_bytes, rig->format.extent_bytes)};
  }
  sf_assemble(&rig->config, found, rig->force, &assembly);
  rig->refused = !assembly.may_start;
  if (rig->refused && rig->may_refuse)
    return;
  assert_true(assembly.may_start);
  params.holder = rig->holder;
  params.takes = rig->takes;
  assert_int_equal(sf_volume_create(&params, &host, rig, &rig->volume), 0);
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
      buffer_unref(rig->region[i].buffer);
    rig->region[i].used = false;
  }
  for (unsigned i = 0; i < v->legs; i++)
    v->leg[i].running = 0;
  for (unsigned i = 0; i < SF_OPS_MAX; i++) {
    struct sf_op *op = &v->ops[i];

    for (unsigned k = 1; op->sm.state == OP_RUNNING && op->kind->reads && k < op->ios; k++)
      buffer_unref(op->buffer[k]);
  }
  for (unsigned i = 0; i < SF_COPY_SLOTS; i++)
    for (unsigned k = 0; k < v->legs; k++)
      if (v->copier.slot[i].sm.state != COPY_IDLE)
        buffer_unref(v->copier.slot[i].buffer[k]);
  for (unsigned i = 0; i < SF_SCRUB_SLOTS; i++)
    for (unsigned k = 0; k < v->legs; k++)
      if (v->scrub.slot[i].copy.sm.state != COPY_IDLE)
        buffer_unref(v->scrub.slot[i].copy.buffer[k]);
  assert_int_equal(sf_volume_destroy(v), 0);
  rig->volume = NULL;
  rig->opening = rig->reopening = 0;
  rig->tick_ns = 0;
}

void
rig_open(struct rig *rig, unsigned leg) {
  struct sf_superblock sb;

  assert_true(rig->opening >> leg & 1);
  rig->opening &= ~(1u << leg);
  rig->opened |= 1u << leg;
  rig_read_superblock(rig, leg, &sb);
  sf_volume_leg_opened(rig->volume, leg, device_of(leg), &sb, rig->leg_bytes, 0, NULL, rig->now_ns);
  rig_run(rig);
}

int
rig_reopen(struct rig *rig, unsigned leg) {
  struct sf_superblock sb;
  int r;

  assert_true(rig->reopening >> leg & 1);
  rig->reopening &= ~(1u << leg);
  rig_read_superblock(rig, leg, &sb);
  r = sf_volume_leg_opened(rig->volume, leg, device_of(leg), &sb, rig->leg_bytes, 0, NULL,
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
    r->request.buffer = buffer_new(length);
    memset(r->request.buffer->data, fill, length);
  }
  sf_volume_submit(rig->volume, &r->request, rig->now_ns);
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
  buffer_unref(r->request.buffer);
  r->request.buffer = NULL;
}

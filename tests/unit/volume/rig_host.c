/* The host of the rig: memory for legs, and regions that end when they are told to. */
#include "rig_host.h"

#include <stdlib.h>
#include <string.h>

struct buffer {
  struct sf_tio_buffer pub;
  unsigned refs;
};

/* ---- buffers ---- */

struct sf_tio_buffer *
rig_buffer_new(size_t length) {
  struct buffer *buffer = calloc(1, sizeof *buffer);

  assert_non_null(buffer);
  buffer->pub.data = calloc(1, length);
  buffer->pub.size = length;
  buffer->refs = 1;
  return &buffer->pub;
}

void
rig_buffer_unref(struct sf_tio_buffer *pub) {
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
  return rig_buffer_new(length);
}

static void
host_buffer_put(void *ctx, struct sf_tio_buffer *buffer) {
  rig_buffer_unref(buffer);
}

/* ---- regions ---- */

static unsigned
leg_of(const struct sf_tio_device *device) {
  return (unsigned) (uintptr_t) device - 1;
}

struct sf_tio_device *
rig_device_of(unsigned leg) {
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

  if (rig->refuses != 0)
    return rig->refuses;
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

  rig->called_back |= 1u << leg_of(device);
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
  if (rig->while_asked != NULL)
    rig->while_asked(rig);
  return rig->gone >> leg_of(device) & 1;
}

static void
host_device_freeze(void *ctx, struct sf_tio_device *device, bool frozen) {
  struct rig *rig = ctx;
  unsigned bit = 1u << leg_of(device);

  rig->frozen = frozen ? rig->frozen | bit : rig->frozen & ~bit;
}

static int
host_look_at_leg(void *ctx, unsigned leg, struct sf_tio_device *device, uint64_t look) {
  struct rig *rig = ctx;

  assert_int_equal(leg_of(device), leg);
  if (rig->look[leg].look != 0)
    return -EBUSY;
  rig->looks++;
  rig->look[leg] = (struct rig_look){.look = look, .gone = rig->gone >> leg & 1};
  return 0;
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
                                     .device = rig_device_of(region->leg),
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
  rig_buffer_unref(was.buffer);
}

void
rig_looked(struct rig *rig, unsigned leg) {
  struct rig_look look = rig->look[leg];

  assert_true(look.look != 0);
  rig->look[leg].look = 0;
  sf_volume_leg_looked(rig->volume, leg, look.look, look.gone, rig->now_ns);
}

static bool
step(struct rig *rig) {
  bool moved = false;

  for (unsigned i = 0; i < rig->legs && !rig->looks_hang; i++)
    if (rig->look[i].look != 0) {
      rig_looked(rig, i);
      moved = true;
    }
  for (unsigned i = 0; i < rig->regions; i++) {
    struct rig_region *region = &rig->region[i];

    if (!region->used)
      continue;
    if (region->canceled && !region->canceled_told) {
      region->canceled_told = moved = true;
      tell(rig, region, SF_TIO_CANCELED, SF_TIO_DETACHED, 0, false);
    } else if (!(rig->frozen >> region->leg & 1) &&
               (rig->holds == NULL || !rig->holds(rig, region))) {
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
rig_is_oldest(const struct rig *rig, const struct rig_region *region) {
  for (unsigned i = 0; i < RIG_REGIONS; i++) {
    const struct rig_region *other = &rig->region[i];

    if (other->used && other->leg == region->leg && rig_is_data(rig, other) &&
        other->handle < region->handle)
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
rig_is_superblock(const struct rig_region *region) {
  return region->op == SF_TIO_WRITE && region->offset < SF_PROBE_OFFSET;
}

bool
rig_is_map(const struct rig_region *region) {
  return region->op == SF_TIO_WRITE && region->offset >= SF_MAPS_OFFSET &&
         region->offset < SF_MARK_OFFSET;
}

bool
rig_is_data(const struct rig *rig, const struct rig_region *region) {
  return region->op != SF_TIO_FLUSH && region->offset >= SF_DATA_OFFSET;
}

const struct sf_volume_host rig_host = {.submit = host_submit,
                                        .cancel_by_device = host_cancel_by_device,
                                        .cancel_by_handle = host_cancel_by_handle,
                                        .device_punches = host_device_punches,
                                        .device_is_gone = host_device_is_gone,
                                        .device_freeze = host_device_freeze,
                                        .look_at_leg = host_look_at_leg,
                                        .buffer_get = host_buffer_get,
                                        .buffer_put = host_buffer_put,
                                        .timer = host_timer,
                                        .open_leg = host_open_leg,
                                        .reopen_leg = host_reopen_leg,
                                        .event = host_event,
                                        .close_leg = host_close_leg};

/* The host's table of functions, with the semantics of timed_io.h: notify never from inside,
 * TIMEOUT then one terminal event, real and detached cancels, one late event for a detached region.
 *
 * What the volume may submit at all is asked in submitted.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim/sim.h"

static uint64_t last_handle;
static struct sim_device *devices[4096];
static unsigned devices_len;

const char *const op_name[] = {"read", "write", "flush", "zero"};

void
tio_init(void) {
  last_handle = 0;
  sim.buffers_used = 0;
  devices_len = 0;
}

void
tio_free(void) {
  regions_free_all();
  buffers_free(); /* the next seed's stamps stand elsewhere */
}

struct sf_tio_device *
tio_open_beside(unsigned leg) {
  struct sim_device **slot;

  do { /* the oldest is long unused, but for a leg that stayed all the time */
    if (devices_len == sizeof devices / sizeof devices[0])
      devices_len = 0;
    slot = &devices[devices_len++];
  } while (*slot != NULL && (*slot)->generation == sim.leg[(*slot)->leg].device);
  if (*slot == NULL)
    *slot = malloc(sizeof **slot);
  if (*slot == NULL)
    abort();
  **slot = (struct sim_device){.leg = leg, .generation = sim.leg[leg].device + 1};
  return (struct sf_tio_device *) *slot;
}

/* One that was opened beside is alive before the volume has taken it. */
static bool
is_dead(const struct sim_device *device) {
  const struct sim_leg *leg = &sim.leg[device->leg];

  return device->generation < leg->device ||
         (device->generation == leg->device && leg->device_dead);
}

void
tio_take_over(unsigned leg) {
  sim.leg[leg].device++;
  sim.leg[leg].device_dead = false;
}

struct sf_tio_device *
tio_open(unsigned leg) {
  struct sf_tio_device *device = tio_open_beside(leg);

  tio_take_over(leg);
  return device;
}

/* ---- submission ---- */

static uint64_t
draw_latency(const struct sim_leg *leg, const struct region *r) {
  uint64_t mean = sim.options.latency_ns[leg->index] * leg->slow;

  if (sim_is_calm() && !sim.latencies_are_short)
    mean = 20 * SIM_US; /* a leg that is always late is not well */

  if (r->op == SF_TIO_FLUSH)
    mean *= 3;
  return random_around(mean + r->length * mean / (64 * 1024) / 4);
}

static void
region_start(struct region *r) {
  struct sim_leg *leg = &sim.leg[r->leg];
  uint32_t i = region_index(r);
  uint64_t finish;

  if (sim.options.is_busy) {
    service_submit(r);
    return;
  }
  finish = sim.now_ns + draw_latency(leg, r);
  if (r->keep_ns != 0) {
    finish += r->keep_ns;
    r->lost = true;
  } else if (leg->lose_record_ns != 0 && r->op == SF_TIO_WRITE && r->offset < SF_PROBE_OFFSET) {
    finish += leg->lose_record_ns;
    leg->lose_record_ns = 0;
    r->lost = true;
    COUNT(lost_records);
  } else if (leg->lose_maps_ns != 0 && r->op == SF_TIO_WRITE && r->offset >= SF_MAPS_OFFSET &&
             r->offset < SF_MARK_OFFSET) {
    finish += leg->lose_maps_ns;
    leg->lose_maps_ns = 0;
    r->lost = true;
  } else if (leg->lose_next > 0) {
    leg->lose_next--;
    r->lost = true;
    COUNT(lost_requests);
    if (leg->lose_for_ns == SIM_NEVER) {
      r->parked = true;
      TRACE("leg %u: this %s hangs", r->leg, op_name[r->op]);
      return;
    }
    finish += leg->lose_for_ns;
  }
  if (op_writes(r->op) && random_chance(sim.options.torn_permille))
    event_add(sim.now_ns + random_below(finish - sim.now_ns), EV_LANDING, i, r->generation);
  event_add(finish, EV_FINISH, i, r->generation);
}

static int
host_submit(void *ctx, const struct sf_tio_control *control, const struct sf_tio_region *want,
            unsigned n, uint64_t *handle) {
  if (n == 0 || n > SF_TIO_REGIONS_MAX || control->notify == NULL || (control->flags & SF_TIO_SYNC))
    sim_fail("a submission that timed_io.h does not allow");
  if (control->buffer != NULL && want[0].offset < sim.data_offset)
    buffer_is_whole(control->buffer);
  if (sim.options.eagain_permyriad != 0 && !sim_is_calm() &&
      random_below(10000) < sim.options.eagain_permyriad) {
    COUNT(no_slots);
    return -EAGAIN;
  }
  last_handle++;
  for (unsigned i = 0; i < n; i++) {
    const struct sim_device *device = (const struct sim_device *) want[i].device;
    struct sim_leg *leg = &sim.leg[device->leg];
    uint64_t timeout = want[i].timeout_ns != 0 ? want[i].timeout_ns : control->timeout_ns;
    struct region *r;

    check_submitted(device->leg, control, &want[i]);
    if ((control->op == SF_TIO_WRITE && want[i].offset < sim.data_offset &&
         want[i].offset != SF_PROBE_OFFSET) ||
        (control->op == SF_TIO_FLUSH && random_chance(250)))
      fault_nemesis(device->leg);
    r = region_new(device->leg);
    r->device = device->generation;
    r->life = sim.life;
    r->op = control->op;
    r->flags = control->flags;
    r->offset = want[i].offset;
    r->length = r->op == SF_TIO_FLUSH ? 0 : want[i].length;
    r->buffer = control->buffer;
    r->notify = control->notify;
    r->context = control->context;
    r->handle = last_handle;
    r->index = i;
    r->submitted_ns = sim.now_ns;
    r->flush_seq = leg->seq;
    if (r->buffer != NULL)
      buffer_ref(r->buffer);
    if ((r->op == SF_TIO_READ || r->op == SF_TIO_WRITE) &&
        (r->buffer == NULL || r->length > r->buffer->size || r->length == 0))
      sim_fail("a transfer that does not fit its buffer");
    TRACE("h%lu %s%s leg %u %lu+%lu", (unsigned long) last_handle, op_name[r->op],
          r->flags & SF_TIO_FUA ? "+fua" : "", r->leg, (unsigned long) (r->offset / BLOCK),
          (unsigned long) (r->length / BLOCK));
    if (timeout != 0)
      event_add(sim.now_ns + timeout, EV_TIMEOUT, region_index(r), r->generation);
    if (is_dead(device)) {
      r->finished = r->dying = true;
      r->error = sim.options.gone_error;
      event_add(sim.now_ns + leg->dying_ns + random_below(SIM_MS), EV_TELL, region_index(r),
                r->generation);
    } else {
      if (r->op == SF_TIO_READ && random_chance(300)) {
        r->early = true;
        medium_read(leg, r->offset, r->length, r->buffer->data);
      }
      if (n > 1 && op_writes(r->op) && sim.leg_state[r->leg] == SF_STATE_CATCHING_UP)
        fault_behind(r);
      else if (n == 1)
        late_copy(r, timeout);
      region_start(r);
    }
    if (r->op == SF_TIO_WRITE && r->offset < sim.data_offset)
      trust_changed(r->leg);
  }
  *handle = last_handle;
  return 0;
}

/* ---- the end of a region ---- */

static void
tell(struct region *r, enum sf_tio_state state, enum sf_tio_kind kind, int error, bool late) {
  struct sim_device device = {r->leg, r->device};
  struct sf_tio_event event = {
      .handle = r->handle,
      .context = r->context,
      .device = (struct sf_tio_device *) &device,
      .region = r->index,
      .state = state,
      .kind = kind,
      .error = error,
      .now_ns = sim.now_ns,
      .latency_ns = sim.now_ns - r->submitted_ns,
      .late = late,
  };
  static const char *const name[] = {"pending", "timeout", "ok", "error", "canceled"};

  if (state == SF_TIO_OK && !late)
    sim.leg[r->leg].heard_ns = sim.now_ns;
  TRACE("h%lu %s leg %u: %s%s%s", (unsigned long) r->handle, op_name[r->op], r->leg, name[state],
        late ? " late" : "", kind == SF_TIO_REAL ? " real" : "");
  if (late)
    sf_volume_late(&event);
  else
    r->notify(&event);
}

static void
effect(struct region *r, unsigned part_permille) {
  struct sim_leg *leg = &sim.leg[r->leg];

  switch (r->op) {
  case SF_TIO_READ:
    if (!r->early)
      medium_read(leg, r->offset, r->length, r->buffer->data);
    break;
  case SF_TIO_WRITE:
    medium_write(leg, r->offset, r->length, r->buffer->data, r->flags & SF_TIO_FUA, part_permille);
    break;
  case SF_TIO_ZERO:
    medium_write(leg, r->offset, r->length, NULL, r->flags & SF_TIO_FUA, part_permille);
    break;
  default:
    medium_flush(leg, r->flush_seq);
  }
}

static void
on_tell(uint32_t index) {
  struct region *r = &regions[index];
  struct region told;

  if (r->life != sim.life || sim.volume == NULL) {
    region_release(r);
    return;
  }
  if (r->lands) {
    r->lands = false;
    effect(r, 1000);
    if (r->op == SF_TIO_WRITE && r->offset < sim.data_offset)
      trust_changed(r->leg);
  }
  if (r->canceled && !r->canceled_told) {
    r->canceled_told = true;
    told = *r;
    tell(&told, SF_TIO_CANCELED, SF_TIO_DETACHED, 0, false);
    r = &regions[index];
  }
  told = *r;
  if (told.buffer != NULL)
    buffer_ref(told.buffer);
  region_release(r); /* "inside the notify that says that it ended, it is not counted any more" */
  if (told.canceled)
    tell(&told, SF_TIO_CANCELED, SF_TIO_DETACHED, told.error, true); /* as timed_io says it */
  else
    tell(&told, told.error != 0 ? SF_TIO_ERROR : SF_TIO_OK, SF_TIO_NONE, told.error, false);
  if (told.buffer != NULL)
    buffer_unref(told.buffer);
}

static bool
carries_flush(const struct region *r) {
  return r->op == SF_TIO_FLUSH || (r->flags & SF_TIO_FUA);
}

static void
on_finish(uint32_t index) {
  struct region *r = &regions[index];
  struct sim_leg *leg = &sim.leg[r->leg];
  int error = leg->error;
  bool fails;

  if (r->finished || r->parked || r->real || (sim.options.is_busy && !service_is_done(r)))
    return;
  if (leg->frozen_device != 0 && r->device == leg->frozen_device && r->life == sim.life) {
    r->parked = r->delayed = true;
    return;
  }
  if (sim.now_ns < leg->stalled_until_ns && (leg->stalled_kinds >> r->op & 1)) {
    r->delayed = true;
    if (leg->stalled_until_ns == SIM_NEVER)
      r->parked = true;
    else
      event_add(leg->stalled_until_ns + random_below(SIM_MS), EV_FINISH, index, r->generation);
    return;
  }
  fails = leg->error_permille != 0 && (leg->error_kinds >> r->op & 1) &&
          (!leg->error_of_fua || carries_flush(r)) && r->offset >= leg->error_from &&
          random_chance(leg->error_permille);
  if (r->doomed) {
    fails = true;
    error = -EIO;
  }
  if (!fails && late_fails(r, &error))
    fails = true;
  if (fails && leg->errors_left > 0 && --leg->errors_left == 0)
    leg->error_permille = 0;
  if (r->op == SF_TIO_FLUSH && (r->delayed || r->lost) && sim.options.flush_error_weight != 0 &&
      !sim_is_calm() && random_chance(600)) {
    COUNT(late_flush_errors);
    fails = true;
    error = -EIO;
  }
  if ((r->op == SF_TIO_FLUSH || leg->error_of_fua) && r->life != sim.life)
    fails = false; /* no process is there to be told: see process_forget() */
  if (!fails && r->op == SF_TIO_READ && medium_is_unreadable(leg, r->offset, r->length)) {
    COUNT(sectors_unread);
    fails = true;
    error = -EIO;
  }
  r->finished = true;
  /* A leg is not well while it gives errors, or still works on what it was given when it was
   * not. */
  if ((fails || r->lost || r->submitted_ns < leg->fault_ended_ns) && leg->cured_ns < sim.now_ns)
    leg->cured_ns = sim.now_ns;
  if (!fails) {
    if (op_writes(r->op) && r->life != sim.life)
      COUNT(ghost_landings);
    else if (op_writes(r->op) && r->old)
      COUNT(late_landings);
    effect(r, 1000);
  } else {
    r->error = error;
    if (op_writes(r->op) && random_chance(500))
      effect(r, 500);
    if (r->op == SF_TIO_FLUSH) {
      medium_lose_flush(leg, r->flush_seq);
    } else if (leg->error_of_fua && carries_flush(r)) {
      COUNT(fua_errors);
      medium_lose_flush(leg, leg->seq);
    }
  }
  if (r->op == SF_TIO_WRITE && r->offset < sim.data_offset)
    trust_changed(r->leg);
  if (r->life != sim.life)
    region_release(r);
  else if (sim.options.is_busy || (random_chance(700) && sim.now_ns >= sim.paused_until_ns))
    on_tell(index);
  else
    event_add(sim.now_ns + random_below(300 * SIM_US), EV_TELL, index, r->generation);
}

static void
on_canceled(uint32_t index) {
  struct region *r = &regions[index];
  struct region told;

  if (r->life != sim.life || sim.volume == NULL) {
    if (r->real)
      region_release(r);
    return;
  }
  if (r->canceled_told)
    return;
  r->canceled_told = true;
  told = *r;
  if (r->real)
    region_release(r);
  tell(&told, SF_TIO_CANCELED, told.real ? SF_TIO_REAL : SF_TIO_DETACHED, 0, false);
}

/* A cancelled region is not told, but the leg owes the answer all the same. */
static void
on_timeout(struct region *r) {
  struct region told = *r;

  if ((r->finished && !r->dying) || r->life != sim.life || sim.volume == NULL)
    return;
  r->late = true;
  sim.leg[r->leg].timed_out_ns = sim.now_ns;
  if (!r->canceled)
    tell(&told, SF_TIO_TIMEOUT, SF_TIO_NONE, 0, false);
}

void
tio_event(const struct event *event) {
  struct region *r = &regions[event->index];

  if (!r->used || r->generation != event->generation)
    return;
  switch (event->kind) {
  case EV_FINISH:
    on_finish(event->index);
    break;
  case EV_TELL:
    on_tell(event->index);
    break;
  case EV_CANCELED:
    on_canceled(event->index);
    break;
  case EV_LANDING:
    if (!r->finished && !r->real && !sim.leg[r->leg].device_dead) {
      COUNT(torn_writes);
      effect(r, 500);
    }
    break;
  default:
    on_timeout(r);
  }
}

/* ---- cancels ---- */

/* What a disk has begun it ends: only a request that waits for the disk is taken back. */
static bool
is_taken_back(const struct region *r) {
  return !r->finished && random_chance(sim.options.real_permille) && r->service != SERVICE_SERVING;
}

static void
region_cancel(struct region *r, struct sf_tio_canceled *count) {
  if (r->canceled || (r->finished && random_chance(500))) {
    count->done++;
    return;
  }
  r->canceled = true;
  if (is_taken_back(r)) {
    region_unlink(r);
    service_forget(r);
    r->real = true;
    COUNT(real_cancels);
    count->real++;
    if (r->offset < sim.data_offset)
      trust_changed(r->leg);
  } else {
    count->detached++;
  }
  TRACE("h%lu %s leg %u: cancelled, %s", (unsigned long) r->handle, op_name[r->op], r->leg,
        r->real ? "real" : "detached");
  event_add(sim.now_ns + random_below(100 * SIM_US), EV_CANCELED, region_index(r), r->generation);
}

static struct sf_tio_canceled
host_cancel_by_device(void *ctx, struct sf_tio_device *pub) {
  const struct sim_device *device = (const struct sim_device *) pub;
  struct sf_tio_canceled count = {0};

  if (inside_left_out(sim.volume) >> device->leg & 1)
    COUNT(early_cancels);
  EACH_REGION(r, device->leg)
    if (r->life == sim.life && r->device == device->generation)
      region_cancel(r, &count);
  return count;
}

static struct sf_tio_canceled
host_cancel_by_handle(void *ctx, uint64_t handle) {
  struct sf_tio_canceled count = {0};

  for (unsigned leg = 0; leg < sim.options.legs; leg++)
    EACH_REGION(r, leg)
      if (r->life == sim.life && r->handle == handle)
        region_cancel(r, &count);
  if (count.real + count.detached + count.done == 0)
    count.done = 1;
  return count;
}

/* ---- from outside ---- */

void
tio_leg_left(unsigned leg) {
  EACH_REGION(r, leg)
    r->old = true;
}

void
tio_unpark(unsigned leg) {
  EACH_REGION(r, leg)
    if (r->parked) {
      r->parked = false;
      event_add(sim.now_ns + random_below(5 * SIM_MS), EV_FINISH, region_index(r), r->generation);
    }
}

/* Any part of a write that was in flight may have landed. */
static void
land_in_part(struct region *r) {
  if (op_writes(r->op) && !r->finished && !r->real && random_chance(600))
    effect(r, random_chance(400) ? 1000 : (unsigned) random_below(1000));
}

void
tio_leg_gone(unsigned leg) {
  sim.leg[leg].device_dead = true;
  sim.leg[leg].dying_ns = late_death_ns();
  EACH_REGION(r, leg)
    if (!r->finished) {
      r->lands = op_writes(r->op) && !r->real && late_death_lands(leg);
      if (!r->lands)
        land_in_part(r);
      r->finished = r->dying = true;
      r->parked = false;
      r->error = sim.options.gone_error;
      if (r->life != sim.life)
        region_release(r);
      else
        event_add(sim.now_ns + sim.leg[leg].dying_ns + random_below(2 * SIM_MS), EV_TELL,
                  region_index(r), r->generation);
    }
}

/* Requests of a killed process in flight go on, are dropped, or land in part, untold. */
void
tio_process_ended(bool power) {
  drill_process_ended();
  for (unsigned leg = 0; leg < sim.options.legs; leg++)
    EACH_REGION(r, leg) {
      if (!power && !r->finished && (r->parked || random_chance(500)))
        continue;
      if (power || random_chance(500))
        land_in_part(r);
      region_release(r);
    }
}

/* In one world of three a leg cannot.  Not drawn: later draws would change. */
static bool
host_device_punches(void *ctx, struct sf_tio_device *pub) {
  const struct sim_device *device = (const struct sim_device *) pub;

  return sim.seed % 3 != 0 || (device->leg + sim.seed / 3) % sim.options.legs != 0;
}

/* A device that was opened before its disk was pulled out stays dead. */
static bool
host_device_is_gone(void *ctx, struct sf_tio_device *pub) {
  const struct sim_device *device = (const struct sim_device *) pub;

  return sim.options.gone_error == -EIO && is_dead(device);
}

static void
host_device_freeze(void *ctx, struct sf_tio_device *pub, bool frozen) {
  const struct sim_device *device = (const struct sim_device *) pub;

  if (frozen)
    sim.leg[device->leg].frozen_device = device->generation;
  else
    drill_thaw(device->leg);
}

/* The answer is what was so when it was asked, and may come when the leg is another one. */
static int
host_look_at_leg(void *ctx, unsigned leg, struct sf_tio_device *device, uint64_t look) {
  if (sim.looking[leg].look != 0)
    return -EBUSY;
  COUNT(looks_if_gone);
  sim.looking[leg].look = look;
  sim.looking[leg].gone = host_device_is_gone(ctx, device);
  event_add(sim.now_ns + (random_chance(700) ? random_below(SIM_MS) : random_around(2 * SIM_S)),
            EV_LOOKED, leg, sim.life);
  return 0;
}

const struct sf_volume_host tio_host = {
    .submit = host_submit,
    .cancel_by_device = host_cancel_by_device,
    .cancel_by_handle = host_cancel_by_handle,
    .device_punches = host_device_punches,
    .device_is_gone = host_device_is_gone,
    .device_freeze = host_device_freeze,
    .look_at_leg = host_look_at_leg,
    .buffer_get = buffer_get,
    .buffer_put = buffer_put,
};

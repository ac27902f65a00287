/* Asking a leg how it is: the probes of R14, and the look for a missing leg. */
#include "volume/change/probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "volume/change/newcomer.h"
#include "volume/ground/facts.h"
#include "volume/ground/fault.h"
#include "volume/ground/penalty.h"
#include "volume/set/leg.h"
#include "volume/set/pace.h"
#include "volume/set/record.h"
#include "volume/set/sample.h"

enum {
  PROBES_WANTED = 3,
  PROBE_GAP_MS = 100,
  REOPEN_MS = 2000,
  SAMPLE_MS = 1000,
  GONE_MS = 2000, /* from one look whether a faulty one is gone to the next */
};

enum probe_step { PROBE_WRITE, PROBE_READ };

void
sf_probe_schedule(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  leg->probes_ok = 0;
  sf_penalty_back(v, index);
}

static void
catch_up(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  leg->resync_total = leg->stale.set;
  leg->resync_since_ns = v->now_ns;
  leg->resync_copied_bytes = 0;
  leg->resync_least = leg->stale.set;
  leg->resync_least_ns = v->now_ns;
  sf_leg_move(v, index, SF_STATE_CATCHING_UP, leg->reason);
}

static void
is_ready(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  if (leg->ready)
    return;
  leg->ready = true;
  leg->meta.failed = leg->meta.overdue = false; /* of before */
  v->dirty = true;
}

static void probe_send(struct sf_volume *v, unsigned index, enum probe_step step);

/* Its probes begin anew. */
static void
unwell(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  leg->probes_ok = 0;
  leg->ready = false;
  sf_penalty_seen_unwell(v, index);
  leg->probe_at_ns = v->now_ns + PROBE_GAP_MS * SF_MS;
}

static void
probe_event(struct leg_io *io, unsigned index, const struct sf_tio_event *event) {
  struct sf_volume *v = io->volume;
  struct leg *leg = &v->leg[index];
  char reason[128];

  if (event->late && event->error != -ECANCELED)
    leg->probe_error = event->error;
  if (event->late || sf_leg_state(leg) != SF_STATE_PROBING)
    return;
  if (event->state == SF_TIO_CANCELED ||
      (event->state == SF_TIO_OK && !sf_pace_is_kept(v, index, event->latency_ns))) {
    unwell(v, index);
  } else if (event->state == SF_TIO_OK && leg->probe_step == PROBE_WRITE) {
    probe_send(v, index, PROBE_READ);
  } else if (event->state == SF_TIO_OK) {
    leg->probe_at_ns = v->now_ns + PROBE_GAP_MS * SF_MS;
    sf_penalty_seen_well(v, index);
    if (++leg->probes_ok >= PROBES_WANTED && sf_penalty_left(v, index) == 0)
      is_ready(v, index);
  } else if (event->state == SF_TIO_TIMEOUT) {
    sf_leg_fall_back(v, index, SF_STATE_LATE, "a probe was not answered in time");
  } else if (event->state == SF_TIO_ERROR) {
    snprintf(reason, sizeof reason, "probe: %s", strerror(-event->error));
    sf_leg_fall_back(v, index, sf_leg_state_for(event->error), reason);
  }
}

static void
probe_send(struct sf_volume *v, unsigned index, enum probe_step step) {
  struct leg *leg = &v->leg[index];
  bool writes = step == PROBE_WRITE;
  /* A leg that left for its pace was compared in writes without FUA. */
  unsigned flags = writes && leg->pace.limit_ns == 0 ? SF_TIO_FUA : 0;

  leg->probe_step = step;
  leg->probe_error = 0;
  if (sf_probe_ask(v, index, writes ? SF_TIO_WRITE : SF_TIO_READ, flags, probe_event) < 0)
    leg->probe_at_ns = v->now_ns + PROBE_GAP_MS * SF_MS;
}

/* A disk that is pulled out answers with errors for a while before the kernel knows that it is gone.  The kernel may
 * take any time to say it, so that is not waited for with the lock held. */
static void
look_if_gone(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  if (!leg->erred || leg->device == NULL || v->now_ns < leg->open_at_ns ||
      v->phase != PHASE_SERVING || v->host.look_at_leg == NULL)
    return;
  leg->open_at_ns = v->now_ns + GONE_MS * SF_MS;
  if (v->host.look_at_leg(v->ctx, index, leg->device, v->gone_looks + 1) == 0)
    leg->gone_look = ++v->gone_looks;
}

void
sf_probe_looked(struct sf_volume *v, unsigned index, uint64_t look, bool gone) {
  struct leg *leg = &v->leg[index];

  if (leg->gone_look != look || v->phase != PHASE_SERVING)
    return;
  leg->gone_look = 0;
  SF_ASSERT(sf_leg_state(leg) == SF_STATE_FAULTY);
  if (!leg->erred || !gone)
    return;
  sf_leg_record_faulty(v, index, false);
  sf_leg_look_for(v, index, "its device is gone");
}

/* One that drains was opened once, and is when it has ended what it has. */
static bool
may_be_opened_beside(const struct sf_volume *v, const struct leg *leg) {
  return leg->drain_until_ns != 0 ? leg->outstanding_n == 0 : v->now_ns >= leg->open_at_ns;
}

void
sf_probe_tick(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  switch (sf_leg_state(leg)) {
  case SF_STATE_PROBING:
    /* Until then a record that names the leg is in force, and what it dropped at a flush that
     * failed would be noted nowhere. */
    if (v->phase <= PHASE_SERVING && v->durable_version != 0 && leg->probe_io.running == 0 &&
        leg->running == 0 && v->now_ns >= leg->probe_at_ns && v->now_ns >= leg->room_at_ns)
      probe_send(v, index, PROBE_WRITE);
    break;
  case SF_STATE_MISSING:
    if (leg->device == NULL && !leg->opening && v->now_ns >= leg->open_at_ns &&
        (leg->blank == SF_BLANK_NOT || v->phase == PHASE_SERVING) &&
        sf_members_may_open(v, index)) {
      leg->open_at_ns = v->now_ns + REOPEN_MS * SF_MS;
      leg->opening = v->host.open_leg(v->ctx, index, leg->blank) == 0;
    }
    break;
  case SF_STATE_FAULTY:
    look_if_gone(v, index);
    break;
  case SF_STATE_IN_SYNC:
    if (sf_leg_is_dead(v, index) && !leg->opening && may_be_opened_beside(v, leg) &&
        v->host.reopen_leg != NULL) {
      leg->open_at_ns = v->now_ns + REOPEN_MS * SF_MS;
      leg->opening = leg->reopening = v->host.reopen_leg(v->ctx, index) == 0;
    }
    if (v->phase == PHASE_SERVING && leg->probe_io.running == 0 && leg->reads_running == 0 &&
        v->now_ns - v->foreground_ns < 5 * SF_S && v->reads > 0 &&
        v->now_ns - leg->read_last_ns > SAMPLE_MS * SF_MS && (sf_insync_legs(v) & legbit(index)))
      sf_probe_sample(v, index);
    break;
  default:
    break;
  }
}

/* ---- out, until it has ended all that it holds ---- */

/* It has ended all that it held.  The event says how long it is kept out as of now; status, as of
 * then. */
static void
leg_answers(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];
  char reason[SF_LEG_REASON_MAX], text[SF_LEG_REASON_MAX];

  sf_probe_schedule(v, index);
  snprintf(reason, sizeof reason, "%s", leg->reason);
  sf_penalty_reason(v, index, text, sizeof text);
  sf_leg_move(v, index, SF_STATE_PROBING, text);
  snprintf(leg->reason, sizeof leg->reason, "%s", reason);
}

/* Probed anew it would be late for ever, where its errors take longer than it may take. */
static void
late_probe_failed(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];
  enum sf_leg_state to = sf_leg_state_for(leg->probe_error);
  char reason[128];

  snprintf(reason, sizeof reason, "late answer: %s", strerror(-leg->probe_error));
  leg->probe_error = 0;
  if (to != SF_STATE_LATE)
    sf_leg_fall_back(v, index, to, reason);
}

static void
give_up_what_it_holds(struct sf_volume *v, struct leg *leg) {
  if (leg->canceled)
    return;
  leg->canceled = true;
  v->host.cancel_by_device(v->ctx, leg->device);
}

/* Reading 14: the record that leaves it out is to be told to it, and is not before it has ended all
 * that it held (R5).  That an answer needs it until then is no reason to keep these requests: what it
 * had not ended when it left is stale there already.  That record itself is not among them. */
static void
hurry_what_is_to_be_told(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];
  bool is_told = leg->running == 1 && leg->meta.busy && leg->meta.sent == v->version;

  if (!(sf_record_asks(v) & sf_record_left_out(v) & legbit(index)))
    return;
  if (leg->running == 0 || is_told)
    leg->canceled = false;
  else
    give_up_what_it_holds(v, leg);
}

/* What a leg that is out waits for: that its last request really ends. */
void
sf_leg_settle(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];
  legset bit = legbit(index);
  enum sf_leg_state state = sf_leg_state(leg);

  if (leg->ready && sf_newcomer_is_told(v, index))
    catch_up(v, index);
  if (state != SF_STATE_LATE && state != SF_STATE_MISSING && state != SF_STATE_FAULTY)
    return;
  if ((v->latest.in_sync | v->durable.in_sync | v->ack_legs) & bit) {
    hurry_what_is_to_be_told(v, index);
    return; /* its demotion is not durable yet */
  }
  if (leg->running > 0) {
    give_up_what_it_holds(v, leg);
    return;
  }
  leg->canceled = false;
  if (state == SF_STATE_LATE) {
    leg_answers(v, index);
    if (leg->probe_error != 0)
      late_probe_failed(v, index);
    if (!sf_leg_holds(v, index, v->size_bytes))
      sf_leg_fall_back(v, index, SF_STATE_MISSING, "the volume has grown and it has not");
  } else if (state == SF_STATE_MISSING && leg->device != NULL && !leg->opening) {
    leg->device = NULL;
    v->host.close_leg(v->ctx, index);
  }
}

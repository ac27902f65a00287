/* What the operator and the host ask of a leg or of the whole volume. */
#include "volume/change/operator.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "volume/change/newcomer.h"
#include "volume/change/probe.h"
#include "volume/change/scrub.h"
#include "volume/ground/facts.h"
#include "volume/ground/host.h"
#include "volume/ground/trouble.h"
#include "volume/set/flush_failure.h"
#include "volume/set/leg.h"

enum {
  HUNG_PAUSE_MS = 2000, /* from an opening that hung to the next */
  BUSY_PAUSE_MS = 100,
  DRAIN_S = 40, /* a driver has given up by then what its disk does not answer */
};

int
sf_operator_fail(struct sf_volume *v, unsigned index) {
  switch (sf_leg_state(&v->leg[index])) {
  case SF_STATE_IN_SYNC:
    if (v->phase == PHASE_STOPPED)
      return -ESHUTDOWN;
    if (!sf_leg_can_leave(v, index))
      return -EBUSY;
    sf_leg_demote(v, index, SF_STATE_FAULTY, "taken out by the operator");
    break;
  case SF_STATE_PROBING:
  case SF_STATE_CATCHING_UP:
    sf_leg_fall_back(v, index, SF_STATE_FAULTY, "taken out by the operator");
    break;
  case SF_STATE_LATE:
  case SF_STATE_MISSING:
    sf_leg_move(v, index, SF_STATE_FAULTY, "taken out by the operator");
    sf_leg_record_faulty(v, index, true);
    break;
  default:
    break;
  }
  v->leg[index].erred = false;
  return 0;
}

int
sf_operator_take_back(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  leg->room_at_ns = leg->room_pause_ns = 0;
  if (sf_leg_state(leg) == SF_STATE_FAULTY) {
    legset bit = legbit(index);

    if (leg->device != NULL && leg->running == 0 && sf_leg_holds(v, index, v->size_bytes) &&
        !((v->ack_legs | v->durable.in_sync) & bit)) {
      sf_leg_move(v, index, SF_STATE_PROBING, "returned by the operator");
      sf_probe_schedule(v, index);
    } else if (leg->device == NULL || !sf_leg_holds(v, index, v->size_bytes)) {
      sf_leg_move(v, index, SF_STATE_MISSING, "returned by the operator"); /* opened anew */
    } else {
      return -EBUSY; /* its old requests still run */
    }
    sf_leg_record_faulty(v, index, false);
  } else if (sf_leg_state(leg) == SF_STATE_MISSING) {
    leg->open_at_ns = v->now_ns;
    sf_vol_arm(v, v->now_ns);
  } else if (sf_leg_state(leg) == SF_STATE_PROBING) {
    leg->penalty = (struct penalty){0};
    sf_pace_forget(leg);
  } else if (sf_leg_state(leg) == SF_STATE_IN_SYNC) {
    sf_flush_failure_forgive(v, index);
  }
  return 0;
}

int
sf_operator_discard(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  /* R12: a start that breaks off now may leave a doubt that only this leg settles. */
  if (v->phase < PHASE_SERVING)
    return -EAGAIN;
  if (v->phase > PHASE_SERVING)
    return v->taken ? -EIO : -ESHUTDOWN;
  if ((sf_leg_state(leg) != SF_STATE_FAULTY && sf_leg_state(leg) != SF_STATE_MISSING) ||
      leg->running > 0 || leg->opening || ((v->ack_legs | v->durable.in_sync) & legbit(index)))
    return -EBUSY;
  leg->device = NULL;
  leg->meta.done = 0;
  sf_map_fill(&leg->stale);
  sf_scrub_leg_is_another(v, index);
  /* A disk that is to take the place cannot show yet that it is this leg's. */
  if (leg->blank != SF_BLANK_NEW)
    leg->blank = SF_BLANK_OWN;
  sf_leg_look_for(v, index, "discarded by the operator");
  sf_leg_record_faulty(v, index, false);
  return 0;
}

/* Another server may have had it in the meantime: its superblock is judged anew. */
static const char *
refusal(const struct sf_volume *v, unsigned index, const struct sf_superblock *sb) {
  const struct sf_superblock *id = &v->identity;
  bool ancestor = false;

  if (!sf_leg_is_member(v, index))
    return "the volume has no such leg any more";
  if (!sf_superblock_is_leg(sb, id, index))
    return "it is not this leg of this volume";
  if (sf_uuid_equal(&sb->lineage, &id->lineage)) {
    if (sb->record.term > v->latest.term)
      return "split brain: it was started without us; `leg discard` gives it up";
    /* Our term must be above every claim of a leg in the set (R12), and a term does not change. */
    if (sb->claim > v->claim)
      return "a start without us broke off there: it is taken back at the next start of the volume";
    return NULL;
  }
  for (unsigned i = 0; i < id->ancestors; i++) {
    struct sf_record fork = {.term = id->ancestor[i].term, .change = id->ancestor[i].change};

    if (sf_uuid_equal(&sb->lineage, &id->ancestor[i].lineage))
      ancestor = sf_record_compare(&sb->record, &fork) <= 0;
  }
  return ancestor ? NULL
                  : "split brain: it went on in another line of history; `leg discard` gives it up";
}

/* It is looked for every two seconds, and why it is not found is told when that changes. */
static void
stays_missing(struct sf_volume *v, unsigned index, const char *why) {
  struct leg *leg = &v->leg[index];

  if (v->phase == PHASE_STOPPED || strncmp(leg->reason, why, sizeof leg->reason - 1) == 0)
    return;
  snprintf(leg->reason, sizeof leg->reason, "%s", why);
  sf_vol_event(v, SF_EVENT_LEG_NOT_OPENED, (int) index, NULL, NULL, leg->reason);
}

static void
not_opened(struct sf_volume *v, unsigned index, int error, const char *why) {
  struct leg *leg = &v->leg[index];
  bool is_other = error == -EEXIST && leg->blank == SF_BLANK_OWN;

  if (is_other)
    leg->blank = SF_BLANK_NOT; /* not to whatever disk is put there next */
  if (sf_leg_state(leg) != SF_STATE_MISSING)
    return;
  if (is_other)
    sf_leg_move(v, index, SF_STATE_FAULTY, why != NULL ? why : "it is not the leg's own disk");
  else if (why != NULL)
    stays_missing(v, index, why);
}

static int
opened(struct sf_volume *v, unsigned index, struct sf_tio_device *device,
       const struct sf_superblock *sb, uint64_t bytes) {
  struct leg *leg = &v->leg[index];
  uint64_t known = leg->sb.serial; /* an older one comes from a copy of that leg */
  const char *why = refusal(v, index, sb);
  char text[SF_LEG_REASON_MAX];

  SF_ASSERT(leg->device == NULL);
  leg->blank = SF_BLANK_NOT;
  if (sf_leg_state(leg) != SF_STATE_MISSING || why != NULL) {
    /* Not kept: a later return must look at it anew. */
    if (sf_leg_state(leg) == SF_STATE_MISSING)
      sf_leg_move(v, index, SF_STATE_FAULTY, why);
    v->host.close_leg(v->ctx, index);
    return -EINVAL;
  }
  if (bytes < v->data_offset + v->size_bytes) {
    snprintf(text, sizeof text,
             "shorter than the volume: it has %" PRIu64 " bytes and needs %" PRIu64, bytes,
             v->data_offset + v->size_bytes);
    stays_missing(v, index, text);
    v->host.close_leg(v->ctx, index);
    return -EINVAL;
  }
  sf_leg_is_opened(v, index, device, sb, bytes);
  sf_newcomer_opened(v, index, sb->serial < known);
  sf_leg_move(v, index, SF_STATE_PROBING, "it is there again");
  sf_probe_schedule(v, index);
  return 0;
}

/* It goes on where the dead descriptor ended, and must hold what we know to be stable there. */
static const char *
lacks(const struct sf_volume *v, unsigned index, const struct sf_superblock *sb, uint64_t bytes) {
  const struct leg *leg = &v->leg[index];
  const char *why = refusal(v, index, sb);

  if (why != NULL)
    return why;
  if (sb->serial < leg->sb.serial || sf_record_compare(&sb->record, &leg->sb.record) < 0)
    return "it holds an older state than was written to it";
  return bytes < v->data_offset + v->size_bytes ? "it is shorter than the volume" : NULL;
}

/* What the dead descriptor still has may land behind what goes to the new one (R5).  As what fails is
 * sent again, some of it would always be there where errors take long.  It is opened again when all
 * has ended.  What never ends must not keep a leg from showing that it is well after all. */
static void
drain(const struct sf_volume *v, struct leg *leg) {
  if (leg->drain_until_ns != 0 || v->now_ns < leg->drain_from_ns)
    return;
  leg->drain_until_ns = v->now_ns + DRAIN_S * SF_S;
}

static int
reopened(struct sf_volume *v, unsigned index, struct sf_tio_device *device,
         const struct sf_superblock *sb, uint64_t bytes) {
  struct leg *leg = &v->leg[index];
  const char *why;

  if (sf_leg_state(leg) != SF_STATE_IN_SYNC || !sf_leg_is_dead(v, index)) {
    leg->open_at_ns = v->now_ns + BUSY_PAUSE_MS * SF_MS;
    return -EBUSY; /* it answers again, or has left */
  }
  why = lacks(v, index, sb, bytes);
  if (why != NULL) {
    leg->drain_until_ns = 0;
    stays_missing(v, index, why);
    return -EINVAL;
  }
  if (leg->outstanding_n > 0) {
    drain(v, leg);
    return -EBUSY;
  }
  sf_leg_is_opened(v, index, device, sb, bytes);
  leg->meta.retry_ns = v->maps.retry_ns[index] = v->now_ns;
  sf_flush_failure_reopened(v, index);
  sf_leg_well(v, index);
  sf_vol_arm(v, v->now_ns);
  return 0;
}

int
sf_operator_opened(struct sf_volume *v, unsigned index, struct sf_tio_device *device,
                   const struct sf_superblock *sb, uint64_t bytes, int error, const char *why) {
  struct leg *leg = &v->leg[index];
  bool beside = leg->reopening;
  int r = error;

  leg->opening = leg->reopening = false;
  /* The next may hang too: an operator who wants another disk there gets in between. */
  if (error == -ETIMEDOUT || error == -ECANCELED)
    leg->open_at_ns = v->now_ns + HUNG_PAUSE_MS * SF_MS;
  if (error == 0)
    r = beside ? reopened(v, index, device, sb, bytes) : opened(v, index, device, sb, bytes);
  else if (!beside)
    not_opened(v, index, error, why);
  else if (why != NULL && error != -EBUSY && sf_leg_state(leg) == SF_STATE_IN_SYNC &&
           leg->troubled_ns != 0)
    stays_missing(v, index, why); /* EBUSY: it is the very file that we have open */
  if (beside && error != 0)
    leg->drain_until_ns = 0;
  v->dirty = true;
  return r;
}

int
sf_operator_configure(struct sf_volume *v, const struct sf_config *config) {
  int r = 0;

  if (config->legs != v->config.legs || config->min_legs != v->config.min_legs ||
      strcmp(config->name, v->config.name) != 0)
    r = -EINVAL;
  for (unsigned i = 0; r == 0 && i < config->legs; i++)
    if (strcmp(config->leg[i].path, v->config.leg[i].path) != 0)
      r = -EINVAL;
  if (r == 0)
    v->config = *config;
  v->dirty = true;
  return r;
}

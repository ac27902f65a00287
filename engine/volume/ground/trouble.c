/* A leg that stays in sync and fails what it is asked. */
#include "volume/ground/trouble.h"

#include <errno.h>
#include <stdio.h>

#include "volume/ground/facts.h"
#include "volume/ground/fault.h"
#include "volume/ground/host.h"

enum {
  TELL_AGAIN_S = 10, /* from one series of errors to the next */
  OUTAGE_MS = 200,   /* errors of blocks for so long, and nothing else, are more than a bad block */
};

void
sf_leg_trouble(struct sf_volume *v, unsigned index, const char *reason) {
  struct leg *leg = &v->leg[index];

  if (sf_leg_state(leg) != SF_STATE_IN_SYNC || leg->reason[0] != '\0')
    return;
  snprintf(leg->reason, sizeof leg->reason, "%s", reason);
  if (leg->told_ns != 0 && v->now_ns - leg->told_ns < TELL_AGAIN_S * SF_S)
    return;
  leg->told_ns = v->now_ns;
  sf_vol_event(v, SF_EVENT_LEG_TROUBLE, (int) index, NULL, NULL, reason);
}

static bool
was_an_outage(const struct sf_volume *v, const struct leg *leg) {
  return leg->troubled_ns != 0 &&
         (sf_fault_passes(leg->trouble) || v->now_ns - leg->troubled_ns >= OUTAGE_MS * SF_MS);
}

void
sf_leg_well(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  if (was_an_outage(v, leg))
    leg->well_ns = v->now_ns;
  leg->troubled_ns = leg->drain_until_ns = 0;
  if (sf_leg_state(leg) == SF_STATE_IN_SYNC && !leg->flush_failed)
    leg->reason[0] = '\0';
}

static void
note_error(const struct leg_io_part *part, int error) {
  struct sf_volume *v = part->io->volume;
  struct leg *leg = &v->leg[part->leg];
  bool was_asked = part->state == PART_SENT;

  if (leg->drain_until_ns == 0 || !was_asked)
    leg->error_ns = was_asked ? part->sent_ns : v->now_ns;
  if (leg->drain_until_ns != 0)
    return;
  leg->errors++;
  leg->trouble = error;
  if (leg->troubled_ns == 0) {
    leg->troubled_ns = v->now_ns;
    v->dirty = v->dirty || v->drill.device != NULL; /* which ends for it */
  }
}

static void
note_success(const struct leg_io_part *part) {
  const struct leg_io *io = part->io;
  struct sf_volume *v = io->volume;
  struct leg *leg = &v->leg[part->leg];

  leg->heard_ns = v->now_ns;
  v->dirty = v->dirty || (v->word_wanted & legbit(part->leg)) != 0;
  v->word_wanted &= (legset) ~legbit(part->leg);
  if (!io->reads && io->args.offset == leg->blame.offset)
    leg->blame.since_ns = 0; /* it has what it failed */
}

/* Where errors take longer than the timeout, all that a dead leg ever says is late. */
void
sf_leg_answered(const struct leg_io_part *part, const struct sf_tio_event *event) {
  struct sf_volume *v = part->io->volume;
  struct leg *leg = &v->leg[part->leg];
  bool ended = event->late || event->state == SF_TIO_OK || event->state == SF_TIO_ERROR;

  if (event->state == SF_TIO_TIMEOUT)
    leg->timeouts++;
  if (!ended || event->error == -ECANCELED)
    return;
  if (event->error != 0) {
    note_error(part, event->error);
    return;
  }
  if (leg->troubled_ns != 0)
    sf_leg_well(v, part->leg);
  if (!event->late)
    note_success(part);
}

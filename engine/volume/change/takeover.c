/* Has another host taken the legs?  A lock keeps out a process that opens the same file on this
 * machine (R7), and none on another.  So the superblocks of the legs in use are read now and then,
 * and one that is not ours ends the volume: another host serves it, and every further write of ours
 * would be to its legs.
 *
 * A read that is late, or fails, says nothing of the leg: it is one of ours that no client waits
 * for, and a bad block in a superblock is nothing new.  One leg holds one such read at a time,
 * whatever becomes of it. */
#include "volume/change/takeover.h"

#include <inttypes.h>
#include <stdio.h>

#include "volume/change/mark.h"
#include "volume/change/stop.h"
#include "volume/ground/facts.h"
#include "volume/set/culprit.h"
#include "volume/set/sample.h"

enum { LOOK_MS = SF_LOOK_MS };

/* Nothing that stood there when we opened the leg can tell anything: starts that were broken off
 * leave claims, higher ones than ours too, on legs that were absent from ours.  Later superblocks
 * were written by us or by a server that serves beside us, but for one thing: the last write of a
 * server of this machine that was killed may have landed since.  What it claimed is below our
 * claim, or the same, if none of it had landed anywhere when we read the legs; and it is gone. */
static bool
is_foreign(const struct sf_volume *v, unsigned index, const struct sf_superblock *sb) {
  const struct sf_superblock *id = &v->identity;

  if (sb->serial <= v->leg[index].opened_serial || sb->claim < v->claim ||
      sf_holder_equal(&sb->holder, &id->holder))
    return false;
  if (sb->claim > v->claim)
    return true;
  return sb->holder.since_s != 0 &&
         !(v->host.holder_is_gone != NULL && v->host.holder_is_gone(v->ctx, &sb->holder));
}

/* A stop may last for long, and its record must not go over another host's claim. */
static bool
may_be_taken(const struct sf_volume *v) {
  return v->phase == PHASE_SERVING || v->phase == PHASE_STOPPING;
}

/* All requests end here, also those that would wait without end: our answers would not agree with
 * what the other host's clients see.  Nothing more is sent to any leg (sf_leg_io_submit); requests
 * in the kernel are cancelled as far as they can be. */
static void
take_over(struct sf_volume *v, unsigned index, const struct sf_superblock *sb) {
  bool stops = v->phase == PHASE_STOPPING;

  snprintf(v->taken_by, sizeof v->taken_by,
           "taken over by %s, term %" PRIu64
           ", as leg %s shows: nothing is read or written here any "
           "more. Stop this server",
           sb->holder.host[0] != '\0' ? sb->holder.host : "another server", sb->claim,
           v->config.leg[index].name);
  sf_vol_end(v, -EIO);
  if (stops)
    sf_stop_begin(v); /* that was asked for, and is not again */
  for (unsigned i = 0; i < v->legs; i++)
    if (v->leg[i].device != NULL)
      v->host.cancel_by_device(v->ctx, v->leg[i].device);
  sf_vol_tell_state(v);
}

static void
look_event(struct leg_io *io, unsigned index, const struct sf_tio_event *event) {
  struct sf_volume *v = io->volume;
  struct leg *leg = &v->leg[index];
  struct sf_superblock sb;

  if (event->late || event->state != SF_TIO_OK || !may_be_taken(v))
    return;
  if (sf_superblock_decode(leg->look_buffer->data, &sb) < 0 ||
      !sf_superblock_is_leg(&sb, &v->identity, index))
    return; /* nor is it given our mark */
  if (is_foreign(v, index, &sb))
    take_over(v, index, &sb);
  else if (v->phase == PHASE_SERVING)
    sf_mark_look(v, index);
}

/* The two copies in turn. */
static void
look_at(struct sf_volume *v, unsigned index) {
  uint64_t copy = v->leg[index].looks++ % SF_SUPERBLOCK_COPIES;

  sf_look_ask(v, index, SF_TIO_READ, SF_SUPERBLOCK_OFFSET(copy), look_event);
}

/* Only where a client's request would be sent too (R4, R5). */
void
sf_takeover_tick(struct sf_volume *v) {
  if (v->identity.holder.since_s == 0 || !may_be_taken(v) || v->now_ns < v->look_at_ns)
    return;
  v->look_at_ns = v->now_ns + LOOK_MS * SF_MS;
  EACH_LEG(leg, sf_vol_receivers(v)) {
    if (v->leg[leg].look_io.running == 0)
      look_at(v, leg);
  }
}

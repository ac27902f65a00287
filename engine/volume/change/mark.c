/* The mark of a leg, which tells whose it is when its superblocks do not (docs/DESIGN.md, "The mark").  Who makes a
 * leg writes it; a leg from before there were marks, or whose page went bad, is given it here: once after each
 * opening, behind a look at its superblock (takeover.c), when no request waits for it.  No flush follows: one that is
 * lost is written after the next opening, and nothing but words depends on it. */
#include "volume/change/mark.h"

#include <string.h>

#include "volume/ground/facts.h"
#include "volume/set/sample.h"

static void
encode(const struct sf_volume *v, unsigned index, uint8_t page[SF_PAGE_BYTES]) {
  struct sf_superblock sb = v->identity;
  struct sf_mark mark;

  sb.leg_index = (uint8_t) index;
  sf_mark_of(&sb, &mark);
  sf_mark_encode(&mark, page);
}

static void
written(struct leg_io *io, unsigned index, const struct sf_tio_event *event) {
  if (event->state == SF_TIO_OK || event->state == SF_TIO_ERROR)
    io->volume->leg[index].mark_seen = true; /* not tried again before the leg is opened anew */
}

/* A leg that left while it was read is not written to (R5). */
static void
read_before(struct leg_io *io, unsigned index, const struct sf_tio_event *event) {
  struct sf_volume *v = io->volume;
  struct leg *leg = &v->leg[index];
  uint8_t page[SF_PAGE_BYTES];

  if (event->late || v->phase != PHASE_SERVING || !(sf_vol_receivers(v) & legbit(index)))
    return;
  encode(v, index, page);
  if (event->state == SF_TIO_OK && memcmp(leg->look_buffer->data, page, sizeof page) == 0) {
    leg->mark_seen = true;
  } else if (event->state == SF_TIO_OK || event->state == SF_TIO_ERROR) {
    memcpy(leg->look_buffer->data, page, sizeof page);
    sf_look_ask(v, index, SF_TIO_WRITE, SF_MARK_OFFSET, written);
  }
}

void
sf_mark_look(struct sf_volume *v, unsigned index) {
  if (!v->leg[index].mark_seen && (sf_vol_receivers(v) & legbit(index)))
    sf_look_ask(v, index, SF_TIO_READ, SF_MARK_OFFSET, read_before);
}

/* Of record.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_RECORD_H
#define SF_VOLUME_RECORD_H

#include "volume/state.h"

void sf_record_start(struct sf_volume *v);
void sf_record_change(struct sf_volume *v, legset in_sync, legset faulty, bool clean);
/* After the change that makes the first record of a term, which may be that of a new line. */
void sf_record_begins_line(struct sf_volume *v);
/* has_lost: what it was given may lack what a failed flush has lost. */
void sf_record_promote(struct sf_volume *v, unsigned leg, bool has_lost);
/* The newcomer takes the place of a leg that answers nothing. */
void sf_record_exchange(struct sf_volume *v, unsigned leg, unsigned leaves);
/* The record is durable without that leg's word: with that of the legs that it leaves out. */
void sf_record_spare(struct sf_volume *v, unsigned leg);
legset sf_record_left_out(const struct sf_volume *v);
legset sf_record_asks(const struct sf_volume *v);
bool sf_record_is_on(const struct sf_volume *v, unsigned leg); /* in as many copies as it needs */
/* No answer needs it any more, and it is not promoted. */
void sf_record_drop_newcomer(struct sf_volume *v);
void sf_record_drive(struct sf_volume *v);
/* Writes the record as it is to a leg that it does not name; lacks_all: that the leg is blank. */
void sf_record_tell(struct sf_volume *v, unsigned leg, bool lacks_all);
/* A flush failed on that leg: what the disk dropped with it may be the last copy of the record, too.
 * Another copy is written, at once if the record is new. */
void sf_record_doubt(struct sf_volume *v, unsigned leg);
void sf_record_tick(struct sf_volume *v);

#endif

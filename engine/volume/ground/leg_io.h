/* Of leg_io.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_LEG_IO_H
#define SF_VOLUME_LEG_IO_H

#include "volume/state.h"

/* 0, or -errno and then no event will come.  What finds no room in a leg's window waits for it;
 * args->buffer must be there until every part has been sent or was cancelled. */
int sf_leg_io_submit(struct sf_volume *v, struct leg_io *io, const struct leg_io_args *args);
void sf_leg_io_cancel(struct leg_io *io);
void sf_leg_io_drop(struct leg_io *io);        /* waiting parts; sent ones go on */
void sf_leg_io_hurry(struct leg_io *io);       /* a client waits for it: what waits goes first */
bool sf_leg_io_waits(const struct leg_io *io); /* some part of it has not been sent yet */

/* A leg has something to write, or it waits to be sent, also where it was given up on.  Not what
 * probes write, which nobody relies on. */
bool sf_leg_io_writes(const struct sf_volume *v);

void sf_leg_io_init(struct leg *leg);
struct sf_volume *sf_leg_io_volume(const struct sf_tio_event *event);
/* It is an error, and its disk has left the machine: it says nothing else.  Without the lock. */
bool sf_leg_io_is_gone(const struct sf_volume *v, const struct sf_tio_event *event);
void sf_leg_io_event(const struct sf_tio_event *event);
void sf_leg_io_forget(struct leg *leg);     /* its disk is another one */
void sf_leg_io_settle(struct sf_volume *v); /* tells of dropped parts */
void sf_leg_io_send(struct sf_volume *v);   /* what has room by now */
void sf_leg_io_tick(struct sf_volume *v);   /* what waits for a silent leg is overdue */
void sf_leg_io_drop_of_leg(struct sf_volume *v, unsigned leg); /* what waits there */
void sf_leg_io_excuse_delay(struct sf_volume *v, uint64_t delay_ns);

#endif

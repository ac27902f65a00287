/* How long a leg takes in a busy run (service.c).  A part of sim.h. */
#ifndef SIM_SERVICE_H
#define SIM_SERVICE_H

/* A leg: `channels` serve one request each, first come, first served.  A request's data goes over
 * the leg's path at `rate`, one after the other, on which another leg's may go too (`bus`); then it
 * stays in its channel for the overhead and, where it does not go on from where the last one ended,
 * the seek. */
struct service {
  uint64_t rate; /* bytes/s */
  unsigned channels;
  uint64_t overhead_ns, seek_ns, flush_ns, fua_ns;
  bool sorts;               /* an elevator: the deeper its queue, the shorter a seek */
  unsigned jitter_permille; /* of overhead and seek: less by so much, or more by three times that */
  unsigned bus;             /* its path is that of this leg: itself, or one before it */
  bool shared;              /* and another leg's too */
};

/* What a leg has done since service_measure(). */
struct served {
  uint64_t channel_ns; /* of all channels together, behind as many as it may be given */
  uint64_t path_ns;
  uint64_t paused_ns;
  uint64_t requests;
};

/* For how long since service_measure() any leg has had intent, or another page of the head, to
 * write. */
uint64_t service_wrote_intent_ns(void);

struct region;

void service_init(void);
void service_submit(struct region *region);
bool service_is_done(struct region *region);   /* false: EV_FINISH comes again */
void service_forget(struct region *region);    /* it ends otherwise */
void service_event(unsigned leg);              /* EV_SERVICE: a pause is over */
void service_pause(unsigned leg, uint64_t ns); /* from now on, or after the current pause */
bool service_is_paused(unsigned leg);
/* A leg, or one on its path, became so many times slower and may still have work before it that it
 * was given in quicker days. */
bool service_is_slowed(unsigned leg, uint64_t timeout_ns);
/* It may, and has ended nothing for so long. */
bool service_is_overrun(unsigned leg, uint64_t silent_ns);
void service_measure(void);
struct served service_served(unsigned leg);

/* By itself: a request of `length` bytes where nothing is before it, at the worst; and how much
 * time of the leg one of many in a row takes on an average, if so many are there at once. */
uint64_t service_longest(const struct service *service, uint64_t length, bool contiguous);
uint64_t service_each(const struct service *service, uint64_t length, bool contiguous,
                      unsigned depth);
/* How many of these a leg may be given at a time: what it answers in half its timeout, and no more
 * than there are clients. */
unsigned service_given(const struct service *service, uint64_t length);
/* How long one takes where nothing is before it, on an average. */
uint64_t service_by_itself(const struct service *service, uint64_t length);

#endif

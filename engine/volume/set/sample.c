/* The one block of a leg that holds nothing: it is asked of there how it is.  A sample is read now
 * and then from a leg that reads avoid, so that it is not avoided for ever. */
#include "volume/set/sample.h"

#include "volume/ground/facts.h"
#include "volume/ground/fault.h"
#include "volume/ground/leg_io.h"
#include "volume/set/medium.h"

enum { ASK_LEAST_MS = 50, ASK_MOST_MS = 1600 };

/* One page of the leg's metadata; of args only what is different. */
static int
ask(struct sf_volume *v, unsigned index, struct leg_io *io, struct leg_io_args args,
    void (*on_event)(struct leg_io *io, unsigned leg, const struct sf_tio_event *event)) {
  args.kind = args.op == SF_TIO_WRITE ? SF_WRITE_KIND : SF_READ_KIND;
  args.use = WINDOW_META;
  args.legs = legbit(index);
  args.length = SF_PAGE_BYTES;
  io->on_event = on_event;
  return sf_leg_io_submit(v, io, &args);
}

/* The one block of a leg that holds nothing. */
int
sf_probe_ask(struct sf_volume *v, unsigned index, enum sf_tio_op op, unsigned flags,
             void (*on_event)(struct leg_io *io, unsigned leg, const struct sf_tio_event *event)) {
  struct leg *leg = &v->leg[index];

  return ask(v, index, &leg->probe_io,
             (struct leg_io_args){
                 .op = op, .flags = flags, .offset = SF_PROBE_OFFSET, .buffer = leg->probe_buffer},
             on_event);
}

int
sf_look_ask(struct sf_volume *v, unsigned index, enum sf_tio_op op, uint64_t offset,
            void (*on_event)(struct leg_io *io, unsigned leg, const struct sf_tio_event *event)) {
  struct leg *leg = &v->leg[index];

  return ask(v, index, &leg->look_io,
             (struct leg_io_args){
                 .op = op, .offset = offset, .buffer = leg->look_buffer, .unjudged = true},
             on_event);
}

/* A good answer is heard of in any case. */
static void
word_has_come(struct leg_io *io, unsigned index, const struct sf_tio_event *event) {
  struct sf_volume *v = io->volume;
  struct leg *leg = &v->leg[index];

  if (event->late)
    return;
  if (v->word_wanted & legbit(index))
    v->dirty = true;
  v->word_wanted &= (legset) ~legbit(index);
  if (event->state == SF_TIO_OK)
    leg->ask_pause_ns = 0;
  else if (leg->ask_pause_ns < ASK_MOST_MS * SF_MS)
    leg->ask_pause_ns = 2 * leg->ask_pause_ns + ASK_LEAST_MS * SF_MS;
  leg->ask_at_ns = v->now_ns + leg->ask_pause_ns;
}

/* What it reads there is of no use: so a bad block there is written over with anything. */
static void
mend_sample(struct sf_volume *v, unsigned index) {
  if (v->leg[index].probe_io.running == 0 && (sf_insync_legs(v) & legbit(index)))
    sf_probe_ask(v, index, SF_TIO_WRITE, 0, word_has_come);
}

static void
sample_event(struct leg_io *io, unsigned index, const struct sf_tio_event *event) {
  struct sf_volume *v = io->volume;
  struct leg *leg = &v->leg[index];

  if (event->late)
    return;
  word_has_come(io, index, event);
  if (event->state == SF_TIO_ERROR && sf_fault_of(event->error) == FAULT_MEDIUM) {
    sf_medium_failed(v, index, MEDIUM_HEAD, event->error); /* no client may read there any more */
    mend_sample(v, index);
  }
  if (event->state == SF_TIO_OK) {
    leg->avoid = false;
    sf_latency_sample(&leg->latency[SF_READ_KIND], event->latency_ns);
  } else if (event->state == SF_TIO_TIMEOUT) {
    leg->avoid = true;
  }
}

void
sf_probe_sample(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  if (leg->probe_io.running > 0)
    return;
  leg->read_last_ns = v->now_ns;
  sf_probe_ask(v, index, SF_TIO_READ, 0, sample_event);
}

void
sf_probe_ask_for_word(struct sf_volume *v, legset legs) {
  EACH_LEG(index, legs) {
    struct leg *leg = &v->leg[index];
    bool is_asked;

    if (v->now_ns >= leg->ask_at_ns && leg->heard_ns != v->now_ns)
      sf_probe_sample(v, index);
    is_asked = leg->probe_io.running > 0 && !leg->probe_io.part[0].told;
    v->word_wanted |= is_asked ? legbit(index) : 0;
  }
}

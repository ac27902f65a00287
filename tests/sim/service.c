/* How long a leg takes in a busy run: see service.h.  Requests of a leg stand in a queue until a
 * channel is free, so what the volume sends at once it waits for. */
#include "sim/sim.h"

enum { SORTED_MOST = 32 }; /* requests among which an elevator chooses */

static struct queue {
  int first, last; /* regions that wait for a channel, or -1 */
  unsigned waiting, serving;
  uint64_t path_free_ns;
  uint64_t paused_until_ns, paused_ns; /* the latter: of all pauses together */
  uint64_t head;                       /* where the last request ended */
  uint64_t ended_ns;                   /* when it last ended one */
  struct served served;
} queue[LEGS_MAX];

static uint64_t slowed_ns; /* when `slows_at` was reached; 0: not yet */

static struct {
  unsigned writes; /* outstanding on all legs */
  uint64_t since_ns, ns;
} intent;

void
service_init(void) {
  slowed_ns = 0;
  intent = (typeof(intent)){0};
  for (unsigned i = 0; i < LEGS_MAX; i++)
    queue[i] = (struct queue){.first = -1, .last = -1};
}

/* ---- what it costs ---- */

static uint64_t
at_this_pace(unsigned leg, uint64_t ns) {
  const struct busy *b = &sim.options.busy;

  if (sim.ops_begun < b->slows_at)
    return ns / b->faster[leg];
  if (slowed_ns == 0)
    slowed_ns = sim.now_ns;
  return ns;
}

static uint64_t
path_takes(const struct service *s, uint64_t length) {
  return length * SIM_S / s->rate;
}

static uint64_t
seek_takes(const struct service *s, unsigned waiting) {
  if (!s->sorts)
    return s->seek_ns;
  return s->seek_ns * 100 / (100 + 8 * (waiting < SORTED_MOST ? waiting : SORTED_MOST));
}

/* In the channel, after the path and without jitter. */
static uint64_t
work_takes(const struct service *s, const struct region *r, bool contiguous, unsigned waiting) {
  uint64_t ns = s->overhead_ns;

  if (r->op == SF_TIO_FLUSH)
    return s->flush_ns;
  if (!contiguous)
    ns += seek_takes(s, waiting);
  if (r->flags & SF_TIO_FUA)
    ns += s->fua_ns;
  return ns;
}

static uint64_t
jitter(const struct service *s, uint64_t ns) {
  uint64_t part = ns * s->jitter_permille / 1000;

  return part == 0 ? ns : ns - part + random_below(4 * part);
}

static uint64_t
on_an_average(const struct service *s, uint64_t ns) {
  return ns + ns * s->jitter_permille / 1000;
}

uint64_t
service_longest(const struct service *s, uint64_t length, bool contiguous) {
  uint64_t work = s->overhead_ns + (contiguous ? 0 : s->seek_ns) + s->fua_ns;

  return path_takes(s, length) + work + work * 3 * s->jitter_permille / 1000;
}

static uint64_t
channel_takes(const struct service *s, uint64_t length, bool contiguous, unsigned depth) {
  uint64_t work = s->overhead_ns + (contiguous ? 0 : seek_takes(s, depth));

  return path_takes(s, length) + on_an_average(s, work);
}

uint64_t
service_by_itself(const struct service *s, uint64_t length) {
  return channel_takes(s, length, false, 1);
}

uint64_t
service_each(const struct service *s, uint64_t length, bool contiguous, unsigned depth) {
  uint64_t path = path_takes(s, length);
  uint64_t channel = channel_takes(s, length, contiguous, depth) / s->channels;

  return path > channel ? path : channel;
}

unsigned
service_given(const struct service *s, uint64_t length) {
  uint64_t most =
      sim.options.deadline_ns[SF_WRITE_KIND] / 2 / (service_each(s, length, false, 1) + 1);

  return most < sim.options.clients ? (unsigned) most : sim.options.clients;
}

/* ---- intent ---- */

static bool
is_intent(const struct region *r) {
  return r->op == SF_TIO_WRITE && r->offset < sim.data_offset;
}

static void
intent_begins(const struct region *r) {
  if (is_intent(r) && intent.writes++ == 0)
    intent.since_ns = sim.now_ns;
}

static void
intent_ends(const struct region *r) {
  if (!is_intent(r))
    return;
  if (--intent.writes == 0)
    intent.ns += sim.now_ns - intent.since_ns;
}

uint64_t
service_wrote_intent_ns(void) {
  return intent.ns + (intent.writes == 0 ? 0 : sim.now_ns - intent.since_ns);
}

/* ---- the queue ---- */

static void
serve(unsigned leg, struct region *r) {
  const struct service *s = &sim.options.service[leg];
  struct queue *q = &queue[leg];
  uint64_t *free_ns = &queue[s->bus].path_free_ns;
  bool contiguous = r->offset == q->head;
  uint64_t path = r->op == SF_TIO_ZERO ? 0 : at_this_pace(leg, path_takes(s, r->length));
  uint64_t work = at_this_pace(leg, jitter(s, work_takes(s, r, contiguous, q->waiting)));

  if (*free_ns < sim.now_ns)
    *free_ns = sim.now_ns;
  if (path != 0)
    *free_ns += path;
  r->due_ns = (path != 0 ? *free_ns : sim.now_ns) + work;
  r->paused_before_ns = q->paused_ns;
  work = on_an_average(s, work_takes(s, r, contiguous, service_given(s, r->length)));
  r->work_ns = path + at_this_pace(leg, work);
  r->path_ns = path;
  r->service = SERVICE_SERVING;
  q->serving++;
  if (r->op != SF_TIO_FLUSH)
    q->head = r->offset + r->length;
  event_add(r->due_ns, EV_FINISH, region_index(r), r->generation);
}

static void
serve_waiting(unsigned leg) {
  struct queue *q = &queue[leg];

  while (q->first >= 0 && q->serving < sim.options.service[leg].channels &&
         sim.now_ns >= q->paused_until_ns) {
    struct region *r = &regions[q->first];

    q->first = r->waits_before;
    q->waiting--;
    serve(leg, r);
  }
}

void
service_submit(struct region *r) {
  struct queue *q = &queue[r->leg];

  intent_begins(r);
  r->service = SERVICE_WAITING;
  r->waits_before = -1;
  if (q->first < 0)
    q->first = (int) region_index(r);
  else
    regions[q->last].waits_before = (int) region_index(r);
  q->last = (int) region_index(r);
  q->waiting++;
  serve_waiting(r->leg);
}

bool
service_is_done(struct region *r) {
  struct queue *q = &queue[r->leg];
  uint64_t due = r->due_ns + q->paused_ns - r->paused_before_ns;

  if (due > sim.now_ns) {
    event_add(due, EV_FINISH, region_index(r), r->generation);
    return false;
  }
  q->served.channel_ns += r->work_ns;
  q->served.requests++;
  queue[sim.options.service[r->leg].bus].served.path_ns += r->path_ns;
  intent_ends(r);
  r->service = SERVICE_NOT;
  q->serving--;
  q->ended_ns = sim.now_ns;
  serve_waiting(r->leg);
  return true;
}

static void
take_out(struct queue *q, int index) {
  int before = -1;

  for (int i = q->first; i != index; i = regions[i].waits_before)
    before = i;
  if (before < 0)
    q->first = regions[index].waits_before;
  else
    regions[before].waits_before = regions[index].waits_before;
  if (q->last == index)
    q->last = before;
  q->waiting--;
}

void
service_forget(struct region *r) {
  enum service_state was = r->service;

  if (was != SERVICE_NOT)
    intent_ends(r);
  r->service = SERVICE_NOT;
  if (was == SERVICE_WAITING)
    take_out(&queue[r->leg], (int) region_index(r));
  if (was != SERVICE_SERVING)
    return;
  queue[r->leg].serving--;
  serve_waiting(r->leg);
}

/* ---- pauses ---- */

/* The requests in service take so much longer, and no other begins. */
void
service_pause(unsigned leg, uint64_t ns) {
  struct queue *q = &queue[leg];

  if (q->paused_until_ns < sim.now_ns)
    q->paused_until_ns = sim.now_ns;
  q->paused_until_ns += ns;
  q->paused_ns += ns;
  q->served.paused_ns += ns;
  if (!sim.options.service[leg].shared && q->path_free_ns > sim.now_ns)
    q->path_free_ns += ns;
  event_add(q->paused_until_ns, EV_SERVICE, leg, 0);
}

void
service_event(unsigned leg) {
  serve_waiting(leg);
}

bool
service_is_paused(unsigned leg) {
  return sim.now_ns < queue[leg].paused_until_ns;
}

/* ---- work done ---- */

bool
service_is_slowed(unsigned leg, uint64_t timeout_ns) {
  const struct busy *b = &sim.options.busy;
  unsigned times = 1; /* the work before it takes so many times as long as was planned */

  for (unsigned i = 0; i < sim.options.legs; i++)
    if (sim.options.service[i].bus == sim.options.service[leg].bus && b->faster[i] > times)
      times = b->faster[i];
  return times > 1 && slowed_ns != 0 && sim.now_ns - slowed_ns < (times + 1) * timeout_ns;
}

bool
service_is_overrun(unsigned leg, uint64_t silent_ns) {
  return service_is_slowed(leg, silent_ns) && sim.now_ns - queue[leg].ended_ns >= silent_ns;
}

void
service_measure(void) {
  for (unsigned i = 0; i < LEGS_MAX; i++)
    queue[i].served = (struct served){0};
  intent.ns = 0;
  intent.since_ns = sim.now_ns;
}

struct served
service_served(unsigned leg) {
  return queue[leg].served;
}

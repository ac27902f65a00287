/* The pace as the operator is told: bytes, requests under way and their age, histograms.  A request
 * pays for its counts; the rest is done by the timer and by the caller that asks. */
#include "volume/ground/meter.h"

#include "volume/ground/deadline.h"
#include "volume/ground/facts.h"

/* ---- under way ---- */

static void
count_bytes(struct leg *leg, const struct leg_io *io) {
  if (io->args.op == SF_TIO_READ)
    leg->bytes_read += io->args.length;
  else if (io->args.op == SF_TIO_WRITE)
    leg->bytes_written += io->args.length;
}

/* A request given up on counts with its time, or with the time that it was waited for if it never
 * ran; that another leg was faster says nothing. */
static void
count_given_up(struct sf_volume *v, const struct leg_io_part *part) {
  enum sf_kind kind = part->io->args.kind;
  uint64_t age = v->now_ns - part->sent_ns;

  if (age >= sf_deadline_timeout(v, part->leg, kind))
    sf_latency_count(&v->leg[part->leg].latency[kind], age);
}

void
sf_meter_ended(struct sf_volume *v, const struct leg_io_part *part,
               const struct sf_tio_event *event) {
  const struct leg_io *io = part->io;
  struct leg *leg = &v->leg[part->leg];

  if (event->state == SF_TIO_OK && !event->late)
    sf_deadline_note(v, part->leg, io->args.kind, event->latency_ns);
  if (!io->of_client)
    return;
  if (event->state == SF_TIO_OK && !event->late) {
    sf_latency_add(&leg->latency[io->args.kind], event->latency_ns);
    count_bytes(leg, io);
  } else if (event->late || event->state == SF_TIO_CANCELED) {
    count_given_up(v, part);
    if (event->late && event->error == 0)
      count_bytes(leg, io);
  }
}

/* ---- answers ---- */

static enum sf_kind
kind_of(const struct sf_request *request) {
  switch (request->kind) {
  case SF_REQ_READ:
    return SF_READ_KIND;
  case SF_REQ_FLUSH:
    return SF_FLUSH_KIND;
  default:
    return SF_WRITE_KIND;
  }
}

static uint64_t
age_of(const struct sf_volume *v, const struct sf_request *request) {
  return v->now_ns - sf_vol_later(v, sf_vol_asked(request), 0);
}

void
sf_meter_answer(struct sf_volume *v, const struct sf_request *request, int error) {
  sf_latency_count(&v->latency[kind_of(request)], age_of(v, request));
  if (error == 0 && request->kind == SF_REQ_READ)
    v->bytes_read += request->length;
  if (error == 0 && request->kind == SF_REQ_WRITE)
    v->bytes_written += request->length;
}

/* ---- time ---- */

void
sf_meter_tick(struct sf_volume *v) {
  const uint64_t slice = SF_LATENCY_SLICE_S * SF_S;

  if (v->slice_ns == 0)
    v->slice_ns = v->now_ns + slice;
  for (unsigned n = 0; v->slice_ns <= v->now_ns && n < SF_LATENCY_SLICES; n++) {
    v->slice_ns += slice;
    for (unsigned kind = 0; kind < SF_KINDS; kind++) {
      sf_latency_slice(&v->latency[kind]);
      for (unsigned i = 0; i < v->legs; i++)
        sf_latency_slice(&v->leg[i].latency[kind]);
    }
  }
  if (v->slice_ns <= v->now_ns) /* a long sleep: all of it is over */
    v->slice_ns = v->now_ns + slice;
}

/* ---- the status ---- */

/* The window counts time; this is the number of requests in it, of the kind that the leg has, or,
 * while it has none, of the smallest writes in no order. */
static unsigned
window_in_requests(const struct sf_volume *v, unsigned index) {
  const struct window *window = &v->leg[index].window;
  uint64_t target = sf_deadline_target_ns(v, index, SF_WRITE_KIND),
           planned = sf_window_planned_ns(window);
  uint64_t requests = 0, cost = planned;

  for (unsigned use = 0; use < WINDOW_USES; use++)
    requests += window->outstanding[use];
  if (requests == 0 || planned == 0) {
    struct window unused = {0};

    requests = 1;
    cost = sf_window_cost(window, sf_window_class(&unused, SF_TIO_WRITE, false, 1, 4096), target);
  }
  requests = cost == 0 ? 1 : target * requests / cost;
  return requests == 0 ? 1 : requests > SF_OPS_MAX ? SF_OPS_MAX : (unsigned) requests;
}

void
sf_meter_leg_status(const struct sf_volume *v, unsigned index, struct sf_leg_status *status) {
  const struct leg *leg = &v->leg[index];
  struct sf_latency_recent recent[SF_KINDS];

  for (unsigned kind = 0; kind < SF_KINDS; kind++)
    sf_latency_recent(&leg->latency[kind], &recent[kind]);
  for (const struct sf_list *l = leg->outstanding.next; l != &leg->outstanding; l = l->next) {
    const struct leg_io_part *part = SF_LIST_ENTRY(l, struct leg_io_part, link);

    if (status->in_flight++ == 0)
      status->oldest_ns = v->now_ns - part->sent_ns;
    if (part->io->of_client)
      sf_latency_recent_wait(&recent[part->io->args.kind], v->now_ns - part->sent_ns);
  }
  SF_ASSERT(status->in_flight == leg->outstanding_n);
  for (unsigned kind = 0; kind < SF_KINDS; kind++)
    sf_latency_read(&leg->latency[kind], &recent[kind], &status->latency[kind]);
  status->state_age_ns = v->now_ns - leg->state_ns;
  status->window = window_in_requests(v, index);
  status->bytes_read = leg->bytes_read;
  status->bytes_written = leg->bytes_written;
}

static void
visit_one(const struct sf_volume *v, const struct sf_request *request, meter_visit_fn *visit,
          void *ctx) {
  if (request != NULL && !request->internal)
    visit(ctx, kind_of(request), age_of(v, request));
}

static void
visit_list(const struct sf_volume *v, const struct sf_request *request, meter_visit_fn *visit,
           void *ctx) {
  for (; request != NULL; request = request->next)
    visit_one(v, request, visit, ctx);
}

void
sf_meter_visit_waiting(const struct sf_volume *v, meter_visit_fn *visit, void *ctx) {
  EACH_ACTIVE(op, v)
    visit_one(v, op->request, visit, ctx);
  if (v->flush_leader != NULL) {
    visit_one(v, v->flush_leader->request, visit, ctx);
    visit_list(v, v->flush_leader->followers, visit, ctx);
  }
  visit_list(v, v->flush_queue, visit, ctx);
  visit_list(v, v->flush_held, visit, ctx);
  visit_list(v, v->held, visit, ctx);
  visit_list(v, v->parked, visit, ctx);
}

struct waiting {
  struct sf_volume_status *status;
  struct sf_latency_recent recent[SF_KINDS];
};

static void
add_waiting(void *ctx, enum sf_kind kind, uint64_t age_ns) {
  struct waiting *waiting = ctx;

  waiting->status->in_flight++;
  if (age_ns > waiting->status->oldest_ns)
    waiting->status->oldest_ns = age_ns;
  sf_latency_recent_wait(&waiting->recent[kind], age_ns);
}

void
sf_meter_status(const struct sf_volume *v, struct sf_volume_status *status) {
  struct waiting waiting = {.status = status};

  for (unsigned kind = 0; kind < SF_KINDS; kind++)
    sf_latency_recent(&v->latency[kind], &waiting.recent[kind]);
  sf_meter_visit_waiting(v, add_waiting, &waiting);
  for (unsigned kind = 0; kind < SF_KINDS; kind++)
    sf_latency_read(&v->latency[kind], &waiting.recent[kind], &status->latency[kind]);
  status->state_age_ns = v->now_ns - v->told_ns;
  status->bytes_read = v->bytes_read;
  status->bytes_written = v->bytes_written;
}

/* Legs that keep a client waiting: they owe an answer to its request, or to one that it depends on,
 * and are past their time. */
legset
sf_meter_overdue(const struct sf_volume *v) {
  legset set = 0;

  for (unsigned i = 0; i < v->legs; i++) {
    const struct leg *leg = &v->leg[i];

    for (const struct sf_list *l = leg->outstanding.next; l != &leg->outstanding; l = l->next) {
      const struct leg_io_part *part = SF_LIST_ENTRY(l, struct leg_io_part, link);

      if (v->now_ns - part->sent_ns >= sf_deadline_timeout(v, i, part->io->args.kind))
        set |= legbit(i);
    }
  }
  return set;
}

/* The clients: each has one request at a time.  Every write carries a stamp of its own. */
#include <errno.h>
#include <string.h>

#include "sim/sim.h"

enum { LULL_PAUSE_MS = 2000 };

static const char *const kind_name[] = {"read", "write", "zero", "flush"};

static void
next_at(unsigned index, uint64_t ns) {
  event_add(sim.now_ns + ns, EV_CLIENT, index, 0);
}

void
clients_start(void) {
  for (unsigned i = 0; i < sim.options.clients; i++)
    next_at(i, random_around(sim.options.think_ns));
}

unsigned
clients_busy(void) {
  unsigned n = 0;

  for (unsigned i = 0; i < sim.options.clients; i++)
    n += sim.client[i].busy;
  return n;
}

uint64_t
clients_oldest_read(void) {
  uint64_t oldest = UINT64_MAX;

  for (unsigned i = 0; i < sim.options.clients; i++) {
    const struct client *c = &sim.client[i];

    if (c->busy && c->request.kind == SF_REQ_READ && c->began < oldest)
      oldest = c->began;
  }
  return oldest;
}

/* ---- drawing ---- */

static enum sf_request_kind
draw_kind(void) {
  const struct options *o = &sim.options;
  uint64_t draw = random_below(o->read_weight + o->write_weight + o->zero_weight + o->flush_weight);

  if (draw < o->read_weight)
    return SF_REQ_READ;
  draw -= o->read_weight;
  if (draw < o->write_weight)
    return SF_REQ_WRITE;
  draw -= o->write_weight;
  return draw < o->zero_weight ? SF_REQ_ZERO : SF_REQ_FLUSH;
}

static uint64_t
span(void) {
  uint64_t blocks = sim.options.span_extents * sim.extent_blocks;

  return blocks != 0 && blocks < sim.blocks ? blocks : sim.blocks;
}

static void
draw_range(uint64_t *first, unsigned *n) {
  unsigned most = sim.options.blocks_most;

  *n = 1 + (unsigned) random_below(random_chance(800) && most > 16 ? 16 : most);
  if (random_chance(sim.options.hot_permille)) {
    *first = random_below(sim.blocks < 64 ? sim.blocks : 64);
  } else {
    *first = random_below(span());
    if (random_chance(300)) /* at an extent's edge, across it */
      *first = *first / sim.extent_blocks * sim.extent_blocks - random_below(*n + 1);
    if (random_chance(300))
      *first &= ~UINT64_C(7);
  }
  if (*first >= sim.blocks)
    *first = 0;
  *first -= *first % sim.options.block_sectors;
  *n += sim.options.block_sectors - 1;
  *n -= *n % sim.options.block_sectors;
  if (*n > sim.blocks - *first)
    *n = (unsigned) (sim.blocks - *first);
}

static void
fill(void *data, uint32_t id, uint64_t first, unsigned n) {
  for (unsigned i = 0; i < n; i++)
    stamp_put(data, i, id, first + i);
}

/* ---- deadlines ---- */

static bool
overlap(const struct sf_request *a, const struct sf_request *b) {
  return a->offset < b->offset + b->length && b->offset < a->offset + a->length;
}

static bool
overlaps_another(unsigned index) {
  const struct sf_request *mine = &sim.client[index].request;

  for (unsigned i = 0; i < sim.options.clients; i++) {
    const struct client *other = &sim.client[i];

    if (i != index && other->busy &&
        (other->request.kind == SF_REQ_FLUSH) == (mine->kind == SF_REQ_FLUSH) &&
        (mine->kind == SF_REQ_FLUSH || overlap(mine, &other->request)))
      return true;
  }
  return false;
}

/* Whenever min_legs in-sync legs were well all the time, the answer comes at the deadline; and a
 * little later when a demotion has to be made durable first, once more for each leg that fell out
 * meanwhile, and once more where a copy was in the way. */
static void
check_deadline(const struct client *c) {
  const struct options *o = &sim.options;
  uint64_t took = sim.now_ns - c->began_ns, most = 0;
  unsigned sound = 0;

  for (unsigned k = 0; k < SF_KINDS; k++)
    if (sf_config_deadline_most(&sim.config, (enum sf_kind) k) > most)
      most = sf_config_deadline_most(&sim.config, (enum sf_kind) k);
  for (unsigned i = 0; i < o->legs; i++)
    sound += fault_is_sound(i) && sim.leg[i].cured_ns < c->began_ns &&
             sim.leg[i].stalled_until_ns < c->began_ns && sim.leg_state[i] == SF_STATE_IN_SYNC &&
             sim.in_sync_since_ns[i] < c->began_ns;
  if (!c->timely || sound < inside_min_legs(sim.volume) || sim.paused_until_ns > c->began_ns)
    return;
  COUNT(deadlines_checked);
  most = (2 + o->legs - sound) * most + 50 * SIM_MS;
  if (took > most)
    sim_fail("the deadline: a %s at block %lu took %lu ms, %u legs being well", //
             kind_name[c->request.kind], (unsigned long) (c->request.offset / BLOCK),
             (unsigned long) (took / SIM_MS), sound);
}

/* ---- submission and answer ---- */

static void
draw_request(struct sf_request *r, uint64_t *first, unsigned *n) {
  if (sim.options.is_busy) {
    r->kind = busy_draw_request(first, n, &r->fua);
    return;
  }
  r->kind = draw_kind();
  if (r->kind != SF_REQ_FLUSH)
    draw_range(first, n);
}

/* Requests that overlap go one behind the other, and each has its own turn on the legs. */
static unsigned
count_behind(unsigned index) {
  const struct sf_request *r = &sim.client[index].request;
  unsigned behind = 0;

  for (unsigned i = 0; i < sim.options.clients; i++) {
    const struct client *c = &sim.client[i];
    const struct sf_request *other = &c->request;
    bool conflict = r->kind != SF_REQ_READ || other->kind != SF_REQ_READ;

    if (i != index && c->busy && conflict && c->behind >= behind && overlap(r, other))
      behind = c->behind + 1;
  }
  return behind;
}

static void
submit(unsigned index) {
  struct client *c = &sim.client[index];
  struct sf_request *r = &c->request;
  uint64_t first = 0;
  unsigned n = 0;

  *r = (struct sf_request){.done = client_answered, .host = c};
  draw_request(r, &first, &n);
  if (r->kind != SF_REQ_FLUSH) {
    r->offset = first * BLOCK;
    r->length = (uint64_t) n * BLOCK;
  }
  if (r->kind == SF_REQ_READ || r->kind == SF_REQ_WRITE)
    r->buffer = buffer_new(r->length);
  if (r->kind == SF_REQ_WRITE || r->kind == SF_REQ_ZERO) {
    c->id = ++sim.next_id;
    r->fua = r->fua || random_chance(sim.options.fua_permille);
    r->may_unmap = r->kind == SF_REQ_ZERO && random_chance(sim.options.trim_permille);
    r->is_trim = r->may_unmap && c->id % 4 != 0;
    if (r->may_unmap)
      COUNT(trims);
    if (r->kind == SF_REQ_WRITE)
      fill(r->buffer->data, c->id, first, n);
    oracle_write_begin(c->id, r->kind == SF_REQ_ZERO, first, n);
  }
  c->began = oracle_step();
  c->began_ns = sim.now_ns;
  c->troubles = sim.troubles;
  c->busy = true;
  c->timely = sim.latencies_are_short && inside_is_settled(sim.volume) && !overlaps_another(index);
  sim.ops_begun++;
  if (sim.options.is_busy) {
    c->behind = count_behind(index);
    check_begun();
  }
  TRACE("client %u: %s%s w%u %lu+%u (extent %lu) @%lu", index, kind_name[r->kind],
        r->fua ? "+fua" : "", r->kind == SF_REQ_WRITE || r->kind == SF_REQ_ZERO ? c->id : 0,
        (unsigned long) first, n, (unsigned long) (first / sim.extent_blocks),
        (unsigned long) c->began);
  sf_volume_submit(sim.volume, r, sim.now_ns);
}

/* No client waits for it any more, and now it fails. */
static void
flush_is_doomed(void) {
  if (random_chance(500))
    return;
  COUNT(flushes_given_up);
  sim.troubles++;
  tio_doom_flush((unsigned) random_below(sim.options.legs));
}

void
client_event(unsigned index) {
  struct client *c = &sim.client[index];

  if (sim.healing || c->busy)
    return;
  if (sim.ops_begun >= sim.options.ops)
    return;
  if (sim.volume == NULL) {
    next_at(index, 5 * SIM_MS);
    return;
  }
  submit(index);
  if (sim.options.give_up_permyriad != 0 && random_below(10000) < sim.options.give_up_permyriad) {
    struct client *other = &sim.client[random_below(sim.options.clients)];

    for (unsigned i = 0; i < sim.options.clients && sim.options.flush_error_weight != 0; i++)
      if (sim.client[i].busy && sim.client[i].request.kind == SF_REQ_FLUSH && random_chance(500))
        other = &sim.client[i];
    if (other->busy) {
      if (other->request.kind == SF_REQ_FLUSH && sim.options.flush_error_weight != 0)
        flush_is_doomed();
      TRACE("client %ld is gone", (long) (other - sim.client));
      other->gave_up = true;
      COUNT(give_ups);
      sf_volume_give_up(sim.volume, &other->request, sim.now_ns);
      if (other->busy)
        sim_fail("a request that was given up is not answered");
    }
  }
}

static void
check_error(const struct client *c) {
  bool excused = sim.troubles != 0 || sim.stopping || c->gave_up ||
                 sim.options.eagain_permyriad != 0 || !sim.latencies_are_short;

  if (c->request.error != 0 && !excused)
    sim_fail("a %s failed with %d in a healthy world", kind_name[c->request.kind],
             c->request.error);
}

static uint64_t
pause_ns(void) {
  if (sim.lull)
    return LULL_PAUSE_MS * SIM_MS;
  return random_chance(sim.options.rest_permille) ? sim.options.rest_ns : sim.options.think_ns;
}

void
client_answered(struct sf_request *r) {
  struct client *c = r->host;
  bool good = r->error == 0;
  uint64_t first = r->offset / BLOCK;
  unsigned n = (unsigned) (r->length / BLOCK);

  if (!c->busy)
    sim_fail("a request is answered twice");
  TRACE("client %ld: %s answered, %d", (long) (c - sim.client), kind_name[r->kind], r->error);
  if (sim.options.is_busy)
    check_answered(c);
  else
    check_error(c);
  if (r->undone)
    COUNT(trims_undone);
  if (good)
    check_deadline(c);
  else
    COUNT(failed_requests);
  if (!good && r->kind == SF_REQ_READ &&
      sf_bad_any(inside_bad(sim.volume), r->offset, r->offset + r->length))
    COUNT(bad_reads);
  switch (r->kind) {
  case SF_REQ_READ:
    if (good)
      oracle_read_end(c->began, first, n, r->buffer->data);
    break;
  case SF_REQ_FLUSH:
    oracle_flush_end(c->began, good);
    break;
  default:
    if (good && r->undone)
      oracle_write_undone(c->id);
    else
      oracle_write_end(c->id, good, r->fua);
    if (good && !r->undone)
      bad_written(first, n);
  }
  if (r->buffer != NULL)
    buffer_unref(r->buffer);
  r->buffer = NULL;
  c->busy = c->gave_up = false;
  sim.ops_answered++;
  sim.answered_ns = sim.now_ns;
  next_at((unsigned) (c - sim.client), random_around(pause_ns()));
}

/* The process has ended: no answer will come. */
void
clients_orphaned(void) {
  for (unsigned i = 0; i < sim.options.clients; i++) {
    struct client *c = &sim.client[i];

    if (!c->busy)
      continue;
    if (c->request.buffer != NULL)
      buffer_unref(c->request.buffer);
    c->busy = c->gave_up = false;
    next_at(i, random_around(sim.options.think_ns));
  }
}

/* Writing the pages of the maps: to every in-sync leg and to one that is about to join, one write of
 * a page per leg at a time, under the deadline of a write (R10).  What was set meanwhile goes with the
 * next write, so that however many wait for a page, two writes serve them. */
#include "volume/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { RETRY_MS = 100, RESUME_MS = 5, PAGE_WORDS = SF_MAP_EXTENTS / 64 };

const struct sf_sm_table sf_map_write_table = {
    .machine = "map-write",
    .states = MAP_WRITE_STATES,
    .name = {"idle", "writing", "held"},
    .moves =
        {
            [MAP_IDLE] = SF_SM_TO(MAP_WRITING),
            [MAP_WRITING] = SF_SM_TO(MAP_IDLE) | SF_SM_TO(MAP_HELD),
            [MAP_HELD] = SF_SM_TO(MAP_IDLE),
        },
};

static void
write_move(struct sf_volume *v, struct map_write *write, enum map_write_state state) {
  struct sf_sm_hooks hooks = sf_volume_hooks;

  if (v->host.trace == NULL)
    hooks.trace = NULL;
  if (state == MAP_WRITING)
    v->maps.writing++;
  else if (write->sm.state == MAP_WRITING)
    v->maps.writing--;
  sf_sm_move(&write->sm, state, &hooks, v);
}

/* ---- contents ---- */

static void
put_words(const struct sf_map *map, uint64_t page, uint8_t bits[SF_MAP_BYTES]) {
  uint64_t words = (map->extents + 63) / 64, first = page * PAGE_WORDS;

  for (unsigned i = 0; i < PAGE_WORDS && first + i < words; i++)
    for (unsigned k = 0; k < 8; k++)
      bits[8 * i + k] |= (uint8_t) (map->words[first + i] >> 8 * k);
}

/* A leg outside the set lacks what is stale, and may lack what it has not flushed; one in it lacks
 * nothing, and what it has not flushed has intent. */
void
map_encode(const struct sf_volume *v, uint64_t index, uint8_t bytes[SF_PAGE_BYTES]) {
  struct sf_map_page page = {.volume = v->identity.volume,
                             .page = (uint32_t) index,
                             .number = v->maps.page[index].version};
  legset inside = volume_serving(v);

  put_words(&v->maps.intent, index, page.intent);
  for (unsigned i = 0; i < v->legs; i++) {
    if (inside & legbit(i))
      continue;
    put_words(&v->leg[i].stale, index, page.stale[i]);
    put_words(&v->leg[i].unflushed, index, page.stale[i]);
    put_words(&v->leg[i].flushing, index, page.stale[i]);
  }
  sf_map_page_encode(&page, bytes);
}

/* ---- who is to have it ---- */

static legset
targets(const struct sf_volume *v) {
  legset set = v->latest.in_sync | v->counted;

  if (v->join_step == STEP_CARRY)
    set |= legbit((unsigned) v->joining);
  return set;
}

static legset
lacking(const struct sf_volume *v, const struct map_page *page, uint64_t version) {
  legset set = 0;

  EACH_LEG(leg, targets(v))
    if (page->done[leg] < version)
      set |= legbit(leg);
  return set;
}

bool
map_is_durable(const struct sf_volume *v, uint64_t page, uint64_t version) {
  EACH_LEG(leg, v->needs)
    if (v->maps.page[page].done[leg] < version)
      return false;
  return true;
}

/* ---- what is to be written ---- */

void
map_need(struct sf_volume *v, uint64_t index, uint64_t version) {
  struct map_page *page = &v->maps.page[index];
  legset lack = lacking(v, page, version);

  if (page->must < version)
    page->must = version;
  /* A leg that an answer still needs and that is on its way out gets nothing more. */
  if (lack != 0 && sf_map_set(&v->maps.urgent, index))
    v->dirty = true;
}

void
map_changed(struct sf_volume *v, uint64_t index, bool urgent) {
  uint64_t version = ++v->maps.page[index].version;

  if (urgent)
    map_need(v, index, version);
  else
    sf_map_set(&v->maps.lazy, index);
  v->dirty = true;
}

void
map_leg_left(struct sf_volume *v, unsigned leg) {
  for (uint64_t p = 0; p < v->maps.pages; p++) {
    v->maps.page[p].done[leg] = v->maps.page[p].sent[leg] = 0;
    v->maps.page[p].overdue &= (legset) ~legbit(leg);
    v->maps.page[p].failed &= (legset) ~legbit(leg);
  }
  sf_map_zero(&v->leg[leg].settled);
  sf_map_zero(&v->leg[leg].settling);
  v->maps.retry_ns[leg] = 0;
}

void
map_carry(struct sf_volume *v, unsigned leg) {
  for (uint64_t p = 0; p < v->maps.pages; p++) {
    struct map_page *page = &v->maps.page[p];

    page->carry = page->version;
    if (page->done[leg] < page->version)
      map_need(v, p, page->version);
  }
}

/* Not "is nothing under way there": clients that write to ever new extents would keep it waiting. */
bool
map_is_carried(const struct sf_volume *v, unsigned leg) {
  for (uint64_t p = 0; p < v->maps.pages; p++)
    if (v->maps.page[p].done[leg] < v->maps.page[p].carry)
      return false;
  return true;
}

void
map_leg_flushed(struct sf_volume *v, unsigned index) {
  struct sf_map *settling = &v->leg[index].settling;

  for (uint64_t p = sf_map_next(settling, 0); p < v->maps.pages; p = sf_map_next(settling, p + 1))
    map_changed(v, p, false);
  sf_map_zero(settling);
}

/* ---- writing ---- */

static struct map_write *
idle_write(struct sf_volume *v) {
  for (unsigned i = 0; i < v->maps.writes; i++)
    if (v->maps.write[i].sm.state == MAP_IDLE)
      return &v->maps.write[i];
  return NULL;
}

static void write_event(struct io *io, unsigned leg, const struct sf_tio_event *event);

/* False: no room below, try again later. */
static bool
start_write(struct sf_volume *v, uint64_t index) {
  struct map_page *page = &v->maps.page[index];
  struct io_args args = {
      .op = SF_TIO_WRITE,
      .flags = SF_TIO_FUA,
      .kind = SF_WRITE_KIND,
      .use = WINDOW_META,
      .legs = lacking(v, page, page->version) & (legset) ~(page->busy | page->failed),
      .offset = SF_MAP_PAGE_OFFSET(index),
      .length = SF_PAGE_BYTES,
  };
  struct map_write *write;

  if (args.legs == 0)
    return true;
  write = idle_write(v);
  args.buffer = write == NULL ? NULL : v->host.buffer_get(v->ctx, SF_PAGE_BYTES);
  if (args.buffer == NULL)
    return false;
  map_encode(v, index, args.buffer->data);
  write->io.owner = write;
  write->io.on_event = write_event;
  if (io_submit(v, &write->io, &args) < 0) {
    v->host.buffer_put(v->ctx, args.buffer);
    return false;
  }
  write->buffer = args.buffer;
  write->page = index;
  write->version = page->version;
  write->pending = args.legs;
  page->busy |= args.legs;
  EACH_LEG(leg, args.legs)
    page->sent[leg] = page->version;
  write_move(v, write, MAP_WRITING);
  return true;
}

static void
write_event(struct io *io, unsigned leg, const struct sf_tio_event *event) {
  struct sf_volume *v = io->volume;
  struct map_write *write = io->owner;
  struct map_page *page = &v->maps.page[write->page];
  legset bit = legbit(leg);

  v->dirty = true;
  if (event_is_final(event))
    page->busy &= (legset) ~bit;
  if (!event->late && event->state == SF_TIO_TIMEOUT) {
    page->overdue |= bit;
    sf_map_set(&v->maps.troubled, write->page);
    return;
  }
  if (!event->late) {
    write->pending &= (legset) ~bit;
    page->overdue &= (legset) ~bit;
    if (event->state == SF_TIO_OK && (targets(v) & bit) && page->done[leg] < write->version)
      page->done[leg] = write->version;
    if (event->state == SF_TIO_ERROR) {
      page->failed |= bit;
      v->maps.error[leg] = event->error;
      v->maps.retry_ns[leg] = v->now_ns + RETRY_MS * SF_MS;
      sf_map_set(&v->maps.troubled, write->page);
    }
  }
  if (write->pending == 0 && write->buffer != NULL) {
    v->host.buffer_put(v->ctx, write->buffer);
    write->buffer = NULL;
    if (io->running > 0)
      write_move(v, write, MAP_HELD);
  }
  if (io->running == 0 && write->pending == 0)
    write_move(v, write, MAP_IDLE);
}

/* ---- misses ---- */

static legset
have_the_page(const struct sf_volume *v, const struct map_page *page, uint64_t version) {
  legset set = 0;

  EACH_LEG(leg, volume_serving(v)) {
    if (page->done[leg] >= version)
      set |= legbit(leg);
  }
  return set;
}

static void
judge_leg(struct sf_volume *v, uint64_t index, unsigned leg) {
  const struct map_page *page = &v->maps.page[index];
  char reason[128];
  struct miss miss = {.leg = leg,
                      .kind = SF_WRITE_KIND,
                      .failed = page->failed & legbit(leg),
                      .error = v->maps.error[leg],
                      .witnesses = have_the_page(v, page, page->sent[leg]),
                      .reason = reason};

  if (!miss.failed && !insync_leg_hangs(v, leg, miss.kind))
    return;
  if (miss.failed)
    snprintf(reason, sizeof reason, "map write at %" PRIu64 ": %s",
             (uint64_t) SF_MAP_PAGE_OFFSET(index), strerror(-miss.error));
  else
    snprintf(reason, sizeof reason, "map write at %" PRIu64 " not answered in %" PRIu64 " ms",
             (uint64_t) SF_MAP_PAGE_OFFSET(index), deadline_of(v, leg, miss.kind) / SF_MS);
  insync_judge(v, &miss);
}

static void
judge(struct sf_volume *v) {
  struct sf_map *troubled = &v->maps.troubled;

  for (uint64_t p = sf_map_next(troubled, 0); p < v->maps.pages; p = sf_map_next(troubled, p + 1)) {
    struct map_page *page = &v->maps.page[p];

    EACH_LEG(leg, page->overdue | page->failed) {
      judge_leg(v, p, leg);
      if ((page->failed & legbit(leg)) && v->now_ns >= v->maps.retry_ns[leg])
        page->failed &= (legset) ~legbit(leg);
    }
    if ((page->overdue | page->failed) == 0)
      sf_map_clear(troubled, p);
  }
}

static void
drive(struct sf_volume *v, struct sf_map *set, bool urgent) {
  for (uint64_t p = sf_map_next(set, 0); p < v->maps.pages; p = sf_map_next(set, p + 1)) {
    struct map_page *page = &v->maps.page[p];

    if (lacking(v, page, urgent ? page->must : page->version) == 0) {
      sf_map_clear(set, p);
    } else if (v->now_ns < v->maps.resume_ns || v->maps.writing >= MAP_WRITES_MOST) {
      return;
    } else if (!start_write(v, p)) {
      v->maps.resume_ns = v->now_ns + RESUME_MS * SF_MS;
      volume_arm(v, v->maps.resume_ns);
      return;
    }
  }
}

void
map_settle(struct sf_volume *v) {
  if (v->phase != PHASE_SERVING && v->phase != PHASE_STOPPING)
    return;
  judge(v);
  drive(v, &v->maps.urgent, true);
  drive(v, &v->maps.lazy, false);
}

bool
map_is_quiet(const struct sf_volume *v) {
  return v->maps.urgent.set == 0 && v->maps.lazy.set == 0 && v->maps.troubled.set == 0 &&
         v->maps.intent.set == 0;
}

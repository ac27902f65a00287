/* Writing the pages of the maps: to every in-sync leg and to a leg about to join, one write of a
 * page per leg at a time, under the deadline of a write (R10). Bits set meanwhile go with the next
 * write, so that however many ops wait for a page, two writes serve them.
 *
 * Where a page has two copies (R17) they are written in turns, the first one first: what is torn
 * leaves the other one, and the second is never the only one that has what counts. */
#include "volume/set/map_write.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "volume/ground/deadline.h"
#include "volume/ground/facts.h"
#include "volume/ground/host.h"
#include "volume/ground/leg_io.h"
#include "volume/ground/silence.h"
#include "volume/set/insync.h"
#include "volume/set/map_pages.h"

enum { RETRY_MS = 100, RESUME_MS = 5 };

const struct sf_state_table sf_map_write_table = {
    .machine = "map-write",
    .states = MAP_WRITE_STATES,
    .name = {"idle", "writing", "held"},
    .moves =
        {
            [MAP_IDLE] = SF_MOVE_TO(MAP_WRITING),
            [MAP_WRITING] = SF_MOVE_TO(MAP_IDLE) | SF_MOVE_TO(MAP_HELD),
            [MAP_HELD] = SF_MOVE_TO(MAP_IDLE),
        },
};

static void
write_move(struct sf_volume *v, struct map_write *write, enum map_write_state state) {
  struct sf_state_hooks hooks = sf_volume_hooks;

  if (v->host.trace == NULL)
    hooks.trace = NULL;
  if (state == MAP_WRITING)
    v->maps.writing++;
  else if (write->machine.state == MAP_WRITING)
    v->maps.writing--;
  sf_state_move(&write->machine, state, &hooks, v);
}

/* ---- writing ---- */

static struct map_write *
idle_write(struct sf_volume *v) {
  for (unsigned i = 0; i < v->maps.writes; i++)
    if (v->maps.write[i].machine.state == MAP_IDLE)
      return &v->maps.write[i];
  return NULL;
}

static void write_event(struct leg_io *io, unsigned leg, const struct sf_tio_event *event);

/* Of these legs, the ones whose next write is of that copy. */
static legset
legs_of_copy(const struct sf_volume *v, const struct map_page *page, legset legs, bool second) {
  legset set = 0;

  EACH_LEG(leg, legs)
    if ((v->maps.twice && page->first[leg] > page->done[leg]) == second)
      set |= legbit(leg);
  return set;
}

/* False: no room below, try again later. */
static bool
start_copy(struct sf_volume *v, uint64_t index, bool second) {
  struct map_page *page = &v->maps.page[index];
  legset idle = sf_map_lacking(v, page, page->version) &
                (legset) ~(page->busy | page->failed | v->exchange.unheard);
  struct leg_io_args args = {
      .op = SF_TIO_WRITE,
      .flags = SF_TIO_FUA,
      .kind = SF_WRITE_KIND,
      .use = WINDOW_META,
      .legs = legs_of_copy(v, page, idle, second),
      .offset = second ? SF_MAP_SECOND_OFFSET(index) : SF_MAP_PAGE_OFFSET(index),
      .length = SF_PAGE_BYTES,
  };
  struct map_write *write;

  if (args.legs == 0)
    return true;
  write = idle_write(v);
  args.buffer = write == NULL ? NULL : v->host.buffer_get(v->ctx, SF_PAGE_BYTES);
  if (args.buffer == NULL)
    return false;
  sf_map_encode(v, index, args.buffer->data);
  write->io.owner = write;
  write->io.on_event = write_event;
  if (sf_leg_io_submit(v, &write->io, &args) < 0) {
    v->host.buffer_put(v->ctx, args.buffer);
    return false;
  }
  write->buffer = args.buffer;
  write->page = index;
  write->version = page->version;
  write->second = second;
  write->pending = args.legs;
  page->busy |= args.legs;
  EACH_LEG(leg, args.legs)
    page->sent[leg] = page->version;
  page->read &= (legset) ~args.legs;
  write_move(v, write, MAP_WRITING);
  return true;
}

static bool
start_write(struct sf_volume *v, uint64_t index) {
  return start_copy(v, index, false) && (!v->maps.twice || start_copy(v, index, true));
}

/* Behind the second copy stands what was in the first one before it was sent, or more. */
static void
note_written(const struct sf_volume *v, struct map_page *page, const struct map_write *write,
             unsigned leg) {
  if (!write->second && page->first[leg] < write->version)
    page->first[leg] = write->version;
  if ((write->second || !v->maps.twice) && page->done[leg] < page->first[leg])
    page->done[leg] = page->first[leg];
}

static void
write_event(struct leg_io *io, unsigned leg, const struct sf_tio_event *event) {
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
    if (event->state == SF_TIO_OK && (sf_map_targets(v) & bit))
      note_written(v, page, write, leg);
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

  EACH_LEG(leg, sf_insync_legs(v)) {
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
                      .offset = SF_MAP_PAGE_OFFSET(index),
                      .failed = page->failed & legbit(leg),
                      .error = v->maps.error[leg],
                      .witnesses = have_the_page(v, page, page->sent[leg]),
                      .reason = reason};

  if (!miss.failed && !sf_insync_leg_hangs(v, leg, miss.kind))
    return;
  if (miss.failed)
    snprintf(reason, sizeof reason, "map write at %" PRIu64 ": %s",
             (uint64_t) SF_MAP_PAGE_OFFSET(index), strerror(-miss.error));
  else
    snprintf(reason, sizeof reason, "map write at %" PRIu64 " not answered in %" PRIu64 " ms",
             (uint64_t) SF_MAP_PAGE_OFFSET(index), sf_deadline_of(v, leg, miss.kind) / SF_MS);
  sf_insync_judge(v, &miss);
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

/* Under way, but for those that only a leg which answers nothing keeps: the pages that a newcomer
 * is to have would wait for these. */
static unsigned
writing(const struct sf_volume *v) {
  unsigned n = v->maps.writing;

  for (unsigned i = 0; v->exchange.unheard != 0 && i < v->maps.writes; i++) {
    const struct map_write *write = &v->maps.write[i];

    n -= write->machine.state == MAP_WRITING &&
         (write->pending & (legset) ~v->exchange.unheard) == 0;
  }
  return n;
}

static void
drive(struct sf_volume *v, struct sf_map *set, bool urgent) {
  for (uint64_t p = sf_map_next(set, 0); p < v->maps.pages; p = sf_map_next(set, p + 1)) {
    struct map_page *page = &v->maps.page[p];

    if (sf_map_lacking(v, page, urgent ? page->must : page->version) == 0) {
      sf_map_clear(set, p);
    } else if (v->now_ns < v->maps.resume_ns || writing(v) >= MAP_WRITES_MOST) {
      return;
    } else if (!start_write(v, p)) {
      v->maps.resume_ns = v->now_ns + RESUME_MS * SF_MS;
      sf_vol_arm(v, v->maps.resume_ns);
      return;
    }
  }
}

void
sf_map_settle(struct sf_volume *v) {
  if (v->phase != PHASE_SERVING && v->phase != PHASE_STOPPING)
    return;
  judge(v);
  if (v->latest.clean)
    return; /* nothing else is written behind the record of a clean stop (R12) */
  drive(v, &v->maps.urgent, true);
  drive(v, &v->maps.lazy, false);
}

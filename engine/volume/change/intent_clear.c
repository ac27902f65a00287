/* The end of intent: bits are cleared lazily.  Now and then, and soon when the clients are quiet,
 * we look for extents that were not written lately; when nothing is in flight there and every
 * in-sync leg has flushed since, the bit goes, and its page takes with it the stale bits that it
 * stood for. */
#include "volume/change/intent_clear.h"

#include "volume/ground/facts.h"
#include "volume/ops/own_flush.h"
#include "volume/set/leg.h"
#include "volume/set/map_pages.h"

enum {
  LOOKS_BETWEEN = 6, /* a set that is not too large stays hot so many delays */
  CHECKPOINT_MS = 1000,
};

/* Only while the set stands still (reading 12). */
static bool
may_clear(const struct sf_volume *v) {
  return sf_record_is_durable(v) && v->joining < 0 && v->promoting < 0 && v->grow.step == GROW_NONE;
}

static void
find_busy(struct sf_volume *v) {
  struct sf_map *busy = &v->maps.busy;

  sf_map_zero(busy);
  EACH_ACTIVE(op, v) {
    if (!op->kind->reads || op->writing != 0)
      sf_map_set_range(busy, extent_of(v, op->offset), extent_of(v, op->offset + op->length - 1));
  }
  sf_map_unite(busy, &v->unconverged);
}

/* What a failed flush may have lost there keeps its intent too: it is all that a start knows of
 * it. */
static bool
is_unflushed(const struct sf_volume *v, uint64_t extent) {
  EACH_LEG(leg, v->latest.in_sync)
    if (sf_map_test(&v->leg[leg].unflushed, extent) || sf_map_test(&v->leg[leg].flushing, extent) ||
        sf_map_test(&v->leg[leg].lost, extent))
      return true;
  return false;
}

/* Clears what it may of the idle ones; true: some of the rest only want a flush. */
static bool
clear_idle(struct sf_volume *v) {
  struct maps *maps = &v->maps;
  uint64_t bumped = maps->pages;
  bool want_flush = false;

  /* Word by word: after a crash with damaged maps all extents may be among them. */
  find_busy(v);
  sf_map_subtract(&maps->idle, &maps->touched);
  sf_map_subtract(&maps->idle, &maps->busy);
  for (uint64_t e = sf_map_next(&maps->idle, 0); e < v->extents;
       e = sf_map_next(&maps->idle, e + 1)) {
    if (is_unflushed(v, e)) {
      want_flush = true;
      continue;
    }
    sf_map_clear(&maps->idle, e);
    sf_map_clear(&maps->intent, e);
    maps->intent_version[e] = 0;
    if (map_page_of(e) != bumped) {
      bumped = map_page_of(e);
      sf_map_changed(v, bumped, false);
    }
  }
  return want_flush;
}

static bool
resync_wants_flush(const struct sf_volume *v) {
  for (unsigned i = 0; i < v->legs; i++)
    if (sf_leg_state(&v->leg[i]) == SF_STATE_CATCHING_UP && v->leg[i].settled.set > 0)
      return true;
  return false;
}

static void
flush_ended(struct sf_volume *v, int error) {
  if (error == 0 && may_clear(v) && v->phase == PHASE_SERVING)
    clear_idle(v);
}

static void
look_for_idle(struct sf_volume *v, bool quiet) {
  struct maps *maps = &v->maps;

  sf_map_zero(&maps->idle);
  sf_map_unite(&maps->idle, &maps->intent);
  if (!quiet)
    sf_map_subtract(&maps->idle, &maps->touched);
  sf_map_zero(&maps->touched);
  maps->looks = 0;
}

/* True: some extents could lose their intent after a flush. */
static bool
look(struct sf_volume *v) {
  struct maps *maps = &v->maps;
  bool quiet = v->now_ns - maps->written_ns >= v->config.intent_delay_ns;
  bool crowded = maps->intent.set > v->config.hot_extents;

  maps->look_ns = v->now_ns + v->config.intent_delay_ns;
  if (maps->intent.set == 0 || !(quiet || crowded || ++maps->looks >= LOOKS_BETWEEN))
    return false;
  look_for_idle(v, quiet);
  return clear_idle(v);
}

/* A copied extent counts when it is flushed.  A leg that falls back loses the others, so that
 * without these flushes a leg that pauses every few seconds would never catch up. */
void
sf_intent_tick(struct sf_volume *v) {
  struct maps *maps = &v->maps;
  bool want_flush;

  if (v->phase != PHASE_SERVING || maps->flush.running || !may_clear(v))
    return;
  want_flush = v->now_ns >= maps->look_ns && look(v);
  if (!want_flush && !(v->now_ns >= maps->checkpoint_ns && resync_wants_flush(v)))
    return;
  maps->checkpoint_ns = v->now_ns + CHECKPOINT_MS * SF_MS;
  if (maps->checkpoint_ns > maps->look_ns)
    maps->checkpoint_ns = maps->look_ns;
  sf_own_flush_begin(v, &maps->flush, flush_ended);
}

/* A leg that catches up may still have a write in flight that was answered without it. */
static void
leave_stale_what_runs(struct sf_volume *v) {
  EACH_ACTIVE(op, v) {
    if (op->kind->writes)
      EACH_LEG(leg, op->sent & (legset) ~(op->ok | v->latest.in_sync))
        sf_leg_mark_stale(v, leg, op->offset, op->length);
  }
}

/* The stale bits go to disk too: after a clean stop no start asks for intent. */
bool
sf_intent_stop(struct sf_volume *v) {
  struct maps *maps = &v->maps;

  sf_map_subtract(&v->unconverged, &v->unwritten); /* what is half zeroed still reads as zeros */
  sf_map_zero(&v->copier.zeroing);
  if (v->unconverged.set != 0)
    return false;
  EACH_LEG(leg, v->latest.in_sync) {
    sf_map_subtract(&v->leg[leg].unflushed, &v->unwritten);
    sf_map_subtract(&v->leg[leg].flushing, &v->unwritten);
  }
  EACH_LEG(leg, v->latest.in_sync)
    if (v->leg[leg].unflushed.set != 0 || v->leg[leg].flushing.set != 0 || v->leg[leg].flush_failed)
      return false;
  leave_stale_what_runs(v);
  for (uint64_t p = 0; p < maps->pages; p++)
    if (maps->page[p].version > 1 || maps->page[p].had_intent || sf_map_test(&maps->lazy, p))
      sf_map_changed(v, p, true);
  sf_map_zero(&maps->intent);
  return true;
}

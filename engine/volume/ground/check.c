/* Invariants of a volume that has settled.  When one is broken the program ends before it answers
 * anything on the strength of it.  Cheap ones are checked always, the rest in tests and in the
 * simulator. */
#include "volume/ground/check.h"

#include "volume/ground/facts.h"

enum {
  /* In tests.  A settle of the simulator takes 38 at most; where a list of bad ranges is full, 2
   * for each. */
  PASSES_SEEN_MOST = 10000,
  PASSES_MOST = 1000000, /* some seconds */
};

/* An answer needs every leg that a record names (R1, R10).  While a start claims its term nothing
 * is answered, and these legs are not known yet; nor is anything after a stop, which may come
 * during the claim. */
static void
check_set(const struct sf_volume *v) {
  legset named = v->latest.in_sync | v->durable.in_sync;

  SF_ASSERT(v->latest.in_sync != 0);
  SF_ASSERT((named & (legset) ~sf_members(v)) == 0);
  if (v->phase != PHASE_CLAIMING && v->phase != PHASE_STOPPED)
    SF_ASSERT((named & (legset) ~v->ack_legs) == 0);
}

static void
check_newcomer(const struct sf_volume *v) {
  SF_ASSERT((v->joining < 0) == (v->join_step == JOIN_NONE));
  SF_ASSERT(v->counted == 0 || (v->joining >= 0 && v->counted == legbit((unsigned) v->joining)));
  SF_ASSERT((v->counted & (legset) ~v->ack_legs) == 0);
  SF_ASSERT(v->promoting < 0 || (v->promoting == v->joining && v->join_step == JOIN_RECORD &&
                                 (v->latest.in_sync & legbit((unsigned) v->promoting))));
}

/* It is in the set until the record that names another leg instead of it is durable. */
static void
check_exchange(const struct sf_volume *v) {
  legset leaving = v->exchange.leaving;

  SF_ASSERT(legcount(v->exchange.unheard) <= 1);
  SF_ASSERT(leaving == 0 || v->promoting >= 0);
  SF_ASSERT((v->exchange.promoted & (legset) ~v->ack_legs) == 0);
  SF_ASSERT(v->exchange.promoted == 0 || !sf_record_is_durable(v));
  SF_ASSERT((leaving & (v->latest.in_sync | (legset) ~(v->durable.in_sync & v->ack_legs))) == 0);
}

static void
check_pages(const struct sf_volume *v) {
  for (uint64_t p = 0; p < v->maps.pages; p++) {
    const struct map_page *page = &v->maps.page[p];

    for (unsigned i = 0; i < v->legs; i++)
      SF_ASSERT(page->done[i] <= page->sent[i] && page->sent[i] <= page->version);
  }
}

void
sf_vol_check(const struct sf_volume *v) {
  check_set(v);
  check_newcomer(v);
  check_exchange(v);
  SF_ASSERT(v->served_bytes <= v->size_bytes);
  if (v->checks_all)
    check_pages(v);
}

/* Each pass moves some machine forward, and none moves back without an event from outside.  A
 * volume that went on for ever would hold its lock, and could not be asked why. */
void
sf_vol_check_passes(const struct sf_volume *v, unsigned passes) {
  SF_ASSERT(passes <= (v->checks_all ? PASSES_SEEN_MOST : PASSES_MOST));
}

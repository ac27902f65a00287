/* Scrubs, and what they are for: blocks that rot unseen.  A rotten block reads otherwise than was
 * written; the oracle keeps the written value, so rot changes nothing for the other questions, and
 * copies of the block are rotten too.  A scrub must
 *   - report no block that is alike;
 *   - with a majority of sound copies, name the rotten one;
 *   - find blocks that differed all the while that it ran, on the legs that it compared, but in
 *     extents that were never written when it passed them: those read as zeros without a leg (R17);
 *   - and its repairs must change no byte that was written (R8's question in submitted.c asks
 *     that). */
#include <string.h>

#include "sim/sim.h"

/* Was the extent never written, as far as the scrub had not passed it yet?  It may be zeroed already
 * and keep its bit for seconds, until a flush has ended: what rots there meanwhile counts when the
 * bit is gone, and a scrub that passed the extent before has not seen it. */
static uint64_t was_unwritten[EXTENTS_MOST / 64]; /* a bit for each */

void
scrub_start(void) {
  if (sim.options.scrub_gap_ns != 0)
    event_add(random_around(sim.options.scrub_gap_ns), EV_SCRUB, 0, 0);
  if (sim.options.rot_gap_ns != 0)
    event_add(random_around(sim.options.rot_gap_ns), EV_ROT, 0, 0);
}

void
scrub_rots(struct sim_leg *leg, uint64_t block, bool rotten) {
  if (leg->rotten[block] == rotten)
    return;
  leg->rotten[block] = rotten;
  leg->rot_changed[block] = sim.steps;
}

/* The leg has another disk: what a scrub has told of the one before was right. */
void
scrub_swapped(struct sim_leg *leg, struct sim_leg *taken_out) {
  for (uint64_t b = 0; b < sim.blocks_room; b++)
    if (leg->rotten[b] != taken_out->rotten[b])
      leg->rot_changed[b] = sim.steps;
    else if (leg->rot_changed[b] < taken_out->rot_changed[b])
      leg->rot_changed[b] = taken_out->rot_changed[b];
}

/* ---- what happens ---- */

static bool
is_sound_elsewhere(unsigned leg, uint64_t block) {
  for (unsigned i = 0; i < sim.options.legs; i++)
    if (i != leg && sim.leg[i].rotten[block])
      return false;
  return true;
}

static void
rot(void) {
  struct sim_leg *leg = &sim.leg[random_below(sim.options.legs)];
  uint64_t block = random_below(sim.blocks), n = 1 + random_below(random_chance(100) ? 600 : 4);

  TRACE("leg %u: %lu blocks rot at %lu", leg->index, (unsigned long) n, (unsigned long) block);
  for (; n > 0 && block < sim.blocks && block < leg->blocks; n--, block++)
    if (is_sound_elsewhere(leg->index, block)) {
      COUNT(rotten);
      scrub_rots(leg, block, true);
    }
}

static void
begin(void) {
  struct sf_scrub_order order = {.repair = random_chance(500), .from = -1};
  int r;

  if (random_chance(300))
    order.rate = 1024 * 1024 * (1 + random_below(64));
  if (order.repair && random_chance(300))
    order.from = (int) random_below(sim.options.legs);
  inside_note_unwritten(sim.volume, false, was_unwritten);
  r = sf_volume_scrub(sim.volume, &order, sim.now_ns);
  TRACE("operator: scrub%s from %d: %d", order.repair ? " and repair" : "", order.from, r);
  if (r != 0)
    return;
  COUNT(scrubs);
  sim.scrub_begun_step = sim.steps;
  sim.scrub_told_bytes = 0;
  sim.scrub_life = sim.life;
}

static void
act(void) {
  if (sim.volume == NULL || sim.stopping)
    return;
  if (sim.scrub_begun_step == 0)
    begin();
  else if (random_chance(600))
    sf_volume_scrub_pause(sim.volume, random_chance(400), sim.now_ns);
  else if (random_chance(300))
    sf_volume_scrub_cancel(sim.volume, sim.now_ns);
}

void
scrub_event(const struct event *event) {
  bool is_rot = event->kind == EV_ROT;

  if (sim.healing)
    return;
  event_add(sim.now_ns + random_around(is_rot ? sim.options.rot_gap_ns : sim.options.scrub_gap_ns),
            event->kind, 0, 0);
  if (is_rot)
    rot();
  else
    act();
}

/* ---- what must hold ---- */

/* Since the scrub began. */
static bool
was_rotten(unsigned leg, uint64_t block) {
  return sim.leg[leg].rotten[block] || sim.leg[leg].rot_changed[block] >= sim.scrub_begun_step;
}

/* In that block of the volume's, which may be larger than ours. */
static unsigned
rotten_legs(uint64_t block) {
  unsigned sectors = sim.options.block_sectors, legs = 0;

  block -= block % sectors;
  for (unsigned i = 0; i < sim.options.legs; i++)
    for (unsigned k = 0; k < sectors && block + k < sim.blocks; k++)
      if (was_rotten(i, block + k))
        legs |= 1u << i;
  return legs;
}

static void
check_range(const struct sf_scrub_status *scrub, const struct sf_scrub_range *range) {
  for (uint64_t at = range->begin; at < range->end; at += BLOCK) {
    unsigned rotten = rotten_legs(at / BLOCK);
    bool names_a_sound_leg = range->what == SF_SCRUB_WRONG && scrub->order.from < 0 &&
                             (rotten & (rotten - 1)) == 0 && (range->legs & ~rotten) != 0;
    char text[1024];

    if (range->what == SF_SCRUB_UNREADABLE || (rotten != 0 && !names_a_sound_leg))
      continue;
    oracle_explain(at / BLOCK, text, sizeof text);
    if (rotten == 0)
      sim_fail("a scrub tells of a mismatch where all is alike: %s", text);
    sim_fail("a scrub calls legs 0x%x wrong, and rotten are 0x%x: %s", range->legs, rotten, text);
  }
}

static bool
is_told(const struct sf_scrub_status *scrub, uint64_t block) {
  for (unsigned i = 0; i < scrub->ranges; i++)
    if (scrub->range[i].begin / BLOCK <= block && block < scrub->range[i].end / BLOCK)
      return true;
  return scrub->ranges == SF_SCRUB_RANGES_MOST;
}

/* Rotten on some of the legs that it compared, and not on all, since it began; and not called bad,
 * which no client reads. */
static bool
must_be_found(uint64_t block, unsigned legs) {
  uint64_t extent = block >> sim.extent_shift;
  unsigned rotten = 0;

  if (bad_is_in(inside_bad(sim.volume), block))
    return false;
  if (was_unwritten[extent / 64] >> (extent % 64) & 1) /* it is passed over */
    return false;
  for (unsigned i = 0; i < sim.options.legs; i++) {
    if (sim.leg[i].rot_changed[block] >= sim.scrub_begun_step)
      return false;
    rotten |= (unsigned) sim.leg[i].rotten[block] << i;
  }
  return (rotten & legs) != 0 && (rotten & legs) != legs;
}

static void
check_end(const struct sf_scrub_status *scrub) {
  unsigned legs = scrub->legs & inside_serving(sim.volume);
  uint64_t end = scrub->total_bytes / BLOCK;

  COUNT(scrubs_done);
  if (scrub->done_bytes < scrub->total_bytes)
    sim_fail("a scrub has ended, and compared %lu of %lu bytes", (unsigned long) scrub->done_bytes,
             (unsigned long) scrub->total_bytes);
  for (uint64_t b = 0; b < end && b < sim.blocks; b++)
    if (must_be_found(b, legs) && !is_told(scrub, b)) {
      char text[1024];

      oracle_explain(b, text, sizeof text);
      sim_fail("a scrub of legs 0x%x has passed a block over that differs: %s", legs, text);
    }
}

void
scrub_check(void) {
  const struct sf_scrub_status *scrub;
  uint64_t told;

  if (sim.scrub_begun_step == 0)
    return;
  if (sim.volume == NULL || sim.life != sim.scrub_life) {
    sim.scrub_begun_step = 0;
    return;
  }
  inside_note_unwritten(sim.volume, true, was_unwritten);
  scrub = inside_scrub(sim.volume);
  told = scrub->mismatch_bytes;
  if (told != sim.scrub_told_bytes) {
    COUNT(mismatches);
    for (unsigned i = 0; i < scrub->ranges; i++)
      check_range(scrub, &scrub->range[i]);
    sim.scrub_told_bytes = told;
  }
  if (scrub->state != SF_SCRUB_DONE && scrub->state != SF_SCRUB_CANCELED)
    return;
  sim.count[COUNT_scrub_repairs] += scrub->repaired_bytes > 0;
  if (scrub->state == SF_SCRUB_DONE)
    check_end(scrub);
  sim.scrub_begun_step = 0;
}

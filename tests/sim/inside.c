/* What the simulator takes from the volume's inside.  A killed process does not tidy up, so its
 * volume is destroyed although the legs hold requests of it. */
#include <string.h>

#include "volume/ground/facts.h"
#include "volume/set/record.h"
#include "volume/state.h"

#include "sim/sim.h"

void
inside_destroy(struct sf_volume *v) {
  for (unsigned i = 0; i < v->legs; i++)
    v->leg[i].running = 0;
  for (unsigned i = 0; i < SF_OPS_MAX; i++) {
    struct sf_op *op = &v->ops[i];

    for (unsigned k = 0; op->machine.state == OP_RUNNING && op->kind->reads && k < op->ios; k++)
      if (op->buffer[k] != NULL && k > 0)
        v->host.buffer_put(v->ctx, op->buffer[k]);
  }
  for (unsigned i = 0; i < SF_COPY_SLOTS + SF_SCRUB_SLOTS; i++) {
    struct copy *copy =
        i < SF_COPY_SLOTS ? &v->copier.slot[i] : &v->scrub.slot[i - SF_COPY_SLOTS].copy;

    if (copy->machine.state == COPY_IDLE)
      continue;
    for (unsigned k = 0; k < v->legs; k++)
      if (copy->buffer[k] != NULL)
        v->host.buffer_put(v->ctx, copy->buffer[k]);
    if (copy->run_buffer != NULL)
      v->host.buffer_put(v->ctx, copy->run_buffer);
  }
  if (sf_volume_destroy(v) != 0)
    sim_fail("sf_volume_destroy");
}

/* With a pause, and what needs it waits: for no leg, as it is well again by then. */
static bool
a_page_is_tried_again(const struct sf_volume *v) {
  const struct sf_map *troubled = &v->maps.troubled;

  for (uint64_t p = sf_map_next(troubled, 0); p < v->maps.pages; p = sf_map_next(troubled, p + 1))
    if (v->maps.page[p].failed != 0)
      return true;
  return false;
}

bool
inside_is_settled(struct sf_volume *v) {
  return v->phase == PHASE_SERVING && sf_record_is_durable(v) && v->unconverged.set == 0 &&
         v->held == NULL && v->parked == NULL && v->suspended == 0 && v->waiting_ops == 0 &&
         !a_page_is_tried_again(v);
}

bool
inside_is_unwritten(const struct sf_volume *v, uint64_t extent) {
  return sf_map_test(&v->unwritten, extent);
}

bool
inside_is_serving(const struct sf_volume *v) {
  return v->phase == PHASE_SERVING;
}

bool
inside_record_is_durable(const struct sf_volume *v) {
  return sf_record_is_durable(v);
}

bool
inside_is_clean(const struct sf_volume *v) {
  return sf_record_is_durable(v) && v->durable.clean;
}

bool
inside_is_suspended(const struct sf_volume *v) {
  return v->suspended > 0;
}

/* Or about to. */
bool
inside_is_copying(const struct sf_volume *v) {
  for (unsigned i = 0; i < v->legs; i++)
    if (sf_leg_state(&v->leg[i]) == SF_STATE_CATCHING_UP)
      return true;
  return v->unconverged.set > 0;
}

/* Of a leg that could not be spared: no flush is good there before the next start (R9). */
bool
inside_flush_failed(const struct sf_volume *v) {
  for (unsigned i = 0; i < v->legs; i++)
    if (v->leg[i].flush_failed)
      return true;
  return false;
}

/* A run is too short for looks that are a second apart. */
void
inside_look_sooner(struct sf_volume *v, uint64_t ns) {
  v->bad.look_ns = ns;
}

unsigned
inside_min_legs(const struct sf_volume *v) {
  return v->min_legs;
}

bool
inside_has_newer_claim(const struct sf_volume *v, unsigned leg) {
  struct sf_leg_found found;

  found_of(leg, false, false, &found);
  return found.error == 0 && found.sb.claim > v->claim;
}

uint64_t
inside_stale_extents(const struct sf_volume *v, unsigned leg) {
  return v->leg[leg].stale.set;
}

uint64_t
inside_unconverged_extents(const struct sf_volume *v) {
  return v->unconverged.set;
}

/* Only a new process gets rid of this: a leg where a start without us broke off. */
bool
inside_is_stuck(struct sf_volume *v) {
  for (unsigned i = 0; i < v->legs; i++)
    if (sf_leg_state(&v->leg[i]) != SF_STATE_IN_SYNC && inside_has_newer_claim(v, i))
      return true;
  return false;
}

bool
inside_leg_is_out(const struct sf_volume *v, unsigned leg) {
  return v->durable.change > 0 &&
         !((v->latest.in_sync | v->durable.in_sync | v->ack_legs) & legbit(leg)) &&
         sf_leg_state(&v->leg[leg]) != SF_STATE_CATCHING_UP;
}

bool
inside_is_needed(const struct sf_volume *v, unsigned leg) {
  return (v->latest.in_sync | v->durable.in_sync | v->ack_legs) & legbit(leg);
}

bool
inside_leg_is_open(const struct sf_volume *v, unsigned leg) {
  return v->leg[leg].device != NULL;
}

bool
inside_is_member(const struct sf_volume *v, unsigned leg) {
  return (v->latest.in_sync & v->durable.in_sync) >> leg & 1;
}

/* A write that was sent before a newcomer counted may have a part left that waits in the window of
 * its leg.  The newcomer needs no intent for that one: it is in no record before the write ended. */
static bool
is_older_than_the_join(const struct sf_volume *v, uint64_t offset, uint64_t length) {
  if (v->joining < 0)
    return false;
  EACH_ACTIVE(op, v) {
    if (op->machine.id <= v->join_id && op->kind->writes && op->sent != 0 &&
        offset >= v->data_offset + op->offset &&
        offset + length <= v->data_offset + op->offset + op->length)
      return true;
  }
  return false;
}

unsigned
inside_needs(const struct sf_volume *v, uint64_t offset, uint64_t length) {
  legset recorded = v->latest.in_sync | v->durable.in_sync;

  return v->ack_legs & (is_older_than_the_join(v, offset, length) ? recorded : ~0U);
}

const struct sf_bad *
inside_bad(const struct sf_volume *v) {
  return &v->bad.list;
}

static bool
differ(const struct sf_volume *v, unsigned a, unsigned b, uint64_t extent) {
  uint64_t first = extent * sim.extent_blocks, n = sim.blocks - first;

  if (n > sim.extent_blocks)
    n = sim.extent_blocks;
  if (memcmp(sim.leg[a].now + first, sim.leg[b].now + first, n * sizeof *sim.leg[a].now) == 0)
    return false;
  for (uint64_t block = first; block < first + n; block++)
    if (sim.leg[a].now[block] != sim.leg[b].now[block] && !bad_is_in(&v->bad.list, block))
      return true;
  return false;
}

bool
inside_is_named(const struct sf_volume *v, unsigned leg) {
  return ((v->latest.in_sync | v->durable.in_sync) >> leg & 1) != 0;
}

/* What is unwritten nobody has. */
bool
inside_lacks_all(const struct sf_volume *v, unsigned leg) {
  return v->leg[leg].stale.set + v->unwritten.set >= v->extents;
}

const struct sf_uuid *
inside_lineage(const struct sf_volume *v) {
  return &v->identity.lineage;
}

const struct sf_superblock *
inside_identity(const struct sf_volume *v) {
  return &v->identity;
}

void
inside_check_all(struct sf_volume *v) {
  v->checks_all = true;
}

/* R8, R11: an extent that is not to be converged is the same on all legs that start; one that is
 * not stale on another leg is the same there; and an extent that was never written is not
 * copied. */
void
inside_check_start(const struct sf_volume *v) {
  unsigned source = (unsigned) __builtin_ctz(v->latest.in_sync);

  EACH_LEG(leg, v->latest.in_sync)
    sim.maps_were_bad = sim.maps_were_bad || !medium_maps_are_good(&sim.leg[leg]);
  for (uint64_t e = 0; e < v->extents; e++) {
    if (!sim.maps_were_bad && (e + 1) * sim.extent_blocks <= sim.blocks_formatted &&
        sf_map_test(&v->unconverged, e) && !oracle_was_written(e))
      sim_fail("extent %lu was never written and is to be converged", (unsigned long) e);
    for (unsigned i = 0; i < v->legs; i++) {
      const struct leg *leg = &v->leg[i];
      bool current = v->latest.in_sync >> i & 1;

      if (leg->device == NULL || sf_map_test(&v->unwritten, e))
        continue;
      if (!sf_map_test(current ? &v->unconverged : &leg->stale, e) && differ(v, source, i, e))
        sim_fail("legs %u and %u start with extent %lu different, and %s", source, i,
                 (unsigned long) e,
                 current ? "it is not to be converged" : "it is not stale there");
    }
  }
}

/* Nothing else is made worse by a drill, so it does not go on beside another leg in trouble. */
static void
check_drill(const struct sf_volume *v) {
  if (v->drill.device == NULL)
    return;
  EACH_LEG(i, sf_members(v) & (legset) ~legbit(v->drill.leg))
    if (sf_leg_state(&v->leg[i]) != SF_STATE_IN_SYNC || v->leg[i].troubled_ns != 0)
      sim_fail("a drill of leg %u goes on while leg %u is not well", v->drill.leg, i);
}

/* A leg is called in sync when and only when the record in force names it: a leg that it names and
 * that is not called so would not be read from, nor brought back. */
void
inside_check_states(const struct sf_volume *v) {
  check_drill(v);
  if (v->phase != PHASE_SERVING || !sf_record_is_durable(v))
    return;
  for (unsigned i = 0; i < v->legs; i++) {
    enum sf_leg_state state = sf_leg_state(&v->leg[i]);

    if ((v->durable.in_sync >> i & 1) != (state == SF_STATE_IN_SYNC))
      sim_fail("leg %u is %s, and the durable record names 0x%x", i, sf_leg_state_name(state),
               v->durable.in_sync);
  }
}

static bool
is_written(const struct sf_volume *v, uint64_t block) {
  EACH_ACTIVE(op, v) {
    if ((!op->kind->reads || op->writing != 0) && op->offset / BLOCK <= block &&
        block < (op->offset + op->length) / BLOCK)
      return true;
  }
  return false;
}

/* May the leg differ from the source there? */
static bool
may_differ(const struct sf_volume *v, unsigned i, uint64_t extent) {
  const struct leg *leg = &v->leg[i];

  return sf_map_test(&v->unconverged, extent) || sf_map_test(&v->unwritten, extent) ||
         (!(sf_insync_legs(v) >> i & 1) &&
          (sf_map_test(&leg->stale, extent) || sf_map_test(&leg->unflushed, extent) ||
           sf_map_test(&leg->flushing, extent)));
}

static void
check_extent(const struct sf_volume *v, unsigned source, unsigned i, uint64_t extent) {
  uint64_t end = (extent + 1) * sim.extent_blocks;
  char text[1024];

  for (uint64_t b = extent * sim.extent_blocks; b < end && b < v->size_bytes / BLOCK; b++)
    if (sim.leg[source].now[b] != sim.leg[i].now[b] && !is_written(v, b) &&
        !bad_is_in(&v->bad.list, b)) {
      oracle_explain(b, text, sizeof text);
      sim_fail("leg %u (%s) and leg %u do not read alike now, and nothing says so: %s", i,
               sf_leg_state_name(sf_leg_state(&v->leg[i])), source, text);
    }
}

/* What would each leg alone read?  Legs of the set the same, but where a write is under way or the
 * volume knows that they are to be converged (R11); others too, but where the volume knows that
 * they are stale (R13). */
void
inside_check_alike(const struct sf_volume *v) {
  uint64_t bytes = v->size_bytes / BLOCK * sizeof *sim.leg[0].now;
  unsigned source;

  if (v->phase != PHASE_SERVING || sf_insync_legs(v) == 0)
    return;
  COUNT(legs_compared);
  source = (unsigned) __builtin_ctz(sf_insync_legs(v));
  for (unsigned i = 0; i < v->legs; i++) {
    enum sf_leg_state state = sf_leg_state(&v->leg[i]);

    if (i == source || state == SF_STATE_MISSING || state == SF_STATE_FAULTY ||
        v->leg[i].device == NULL ||
        memcmp(sim.leg[source].now, sim.leg[i].now, (size_t) bytes) == 0)
      continue;
    for (uint64_t e = 0; e < v->extents; e++)
      if (!may_differ(v, i, e) && differ(v, source, i, e))
        check_extent(v, source, i, e);
  }
}

const struct sf_scrub_status *
inside_scrub(const struct sf_volume *v) {
  return &v->scrub.told;
}

/* A bit for each extent; of_scrub: the scrub has not passed it, and the others are left as they
 * are. */
void
inside_note_unwritten(const struct sf_volume *v, bool of_scrub, uint64_t *unwritten) {
  for (uint64_t e = 0; e < v->extents; e += 64) {
    uint64_t those = v->extents - e < 64 ? (UINT64_C(1) << (v->extents - e)) - 1 : UINT64_MAX;

    if (of_scrub)
      those &= v->scrub.todo.words[e / 64];
    unwritten[e / 64] = (unwritten[e / 64] & ~those) | (v->unwritten.words[e / 64] & those);
  }
}

unsigned
inside_serving(const struct sf_volume *v) {
  return sf_insync_legs(v);
}

unsigned
inside_left_out(const struct sf_volume *v) {
  return sf_record_left_out(v);
}

enum sf_leg_state
inside_leg_state(const struct sf_volume *v, unsigned leg) {
  return leg < v->legs ? sf_leg_state(&v->leg[leg]) : SF_STATE_FAULTY;
}

void
inside_describe(struct sf_volume *v, char *text, size_t size) {
  unsigned listed = 0;
  size_t len;

  for (struct sf_list *l = v->active.next; l != &v->active; l = l->next)
    listed++;
  len = (size_t) snprintf(
      text, size,
      "phase %d, latest 0x%x, durable 0x%x, needs 0x%x, counted 0x%x, joining %d step %d, "
      "promoting %d, unconverged %lu, copied %lu, active %u, waiting %u, held %d, parked %d, "
      "suspended %d, flush %d, copier %d",
      v->phase, v->latest.in_sync, v->durable.in_sync, v->ack_legs, v->counted, v->joining,
      v->join_step, v->promoting, (unsigned long) v->unconverged.set,
      (unsigned long) v->copier.copied.set, listed, v->waiting_ops, v->held != NULL,
      v->parked != NULL, v->suspended > 0, v->flush_leader != NULL, v->copier.extent[0].active);
  for (unsigned i = 0; i < v->legs && len < size; i++)
    len += (size_t) snprintf(
        text + len, size - len, "; leg %u %s stale %lu running %u%s%s%s", i,
        sf_leg_state_name(sf_leg_state(&v->leg[i])), (unsigned long) v->leg[i].stale.set,
        v->leg[i].running, v->leg[i].meta.busy ? " meta busy" : "",
        v->leg[i].meta.failed ? " meta failed" : "", v->leg[i].flush_failed ? " flush failed" : "");
}

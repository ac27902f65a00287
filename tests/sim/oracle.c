/* What may a block hold?  Each block is a register, and each of its writes is kept until nothing
 * can bring it back:
 *
 *   dead          a read that begins now may not return it: a write answered later has certainly
 *                 come after it, or a read has seen another value since it was certainly there;
 *   durably dead  the same, by a write that must survive a power cut (FUA, or flushed since).
 *
 * "Certainly there by" (hi) is when it was answered or first read; for a write that was never
 * answered, when its client was told so or its process ended: if it happened at all, then before.
 * (R11: it reads the same for ever after.) This refutes every history that is not linearizable by
 * the order of the answers alone, and never a good one.
 *
 * A leg that holds a dead value in a block lacks an acknowledged write; a leg with a durably dead
 * value on its stable storage lacks a flushed one.  Both are counted for each leg as they change,
 * so that asking after every step costs nothing. */
#include <stdlib.h>
#include <string.h>

#include "sim/sim.h"

struct node {
  uint32_t next; /* index into nodes; 0 = none */
  uint32_t id, value;
  bool durably_dead, old_life;
  uint64_t inv, hi, dead_at;
};

struct write {
  uint64_t first, inv, resp;
  uint32_t n;
  bool ended;
};

#define TORN UINT32_C(0x80000000) /* in a stamp: see oracle_tear() */

static struct node *nodes;
static uint32_t nodes_len, nodes_cap, nodes_free;
static uint32_t *head; /* of each block */
static bool written[EXTENTS_MOST];
static struct write *writes;
static uint32_t writes_len, writes_cap;
static uint32_t *unflushed;
static uint32_t unflushed_len, unflushed_cap;
static uint8_t *bad[LEGS_MAX]; /* bit 0: now, bit 1: stable */
static uint64_t step;

uint64_t
oracle_step(void) {
  return ++step;
}

static uint32_t
node_add(uint64_t block) {
  uint32_t i = nodes_free;

  if (i != 0) {
    nodes_free = nodes[i].next;
  } else {
    if (nodes_len == nodes_cap) {
      nodes_cap = nodes_cap ? 2 * nodes_cap : 65536;
      nodes = realloc(nodes, nodes_cap * sizeof *nodes);
      if (nodes == NULL)
        abort();
    }
    i = nodes_len++;
  }
  nodes[i] = (struct node){.next = head[block], .hi = UINT64_MAX, .dead_at = UINT64_MAX};
  head[block] = i;
  return i;
}

void
oracle_init(void) {
  step = 0;
  nodes_len = 1;
  nodes_free = 0;
  writes_len = 1;
  unflushed_len = 0;
  if (writes_cap == 0) {
    writes_cap = 4096;
    writes = calloc(writes_cap, sizeof *writes);
  }
  if (nodes_cap == 0) {
    nodes_cap = 65536;
    nodes = calloc(nodes_cap, sizeof *nodes);
  }
  memset(written, 0, sizeof written);
  head = calloc(sim.blocks_room, sizeof *head);
  if (head == NULL || writes == NULL || nodes == NULL)
    abort();
  for (unsigned i = 0; i < sim.options.legs; i++)
    bad[i] = calloc(sim.blocks_room, 1);
  for (uint64_t b = 0; b < sim.blocks_room; b++) {
    uint32_t i = node_add(b);

    nodes[i].hi = 0;
  }
}

void
oracle_free(void) {
  free(head);
  for (unsigned i = 0; i < LEGS_MAX; i++) {
    free(bad[i]);
    bad[i] = NULL;
  }
}

/* ---- what a leg holds ---- */

static bool
may_hold(uint64_t block, uint32_t value, bool stable) {
  for (uint32_t i = head[block]; i != 0; i = nodes[i].next)
    if (nodes[i].value == value &&
        (stable ? !nodes[i].durably_dead : nodes[i].dead_at == UINT64_MAX))
      return true;
  return false;
}

static void
permit(uint64_t block, uint32_t value) {
  uint32_t i = node_add(block);

  nodes[i].id = nodes[i].value = value;
  nodes[i].hi = step;
  nodes[i].old_life = true;
}

/* Behind the end, where the volume was longer before a forced start: what a disk brings there is
 * undefined. */
static void
permit_behind_the_end(const struct sim_leg *leg, uint64_t block) {
  if (!sim.was_forced || block < sim.blocks)
    return;
  if (!may_hold(block, medium_value(leg, block, false), false))
    permit(block, medium_value(leg, block, false));
  if (!may_hold(block, medium_value(leg, block, true), true))
    permit(block, medium_value(leg, block, true));
}

void
oracle_recheck(struct sim_leg *leg, uint64_t block) {
  uint8_t *was = &bad[leg->index][block], is = 0;

  permit_behind_the_end(leg, block);
  if (!may_hold(block, medium_value(leg, block, false), false))
    is |= 1;
  if (!may_hold(block, medium_value(leg, block, true), true))
    is |= 2;
  if (is == *was)
    return;
  leg->bad_now += (is & 1u) - (*was & 1u);
  leg->bad_stable += (is >> 1 & 1u) - (*was >> 1 & 1u);
  *was = is;
}

static void
recheck_all(uint64_t block) {
  for (unsigned i = 0; i < sim.options.legs; i++)
    oracle_recheck(&sim.leg[i], block);
}

/* Says whether a value has gone. */
static bool
collect(uint64_t block, uint64_t oldest_read) {
  bool gone = false;

  for (uint32_t *link = &head[block]; *link != 0;) {
    struct node *node = &nodes[*link];

    if (node->durably_dead && node->dead_at < oldest_read) {
      uint32_t i = *link;

      *link = node->next;
      node->next = nodes_free;
      nodes_free = i;
      gone = true;
    } else {
      link = &node->next;
    }
  }
  return gone;
}

bool
oracle_was_written(uint64_t extent) {
  return written[extent];
}

int64_t
oracle_bad_block(const struct sim_leg *leg, bool stable, const struct sf_bad *but) {
  for (uint64_t b = 0; b < sim.blocks_known; b++)
    if ((bad[leg->index][b] & (stable ? 2 : 1)) && !bad_is_in(but, b))
      return (int64_t) b;
  return -1;
}

int64_t
oracle_bad_without_intent(struct sim_leg *leg, bool stable, const struct sf_bad *but) {
  for (uint64_t b = 0; b < sim.blocks_known; b++)
    if ((bad[leg->index][b] & (stable ? 2 : 1)) && !bad_is_in(but, b) &&
        !medium_has_intent(leg, b / sim.extent_blocks))
      return (int64_t) b;
  return -1;
}

/* Asked after every step, so it must not go through all blocks. */
bool
oracle_has_bad(const struct sim_leg *leg, bool stable, const struct sf_bad *but) {
  unsigned left = stable ? leg->bad_stable : leg->bad_now;

  for (unsigned i = 0; i < but->n && left > 0; i++)
    for (uint64_t b = but->range[i].begin / BLOCK; b < but->range[i].end / BLOCK; b++)
      left -= (bad[leg->index][b] & (stable ? 2 : 1)) != 0;
  return left > 0;
}

void
oracle_explain(uint64_t block, char *text, size_t size) {
  size_t len = (size_t) snprintf(text, size, "block %lu (extent %lu):", (unsigned long) block,
                                 (unsigned long) (block / sim.extent_blocks));

  for (uint32_t i = head[block]; i != 0 && len < size; i = nodes[i].next) {
    const struct node *n = &nodes[i];
    char hi[24] = "-", dead[32] = "";

    if (n->hi != UINT64_MAX)
      snprintf(hi, sizeof hi, "%lu", (unsigned long) n->hi);
    if (n->dead_at != UINT64_MAX)
      snprintf(dead, sizeof dead, " dead@%lu", (unsigned long) n->dead_at);
    len += (size_t) snprintf(text + len, size - len, " [w%u%s %lu..%s%s%s]", n->id,
                             n->value == 0 ? " zero" : "", (unsigned long) n->inv, hi, dead,
                             n->durably_dead ? " durably" : "");
  }
  for (unsigned i = 0; i < sim.options.legs && len < size; i++)
    len += (size_t) snprintf(text + len, size - len, " leg%u=w%u/w%u", i, sim.leg[i].now[block],
                             sim.leg[i].stable[block]);
}

/* ---- requests ---- */

void
oracle_write_begin(uint32_t id, bool zero, uint64_t first, unsigned n) {
  uint64_t now = oracle_step();

  if (id != writes_len)
    abort();
  if (writes_len == writes_cap) {
    writes_cap *= 2;
    writes = realloc(writes, writes_cap * sizeof *writes);
    if (writes == NULL)
      abort();
  }
  writes[writes_len++] = (struct write){.first = first, .n = n, .inv = now};
  for (uint64_t e = first / sim.extent_blocks; e <= (first + n - 1) / sim.extent_blocks; e++)
    written[e] = true;
  for (uint64_t b = first; b < first + n; b++) {
    uint32_t i = node_add(b);
    struct node *node = &nodes[i];

    node->id = id;
    node->value = zero ? 0 : id;
    node->inv = now;
    if (zero)
      recheck_all(b);
  }
}

/* All that was certainly there before `inv`. */
static void
kill_before(uint64_t block, uint64_t inv, bool now, bool durably) {
  for (uint32_t i = head[block]; i != 0; i = nodes[i].next)
    if (nodes[i].hi < inv) {
      if (now && nodes[i].dead_at > step)
        nodes[i].dead_at = step;
      if (durably)
        nodes[i].durably_dead = true;
    }
}

void
oracle_write_end(uint32_t id, bool good, bool fua) {
  struct write *w = &writes[id];
  uint64_t oldest = clients_oldest_read();

  w->resp = oracle_step();
  w->ended = true;
  for (uint64_t b = w->first; b < w->first + w->n; b++) {
    for (uint32_t i = head[b]; i != 0; i = nodes[i].next)
      if (nodes[i].id == id && nodes[i].hi > w->resp)
        nodes[i].hi = w->resp;
    if (!good)
      continue;
    kill_before(b, w->inv, true, fua);
    collect(b, oldest);
    recheck_all(b);
  }
  if (!good || fua)
    return;
  if (unflushed_len == unflushed_cap) {
    unflushed_cap = unflushed_cap ? 2 * unflushed_cap : 1024;
    unflushed = realloc(unflushed, unflushed_cap * sizeof *unflushed);
    if (unflushed == NULL)
      abort();
  }
  unflushed[unflushed_len++] = id;
}

/* No read has seen it: it was sent to no leg.  So nothing is left of it, as what a torn sector holds
 * would be thought to be as dead. */
void
oracle_write_undone(uint32_t id) {
  struct write *w = &writes[id];
  uint64_t oldest = clients_oldest_read();

  w->resp = oracle_step();
  w->ended = true;
  for (uint64_t b = w->first; b < w->first + w->n; b++) {
    for (uint32_t i = head[b]; i != 0; i = nodes[i].next)
      if (nodes[i].id == id) {
        nodes[i].dead_at = 0;
        nodes[i].durably_dead = true;
      }
    collect(b, oldest);
    recheck_all(b);
  }
}

static void
saw(uint64_t block, uint32_t value, uint64_t began) {
  struct node *seen = NULL;
  unsigned candidates = 0;
  uint64_t threshold = began;

  for (uint32_t i = head[block]; i != 0; i = nodes[i].next)
    if (nodes[i].value == value && nodes[i].dead_at >= began) {
      seen = &nodes[i];
      candidates++;
    }
  if (seen == NULL) {
    char text[1024];

    oracle_explain(block, text, sizeof text);
    sim_fail("a read that began at %lu returned w%u, which it may not: %s", (unsigned long) began,
             value, text);
  }
  if (candidates == 1) {
    if (seen->hi > step)
      seen->hi = step;
    if (seen->inv > threshold)
      threshold = seen->inv;
  }
  for (uint32_t i = head[block]; i != 0; i = nodes[i].next)
    if (&nodes[i] != seen && nodes[i].value != value && nodes[i].hi < threshold) {
      if (nodes[i].dead_at > step)
        nodes[i].dead_at = step;
      if (candidates == 1 && seen->old_life && nodes[i].old_life)
        nodes[i].durably_dead = true;
    }
}

void
oracle_read_end(uint64_t began, uint64_t first, unsigned n, const void *data) {
  uint64_t oldest = clients_oldest_read();

  oracle_step();
  for (unsigned i = 0; i < n; i++) {
    uint64_t b = first + i;

    saw(b, stamp_get(data, i, b), began);
    if (nodes[head[b]].next != 0) {
      collect(b, oldest);
      recheck_all(b);
    }
  }
}

void
oracle_take_note(void) {
  unflushed_len = 0;
}

/* A flush that failed makes no promise; and a good one later makes it for all writes answered
 * before, as if the failed one had never been: a failed flush is not tried again into success
 * (R9). */
void
oracle_flush_end(uint64_t began, bool good) {
  uint64_t oldest = clients_oldest_read();
  uint32_t left = 0;

  oracle_step();
  if (!good)
    return;
  for (uint32_t i = 0; i < unflushed_len; i++) {
    const struct write *w = &writes[unflushed[i]];

    if (w->resp >= began) {
      unflushed[left++] = unflushed[i];
      continue;
    }
    for (uint64_t b = w->first; b < w->first + w->n; b++) {
      kill_before(b, w->inv, false, true);
      collect(b, oldest);
      recheck_all(b);
    }
  }
  unflushed_len = left;
}

/* ---- the process ends ---- */

/* A sector of which a part is new: neither the old content nor the new.  As good as any other
 * outcome of the later of the two writes while no client may rely on that, and as lasting (R11): a
 * copy may bring back what was there before a write that both legs have lost. */
uint32_t
oracle_tear(uint64_t block, uint32_t value, uint32_t over) {
  uint32_t torn = value | TORN, later = 0, at = 0, next;

  for (uint32_t i = head[block]; i != 0; i = nodes[i].next)
    if (nodes[i].value == torn)
      at = i;
    else if ((nodes[i].value == value || nodes[i].value == over) &&
             (later == 0 || nodes[i].inv > nodes[later].inv))
      later = i;
  if (later == 0 || (at != 0 && !nodes[at].durably_dead))
    return torn;
  if (at == 0)
    at = node_add(block);
  next = nodes[at].next;
  nodes[at] = nodes[later];
  nodes[at].value = torn;
  nodes[at].next = next;
  return torn;
}

uint32_t
oracle_torn_alone(uint32_t value) {
  return value | TORN;
}

void
oracle_killed(void) {
  oracle_step();
  for (uint64_t b = 0; b < sim.blocks_known; b++)
    for (uint32_t i = head[b]; i != 0; i = nodes[i].next) {
      if (nodes[i].hi > step)
        nodes[i].hi = step;
      nodes[i].old_life = true;
    }
}

static bool
was_permitted(uint64_t block, uint32_t value) {
  for (uint32_t i = head[block]; i != 0; i = nodes[i].next)
    if (nodes[i].old_life && nodes[i].value == value)
      return true;
  return false;
}

/* A value that the legs of a forced start hold is possible from now on, and no other.  That a
 * request which waits for this start would write the same says nothing: a trim may do nothing. */
static void
force_block(uint64_t block, unsigned legs) {
  for (uint32_t *link = &head[block]; *link != 0;) {
    uint32_t i = *link;

    if (!nodes[i].old_life) { /* a request that waits for this start */
      link = &nodes[i].next;
      continue;
    }
    *link = nodes[i].next;
    nodes[i].next = nodes_free;
    nodes_free = i;
  }
  for (unsigned leg = 0; leg < sim.options.legs; leg++) {
    uint32_t value = medium_value(&sim.leg[leg], block, false);

    if ((legs >> leg & 1) && !was_permitted(block, value))
      permit(block, value);
  }
  recheck_all(block);
}

/* Behind the end, where the volume was longer in the old line: what a leg holds there is
 * undefined. */
static void
forget_block(uint64_t block) {
  force_block(block, ~0u);
  if (!was_permitted(block, 0)) {
    uint32_t i = node_add(block);

    nodes[i].hi = step;
    nodes[i].old_life = true;
  }
}

void
oracle_forced(unsigned legs) {
  oracle_step();
  unflushed_len = 0;
  for (uint64_t b = 0; b < sim.blocks_known; b++)
    if (b < sim.blocks)
      force_block(b, legs);
    else
      forget_block(b);
}

/* A write that was not durable may be lost, and the content that it overwrote be back. */
void
oracle_power_cut(void) {
  oracle_killed();
  unflushed_len = 0;
  for (uint64_t b = 0; b < sim.blocks_known; b++) {
    bool changed = false;

    for (uint32_t i = head[b]; i != 0; i = nodes[i].next)
      if (!nodes[i].durably_dead && nodes[i].dead_at != UINT64_MAX) {
        nodes[i].dead_at = UINT64_MAX;
        changed = true;
      }
    if (collect(b, UINT64_MAX) || changed)
      recheck_all(b);
  }
}

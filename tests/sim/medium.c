/* A leg's storage: its current blocks, its stable blocks, and the writes between the two.
 *
 * A flush makes all writes stable that had completed before it was submitted.  At a power cut each
 * block keeps its stable content or any of the unflushed writes to it: some later ones may be there
 * and earlier ones not (they were reordered), and a write may be there in part (torn). */
#include <stdlib.h>
#include <string.h>

#include "assembly/look.h"
#include "sim/sim.h"

#define ROTTEN UINT32_C(0x40000000) /* in a stamp */

struct landed {
  struct landed *next;
  uint32_t seq;
  bool meta;
  uint64_t first; /* block, of the metadata area or of the volume */
  unsigned n;
  uint8_t *has;    /* which blocks landed */
  uint32_t *value; /* data: stamps */
  uint8_t *bytes;  /* metadata */
};

/* What a page of the maps was last read as: its bytes, and what the superblocks said of it. */
struct maps_heading {
  bool has_head, may_be, has_second;
};

static struct maps_page {
  bool is_known;
  struct maps_heading by;
  uint8_t copy[2][SF_PAGE_BYTES];
} maps_page[LEGS_MAX][2][EXTENTS_MOST / SF_MAP_EXTENTS];

/* The leg's unwritten extents are others than were read there. */
static void
forget_maps_read(unsigned leg) {
  for (unsigned s = 0; s < 2; s++)
    for (unsigned p = 0; p < EXTENTS_MOST / SF_MAP_EXTENTS; p++)
      maps_page[leg][s][p].is_known = false;
}

static void *
need(size_t n, size_t size) {
  void *p = calloc(n, size);

  if (p == NULL)
    abort();
  return p;
}

void
medium_init(struct sim_leg *leg, unsigned index) {
  *leg = (struct sim_leg){.index = index, .slow = 1, .regions = -1};
  leg->blocks = sim.blocks;
  leg->now = need(sim.blocks_room, sizeof *leg->now);
  leg->stable = need(sim.blocks_room, sizeof *leg->stable);
  leg->now_seq = need(sim.blocks_room, sizeof *leg->now_seq);
  leg->stable_seq = need(sim.blocks_room, sizeof *leg->stable_seq);
  leg->meta_now = need(META_BYTES, 1);
  leg->meta_stable = need(META_BYTES, 1);
  leg->meta_now_seq = need(META_BLOCKS, sizeof *leg->meta_now_seq);
  leg->meta_stable_seq = need(META_BLOCKS, sizeof *leg->meta_stable_seq);
  leg->unreadable = need(sim.blocks_room, 1);
  leg->rotten = need(sim.blocks_room, sizeof *leg->rotten);
  leg->rot_changed = need(sim.blocks_room, sizeof *leg->rot_changed);
  leg->cache_tail = &leg->cache;
  leg->maps_changed = true;
  forget_maps_read(index);
}

static void
cache_pop(struct sim_leg *leg) {
  struct landed *item = leg->cache;

  leg->cache = item->next;
  if (leg->cache == NULL)
    leg->cache_tail = &leg->cache;
  free(item);
}

#define SWAP(field)                                                                                \
  do {                                                                                             \
    struct sim_leg held;                                                                           \
    memcpy(&held.field, &a->field, sizeof held.field);                                             \
    memcpy(&a->field, &b->field, sizeof held.field);                                               \
    memcpy(&b->field, &held.field, sizeof held.field);                                             \
  } while (0)

void
medium_swap(struct sim_leg *a, struct sim_leg *b) {
  if (a->cache != NULL || b->cache != NULL)
    sim_fail("leg %u: its disk is taken away with its cache", a->index);
  SWAP(blocks);
  SWAP(now);
  SWAP(stable);
  SWAP(now_seq);
  SWAP(stable_seq);
  SWAP(meta_now);
  SWAP(meta_stable);
  SWAP(meta_now_seq);
  SWAP(meta_stable_seq);
  SWAP(head);
  SWAP(seq);
  SWAP(unreadable);
  SWAP(unreadable_n);
  SWAP(rotten);
  SWAP(rot_changed);
  SWAP(unwritten);
  scrub_swapped(a, b);
  a->maps_changed = b->maps_changed = true;
  forget_maps_read(a->index);
  forget_maps_read(b->index);
}

void
medium_free(struct sim_leg *leg) {
  while (leg->cache != NULL)
    cache_pop(leg);
  free(leg->now);
  free(leg->stable);
  free(leg->now_seq);
  free(leg->stable_seq);
  free(leg->unreadable);
  free(leg->rotten);
  free(leg->rot_changed);
  free(leg->meta_now);
  free(leg->meta_stable);
  free(leg->meta_now_seq);
  free(leg->meta_stable_seq);
  free(leg->head);
}

/* Which block of the metadata area, as it is kept here. */
static uint64_t
meta_block(uint64_t offset) {
  if (offset >= SF_MAP_SECOND_OFFSET(0) && offset < SF_MARK_OFFSET)
    return (offset - SF_MAP_SECOND_OFFSET(0) + SECOND_AT) / BLOCK;
  return (offset < SF_MARK_OFFSET ? offset : offset - SF_MARK_OFFSET + MAPS_END) / BLOCK;
}

static struct landed *
landed_new(bool meta, uint64_t first, unsigned n) {
  size_t payload = meta ? (size_t) n * BLOCK : (size_t) n * sizeof(uint32_t);
  struct landed *item = malloc(sizeof *item + payload + n);

  if (item == NULL)
    abort();
  *item = (struct landed){.meta = meta, .first = first, .n = n};
  item->value = (uint32_t *) (void *) (item + 1);
  item->bytes = (uint8_t *) (item + 1);
  item->has = item->bytes + payload;
  return item;
}

void
stamp_put(void *data, unsigned i, uint32_t value, uint64_t block) {
  uint32_t stamp[2] = {value, value == 0 ? 0 : (uint32_t) (block + 1)};

  memcpy((uint8_t *) data + (size_t) i * BLOCK + sim.options.stamp_at, stamp, sizeof stamp);
}

uint32_t
stamp_get(const void *data, unsigned i, uint64_t block) {
  uint32_t stamp[2];

  memcpy(stamp, (const uint8_t *) data + (size_t) i * BLOCK + sim.options.stamp_at, sizeof stamp);
  if (stamp[0] == 0 && stamp[1] == 0)
    return 0;
  if (stamp[1] != block + 1)
    sim_fail("data of block %u where that of block %lu should be", stamp[1] - 1,
             (unsigned long) block);
  return stamp[0] & ~ROTTEN;
}

void
stamp_rot(void *data, unsigned i, uint64_t block) {
  uint32_t stamp[2] = {ROTTEN, (uint32_t) (block + 1)};
  uint8_t *at = (uint8_t *) data + (size_t) i * BLOCK + sim.options.stamp_at;
  uint32_t value;

  memcpy(&value, at, sizeof value);
  stamp[0] |= value;
  memcpy(at, stamp, sizeof stamp);
}

bool
stamp_is_rotten(const void *data, unsigned i) {
  uint32_t value;

  memcpy(&value, (const uint8_t *) data + (size_t) i * BLOCK + sim.options.stamp_at, sizeof value);
  return value & ROTTEN;
}

static void
land_stable(struct sim_leg *leg, struct landed *item, unsigned i) {
  uint64_t block = item->first + i;
  bool torn = torn_is();

  if (torn) {
    if (item->meta) {
      size_t kept = (size_t) random_below(BLOCK);

      memcpy(item->bytes + (size_t) i * BLOCK + kept, leg->meta_stable + block * BLOCK + kept,
             BLOCK - kept);
    } else if (item->value[i] != 0 && item->value[i] != leg->stable[block]) {
      item->value[i] = torn_value(block, item->value[i], leg->stable[block]);
    }
  }

  if (item->meta) {
    if (item->seq < leg->meta_stable_seq[block])
      return;
    leg->meta_stable_seq[block] = item->seq;
    leg->maps_changed = true;
    memcpy(leg->meta_stable + block * BLOCK, item->bytes + (size_t) i * BLOCK, BLOCK);
  } else {
    if (item->seq < leg->stable_seq[block])
      return;
    leg->stable_seq[block] = item->seq;
    leg->stable[block] = item->value[i];
    torn_lands(leg, block, torn);
    oracle_recheck(leg, block);
  }
}

void
medium_spoil(struct sim_leg *leg, uint64_t block, bool unreadable) {
  leg->unreadable_n += unreadable;
  leg->unreadable_n -= leg->unreadable[block];
  leg->unreadable[block] = unreadable;
}

bool
medium_is_unreadable(const struct sim_leg *leg, uint64_t offset, uint64_t length) {
  uint64_t first = (offset - sim.data_offset) / BLOCK;

  return leg->unreadable_n != 0 && offset >= sim.data_offset &&
         memchr(leg->unreadable + first, 1, length / BLOCK) != NULL;
}

void
medium_mend(struct sim_leg *leg) {
  memset(leg->unreadable, 0, sim.blocks_room);
  leg->unreadable_n = 0;
}

/* ---- extents that were never written ---- */

uint32_t
medium_value(const struct sim_leg *leg, uint64_t block, bool stable) {
  if (leg->unwritten[stable][block >> sim.extent_shift])
    return 0;
  return stable ? leg->stable[block] : leg->now[block];
}

static void
take_unwritten(struct sim_leg *leg, bool stable, uint64_t extent, bool is) {
  uint64_t first = extent * sim.extent_blocks, end = first + sim.extent_blocks;

  if (leg->unwritten[stable][extent] == is)
    return;
  leg->unwritten[stable][extent] = is;
  if (!is && stable)
    COUNT(zeroed_extents);
  for (uint64_t b = first; b < end && b < sim.blocks_known; b++)
    oracle_recheck(leg, b);
}

/* A newer record says that all was written: what a start that takes this leg goes by.  Not one of a
 * line of history that a forced start has left behind. */
static bool
unwritten_has_ended(const struct sf_superblock *sb, bool stable) {
  for (unsigned i = 0; i < sim.options.legs; i++) {
    const struct picked *other = picked(stable ? sim.leg[i].meta_stable : sim.leg[i].meta_now);

    if (other->error == 0 && !other->sb.unwritten &&
        sf_record_compare(&other->sb.record, &sb->record) > 0 &&
        sf_look_descends(&other->sb, &sb->lineage))
      return true;
  }
  return false;
}

/* A page of which both copies are damaged is left as it was: other legs may tell.  So is one of a leg
 * that its own superblock does not name: a later record is needed to trust it, and that may say
 * that second copies do not count. */
static void
read_unwritten_page(struct sim_leg *leg, bool stable, uint32_t p, const struct maps_heading *by) {
  const uint8_t *meta = stable ? leg->meta_stable : leg->meta_now;
  const uint8_t *second = by->has_second ? meta + SECOND_AT + p * SF_PAGE_BYTES : NULL;
  const uint8_t *found =
      sf_map_page_choose(meta + SF_MAP_PAGE_OFFSET(p), second, &sim.format.volume, p);
  struct sf_map_page page = {.page = p};

  if (found == NULL && (!by->has_head || by->may_be))
    return;
  if (found != NULL)
    sf_map_page_decode(found, &sim.format.volume, p, &page);
  for (unsigned k = 0; k < SF_MAP_EXTENTS; k++)
    take_unwritten(leg, stable, p * SF_MAP_EXTENTS + k, page.unwritten[k / 8] >> (k % 8) & 1);
}

/* Is it as it was when it was read last?  Then it says the same again, and what was taken from
 * it is changed nowhere else. */
static bool
was_read(const struct sim_leg *leg, bool stable, uint32_t p, const struct maps_heading *by) {
  const uint8_t *meta = stable ? leg->meta_stable : leg->meta_now;
  struct maps_page *last = &maps_page[leg->index][stable][p];
  const uint8_t *copy[] = {meta + SF_MAP_PAGE_OFFSET(p), meta + SECOND_AT + p * SF_PAGE_BYTES};
  bool same = last->is_known && last->by.has_head == by->has_head &&
              last->by.may_be == by->may_be && last->by.has_second == by->has_second;

  for (unsigned i = 0; i < 2; i++) {
    same = same && memcmp(last->copy[i], copy[i], SF_PAGE_BYTES) == 0;
    if (!same)
      memcpy(last->copy[i], copy[i], SF_PAGE_BYTES);
  }
  last->is_known = true;
  last->by = *by;
  return same;
}

static void
read_unwritten(struct sim_leg *leg, bool stable) {
  struct picked head = *picked(stable ? leg->meta_stable : leg->meta_now);
  struct maps_heading by = {.has_head = head.error == 0};

  by.may_be = by.has_head && head.sb.unwritten && !unwritten_has_ended(&head.sb, stable);
  by.has_second = by.may_be && (head.sb.record.in_sync >> leg->index & 1);
  for (uint32_t p = 0; p < sf_map_pages(sim.blocks_room * BLOCK, sim.options.extent_bytes); p++)
    if (!was_read(leg, stable, p, &by))
      read_unwritten_page(leg, stable, p, &by);
}

void
medium_maps_moved(struct sim_leg *leg) {
  if (sim.options.unwritten_permille == 0)
    return;
  for (unsigned i = 0; i < sim.options.legs; i++)
    if (&sim.leg[i] == leg || sim.leg[i].meta_now != NULL) {
      read_unwritten(&sim.leg[i], false);
      read_unwritten(&sim.leg[i], true);
    }
}

static void
meta_moved(struct sim_leg *leg) {
  trust_changed(leg->index);
  medium_maps_moved(leg);
}

void
medium_write(struct sim_leg *leg, uint64_t offset, uint64_t length, const void *data, bool fua,
             unsigned part_permille) {
  bool meta = offset < sim.data_offset;
  uint64_t first = meta ? meta_block(offset) : (offset - sim.data_offset) / BLOCK;
  unsigned n = (unsigned) (length / BLOCK), landed = 0;
  struct landed *item;

  if (meta ? first + n > META_BLOCKS : first + n > leg->blocks)
    sim_fail("leg %u: a write beyond its end, %lu+%lu", leg->index, (unsigned long) offset,
             (unsigned long) length);
  item = landed_new(meta, first, n);
  item->seq = ++leg->seq;
  for (unsigned i = 0; i < n; i++) {
    uint64_t block = first + i;

    item->has[i] = part_permille == 1000 || random_chance(part_permille);
    if (meta)
      memcpy(item->bytes + (size_t) i * BLOCK, (const uint8_t *) data + (size_t) i * BLOCK, BLOCK);
    else
      item->value[i] = data == NULL ? 0 : stamp_get(data, i, block);
    if (!item->has[i])
      continue;
    landed++;
    if (meta) {
      memcpy(leg->meta_now + block * BLOCK, item->bytes + (size_t) i * BLOCK, BLOCK);
      leg->meta_now_seq[block] = item->seq;
    } else {
      leg->now[block] = item->value[i];
      leg->now_seq[block] = item->seq;
      medium_spoil(leg, block, false);
      scrub_rots(leg, block, data != NULL && stamp_is_rotten(data, i));
      if (!fua)
        oracle_recheck(leg, block);
    }
    if (fua)
      land_stable(leg, item, i);
  }
  if (fua) {
    free(item);
  } else {
    item->next = NULL;
    *leg->cache_tail = item;
    leg->cache_tail = &item->next;
  }
  if (meta && landed > 0 && landed < n)
    torn_page(offset);
  if (meta)
    meta_moved(leg);
}

void
medium_read(const struct sim_leg *leg, uint64_t offset, uint64_t length, void *data) {
  bool meta = offset < sim.data_offset;
  uint64_t first = meta ? meta_block(offset) : (offset - sim.data_offset) / BLOCK;
  unsigned n = (unsigned) (length / BLOCK);

  if (meta ? first + n > META_BLOCKS : first + n > leg->blocks)
    sim_fail("leg %u: a read beyond its end", leg->index);
  for (unsigned i = 0; i < n; i++) {
    uint8_t *to = (uint8_t *) data + (size_t) i * BLOCK;

    if (meta)
      memcpy(to, leg->meta_now + (first + i) * BLOCK, BLOCK);
    else
      stamp_put(data, i, leg->now[first + i], first + i);
    if (!meta && leg->rotten[first + i])
      stamp_rot(data, i, first + i);
  }
}

void
medium_flush(struct sim_leg *leg, uint32_t until) {
  bool meta = false;

  while (leg->cache != NULL && leg->cache->seq <= until) {
    for (unsigned i = 0; i < leg->cache->n; i++)
      if (leg->cache->has[i])
        land_stable(leg, leg->cache, i);
    meta = meta || leg->cache->meta;
    cache_pop(leg);
  }
  if (meta)
    meta_moved(leg);
}

void
medium_lose_flush(struct sim_leg *leg, uint32_t until) {
  while (leg->cache != NULL && leg->cache->seq <= until) {
    for (unsigned i = 0; i < leg->cache->n; i++)
      if (leg->cache->has[i]) {
        if (random_chance(500))
          land_stable(leg, leg->cache, i);
        else
          leg->lost_flush = true;
      }
    cache_pop(leg);
  }
  meta_moved(leg);
}

void
medium_lose_cache(struct sim_leg *leg, unsigned keep_permille) {
  while (leg->cache != NULL) {
    for (unsigned i = 0; i < leg->cache->n; i++)
      if (leg->cache->has[i] && random_chance(keep_permille))
        land_stable(leg, leg->cache, i);
    cache_pop(leg);
  }
  leg->lost_flush = false;
  memcpy(leg->meta_now, leg->meta_stable, META_BYTES);
  memcpy(leg->meta_now_seq, leg->meta_stable_seq, META_BLOCKS * sizeof *leg->meta_now_seq);
  for (uint64_t b = 0; b < sim.blocks_known; b++)
    if (leg->now[b] != leg->stable[b] || leg->now_seq[b] != leg->stable_seq[b]) {
      leg->now[b] = leg->stable[b];
      leg->now_seq[b] = leg->stable_seq[b];
      oracle_recheck(leg, b);
    }
  meta_moved(leg);
}

static void
read_maps(struct sim_leg *leg) {
  if (!leg->maps_changed)
    return;
  leg->maps_changed = false;
  leg->maps_good = true;
  for (uint32_t p = 0; p < sf_map_pages(sim.blocks_room * BLOCK, sim.options.extent_bytes); p++) {
    struct sf_map_page page;

    if (!sf_map_page_decode(leg->meta_stable + SF_MAP_PAGE_OFFSET(p), &sim.format.volume, p,
                            &page) &&
        p < sf_map_pages(sim.blocks * BLOCK, sim.options.extent_bytes))
      leg->maps_good = false;
    for (unsigned k = 0; k < SF_MAP_EXTENTS; k++)
      leg->intent[p * SF_MAP_EXTENTS + k] = page.intent[k / 8] >> (k % 8) & 1;
  }
}

bool
medium_has_intent(struct sim_leg *leg, uint64_t extent) {
  read_maps(leg);
  return leg->intent[extent];
}

bool
medium_maps_are_good(struct sim_leg *leg) {
  read_maps(leg);
  return leg->maps_good;
}

bool
medium_second_is_sound(const struct sim_leg *leg, uint64_t page) {
  uint64_t at = SECOND_AT + page * SF_PAGE_BYTES;
  struct sf_map_page found;

  return memcmp(leg->meta_now + at, leg->meta_stable + at, SF_PAGE_BYTES) == 0 &&
         sf_map_page_decode(leg->meta_stable + at, &sim.format.volume, (uint32_t) page, &found);
}

void
medium_flip(struct sim_leg *leg, uint64_t page) {
  uint64_t at = page * SF_PAGE_BYTES + random_below(SF_PAGE_BYTES);
  uint8_t flip = (uint8_t) (1u << random_below(8));

  leg->meta_now[at] ^= flip;
  leg->meta_stable[at] = leg->meta_now[at];
  leg->maps_changed = true;
  meta_moved(leg);
}

void
medium_wipe(struct sim_leg *leg) {
  TRACE("leg %u is another disk now", leg->index);
  medium_mend(leg);
  for (uint64_t b = 0; b < sim.blocks_known; b++) {
    leg->now[b] = leg->stable[b] = 0;
    leg->now_seq[b] = leg->stable_seq[b] = leg->seq;
    scrub_rots(leg, b, false);
    oracle_recheck(leg, b);
  }
}

void
medium_behead(struct sim_leg *leg) {
  uint8_t with = random_chance(500) ? 0 : 0x5e;

  TRACE("leg %u: its superblocks are overwritten", leg->index);
  leg->head = need(HEAD_BYTES, 1);
  memcpy(leg->head, leg->meta_stable, HEAD_BYTES);
  memset(leg->meta_now, with, HEAD_BYTES);
  memset(leg->meta_stable, with, HEAD_BYTES);
  trust_changed(leg->index);
}

void
medium_give_head_back(struct sim_leg *leg) {
  if (leg->head == NULL)
    return;
  TRACE("leg %u: its superblocks are as they were", leg->index);
  COUNT(heads_back);
  memcpy(leg->meta_now, leg->head, HEAD_BYTES);
  memcpy(leg->meta_stable, leg->head, HEAD_BYTES);
  free(leg->head);
  leg->head = NULL;
  meta_moved(leg);
}

void
medium_blank(struct sim_leg *leg, struct sf_superblock *sb) {
  struct sf_mark mark;

  free(leg->head);
  leg->head = NULL;
  memset(leg->meta_now, 0, META_BYTES);
  sf_mark_of(sb, &mark);
  sf_mark_encode(&mark, leg->meta_now + MAPS_END);
  for (sb->serial = 1; sb->serial <= SF_SUPERBLOCK_COPIES; sb->serial++)
    sf_superblock_encode(sb,
                         leg->meta_now + SF_SUPERBLOCK_OFFSET(sb->serial % SF_SUPERBLOCK_COPIES));
  memcpy(leg->meta_stable, leg->meta_now, META_BYTES);
  leg->maps_changed = true;
  for (unsigned i = 0; i < META_BLOCKS; i++)
    leg->meta_now_seq[i] = leg->meta_stable_seq[i] = leg->seq;
  meta_moved(leg);
}

bool
medium_is_clean(const struct sim_leg *leg) {
  return leg->cache == NULL;
}

#include "told_rig.h"

struct rig rig;
unsigned hung, keep_superblocks, keep_probes, keep_maps, keep_data, keep_flushes;

bool
is_probe(const struct rig_region *region) {
  return region->op == SF_TIO_WRITE && region->offset == SF_PROBE_OFFSET;
}

bool
hangs(const struct rig *r, const struct rig_region *region) {
  unsigned legs = hung;

  if (rig_is_superblock(region))
    legs |= keep_superblocks;
  else if (is_probe(region))
    legs |= keep_probes;
  else if (rig_is_map(region))
    legs |= keep_maps;
  else if (region->op == SF_TIO_FLUSH)
    legs |= keep_flushes;
  else if (rig_is_data(r, region))
    legs |= keep_data;
  return (legs >> region->leg & 1) != 0;
}

bool
tells_leg_2(const struct rig *r, const struct rig_region *region) {
  return region->leg == 2 && rig_is_superblock(region);
}

void
told_rig_init(unsigned legs, unsigned min_legs) {
  rig_init(&rig, legs, min_legs, EXTENT, EXTENTS);
  hung = keep_superblocks = keep_probes = keep_maps = keep_data = keep_flushes = 0;
  rig.holds = hangs;
}

void
rate(uint64_t bytes) {
  rig.config.resync_min_rate = rig.config.resync_max_rate = bytes;
  sf_volume_configure(rig.volume, &rig.config, rig.now_ns);
}

void
pass_until(enum sf_leg_state state) {
  for (unsigned i = 0; i < 60000 && rig_state(&rig, 2) != state; i++)
    rig_pass(&rig, 1);
  assert_int_equal(rig_state(&rig, 2), state);
}

bool
leg_2_names_itself(void) {
  struct sf_superblock sb;

  rig_read_superblock(&rig, 2, &sb);
  return (sb.record.in_sync >> 2 & 1) != 0;
}

void
until_leg_2_names_itself(void) {
  for (unsigned i = 0; i < 40000 && !leg_2_names_itself(); i++)
    rig_pass(&rig, 1);
  assert_true(leg_2_names_itself());
}

void
write_well(uint64_t extent, uint8_t fill) {
  struct rig_request w;

  rig_submit(&rig, &w, SF_REQ_WRITE, extent * EXTENT, 4096, fill);
  rig_pass(&rig, 1000);
  assert_true(w.done);
  assert_int_equal(w.request.error, 0);
  rig_put(&w);
}

void
write_eight(unsigned first) {
  for (unsigned e = first; e < first + 8; e++)
    write_well(e, (uint8_t) (e + 1));
}

void
flush_well(uint64_t ms) {
  struct rig_request flush;

  rig_submit(&rig, &flush, SF_REQ_FLUSH, 0, 0, 0);
  rig_pass(&rig, ms);
  assert_true(flush.done);
  rig_put(&flush);
}

void
begin(unsigned min_legs, unsigned hang) {
  told_rig_init(3, min_legs);
  rig_start_fully(&rig);
  rate(EXTENT / 4);
  hung = hang;
  write_eight(0);
}

void
start_by_force_without(unsigned absent) {
  if (!rig.refused)
    rig_kill(&rig);
  for (unsigned i = 0; i < 3; i++)
    rig.absent[i] = absent >> i & 1;
  rig.force = rig.may_refuse = true;
  hung = keep_superblocks = 0;
  rig_start(&rig);
}

/* Making a volume from what an assembly has found, and ending it. */
#include "volume/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "volume/change/copier.h"
#include "volume/change/newcomer.h"
#include "volume/change/scrub.h"
#include "volume/ground/facts.h"
#include "volume/ground/leg_io.h"
#include "volume/ground/leg_memory.h"
#include "volume/ground/maps.h"
#include "volume/ops/op.h"
#include "volume/roof/delivery.h"
#include "volume/roof/volume.h"
#include "volume/set/bad.h"
#include "volume/set/flush_failure.h"
#include "volume/set/leg.h"
#include "volume/set/map_load.h"

static void
init_identity(struct sf_volume *v, const struct sf_volume_params *params) {
  const struct sf_assembly *assembly = params->assembly;
  struct sf_superblock *id = &v->identity;

  *id = assembly->base;
  id->holder = params->holder;
  v->takes = params->takes;
  v->base = *id;
  v->claim = assembly->next_term;
  if (assembly->forced) {
    unsigned keep = id->ancestors < SF_ANCESTORS_MAX ? id->ancestors : SF_ANCESTORS_MAX - 1;

    memmove(&id->ancestor[1], &id->ancestor[0], keep * sizeof id->ancestor[0]);
    id->ancestor[0] = (struct sf_ancestor){
        .lineage = id->lineage, .term = id->record.term, .change = id->record.change};
    id->ancestors = (uint8_t) (keep + 1);
    sf_uuid_generate(&id->lineage);
  }
  /* The claim is written over the copy that cannot be read, and the doubt is gone with it: so it
   * must itself leave out the legs that are set aside. */
  if (assembly->recopy != 0) {
    v->base = *id;
    v->base.record.in_sync = assembly->current;
  }
}

static void
init_set(struct sf_volume *v, const struct sf_volume_params *params) {
  legset current = params->assembly->current;

  v->min_legs = v->config.min_legs;
  if (v->base.record.min_legs > v->min_legs)
    v->min_legs = v->base.record.min_legs; /* until a record with the smaller number is durable */
  v->latest = (struct sf_record){
      .term = v->claim,
      .in_sync = current,
      .faulty = v->base.record.faulty & (legset) ~current,
      .min_legs = (uint8_t) v->min_legs,
  };
  v->durable = v->latest;
  v->promoting = v->joining = -1;
}

/* The maps say what a leg lacks that is not current, unless it comes from elsewhere. */
static int
init_leg(struct sf_volume *v, unsigned i, const struct sf_volume_params *params) {
  struct leg *leg = &v->leg[i];
  const struct sf_assembly *assembly = params->assembly;
  enum sf_leg_state state = SF_STATE_MISSING;
  const char *reason = "";

  int r;

  leg->index = i;
  sf_leg_is_opened(v, i, params->leg[i].device, &params->leg[i].sb, params->leg[i].bytes);
  r = sf_leg_init_memory(v, i);
  if (r < 0)
    return r;

  if (!(sf_members(v) & legbit(i))) {
    state = SF_STATE_FAULTY;
    reason = "removed";
  } else if (assembly->current & legbit(i)) {
    SF_ASSERT(leg->device != NULL);
    state = SF_STATE_IN_SYNC;
  } else if (leg->device == NULL) {
    if (v->base.record.faulty & legbit(i)) {
      state = SF_STATE_FAULTY;
      reason = "taken out before this start: `leg return` takes it back";
    } else if (assembly->headless & legbit(i)) {
      reason = "its superblocks are lost, and it is this leg by its mark: it is looked for again";
    } else if (assembly->verdict[i] == SF_LEG_TOO_SMALL) {
      reason = "shorter than the volume: it is looked for again";
    } else if (assembly->verdict[i] == SF_LEG_UNFORMATTED) {
      reason = "no superblock where it should be: it is looked for again";
    } else if (assembly->verdict[i] != SF_LEG_ABSENT) {
      state = SF_STATE_FAULTY;
      reason = sf_verdict_name(assembly->verdict[i]);
    } else {
      reason = "absent at the start";
    }
  } else if (assembly->verdict[i] == SF_LEG_BEHIND) {
    state = SF_STATE_PROBING;
    reason = "behind at the start";
  } else {
    state = SF_STATE_FAULTY;
    reason = sf_verdict_name(assembly->verdict[i]);
  }
  if (state != SF_STATE_IN_SYNC && leg->device != NULL && sf_newcomer_lacks_all(v, i)) {
    sf_newcomer_trust_no_copy(v, i);
    sf_map_fill(&leg->stale);
  }
  snprintf(leg->reason, sizeof leg->reason, "%s", reason);
  sf_state_init(&leg->machine, &sf_leg_table, i, state);
  return 0;
}

int
sf_volume_create(const struct sf_volume_params *params, const struct sf_volume_host *host,
                 void *ctx, struct sf_volume **volume) {
  struct sf_volume *v;
  int r;

  SF_ASSERT(params->assembly->may_start && params->block_bytes > 0);
  v = calloc(1, sizeof *v);
  if (v == NULL)
    return -ENOMEM;
  sf_vol_init_delivery(v);
  v->host = *host;
  v->ctx = ctx;
  v->above = &sf_volume_above_io;
  v->config = *params->config;
  v->legs = params->config->legs;
  v->block_bytes = params->block_bytes;
  init_identity(v, params);
  v->size_bytes = v->served_bytes = v->identity.data_bytes;
  v->data_offset = v->identity.data_offset;
  v->extent_bytes = v->identity.extent_bytes;
  v->extent_shift = (unsigned) __builtin_ctzll(v->extent_bytes);
  v->extents = (v->size_bytes + v->extent_bytes - 1) >> v->extent_shift;
  v->maps.pages = (v->extents + SF_MAP_EXTENTS - 1) / SF_MAP_EXTENTS;
  init_set(v, params);

  sf_list_init(&v->active);
  sf_list_init(&v->ops_free);
  sf_list_init(&v->dropped);
  for (unsigned i = 0; i < SF_LEGS_MAX; i++)
    sf_leg_io_init(&v->leg[i]);
  v->held_tail = &v->held;
  v->parked_tail = &v->parked;
  v->flush_queue_tail = &v->flush_queue;
  v->flush_held_tail = &v->flush_held;
  v->ops = calloc(SF_OPS_MAX, sizeof *v->ops);
  r = v->ops == NULL ? -ENOMEM : sf_maps_init(v);
  for (unsigned i = 0; r == 0 && i < SF_OPS_MAX; i++) {
    sf_state_init(&v->ops[i].machine, &sf_op_table, 0, OP_FREE);
    sf_list_append(&v->ops_free, &v->ops[i].link);
    v->ops_free_n++;
  }
  for (unsigned i = 0; r == 0 && i < v->legs; i++)
    r = init_leg(v, i, params);
  if (r == 0)
    r = sf_maps_load(v, params);
  if (r == 0)
    r = sf_copier_init(v);
  if (r == 0)
    sf_scrub_init(v);
  if (r == 0)
    sf_flush_failure_load(v, params);
  if (r == 0)
    sf_bad_load(v);
  if (r < 0) {
    sf_volume_destroy(v);
    return r;
  }
  *volume = v;
  return 0;
}

int
sf_volume_destroy(struct sf_volume *v) {
  unsigned running = 0;

  if (v == NULL)
    return 0;
  /* The thread with the last event may still be inside, or tell what came of it. */
  pthread_mutex_lock(&v->lock);
  sf_vol_tell_the_rest(v);
  for (unsigned i = 0; i < v->legs; i++)
    running += v->leg[i].running;
  pthread_mutex_unlock(&v->lock);
  if (running > 0)
    return -EBUSY;
  for (unsigned i = 0; i < SF_LEGS_MAX; i++)
    sf_leg_free_memory(v, i);
  sf_maps_destroy(v);
  sf_copier_destroy(v);
  sf_maps_free(v);
  free(v->ops);
  sf_vol_destroy_delivery(v);
  free(v);
  return 0;
}

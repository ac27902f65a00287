/* Entry points, but for those of volume.c: each enters, asks one room, settles, and leaves; or looks
 * at something under the lock. */
#include "volume/state.h"

#include <stdio.h>

#include "volume/change/drill.h"
#include "volume/change/grow.h"
#include "volume/change/members.h"
#include "volume/change/operator.h"
#include "volume/change/probe.h"
#include "volume/change/scrub.h"
#include "volume/ground/facts.h"
#include "volume/ground/flush_lost.h"
#include "volume/ground/silence.h"
#include "volume/roof/delivery.h"
#include "volume/roof/status.h"
#include "volume/roof/turn.h"

static void
leave(struct sf_volume *v) {
  sf_vol_settle(v);
  sf_vol_leave(v);
}

void
sf_volume_leg_resized(struct sf_volume *v, unsigned leg, uint64_t bytes) {
  pthread_mutex_lock(&v->lock);
  if (leg < v->legs && v->leg[leg].device != NULL)
    v->leg[leg].bytes = bytes;
  pthread_mutex_unlock(&v->lock);
}

int
sf_volume_grow(struct sf_volume *v, uint64_t size_bytes, uint64_t now_ns) {
  int r;

  sf_vol_enter(v, now_ns);
  r = sf_grow_to(v, size_bytes);
  leave(v);
  return r;
}

uint64_t
sf_volume_size(struct sf_volume *v) {
  uint64_t size;

  pthread_mutex_lock(&v->lock);
  size = v->served_bytes;
  pthread_mutex_unlock(&v->lock);
  return size;
}

void
sf_volume_get_identity(struct sf_volume *v, struct sf_superblock *identity) {
  pthread_mutex_lock(&v->lock);
  *identity = v->identity;
  identity->record = v->latest;
  identity->claim = v->claim;
  identity->data_bytes = v->size_bytes;
  pthread_mutex_unlock(&v->lock);
}

int
sf_volume_leg_replace(struct sf_volume *v, unsigned leg, const struct sf_uuid *uuid,
                      const char *path, uint64_t now_ns) {
  int r;

  sf_vol_enter(v, now_ns);
  r = sf_member_replace(v, leg, uuid, path);
  leave(v);
  return r;
}

int
sf_volume_find_leg(struct sf_volume *v, const char *name) {
  int leg;

  pthread_mutex_lock(&v->lock);
  leg = sf_member_find(v, name);
  pthread_mutex_unlock(&v->lock);
  return leg;
}

int
sf_volume_free_place(struct sf_volume *v) {
  int place;

  pthread_mutex_lock(&v->lock);
  place = sf_member_free_place(v);
  pthread_mutex_unlock(&v->lock);
  return place;
}

int
sf_volume_leg_add(struct sf_volume *v, const char *name, const char *path,
                  const struct sf_uuid *uuid, unsigned *leg, uint64_t now_ns) {
  int r;

  sf_vol_enter(v, now_ns);
  r = sf_member_add(v, name, path, uuid, leg);
  leave(v);
  return r;
}

int
sf_volume_leg_remove(struct sf_volume *v, unsigned leg, uint64_t now_ns) {
  int r;

  sf_vol_enter(v, now_ns);
  r = sf_member_remove(v, leg);
  leave(v);
  return r;
}

void
sf_volume_leg_path(struct sf_volume *v, unsigned leg, char path[PATH_MAX]) {
  pthread_mutex_lock(&v->lock);
  snprintf(path, PATH_MAX, "%s", v->config.leg[leg].path);
  pthread_mutex_unlock(&v->lock);
}

static int
of_member(struct sf_volume *v, unsigned index, uint64_t now_ns,
          int (*change)(struct sf_volume *v, unsigned index)) {
  int r;

  sf_vol_enter(v, now_ns);
  r = sf_leg_is_member(v, index) ? change(v, index) : -ENOENT;
  leave(v);
  return r;
}

int
sf_volume_leg_fail(struct sf_volume *v, unsigned index, uint64_t now_ns) {
  return of_member(v, index, now_ns, sf_operator_fail);
}

int
sf_volume_leg_return(struct sf_volume *v, unsigned index, uint64_t now_ns) {
  return of_member(v, index, now_ns, sf_operator_take_back);
}

int
sf_volume_leg_discard(struct sf_volume *v, unsigned index, uint64_t now_ns) {
  return of_member(v, index, now_ns, sf_operator_discard);
}

int
sf_volume_leg_opened(struct sf_volume *v, unsigned leg, struct sf_tio_device *device,
                     const struct sf_superblock *sb, uint64_t bytes, int error, const char *why,
                     uint64_t now_ns) {
  int r;

  sf_vol_enter(v, now_ns);
  r = sf_operator_opened(v, leg, device, sb, bytes, error, why);
  leave(v);
  return r;
}

void
sf_volume_leg_looked(struct sf_volume *v, unsigned leg, uint64_t look, bool gone, uint64_t now_ns) {
  sf_vol_enter(v, now_ns);
  sf_probe_looked(v, leg, look, gone);
  leave(v);
}

int
sf_volume_configure(struct sf_volume *v, const struct sf_config *config, uint64_t now_ns) {
  int r;

  sf_vol_enter(v, now_ns);
  r = sf_operator_configure(v, config);
  leave(v);
  return r;
}

int
sf_volume_hole_source(struct sf_volume *v) {
  int source = -1;

  pthread_mutex_lock(&v->lock);
  if (v->phase == PHASE_SERVING && v->unconverged.set == 0 && v->unwritten.set == 0 &&
      v->bad.list.n == 0 && sf_flush_failure_legs(v) == 0)
    EACH_LEG(leg, sf_insync_legs(v))
      if (source < 0 && !sf_insync_is_avoided(v, leg))
        source = (int) leg;
  pthread_mutex_unlock(&v->lock);
  return source;
}

void
sf_volume_get_config(struct sf_volume *v, struct sf_config *config) {
  pthread_mutex_lock(&v->lock);
  *config = v->config;
  pthread_mutex_unlock(&v->lock);
}

int
sf_volume_scrub(struct sf_volume *v, const struct sf_scrub_order *order, uint64_t now_ns) {
  int r;

  sf_vol_enter(v, now_ns);
  r = sf_scrub_begin(v, order);
  leave(v);
  return r;
}

int
sf_volume_scrub_pause(struct sf_volume *v, bool paused, uint64_t now_ns) {
  int r;

  sf_vol_enter(v, now_ns);
  r = sf_scrub_pause(v, paused);
  leave(v);
  return r;
}

int
sf_volume_scrub_cancel(struct sf_volume *v, uint64_t now_ns) {
  int r;

  sf_vol_enter(v, now_ns);
  r = sf_scrub_cancel(v);
  leave(v);
  return r;
}

int
sf_volume_drill(struct sf_volume *v, unsigned leg, uint64_t duration_ns, uint64_t now_ns) {
  int r;

  sf_vol_enter(v, now_ns);
  r = sf_leg_is_member(v, leg) ? sf_drill_begin(v, leg, duration_ns) : -ENOENT;
  leave(v);
  return r;
}

int
sf_volume_drill_cancel(struct sf_volume *v, uint64_t now_ns) {
  int r;

  sf_vol_enter(v, now_ns);
  r = sf_drill_cancel(v);
  leave(v);
  return r;
}

void
sf_volume_status(struct sf_volume *v, uint64_t now_ns, struct sf_volume_status *status) {
  sf_vol_enter(v, now_ns);
  sf_status_fill(v, status);
  sf_vol_leave(v);
}

/* Growing, the part that touches legs: their sizes are asked for and files made longer, each leg in
 * a thread of its own, since any of it can hang with its leg.  A leg that has not answered in time
 * has the size that was known before; if it is in sync, the volume refuses.  A thread that comes
 * late has made a file longer, and nothing else. */
#include "base/units.h"
#include "serve/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"

enum { ANSWER_S = 30 };

struct errand {
  struct grow_legs *legs;
  int fd; /* of the same description: while the leg hangs, no other process can lock it */
  bool is_block;
  bool sent, done;
  int error;
  uint64_t bytes;
};

struct grow_legs {
  pthread_mutex_t lock; /* of all that follows */
  pthread_cond_t answered;
  unsigned users; /* the grower and each thread */
  uint64_t wanted;
  unsigned sent, done;
  struct errand leg[SF_LEGS_MAX];
};

/* The lock is held; it is gone afterwards. */
static void
leave(struct grow_legs *legs) {
  bool last = --legs->users == 0;

  pthread_mutex_unlock(&legs->lock);
  if (!last)
    return;
  pthread_cond_destroy(&legs->answered);
  pthread_mutex_destroy(&legs->lock);
  free(legs);
}

static void *
extend_leg(void *arg) {
  struct errand *errand = arg;
  struct grow_legs *legs = errand->legs;
  uint64_t bytes = 0;
  int r = sf_leg_extend(errand->fd, errand->is_block, legs->wanted, &bytes);

  close(errand->fd);
  pthread_mutex_lock(&legs->lock);
  errand->done = true;
  errand->error = r;
  errand->bytes = bytes;
  legs->done++;
  pthread_cond_signal(&legs->answered);
  leave(legs);
  return NULL;
}

/* The lock is held. */
static void
send_out(struct sf_serve *serve, struct grow_legs *legs, unsigned index) {
  struct errand *errand = &legs->leg[index];
  pthread_attr_t attr;
  pthread_t thread;

  errand->legs = legs;
  pthread_mutex_lock(&serve->lock);
  errand->is_block = serve->leg[index].file.is_block;
  errand->fd = serve->leg[index].file.fd < 0 ? -1 : dup(serve->leg[index].file.fd);
  pthread_mutex_unlock(&serve->lock);
  if (errand->fd < 0)
    return;
  SF_ASSERT(pthread_attr_init(&attr) == 0);
  SF_ASSERT(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) == 0);
  if (pthread_create(&thread, &attr, extend_leg, errand) == 0) {
    errand->sent = true;
    legs->sent++;
    legs->users++;
  } else {
    close(errand->fd);
  }
  pthread_attr_destroy(&attr);
}

static struct grow_legs *
make_legs(uint64_t wanted) {
  struct grow_legs *legs = calloc(1, sizeof *legs);
  pthread_condattr_t monotonic;

  if (legs == NULL)
    return NULL;
  legs->users = 1;
  legs->wanted = wanted;
  pthread_mutex_init(&legs->lock, NULL);
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&legs->answered, &monotonic);
  pthread_condattr_destroy(&monotonic);
  return legs;
}

/* wanted 0: only asks.  *fits: what the shortest leg that answered holds, 0 if none did. */
static int
extend_legs(struct sf_serve *serve, uint64_t wanted, uint64_t *fits, char error[128]) {
  struct grow_legs *legs = make_legs(wanted);
  uint64_t until = sf_tio_now() + ANSWER_S * SF_S;
  const struct timespec at = {.tv_sec = (time_t) (until / SF_S), .tv_nsec = (long) (until % SF_S)};
  static const enum sf_leg_state answering[] = {SF_STATE_IN_SYNC, SF_STATE_CATCHING_UP,
                                                SF_STATE_PROBING};
  struct sf_volume_status *status = malloc(sizeof *status);
  int r = 0;

  *fits = 0;
  if (legs == NULL || status == NULL) {
    snprintf(error, 128, "out of memory");
    free(status);
    if (legs != NULL) {
      pthread_mutex_lock(&legs->lock);
      leave(legs);
    }
    return -ENOMEM;
  }
  sf_volume_status(serve->volume, sf_tio_now(), status);
  pthread_mutex_lock(&legs->lock);
  for (unsigned i = 0; i < status->legs; i++)
    for (unsigned k = 0; k < sizeof answering / sizeof answering[0]; k++)
      if (status->leg[i].state == answering[k])
        send_out(serve, legs, i);
  while (legs->done < legs->sent && pthread_cond_timedwait(&legs->answered, &legs->lock, &at) == 0)
    ;
  for (unsigned i = 0; i < status->legs; i++) {
    const struct errand *errand = &legs->leg[i];
    uint64_t holds = sf_data_bytes_for(errand->bytes);

    if (!errand->sent)
      continue;
    if (errand->done && errand->error == 0)
      sf_volume_leg_resized(serve->volume, i, errand->bytes);
    if (status->leg[i].state != SF_STATE_IN_SYNC)
      continue;
    if (!errand->done || errand->error < 0) {
      r = errand->done ? errand->error : -ETIMEDOUT;
      snprintf(error, 128, "leg %s: %s", status->leg[i].name,
               errand->done ? strerrordesc_np(-r) : "it did not answer in time");
    } else if (*fits == 0 || holds < *fits) {
      *fits = holds;
    }
  }
  leave(legs);
  free(status);
  return r;
}

/* ---- the grower ---- */

static void
tell_failure(struct sf_serve *serve, const char *why) {
  const struct sf_volume_event event = {
      .kind = SF_EVENT_GROW_FAILED, .now_ns = sf_tio_now(), .leg = -1, .reason = why};

  sf_serve_event(serve, &event);
}

/* A leg in sync that has no room; "?" when it has gone meanwhile. */
static const char *
name_short(struct sf_serve *serve, uint64_t size, char name[SF_LEG_NAME_MAX]) {
  struct sf_volume_status *status = calloc(1, sizeof *status);
  uint64_t needs = serve->assembly.base.data_offset + size;

  snprintf(name, SF_LEG_NAME_MAX, "?");
  if (status == NULL)
    return name;
  sf_volume_status(serve->volume, sf_tio_now(), status);
  for (unsigned i = 0; i < status->legs; i++)
    if (status->leg[i].state == SF_STATE_IN_SYNC && serve->leg[i].file.bytes < needs)
      snprintf(name, SF_LEG_NAME_MAX, "%s", status->leg[i].name);
  free(status);
  return name;
}

static const char *
why_refused(struct sf_serve *serve, int r, char text[160], uint64_t size) {
  char name[SF_LEG_NAME_MAX];

  switch (r) {
  case -EALREADY:
    snprintf(text, 160,
             "the legs hold no more than the volume has: make them longer first, or give "
             "a size");
    break;
  case -EFBIG:
    snprintf(text, 160, "more than 2^21 extents: the maps have no room for %" PRIu64 " bytes",
             size);
    break;
  case -EAGAIN:
    snprintf(text, 160,
             "more than %d extents: the maps have no room for that before all is zeroed "
             "(initialising in status)",
             SF_MAP_TWICE_MOST * SF_MAP_EXTENTS);
    break;
  case -EINVAL:
    snprintf(text, 160, "%" PRIu64 " bytes: not a possible size, a multiple of 4 KiB", size);
    break;
  case -EBUSY:
    snprintf(text, 160, "the volume does not serve yet, or no longer");
    break;
  case -ENOSPC:
    snprintf(text, 160,
             "leg %s, in sync, is too short for %" PRIu64
             " bytes: make it longer, or take it out first (leg fail)",
             name_short(serve, size, name), size);
    break;
  default:
    snprintf(text, 160, "%s", strerrordesc_np(-r));
  }
  return text;
}

static void *
grower(void *arg) {
  struct sf_serve *serve = arg;
  struct sf_superblock identity;
  uint64_t size = serve->job.size, fits = 0;
  const uint64_t pages = (SF_EXTENTS_MAX + SF_MAP_EXTENTS - 1) / SF_MAP_EXTENTS;
  char error[128], text[160];
  int r = 0;

  sf_volume_get_identity(serve->volume, &identity);
  if (size == 0)
    r = extend_legs(serve, 0, &size, error);
  if (r == 0 && size > identity.data_bytes && sf_map_pages(size, identity.extent_bytes) <= pages)
    r = extend_legs(serve, identity.data_offset + size, &fits, error);
  if (r < 0) {
    tell_failure(serve, error);
  } else {
    r = sf_volume_grow(serve->volume, size, sf_tio_now());
    if (r < 0)
      tell_failure(serve, why_refused(serve, r, text, size));
  }
  atomic_store(&serve->job.ended, true);
  return NULL;
}

/* Begins.  What can be said at once is; the rest is an event. */
int
sf_serve_grow(struct sf_serve *serve, uint64_t size, char error[SF_CONFIG_ERROR_MAX]) {
  uint64_t has = sf_volume_size(serve->volume);
  int r;

  r = sf_serve_job_is_free(serve, error);
  if (r < 0)
    return r;
  if (size != 0 && size % SF_PAGE_BYTES != 0) {
    snprintf(error, SF_CONFIG_ERROR_MAX, "%" PRIu64 " is not a multiple of 4 KiB", size);
    return -EINVAL;
  }
  if (size != 0 && size <= has) {
    snprintf(error, SF_CONFIG_ERROR_MAX,
             "the volume has %" PRIu64 " bytes already: it can only be made larger", has);
    return -EINVAL;
  }
  serve->job.size = size;
  return sf_serve_job_begin(serve, grower, error);
}

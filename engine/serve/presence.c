/* Has the disk of a faulty leg left the machine?  The kernel is asked, which may take any time with a disk that is
 * dying: so each look has a process of its own, which has no file but that leg, a thread here that waits for it, and at
 * most one of a leg is under way.  A look that hangs holds no request up; when this process is killed it stays alone,
 * with the lock of its own leg (R7). */
#include "serve/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/thread.h"

enum { JOIN_S = 1 };

struct presence {
  struct sf_serve *serve;
  unsigned leg;
  uint64_t look;
  struct sf_tio_presence asked;
};

/* Ended only when the volume has been told: whoever joins it may hold the volume's lock. */
static void *
looker(void *arg) {
  struct presence *presence = arg;
  struct sf_serve *serve = presence->serve;
  struct serve_leg *leg = &serve->leg[presence->leg];
  bool gone = false;

  /* Without an answer it counts as there: it is asked again. */
  (void) sf_leg_is_gone_isolated(serve->openers, presence->asked.fd, (dev_t) presence->asked.number,
                                 presence->asked.named, &gone);
  sf_tio_presence_asked(&presence->asked);
  sf_volume_leg_looked(serve->volume, presence->leg, presence->look, gone, sf_tio_now());
  free(presence);
  pthread_mutex_lock(&serve->lock);
  atomic_store(&leg->looker_ended, true);
  pthread_cond_broadcast(&serve->changed);
  pthread_mutex_unlock(&serve->lock);
  return NULL;
}

static int
start(struct serve_leg *leg, struct presence *presence, struct sf_tio_device *device) {
  int r = sf_tio_presence_take(device, &presence->asked);

  if (r < 0)
    return r;
  atomic_store(&leg->looker_ended, false);
  r = sf_thread_start(&leg->looker, "surefoot-look", looker, presence);
  if (r < 0) {
    sf_tio_presence_asked(&presence->asked);
    return r;
  }
  leg->looker_started = true;
  return 0;
}

int
sf_serve_look_at_leg(void *ctx, unsigned index, struct sf_tio_device *device, uint64_t look) {
  struct sf_serve *serve = ctx;
  struct serve_leg *leg = &serve->leg[index];
  struct presence *presence;
  int r;

  if (leg->looker_started && !atomic_load(&leg->looker_ended))
    return -EBUSY;
  if (leg->looker_started)
    pthread_join(leg->looker, NULL);
  leg->looker_started = false;
  presence = malloc(sizeof *presence);
  if (presence == NULL)
    return -ENOMEM;
  *presence = (struct presence){.serve = serve, .leg = index, .look = look};
  r = start(leg, presence, device);
  if (r < 0)
    free(presence);
  return r;
}

static bool
has_ended(struct sf_serve *serve, const struct serve_leg *leg, const struct timespec *until) {
  bool ended;

  pthread_mutex_lock(&serve->lock);
  while (!(ended = atomic_load(&leg->looker_ended)) &&
         pthread_cond_timedwait(&serve->changed, &serve->lock, until) == 0)
    ;
  pthread_mutex_unlock(&serve->lock);
  return ended;
}

int
sf_serve_join_lookers(struct sf_serve *serve) {
  struct timespec at;

  clock_gettime(CLOCK_MONOTONIC, &at);
  at.tv_sec += JOIN_S;
  for (unsigned i = 0; i < SF_LEGS_MAX; i++) {
    struct serve_leg *leg = &serve->leg[i];

    if (leg->looker_started && !has_ended(serve, leg, &at))
      return -EBUSY;
    if (leg->looker_started)
      pthread_join(leg->looker, NULL);
    leg->looker_started = false;
  }
  return 0;
}

/* Changing the members, the part that touches disks: a new leg is examined before the volume hears
 * of it, and made an empty member when the volume opens it, if it is what was examined still. */
#include "serve/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/units.h"
#include "config/value.h"

/* A look at a disk that is far away or busy takes up to a minute. */
enum { TRIES = 30, TRY_MS = 100, ANSWER_S = 120 };

static void
tell_failure(struct sf_serve *serve, const char *why) {
  const struct sf_volume_event event = {.kind = SF_EVENT_CHANGE_FAILED,
                                        .now_ns = sf_tio_now(),
                                        .leg = (int) serve->job.leg,
                                        .leg_name = serve->job.name,
                                        .reason = why};

  sf_serve_event(serve, &event);
}

/* Before the volume hears of the leg: it may have it opened at once.  Returns what was there, for a change that comes
 * to nothing. */
static struct serve_judged
judge(struct sf_serve *serve, unsigned leg, struct serve_judged judged) {
  struct serve_judged before;

  pthread_mutex_lock(&serve->lock);
  before = serve->leg[leg].judged;
  serve->leg[leg].judged = judged;
  pthread_mutex_unlock(&serve->lock);
  return before;
}

/* A missing leg is opened every two seconds, and such a moment passes, or its disk hangs. */
static int
replace(struct sf_serve *serve, const struct serve_judged *judged) {
  const struct timespec pause = {.tv_nsec = TRY_MS * 1000000L};
  struct serve_judged before = judge(serve, serve->job.leg, *judged);
  int r = -EBUSY;

  for (unsigned i = 0; i < TRIES && r == -EBUSY; i++) {
    if (i > 0)
      nanosleep(&pause, NULL);
    (void) sf_serve_give_up_opening(serve, serve->job.leg);
    r = sf_volume_leg_replace(serve->volume, serve->job.leg, &judged->uuid, serve->job.path,
                              sf_tio_now());
  }
  if (r < 0)
    (void) judge(serve, serve->job.leg, before);
  return r;
}

/* The volume hears of it only when it is what may take the place. */
static int
examine(struct sf_serve *serve, unsigned flags, const struct sf_superblock *identity,
        struct serve_judged *judged, char error[SF_CONFIG_ERROR_MAX]) {
  const struct serve_job *job = &serve->job;
  int r = sf_leg_check_new_isolated(serve->openers, job->path, flags, identity, job->leg,
                                    ANSWER_S * SF_S, &judged->disk, error);
  size_t used = strlen(error);

  if (r == -ETIMEDOUT)
    snprintf(error + used, SF_CONFIG_ERROR_MAX - used,
             "; nothing was changed for leg %s: see why the disk hangs, or name another one",
             job->name);
  return r;
}

static void *
replacer(void *arg) {
  struct sf_serve *serve = arg;
  struct serve_job *job = &serve->job;
  struct sf_superblock identity;
  struct serve_judged judged;
  char error[SF_CONFIG_ERROR_MAX] = "", path[PATH_MAX];
  bool same;
  int r;

  sf_volume_get_identity(serve->volume, &identity);
  sf_uuid_generate(&identity.leg_uuid[job->leg]);
  sf_volume_leg_path(serve->volume, job->leg, path);
  same = job->path[0] == '\0' || strcmp(job->path, path) == 0;
  if (same)
    snprintf(job->path, sizeof job->path, "%s", path);
  judged.uuid = identity.leg_uuid[job->leg];
  r = examine(serve, same ? SF_LEG_READ_ONLY : 0, &identity, &judged, error);
  if (r == 0) {
    r = replace(serve, &judged);
    if (r == -EBUSY)
      snprintf(error, sizeof error,
               "leg %s is in use: `leg fail` it first, and wait until its requests have ended; "
               "if they never do, `leg add` another disk; or the volume does not serve now",
               job->name);
    else if (r < 0)
      snprintf(error, sizeof error, "%s", strerror(-r));
  }
  if (r < 0)
    tell_failure(serve, error);
  atomic_store(&job->ended, true);
  return NULL;
}

static int
check_path(const char *path, char error[SF_CONFIG_ERROR_MAX]) {
  if (path[0] != '/') {
    snprintf(error, SF_CONFIG_ERROR_MAX, "%.200s: the path must be absolute", path);
    return -EINVAL;
  }
  if (strlen(path) >= PATH_MAX) {
    snprintf(error, SF_CONFIG_ERROR_MAX, "the path is too long");
    return -ENAMETOOLONG;
  }
  return 0;
}

int
sf_serve_leg_replace(struct sf_serve *serve, unsigned leg, const char *name, const char *path,
                     char error[SF_CONFIG_ERROR_MAX]) {
  int r = sf_serve_job_is_free(serve, error);

  if (r == 0 && path != NULL)
    r = check_path(path, error);
  if (r < 0)
    return r;
  serve->job.leg = leg;
  snprintf(serve->job.name, sizeof serve->job.name, "%s", name);
  snprintf(serve->job.path, sizeof serve->job.path, "%s", path == NULL ? "" : path);
  return sf_serve_job_begin(serve, replacer, error);
}

/* ---- add ---- */

static int
add(struct sf_serve *serve, char error[SF_CONFIG_ERROR_MAX]) {
  struct serve_job *job = &serve->job;
  struct sf_superblock identity;
  struct serve_judged judged, before;
  int place = sf_volume_free_place(serve->volume), r;
  unsigned leg;

  if (place < 0) {
    snprintf(error, SF_CONFIG_ERROR_MAX, "the volume has %d legs, and no more are possible",
             SF_LEGS_MAX);
    return place;
  }
  job->leg = leg = (unsigned) place;
  /* As it will be: what stands on the disk is judged by it. */
  sf_volume_get_identity(serve->volume, &identity);
  snprintf(identity.leg_name[leg], SF_LEG_NAME_MAX, "%s", job->name);
  r = examine(serve, 0, &identity, &judged, error);
  if (r < 0)
    return r;
  sf_uuid_generate(&judged.uuid);
  before = judge(serve, leg, judged);
  r = sf_volume_leg_add(serve->volume, job->name, job->path, &judged.uuid, &leg, sf_tio_now());
  if (r < 0)
    (void) judge(serve, leg, before);
  if (r < 0)
    snprintf(error, SF_CONFIG_ERROR_MAX, "%s",
             r == -EEXIST  ? "there is a leg of that name"
             : r == -EBUSY ? "the volume does not serve now, or that place is still in use"
                           : strerror(-r));
  return r;
}

static void *
adder(void *arg) {
  struct sf_serve *serve = arg;
  char error[SF_CONFIG_ERROR_MAX] = "";

  if (add(serve, error) < 0)
    tell_failure(serve, error);
  atomic_store(&serve->job.ended, true);
  return NULL;
}

int
sf_serve_leg_add(struct sf_serve *serve, const char *name, const char *path,
                 char error[SF_CONFIG_ERROR_MAX]) {
  int r = sf_serve_job_is_free(serve, error);

  if (r == 0)
    r = check_path(path, error);
  if (r < 0)
    return r;
  if (!sf_value_is_name(name, SF_LEG_NAME_MAX - 1)) {
    snprintf(error, SF_CONFIG_ERROR_MAX, "\"%.40s\" is not a name: 1 to %d of A-Z a-z 0-9 _ -",
             name, SF_LEG_NAME_MAX - 1);
    return -EINVAL;
  }
  if (sf_volume_find_leg(serve->volume, name) >= 0) {
    snprintf(error, SF_CONFIG_ERROR_MAX, "there is a leg %s already", name);
    return -EEXIST;
  }
  snprintf(serve->job.name, sizeof serve->job.name, "%s", name);
  snprintf(serve->job.path, sizeof serve->job.path, "%s", path);
  return sf_serve_job_begin(serve, adder, error);
}

/* ---- remove ---- */

static const char *
why_not_removed(int r) {
  switch (r) {
  case -EPERM:
    return "as many legs as min_legs must stay";
  case -EBUSY:
    return "the leg is in use: `leg fail` it first, and wait until its requests have ended; or the "
           "volume does not serve now";
  default:
    return strerror(-r);
  }
}

static void *
remover(void *arg) {
  struct sf_serve *serve = arg;
  struct serve_job *job = &serve->job;
  const struct timespec pause = {.tv_nsec = TRY_MS * 1000000L};
  int r = sf_volume_leg_remove(serve->volume, job->leg, sf_tio_now());

  for (unsigned i = 0; i < TRIES && r == -EBUSY; i++) {
    (void) sf_serve_give_up_opening(serve, job->leg);
    nanosleep(&pause, NULL);
    r = sf_volume_leg_remove(serve->volume, job->leg, sf_tio_now());
  }
  if (r < 0)
    tell_failure(serve, why_not_removed(r));
  else
    sf_serve_let_go(serve, &serve->leg[job->leg]); /* the disk is free for others */
  atomic_store(&job->ended, true);
  return NULL;
}

int
sf_serve_leg_remove(struct sf_serve *serve, unsigned leg, const char *name,
                    char error[SF_CONFIG_ERROR_MAX]) {
  int r = sf_serve_job_is_free(serve, error);

  if (r < 0)
    return r;
  serve->job.leg = leg;
  snprintf(serve->job.name, sizeof serve->job.name, "%s", name);
  return sf_serve_job_begin(serve, remover, error);
}

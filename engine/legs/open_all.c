/* Opening all legs at once, without waiting for a disk that does not answer: open() of a dead one
 * can take minutes and cannot be interrupted.  So each leg has a thread; a thread that comes too
 * late closes its file and ends.  The last one frees what they share. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/thread.h"
#include "base/units.h"
#include "legs/internal.h"

struct slot {
  char path[PATH_MAX];
  bool done;
  int result;
  struct sf_leg_file file;
  struct sf_leg_found found;
  struct leg_identity identity;
  char error[SF_CONFIG_ERROR_MAX];
};

struct shared {
  pthread_mutex_t lock; /* of all that follows */
  pthread_cond_t answered;
  unsigned users; /* the caller and each thread */
  struct sf_leg_openers *openers;
  unsigned flags;
  unsigned slots, done;
  bool given_up;
  struct slot slot[SF_LEGS_MAX];
};

struct errand {
  struct shared *shared;
  unsigned leg;
};

/* lock is held; it is gone afterwards. */
static void
leave(struct shared *shared) {
  bool last = --shared->users == 0;
  SF_ASSERT(pthread_mutex_unlock(&shared->lock) == 0);
  if (!last)
    return;
  pthread_cond_destroy(&shared->answered);
  pthread_mutex_destroy(&shared->lock);
  sf_leg_openers_release(shared->openers);
  free(shared);
}

static void *
open_leg(void *arg) {
  struct errand errand = *(struct errand *) arg;
  struct shared *shared = errand.shared;
  struct slot *slot = &shared->slot[errand.leg];
  free(arg);
  pthread_setname_np(pthread_self(), "sf-open");

  /* No other thread looks at the slot before it is done.  The caller has a bound, so this needs none. */
  slot->result = sf_leg_open_isolated(shared->openers, slot->path, shared->flags, 0, &slot->file,
                                      &slot->found, &slot->identity, slot->error);

  SF_ASSERT(pthread_mutex_lock(&shared->lock) == 0);
  if (shared->given_up) {
    /* The caller is gone, and closing may take long as well. */
    SF_ASSERT(pthread_mutex_unlock(&shared->lock) == 0);
    sf_leg_file_close(&slot->file);
    SF_ASSERT(pthread_mutex_lock(&shared->lock) == 0);
  }
  slot->done = true;
  shared->done++;
  SF_ASSERT(pthread_cond_signal(&shared->answered) == 0);
  leave(shared);
  return NULL;
}

static struct shared *
make_shared(struct sf_leg_openers *openers, const struct sf_config *config, unsigned flags) {
  struct shared *shared = calloc(1, sizeof *shared);
  pthread_condattr_t attr;
  if (shared == NULL)
    return NULL;
  shared->users = 1;
  shared->openers = openers;
  sf_leg_openers_hold(openers);
  shared->flags = flags;
  shared->slots = config->legs;
  for (unsigned i = 0; i < config->legs; i++) {
    strcpy(shared->slot[i].path, config->leg[i].path);
    shared->slot[i].file.fd = -1;
  }
  SF_ASSERT(pthread_mutex_init(&shared->lock, NULL) == 0);
  SF_ASSERT(pthread_condattr_init(&attr) == 0);
  SF_ASSERT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
  SF_ASSERT(pthread_cond_init(&shared->answered, &attr) == 0);
  pthread_condattr_destroy(&attr);
  return shared;
}

/* lock is held. */
static int
send_out(struct shared *shared, unsigned leg) {
  struct errand *errand = malloc(sizeof *errand);
  if (errand == NULL)
    return -ENOMEM;
  *errand = (struct errand){shared, leg};
  int r = sf_thread_start(NULL, NULL, open_leg, errand);
  if (r < 0) {
    free(errand);
    return r;
  }
  shared->users++;
  return 0;
}

/* lock is held. */
static void
send_all(struct shared *shared) {
  for (unsigned i = 0; i < shared->slots; i++) {
    struct slot *slot = &shared->slot[i];
    int r = send_out(shared, i);
    if (r == 0)
      continue;
    slot->result = sf_leg_fail(slot->error, r, "%s: no thread to open it", sf_leg_path(slot->path));
    slot->found.error = r;
    slot->done = true;
    shared->done++;
  }
}

static struct timespec
moment_after(uint64_t timeout_ns) {
  const uint64_t year_ns = UINT64_C(365) * 86400 * SF_S;
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  if (timeout_ns > year_ns)
    timeout_ns = year_ns;
  timeout_ns += (uint64_t) at.tv_nsec;
  at.tv_sec += (time_t) (timeout_ns / SF_S);
  at.tv_nsec = (long) (timeout_ns % SF_S);
  return at;
}

/* lock is held. */
static void
wait_for_all(struct shared *shared, uint64_t timeout_ns) {
  struct timespec until = moment_after(timeout_ns);
  while (shared->done < shared->slots)
    if (pthread_cond_timedwait(&shared->answered, &shared->lock, &until) == ETIMEDOUT)
      break;
  shared->given_up = true;
}

/* lock is held.  A leg that is late stays with its thread. */
static void
collect(const struct shared *shared, uint64_t timeout_ns, struct sf_leg_file file[SF_LEGS_MAX],
        struct sf_leg_found found[SF_LEGS_MAX], char leg_error[SF_LEGS_MAX][SF_CONFIG_ERROR_MAX]) {
  for (unsigned i = 0; i < shared->slots; i++) {
    const struct slot *slot = &shared->slot[i];
    if (slot->done) {
      file[i] = slot->file;
      found[i] = slot->found;
      strcpy(leg_error[i], slot->error);
      continue;
    }
    file[i] = (struct sf_leg_file){.fd = -1};
    found[i] = (struct sf_leg_found){.error = -ETIMEDOUT};
    sf_leg_fail(leg_error[i], 0, "%s: it did not answer within %llu ms", sf_leg_path(slot->path),
                (unsigned long long) (timeout_ns / 1000000));
  }
}

/* lock is held.  Of two names for one disk the second finds it locked by the first: so it is the
 * identity that is asked, whether it was opened or not. */
static int
find_same(const struct shared *shared, const struct sf_config *config,
          char error[SF_CONFIG_ERROR_MAX]) {
  for (unsigned i = 0; i < shared->slots; i++)
    for (unsigned j = 0; j < i; j++)
      if (shared->slot[i].done && shared->slot[j].done &&
          sf_leg_same_storage(&shared->slot[i].identity, &shared->slot[j].identity))
        return sf_leg_fail_same(config, j, i, error);
  return 0;
}

int
sf_leg_files_open(struct sf_leg_openers *openers, const struct sf_config *config, unsigned flags,
                  uint64_t timeout_ns, struct sf_leg_file file[SF_LEGS_MAX],
                  struct sf_leg_found found[SF_LEGS_MAX],
                  char leg_error[SF_LEGS_MAX][SF_CONFIG_ERROR_MAX],
                  char error[SF_CONFIG_ERROR_MAX]) {
  struct shared *shared = make_shared(openers, config, flags);
  error[0] = '\0';
  for (unsigned i = 0; i < SF_LEGS_MAX; i++) {
    file[i] = (struct sf_leg_file){.fd = -1};
    found[i] = (struct sf_leg_found){.error = -ENOENT};
    leg_error[i][0] = '\0';
  }
  if (shared == NULL)
    return sf_leg_fail(error, -ENOMEM, "out of memory");

  SF_ASSERT(pthread_mutex_lock(&shared->lock) == 0);
  send_all(shared);
  wait_for_all(shared, timeout_ns);
  collect(shared, timeout_ns, file, found, leg_error);
  int r = find_same(shared, config, error);
  leave(shared);

  for (unsigned i = 0; i < config->legs && r < 0; i++)
    sf_leg_file_close(&file[i]);
  return r;
}

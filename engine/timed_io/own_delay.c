/* Own delay: a thread that wants to wake (tick) every 10 ms while anything runs.  When it wakes
 * late, this process did not run, and no device is blamed for that time (rule R3).
 *
 * A thread that finds a deadline passed may run before that thread does, so it asks the same
 * question itself: the time since the missing tick is own delay as well.  Spans that overlap are
 * counted once. */
#include "timed_io/internal.h"

#define PERIOD_NS (10 * SF_MS)
#define LATE_NS   (5 * SF_MS)

enum { IDLE_TICKS = 10 }; /* a pause between two requests does not stop the ticks */

static void
account(struct sf_tio_own_delay *own_delay, uint64_t from_ns, uint64_t to_ns) {
  if (from_ns < own_delay->accounted_ns)
    from_ns = own_delay->accounted_ns;
  if (to_ns <= from_ns)
    return;
  atomic_fetch_add(&own_delay->total_ns, to_ns - from_ns);
  own_delay->accounted_ns = to_ns;
}

static bool
missed(struct sf_tio_own_delay *own_delay, uint64_t now_ns) {
  uint64_t next_ns = atomic_load(&own_delay->next_ns);

  return next_ns != SF_TIO_NEVER && now_ns > next_ns + LATE_NS;
}

uint64_t
sf_tio_own_delay_now(struct sf_tio_own_delay *own_delay, uint64_t now_ns) {
  if (missed(own_delay, now_ns)) {
    pthread_mutex_lock(&own_delay->lock);
    if (missed(own_delay, now_ns))
      account(own_delay, atomic_load(&own_delay->next_ns), now_ns);
    pthread_mutex_unlock(&own_delay->lock);
  }
  return atomic_load(&own_delay->total_ns);
}

/* The calling thread may have begun to wait after the tick was due, or before. */
void
sf_tio_own_delay_overslept(struct sf_tio_own_delay *own_delay, uint64_t wanted_ns,
                           uint64_t now_ns) {
  uint64_t next_ns;

  if (now_ns <= wanted_ns + LATE_NS)
    return;
  pthread_mutex_lock(&own_delay->lock);
  next_ns = atomic_load(&own_delay->next_ns);
  account(own_delay, next_ns < wanted_ns ? next_ns : wanted_ns, now_ns);
  pthread_mutex_unlock(&own_delay->lock);
}

void
sf_tio_own_delay_begin(struct sf_tio_own_delay *own_delay) {
  if (atomic_load(&own_delay->next_ns) != SF_TIO_NEVER)
    return;
  pthread_mutex_lock(&own_delay->lock);
  if (atomic_load(&own_delay->next_ns) == SF_TIO_NEVER) {
    atomic_store(&own_delay->next_ns, sf_tio_now() + PERIOD_NS);
    pthread_cond_signal(&own_delay->changed);
  }
  pthread_mutex_unlock(&own_delay->lock);
}

/* Under lock.  Returns whether it may rest: nothing ran during the last ticks, nor now. */
static bool
tick(struct sf_tio_own_delay *own_delay, unsigned *idle) {
  uint64_t now_ns = sf_tio_now();

  if (missed(own_delay, now_ns))
    account(own_delay, atomic_load(&own_delay->next_ns), now_ns);
  *idle = atomic_load(own_delay->busy) ? 0 : *idle + 1;
  if (*idle >= IDLE_TICKS) {
    *idle = 0;
    atomic_store(&own_delay->next_ns, SF_TIO_NEVER);
    /* A request that was counted before this store may have seen next_ns set, and not begun the
     * ticks. */
    if (!atomic_load(own_delay->busy))
      return true;
  }
  atomic_store(&own_delay->next_ns, now_ns + PERIOD_NS);
  return false;
}

static void *
own_delay_main(void *arg) {
  struct sf_tio_own_delay *own_delay = arg;
  unsigned idle = 0;

  pthread_mutex_lock(&own_delay->lock);
  while (!own_delay->stop) {
    uint64_t next_ns = atomic_load(&own_delay->next_ns);
    struct timespec until;

    if (next_ns == SF_TIO_NEVER) {
      pthread_cond_wait(&own_delay->changed, &own_delay->lock);
      continue;
    }
    until = sf_tio_timespec(next_ns);
    pthread_cond_timedwait(&own_delay->changed, &own_delay->lock, &until);
    if (sf_tio_now() >= next_ns)
      tick(own_delay, &idle);
  }
  pthread_mutex_unlock(&own_delay->lock);
  return NULL;
}

int
sf_tio_own_delay_start(struct sf_tio_own_delay *own_delay, atomic_uint *busy, const char *name) {
  own_delay->busy = busy;
  own_delay->stop = false;
  atomic_store(&own_delay->next_ns, SF_TIO_NEVER);
  pthread_mutex_init(&own_delay->lock, NULL);
  sf_tio_cond_init(&own_delay->changed);
  return sf_tio_spawn(&own_delay->thread, name, "delay", own_delay_main, own_delay);
}

void
sf_tio_own_delay_stop(struct sf_tio_own_delay *own_delay) {
  pthread_mutex_lock(&own_delay->lock);
  own_delay->stop = true;
  pthread_cond_signal(&own_delay->changed);
  pthread_mutex_unlock(&own_delay->lock);
  pthread_join(own_delay->thread, NULL);
  pthread_cond_destroy(&own_delay->changed);
  pthread_mutex_destroy(&own_delay->lock);
}

/* The pulse: a thread that wants to wake every 10 ms while anything runs.  When it wakes late, this
 * process did not run, and that time is nobody's fault but our own (rule R3).
 *
 * Whoever finds a deadline passed may be running before the pulse is, so it asks the same question
 * itself: the time since the tick that is missing is own delay as well.  Spans that overlap are
 * counted once. */
#include "timed_io/internal.h"

#define PERIOD_NS (10 * SF_TIO_MS)
#define LATE_NS   (5 * SF_TIO_MS)

enum { IDLE_TICKS = 10 }; /* a pause between two requests does not put the pulse to rest */

static void
account(struct sf_tio_pulse *pulse, uint64_t from_ns, uint64_t to_ns) {
  if (from_ns < pulse->accounted_ns)
    from_ns = pulse->accounted_ns;
  if (to_ns <= from_ns)
    return;
  atomic_fetch_add(&pulse->total_ns, to_ns - from_ns);
  pulse->accounted_ns = to_ns;
}

static bool
missed(struct sf_tio_pulse *pulse, uint64_t now_ns) {
  uint64_t next_ns = atomic_load(&pulse->next_ns);

  return next_ns != SF_TIO_NEVER && now_ns > next_ns + LATE_NS;
}

uint64_t
sf_tio_pulse_delay(struct sf_tio_pulse *pulse, uint64_t now_ns) {
  if (missed(pulse, now_ns)) {
    pthread_mutex_lock(&pulse->lock);
    if (missed(pulse, now_ns))
      account(pulse, atomic_load(&pulse->next_ns), now_ns);
    pthread_mutex_unlock(&pulse->lock);
  }
  return atomic_load(&pulse->total_ns);
}

/* The thread that asks may have begun to wait after the pulse should have ticked, or before. */
void
sf_tio_pulse_overslept(struct sf_tio_pulse *pulse, uint64_t wanted_ns, uint64_t now_ns) {
  uint64_t next_ns;

  if (now_ns <= wanted_ns + LATE_NS)
    return;
  pthread_mutex_lock(&pulse->lock);
  next_ns = atomic_load(&pulse->next_ns);
  account(pulse, next_ns < wanted_ns ? next_ns : wanted_ns, now_ns);
  pthread_mutex_unlock(&pulse->lock);
}

void
sf_tio_pulse_begin(struct sf_tio_pulse *pulse) {
  if (atomic_load(&pulse->next_ns) != SF_TIO_NEVER)
    return;
  pthread_mutex_lock(&pulse->lock);
  if (atomic_load(&pulse->next_ns) == SF_TIO_NEVER) {
    atomic_store(&pulse->next_ns, sf_tio_now() + PERIOD_NS);
    pthread_cond_signal(&pulse->changed);
  }
  pthread_mutex_unlock(&pulse->lock);
}

/* Under lock.  Returns whether it may rest: nothing ran during the last ticks, nor now. */
static bool
tick(struct sf_tio_pulse *pulse, unsigned *idle) {
  uint64_t now_ns = sf_tio_now();

  if (missed(pulse, now_ns))
    account(pulse, atomic_load(&pulse->next_ns), now_ns);
  *idle = atomic_load(pulse->busy) ? 0 : *idle + 1;
  if (*idle >= IDLE_TICKS) {
    *idle = 0;
    atomic_store(&pulse->next_ns, SF_TIO_NEVER);
    /* A request that was counted before this store may have seen the pulse beat. */
    if (!atomic_load(pulse->busy))
      return true;
  }
  atomic_store(&pulse->next_ns, now_ns + PERIOD_NS);
  return false;
}

static void *
pulse_main(void *arg) {
  struct sf_tio_pulse *pulse = arg;
  unsigned idle = 0;

  pthread_mutex_lock(&pulse->lock);
  while (!pulse->stop) {
    uint64_t next_ns = atomic_load(&pulse->next_ns);
    struct timespec until;

    if (next_ns == SF_TIO_NEVER) {
      pthread_cond_wait(&pulse->changed, &pulse->lock);
      continue;
    }
    until = sf_tio_timespec(next_ns);
    pthread_cond_timedwait(&pulse->changed, &pulse->lock, &until);
    if (sf_tio_now() >= next_ns)
      tick(pulse, &idle);
  }
  pthread_mutex_unlock(&pulse->lock);
  return NULL;
}

int
sf_tio_pulse_start(struct sf_tio_pulse *pulse, atomic_uint *busy, const char *name) {
  pulse->busy = busy;
  pulse->stop = false;
  atomic_store(&pulse->next_ns, SF_TIO_NEVER);
  pthread_mutex_init(&pulse->lock, NULL);
  sf_tio_cond_init(&pulse->changed);
  return sf_tio_spawn(&pulse->thread, name, "pulse", pulse_main, pulse);
}

void
sf_tio_pulse_stop(struct sf_tio_pulse *pulse) {
  pthread_mutex_lock(&pulse->lock);
  pulse->stop = true;
  pthread_cond_signal(&pulse->changed);
  pthread_mutex_unlock(&pulse->lock);
  pthread_join(pulse->thread, NULL);
  pthread_cond_destroy(&pulse->changed);
  pthread_mutex_destroy(&pulse->lock);
}

#include "unit/timed_io/hold.h"

#include "unit/timed_io/rig.h"

int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);

static struct {
  pthread_mutex_t lock; /* of what follows */
  bool wanted, taken, held;
  const pthread_mutex_t *mutex;
  bool known;
  pthread_t thread; /* the thread to hold; not known and not taken: any but this one */
  unsigned left;    /* unlocks until it is held */
} hold = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void
begin(void) {
  pthread_mutex_lock(&hold.lock);
}

static void
end(void) {
  __real_pthread_mutex_unlock(&hold.lock);
}

void
hold_begin(const pthread_t *thread, const pthread_mutex_t *mutex, unsigned nth) {
  begin();
  hold.wanted = true;
  hold.taken = hold.held = false;
  hold.mutex = mutex;
  hold.known = thread != NULL;
  hold.thread = thread ? *thread : pthread_self();
  hold.left = nth;
  end();
}

bool
hold_has_one(void) {
  bool held;

  begin();
  held = hold.held;
  end();
  return held;
}

void
hold_end(void) {
  begin();
  hold.wanted = hold.held = false;
  end();
}

/* Under hold.lock. */
static bool
is_meant(void) {
  bool same = pthread_equal(pthread_self(), hold.thread);

  if (hold.known || hold.taken)
    return same;
  if (same)
    return false;
  hold.taken = true;
  hold.thread = pthread_self();
  return true;
}

/* Is the calling thread to be held after this unlock? */
static bool
is_the_one(const pthread_mutex_t *mutex) {
  bool one;

  begin();
  one = hold.wanted && !hold.held && (!hold.mutex || hold.mutex == mutex) && is_meant() &&
        --hold.left == 0;
  if (one)
    hold.held = true;
  end();
  return one;
}

int
__wrap_pthread_mutex_unlock(pthread_mutex_t *mutex) {
  int error = __real_pthread_mutex_unlock(mutex);

  if (is_the_one(mutex))
    while (hold_has_one())
      pause_briefly();
  return error;
}

#include "unit/timed_io/hold.h"

#include <stdatomic.h>
#include <stdint.h>

#include "unit/timed_io/support.h"

static struct {
  const pthread_mutex_t *mutex;
  bool known;
  pthread_t thread; /* known: this one; else: not this one */
  unsigned nth;
  atomic_uint round; /* 0: nobody is to be held */
  atomic_uint_fast64_t taken_round;
  atomic_bool held;
} hold;

static unsigned rounds;
static _Thread_local unsigned my_round, my_unlocks;

void
hold_begin(const pthread_t *thread, const pthread_mutex_t *mutex, unsigned nth) {
  hold.mutex = mutex;
  hold.known = thread != NULL;
  hold.thread = thread ? *thread : pthread_self();
  hold.nth = nth;
  atomic_store(&hold.held, false);
  atomic_store(&hold.round, ++rounds);
}

bool
hold_has_one(void) {
  return atomic_load(&hold.held);
}

void
hold_end(void) {
  atomic_store(&hold.round, 0);
  atomic_store(&hold.taken_round, rounds); /* nobody takes it on any more */
}

static bool
is_mine(unsigned round) {
  uint_fast64_t before = round - 1;

  if (my_round == round)
    return true;
  if (!pthread_equal(pthread_self(), hold.thread) == hold.known ||
      !atomic_compare_exchange_strong(&hold.taken_round, &before, round))
    return false;
  my_round = round;
  my_unlocks = 0;
  return true;
}

int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);

int
__wrap_pthread_mutex_unlock(pthread_mutex_t *mutex) {
  int error = __real_pthread_mutex_unlock(mutex);
  unsigned round = atomic_load(&hold.round);

  if (!round || (hold.mutex && hold.mutex != mutex) || !is_mine(round) || ++my_unlocks != hold.nth)
    return error;
  atomic_store(&hold.held, true);
  while (atomic_load(&hold.round) == round)
    pause_briefly();
  return error;
}

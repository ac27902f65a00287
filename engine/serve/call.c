/* What one client waits for: since when, how long it may, and whether it is still there. */
#include "serve/internal.h"

#include <errno.h>
#include <time.h>

enum { ASK_MS = 500 };

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

struct sf_call
call_begin(struct sf_serve *serve) {
  return (struct sf_call){.serve = serve, .since_ns = sf_tio_now()};
}

bool
call_is_gone(const struct sf_call *call) {
  const struct sf_serve_options *options = &call->serve->options;

  return options->hangup != NULL && options->hangup(options->ctx);
}

bool
call_is_over(const struct sf_call *call) {
  return !atomic_load(&call->serve->suspends) &&
         sf_tio_now() - call->since_ns >= atomic_load(&call->serve->fail_timeout_ns);
}

/* The time of day, since that is what a lock's wait is measured by: one that is set back while
 * somebody waits lets him ask later, and nothing else. */
static struct timespec
next_question(void) {
  struct timespec at;
  uint64_t ns;

  clock_gettime(CLOCK_REALTIME, &at);
  ns = (uint64_t) at.tv_nsec + ASK_MS * NS_PER_MS;
  at.tv_sec += (time_t) (ns / NS_PER_S);
  at.tv_nsec = (long) (ns % NS_PER_S);
  return at;
}

static int
wait_for_blocks(const struct sf_call *call,
                int (*lock)(pthread_rwlock_t *lock, const struct timespec *until)) {
  struct timespec until = next_question();

  while (lock(&call->serve->blocks, &until) != 0) {
    if (call_is_gone(call))
      return -ESHUTDOWN;
    if (call_is_over(call))
      return -EIO;
    until = next_question();
  }
  if (!call_is_gone(call))
    return 0;
  pthread_rwlock_unlock(&call->serve->blocks);
  return -ESHUTDOWN;
}

int
call_share_blocks(const struct sf_call *call) {
  if (pthread_rwlock_tryrdlock(&call->serve->blocks) == 0)
    return 0;
  return wait_for_blocks(call, pthread_rwlock_timedrdlock);
}

int
call_own_block(const struct sf_call *call) {
  if (pthread_rwlock_trywrlock(&call->serve->blocks) == 0)
    return 0;
  return wait_for_blocks(call, pthread_rwlock_timedwrlock);
}

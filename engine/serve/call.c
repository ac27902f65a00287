/* What one client waits for: how long it has, how long it may, and whether it is still there. */
#include "serve/internal.h"

#include <errno.h>
#include <time.h>

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

bool
call_is_gone(const struct sf_call *call) {
  const struct sf_serve_options *options = &call->serve->options;

  return options->hangup != NULL && options->hangup(options->ctx);
}

bool
call_is_over(const struct sf_call *call) {
  return !atomic_load(&call->serve->suspends) &&
         call->waited_ns >= atomic_load(&call->serve->fail_timeout_ns);
}

void
call_waited(struct sf_call *call, uint64_t began_ns, uint64_t most_ns) {
  uint64_t took = sf_tio_now() - began_ns;

  call->waited_ns += took < most_ns ? took : most_ns;
}

/* The time of day, since that is what a lock's wait is measured by: one that is set back while
 * somebody waits lets him ask later, and nothing else. */
static struct timespec
next_question(void) {
  struct timespec at;
  uint64_t ns;

  clock_gettime(CLOCK_REALTIME, &at);
  ns = (uint64_t) at.tv_nsec + SERVE_ASK_MS * NS_PER_MS;
  at.tv_sec += (time_t) (ns / NS_PER_S);
  at.tv_nsec = (long) (ns % NS_PER_S);
  return at;
}

static int
wait_for_blocks(struct sf_call *call,
                int (*lock)(pthread_rwlock_t *lock, const struct timespec *until)) {
  do {
    const struct timespec until = next_question();
    uint64_t began = sf_tio_now();
    int r = lock(&call->serve->blocks, &until);

    call_waited(call, began, SERVE_ASK_MS * NS_PER_MS);
    if (call_is_gone(call)) {
      if (r == 0)
        pthread_rwlock_unlock(&call->serve->blocks);
      return -ESHUTDOWN;
    }
    if (r == 0)
      return 0;
  } while (!call_is_over(call));
  return -EIO;
}

int
call_share_blocks(struct sf_call *call) {
  if (pthread_rwlock_tryrdlock(&call->serve->blocks) == 0)
    return 0;
  return wait_for_blocks(call, pthread_rwlock_timedrdlock);
}

int
call_own_block(struct sf_call *call) {
  if (pthread_rwlock_trywrlock(&call->serve->blocks) == 0)
    return 0;
  return wait_for_blocks(call, pthread_rwlock_timedwrlock);
}

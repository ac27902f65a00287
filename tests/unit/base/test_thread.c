/* Threads that are started: their name, their signals, and threads that end at once. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/thread.h"

enum { THREADS = 20000 };

static atomic_uint ended;

static void *
end_at_once(void *arg) {
  atomic_fetch_add(&ended, 1);
  return NULL;
}

/* Each may be gone before the caller has done anything more with it. */
static void
many_detached_that_end_at_once(void **state) {
  unsigned started = 0;

  (void) state;
  while (started < THREADS)
    if (sf_thread_start(NULL, "ends-at-once", end_at_once, NULL) == 0)
      started++;
  while (atomic_load(&ended) < started)
    ;
}

struct seen {
  atomic_bool go;
  char name[16];
  sigset_t blocked;
};

static void *
look(void *arg) {
  struct seen *seen = arg;

  while (!atomic_load(&seen->go))
    ;
  pthread_getname_np(pthread_self(), seen->name, sizeof seen->name);
  pthread_sigmask(SIG_SETMASK, NULL, &seen->blocked);
  return NULL;
}

static void
name_and_signals(void **state) {
  struct seen seen = {0};
  pthread_t thread;
  sigset_t own;

  (void) state;
  assert_int_equal(sf_thread_start(&thread, "looks", look, &seen), 0);
  atomic_store(&seen.go, true);
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_string_equal(seen.name, "looks");
  assert_int_equal(sigismember(&seen.blocked, SIGTERM), 1);
  assert_int_equal(sigismember(&seen.blocked, SIGUSR1), 1);
  pthread_sigmask(SIG_SETMASK, NULL, &own);
  assert_int_equal(sigismember(&own, SIGTERM), 0);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(many_detached_that_end_at_once),
      cmocka_unit_test(name_and_signals),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

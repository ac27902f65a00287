#include "base/thread.h"

#include <signal.h>
#include <stddef.h>

#include "base/assert.h"

int
sf_thread_start(pthread_t *thread, const char *name, void *(*main)(void *), void *arg) {
  pthread_t started;
  sigset_t all, before;
  int error;

  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  error = pthread_create(&started, NULL, main, arg);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error != 0)
    return -error;
  if (name != NULL)
    pthread_setname_np(started, name);
  /* Not before it has its name: a detached thread that has ended is no thread any more. */
  if (thread == NULL)
    SF_ASSERT(pthread_detach(started) == 0);
  else
    *thread = started;
  return 0;
}

#include "base/thread.h"

#include <signal.h>
#include <stddef.h>

#include "base/must.h"

int
sf_thread_start(pthread_t *thread, const char *name, void *(*main)(void *), void *arg) {
  int state = thread == NULL ? PTHREAD_CREATE_DETACHED : PTHREAD_CREATE_JOINABLE, error;
  pthread_attr_t attr;
  pthread_t started;
  sigset_t all, before;

  SF_MUST(pthread_attr_init(&attr) == 0);
  SF_MUST(pthread_attr_setdetachstate(&attr, state) == 0);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  error = pthread_create(&started, &attr, main, arg);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attr);
  if (error != 0)
    return -error;
  if (name != NULL)
    pthread_setname_np(started, name);
  if (thread != NULL)
    *thread = started;
  return 0;
}

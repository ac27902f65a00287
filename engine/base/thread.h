/* Threads of this program. */
#ifndef SF_BASE_THREAD_H
#define SF_BASE_THREAD_H

#include <pthread.h>

/* Starts a thread with all signals blocked, which are for the program's own threads.  name: of 15
 * characters at most; NULL: the caller's.  thread NULL: it is detached.  0, or -errno of
 * pthread_create(). */
int sf_thread_start(pthread_t *thread, const char *name, void *(*main)(void *), void *arg);

#endif

/* Holds one thread of the library at one of its unlocks, for as long as a test wants: what must not
 * be lost can then come at each moment between two looks at what a lock protects, and not by
 * chance. Programs with it are linked with --wrap=pthread_mutex_unlock. */
#ifndef TIMED_IO_HOLD_H
#define TIMED_IO_HOLD_H

#include <pthread.h>
#include <stdbool.h>

/* The thread (NULL: the next other than the caller to unlock anything) is held after it has
 * unlocked the mutex (NULL: any) `nth` times. */
void hold_begin(const pthread_t *thread, const pthread_mutex_t *mutex, unsigned nth);
bool hold_has_one(void);
/* Lets it go, and holds no thread any more. */
void hold_end(void);

#endif

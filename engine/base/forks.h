/* Processes that do nothing but fork, for work that may hang in the kernel: a process that hangs
 * must have no file open but its own, and the server has all of them.  There are two of each kind,
 * since a killed one can be made anew only by another that was forked before any file was open. */
#ifndef SF_BASE_FORKS_H
#define SF_BASE_FORKS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { SF_FORKS = 2 };

struct sf_forks_kind {
  const char *name;   /* of the processes, below 16 bytes */
  size_t order_bytes; /* of an order, more than one */
  /* In a process of its own, with the order and the file that came with it; must not return. */
  void (*child)(void *context, int given, const void *order);
  void *context;
  const int *keep; /* files that they keep open, for their children */
  unsigned keeps;
};

struct sf_forks {
  int socket[SF_FORKS]; /* the numbers stay as they are until the end: any thread may send */
  int news;             /* polls readable when tend() has something to do */
  struct {
    pid_t child; /* ours, to be waited for; 0: none */
    enum { SF_FORKS_LIVES, SF_FORKS_BEGINS, SF_FORKS_DEAD } state;
    uint64_t again_ns; /* not before, if it could not be made */
  } one[SF_FORKS];     /* of tend() alone */
  int told;            /* what tend() said last of a place that is empty, or 0 */
};

/* Forks: before there is any other thread, and any file that could hang.  0 or -errno. */
int sf_forks_start(struct sf_forks *forks, const struct sf_forks_kind *kind);
void sf_forks_stop(struct sf_forks *forks);

/* From any thread.  -EPIPE: all of them are gone. */
int sf_forks_order(struct sf_forks *forks, void *order, size_t bytes, int fd);

/* Replaces killed ones; called by one thread at a time, when there are news and now and then. 1: a
 * killed one has been replaced, 0: nothing new, -EPIPE: all are gone, for good, or -errno: one was
 * killed and cannot be replaced yet; each is said once. */
int sf_forks_tend(struct sf_forks *forks, uint64_t now_ns);

#endif

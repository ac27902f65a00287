/* Good writers.  A filesystem, or swap, of this very machine on a volume that it serves: when
 * memory is short the kernel writes pages to the volume, and waits.  If one of ours then waits for
 * memory, it waits for itself.  So what serves a volume, and what brings it back, allocates without
 * writing, and has nothing that could be swapped out. */
#ifndef SF_BASE_WRITER_H
#define SF_BASE_WRITER_H

/* This thread, and all threads, processes and programs that come of it: an allocation of theirs
 * never waits for a write of the kernel's (PR_SET_IO_FLUSHER).  0; -EPERM: it needs
 * CAP_SYS_RESOURCE; or another -errno. */
int sf_writer_begin(void);
/* The program that this process is about to become is none of ours. */
void sf_writer_end(void);

/* What this process has, and will have, stays in memory once it is there.  A child begins without.
 * 0; -EPERM: it needs RLIMIT_MEMLOCK to be unlimited, or CAP_IPC_LOCK (under a limit, later
 * allocations would fail); or another -errno. */
int sf_writer_lock(void);

#endif

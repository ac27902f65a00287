/* Something that may block or hang, in a process of its own, with a time limit. */
#ifndef SUREFOOTD_JOB_H
#define SUREFOOTD_JOB_H

#include <stdint.h>
#include <sys/types.h>

#include <systemd/sd-event.h>

struct job;

/* run's result is 0 or -errno; in the child, which is the leader of its own process group, dies
 * with this process, and has no descriptor but the standard ones and fd (-1: none).
 * done comes once, not from inside: with that, with -ETIMEDOUT when it was killed for being late (a
 * process that the kernel holds on to ends later, unheard), or -ECHILD when it died. */
int sfd_job_start(sd_event *event, uint64_t timeout_us, int (*run)(void *arg), void *arg, int fd,
                  void (*done)(void *ctx, int error), void *ctx, struct job **job);
/* Its process, which is not waited for by others. */
pid_t sfd_job_pid(const struct job *job);
/* Kills it; done does not come any more.  NULL is accepted. */
void sfd_job_cancel(struct job *job);

#endif

#include "common/job.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/process.h"
#include "base/writer.h"

#include "common/child.h"

struct job {
  void (*done)(void *ctx, int error); /* NULL: cancelled */
  void *ctx;
  pid_t pid;
  sd_event_source *child, *timer;
};

static void
finish(struct job *job, int error) {
  void (*done)(void *ctx, int error) = job->done;
  job->done = NULL;
  job->timer = sd_event_source_disable_unref(job->timer);
  if (done)
    done(job->ctx, error);
}

static int
on_child(sd_event_source *source, const siginfo_t *info, void *userdata) {
  struct job *job = userdata;
  finish(job, info->si_code == CLD_EXITED ? -info->si_status : -ECHILD);
  sd_event_source_unref(job->child);
  free(job);
  return 0;
}

static int
on_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
  struct job *job = userdata;
  kill(-job->pid, SIGKILL);
  finish(job, -ETIMEDOUT);
  return 0;
}

static void
become(int (*run)(void *arg), void *arg, int fd, pid_t parent) {
  const int keep[] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, fd};
  sigset_t none;
  (void) sf_writer_lock(); /* a fork begins without; told by the daemon */
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
    _exit(ECHILD);
  /* What the kernel holds on to must not keep a socket open on which the next daemon wants to
   * listen. */
  sf_close_all_but(keep, sizeof keep / sizeof keep[0]);
  sigemptyset(&none);
  setpgid(0, 0);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  sfd_child_exit(run(arg));
}

int
sfd_job_start(sd_event *event, uint64_t timeout_us, int (*run)(void *arg), void *arg, int fd,
              void (*done)(void *ctx, int error), void *ctx, struct job **result) {
  SF_ASSERT(run != NULL && done != NULL);
  struct job *job = calloc(1, sizeof *job);
  if (job == NULL)
    return -ENOMEM;
  pid_t parent = getpid();
  job->pid = fork();
  if (job->pid == 0)
    become(run, arg, fd, parent);
  if (job->pid < 0) {
    int error = -errno;
    free(job);
    return error;
  }
  setpgid(job->pid, job->pid); /* in both processes: either may be first */
  int r = sd_event_add_child(event, &job->child, job->pid, WEXITED, on_child, job);
  if (r >= 0)
    r = sd_event_add_time_relative(event, &job->timer, CLOCK_MONOTONIC, timeout_us, 0, on_timeout,
                                   job);
  if (r < 0) {
    kill(-job->pid, SIGKILL);
    if (job->child == NULL) {
      waitpid(job->pid, NULL, 0);
      free(job);
    } /* else it is freed when it has ended */
    return r;
  }
  job->done = done;
  job->ctx = ctx;
  *result = job;
  return 0;
}

pid_t
sfd_job_pid(const struct job *job) {
  return job->pid;
}

void
sfd_job_cancel(struct job *job) {
  if (job == NULL)
    return;
  job->done = NULL;
  job->timer = sd_event_source_disable_unref(job->timer);
  kill(-job->pid, SIGKILL);
}

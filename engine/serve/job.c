/* What an operator asks and a leg can keep waiting: one at a time, in a thread of its own.  The
 * control server's thread begins it, an event tells its end. */
#include "serve/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int
sf_serve_job_is_free(struct sf_serve *serve, char error[SF_CONFIG_ERROR_MAX]) {
  if (!serve->job.started)
    return 0;
  if (!atomic_load(&serve->job.ended)) {
    snprintf(error, SF_CONFIG_ERROR_MAX, "a growth or a change of the legs is under way already");
    return -EBUSY;
  }
  pthread_join(serve->job.thread, NULL);
  serve->job.started = false;
  return 0;
}

int
sf_serve_job_begin(struct sf_serve *serve, void *(*run)(void *serve),
                   char error[SF_CONFIG_ERROR_MAX]) {
  int r;

  atomic_store(&serve->job.ended, false);
  r = pthread_create(&serve->job.thread, NULL, run, serve);
  if (r != 0) {
    snprintf(error, SF_CONFIG_ERROR_MAX, "no thread for it: %s", strerror(r));
    return -r;
  }
  serve->job.started = true;
  pthread_setname_np(serve->job.thread, "surefoot-job");
  return 0;
}

/* After the control server has ended. */
int
sf_serve_job_join(struct sf_serve *serve) {
  if (!serve->job.started)
    return 0;
  if (!atomic_load(&serve->job.ended))
    return -EBUSY;
  pthread_join(serve->job.thread, NULL);
  serve->job.started = false;
  return 0;
}

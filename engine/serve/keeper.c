/* The keeper thread: the volume's clock, its background I/O, and the log. */
#include "serve/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"

static void
print_log(struct sf_serve *serve) {
  char line[SERVE_LINE_BYTES];

  pthread_mutex_lock(&serve->lock);
  while (serve->log_count > 0) {
    memcpy(line, serve->log[serve->log_first], sizeof line);
    serve->log_first = (serve->log_first + 1) % SERVE_LOG_LINES;
    serve->log_count--;
    pthread_mutex_unlock(&serve->lock);
    if (serve->options.log != NULL)
      serve->options.log(serve->options.ctx, line);
    pthread_mutex_lock(&serve->lock);
  }
  if (serve->log_lost > 0) {
    snprintf(line, sizeof line, "%u more messages were lost", serve->log_lost);
    serve->log_lost = 0;
    pthread_mutex_unlock(&serve->lock);
    if (serve->options.log != NULL)
      serve->options.log(serve->options.ctx, line);
    pthread_mutex_lock(&serve->lock);
  }
  pthread_mutex_unlock(&serve->lock);
}

struct wait {
  struct sf_serve *serve;
  uint64_t until;
};

static bool
has_lines(struct sf_serve *serve) {
  bool lines;

  pthread_mutex_lock(&serve->lock);
  lines = serve->log_count > 0;
  pthread_mutex_unlock(&serve->lock);
  return lines;
}

static bool
must_look_up(void *arg) {
  const struct wait *wait = arg;

  return atomic_load(&wait->serve->quit) || has_lines(wait->serve) ||
         atomic_load(&wait->serve->timer_ns) != wait->until;
}

static void *
keeper(void *arg) {
  struct sf_serve *serve = arg;
  struct sf_tio_queue *queue = NULL;
  int r = sf_tio_attend(serve->client, &queue);

  pthread_mutex_lock(&serve->lock);
  serve->keeper_thread = queue;
  serve->keeper_ready = true;
  pthread_cond_broadcast(&serve->changed);
  pthread_mutex_unlock(&serve->lock);
  if (r < 0)
    return NULL;
  while (!atomic_load(&serve->quit)) {
    uint64_t until = atomic_load(&serve->timer_ns), series = sf_serve_series_next(serve);
    struct wait wait = {.serve = serve, .until = until};

    if (until != 0 && sf_tio_now() >= until) {
      /* The tick asks for the next tick; an earlier one that another thread asks for meanwhile must
       * not be lost. */
      atomic_compare_exchange_strong(&serve->timer_ns, &until, 0);
      sf_volume_tick(serve->volume, sf_tio_now());
    } else {
      sf_tio_drive(queue, until == 0 || (series != 0 && series < until) ? series : until,
                   must_look_up, &wait);
    }
    if (series != 0 && sf_tio_now() >= series)
      sf_serve_series_tell(serve, false);
    print_log(serve);
  }
  sf_serve_series_tell(serve, true);
  print_log(serve);
  return NULL;
}

int
sf_serve_keeper_start(struct sf_serve *serve) {
  int r = pthread_create(&serve->keeper, NULL, keeper, serve);

  if (r != 0)
    return -r;
  serve->keeper_started = true;
  pthread_setname_np(serve->keeper, "surefoot-keeper");
  pthread_mutex_lock(&serve->lock);
  while (!serve->keeper_ready)
    pthread_cond_wait(&serve->changed, &serve->lock);
  pthread_mutex_unlock(&serve->lock);
  return serve->keeper_thread == NULL ? -ENOMEM : 0;
}

void
sf_serve_keeper_stop(struct sf_serve *serve) {
  atomic_store(&serve->quit, true);
  sf_serve_keeper_wake(serve);
  pthread_join(serve->keeper, NULL);
  serve->keeper_started = false;
}

/* Buffers for clients' requests.  Requests hold theirs while they wait for legs, so clients never get
 * all: what the volume itself needs to bring a leg back (copies, pages of the maps, a second try of a
 * read) must not wait for those who wait for that leg. */
#include "serve/internal.h"

#include <errno.h>
#include <time.h>

#define NS_PER_S UINT64_C(1000000000)

void
serve_buffers_init(struct sf_serve *serve) {
  sem_init(&serve->buffers_small, 0, SERVE_BUFFERS_SMALL - SERVE_RESERVED_SMALL);
  sem_init(&serve->buffers_large, 0, SERVE_BUFFERS_LARGE - SERVE_RESERVED_LARGE);
}

void
serve_buffers_destroy(struct sf_serve *serve) {
  sem_destroy(&serve->buffers_small);
  sem_destroy(&serve->buffers_large);
}

static sem_t *
share_of(struct sf_serve *serve, size_t length) {
  return length <= SERVE_SMALL_BYTES ? &serve->buffers_small : &serve->buffers_large;
}

static int
take(struct sf_serve *serve, size_t length, uint64_t wait_ns, struct sf_tio_buffer **buffer) {
  uint64_t until = sf_tio_now() + wait_ns, now;
  const struct timespec at = {.tv_sec = (time_t) (until / NS_PER_S),
                              .tv_nsec = (long) (until % NS_PER_S)};
  sem_t *share = share_of(serve, length);
  int r;

  if (sem_trywait(share) != 0 && (wait_ns == 0 || sem_clockwait(share, CLOCK_MONOTONIC, &at) != 0))
    return -EAGAIN;
  now = sf_tio_now();
  r = sf_tio_buffer_get(serve->client, length, wait_ns > 0 && now < until ? until - now : 0,
                        buffer);
  if (r < 0)
    sem_post(share);
  return r;
}

int
serve_buffer_try(struct sf_serve *serve, size_t length, struct sf_tio_buffer **buffer) {
  return take(serve, length, 0, buffer);
}

/* A pool that stays empty is one that hung legs hold, or requests that wait for them; it is waited for
 * like a leg. */
int
serve_buffer_get(struct sf_serve *serve, size_t length, struct sf_tio_buffer **buffer) {
  uint64_t until = sf_tio_now() + serve->config.fail_timeout_ns;
  int r;

  while ((r = take(serve, length, NS_PER_S, buffer)) == -EAGAIN &&
         (atomic_load(&serve->suspends) || sf_tio_now() < until))
    if (serve->options.hangup != NULL && serve->options.hangup(serve->options.ctx))
      return -ESHUTDOWN;
  return r == -EAGAIN ? -ENOMEM : r;
}

void
serve_buffer_put(struct sf_serve *serve, size_t length, struct sf_tio_buffer *buffer) {
  sf_tio_buffer_put(serve->client, buffer);
  sem_post(share_of(serve, length));
}

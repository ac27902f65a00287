/* Buffers for clients' requests.  Requests hold theirs while they wait for legs, and a hung leg keeps some
 * in quarantine; so clients never get the pool's spare ones: what the volume itself needs to bring a
 * leg back (copies, pages of the maps, a second try of a read) must not wait for those who wait for
 * that leg. */
#include "serve/internal.h"

#include <errno.h>

#define NS_PER_S UINT64_C(1000000000)

int
serve_buffer_try(struct sf_serve *serve, size_t length, struct sf_tio_buffer **buffer) {
  return sf_tio_buffer_get(serve->client, length, 0, buffer);
}

/* A pool that stays empty is one that hung legs hold, or requests that wait for them; it is waited for
 * like a leg. */
int
serve_buffer_get(const struct sf_call *call, size_t length, struct sf_tio_buffer **buffer) {
  struct sf_serve *serve = call->serve;
  int r = serve_buffer_try(serve, length, buffer);

  if (r != -EAGAIN)
    return r;
  while ((r = sf_tio_buffer_get(serve->client, length, NS_PER_S, buffer)) == -EAGAIN) {
    if (call_is_gone(call))
      return -ESHUTDOWN;
    if (call_is_over(call))
      return -ENOMEM;
  }
  if (r == 0 && call_is_gone(call)) {
    sf_tio_buffer_put(serve->client, *buffer);
    r = -ESHUTDOWN;
  }
  return r;
}

void
serve_buffer_put(struct sf_serve *serve, struct sf_tio_buffer *buffer) {
  sf_tio_buffer_put(serve->client, buffer);
}

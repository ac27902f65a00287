/* Buffers for clients' requests.  Requests hold theirs while they wait for legs, and a hung leg
 * keeps some in quarantine; so clients never get the pool's spare ones: the volume's own requests
 * to bring a leg back (copies, pages of the maps, a second try of a read) must not wait for
 * requests that wait for that leg. */
#include "base/units.h"
#include "serve/internal.h"

#include <errno.h>

unsigned
sf_serve_large_buffers(const struct sf_serve *serve) {
  const struct sf_config_buffers buffers = sf_config_buffers(&serve->config);

  return buffers.large - buffers.spare_large;
}

/* When a pool stays empty, hung legs hold it, or requests that wait for them; so it is waited for
 * like a leg. */
int
sf_serve_buffer_get(struct sf_call *call, size_t length, struct sf_tio_buffer **buffer) {
  struct sf_tio_client *client = call->client->serve->client;
  int r = sf_tio_buffer_get(client, length, 0, buffer);
  uint64_t began;

  if (r != -EAGAIN)
    return r;
  do {
    began = sf_tio_now();
    r = sf_tio_buffer_get(client, length, SF_S, buffer);
    sf_serve_call_waited(call, began, SF_S);
    if (sf_serve_call_is_gone(call)) {
      if (r == 0)
        sf_tio_buffer_put(client, *buffer);
      return -ESHUTDOWN;
    }
  } while (r == -EAGAIN && !sf_serve_call_is_over(call));
  return r == -EAGAIN ? -ENOMEM : r;
}

/* Requests that no thread waits for: a loop hands over what has come, and is told of the answers.
 * What would have to wait first is refused, and done by a blocking call (data.c). */
#include "serve/internal.h"

#include <errno.h>
#include <stdio.h>

#include "base/assert.h"

enum {
  TOGETHER = 32
}; /* writes handed over in one go: others wait for the order's lock meanwhile */

/* In any thread.  Its owner may use it again as soon as it is told. */
static void
on_done(struct sf_request *request) {
  struct sf_serve_request *its = request->host;

  sf_serve_block_end(its->serve, its->block_bytes);
  its->done(its);
}

static void
hand_over(struct sf_serve_request *its) {
  its->refused = 0;
  its->request.done = on_done;
  its->request.host = its;
  sf_volume_submit(its->serve->volume, &its->request, sf_tio_now());
}

/* The unit counts as used until the request has ended: see block.c. */
static bool
is_whole(struct sf_serve *serve, struct sf_serve_request *its) {
  const struct sf_request *request = &its->request;

  its->serve = serve;
  its->block_bytes = sf_serve_block_begin(serve);
  if (request->offset % its->block_bytes == 0 && request->length % its->block_bytes == 0)
    return true;
  sf_serve_block_end(serve, its->block_bytes);
  its->refused = -EAGAIN;
  return false;
}

struct writes {
  unsigned n;
  struct sf_serve_request *request[TOGETHER];
  struct serve_range range[TOGETHER];
};

static void
hand_over_write(void *arg, unsigned i) {
  const struct writes *writes = arg;

  hand_over(writes->request[i]);
}

static void
hand_over_writes(struct sf_serve_client *client, struct writes *writes) {
  int refused[TOGETHER];

  if (writes->n == 0)
    return;
  sf_serve_order_try(client, writes->range, writes->n, hand_over_write, writes, refused);
  for (unsigned i = 0; i < writes->n; i++) {
    if (refused[i] == 0)
      continue;
    sf_serve_block_end(client->serve, writes->request[i]->block_bytes);
    writes->request[i]->refused = refused[i];
  }
  writes->n = 0;
}

static void
add_write(struct sf_serve_client *client, struct writes *writes, struct sf_serve_request *its) {
  const struct sf_request *request = &its->request;

  writes->range[writes->n] =
      (struct serve_range){.begin = request->offset, .end = request->offset + request->length};
  writes->request[writes->n++] = its;
  if (writes->n == TOGETHER)
    hand_over_writes(client, writes);
}

void
sf_serve_submit(struct sf_serve_client *client, struct sf_serve_request *const requests[],
                unsigned n) {
  struct writes writes;

  writes.n = 0;
  for (unsigned i = 0; i < n; i++) {
    SF_ASSERT(requests[i]->request.kind != SF_REQ_ZERO);
    if (!is_whole(client->serve, requests[i]))
      continue;
    if (requests[i]->request.kind == SF_REQ_WRITE)
      add_write(client, &writes, requests[i]);
    else
      hand_over(requests[i]);
  }
  hand_over_writes(client, &writes);
}

void
sf_serve_give_up(struct sf_serve_client *client, struct sf_serve_request *request) {
  sf_volume_give_up(client->serve->volume, &request->request, sf_tio_now());
}

struct sf_tio_client *
sf_serve_pool(struct sf_serve *serve) {
  return serve->client;
}

uint64_t
sf_serve_patience_ns(const struct sf_serve *serve) {
  return atomic_load(&serve->suspends) ? UINT64_MAX : atomic_load(&serve->fail_timeout_ns);
}

bool
sf_serve_is_ending(const struct sf_serve *serve) {
  return atomic_load(&serve->stop_asked);
}

uint32_t
sf_serve_unit(const struct sf_serve *serve) {
  return atomic_load(&serve->block_bytes);
}

void
sf_serve_say_once(struct sf_serve *serve, const char *what) {
  if (sf_serve_series_add(serve, what))
    sf_serve_log(serve, "%s", what);
}

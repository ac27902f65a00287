/* Request slots, handles, and when a region and its request are over. */
#include "timed_io/internal.h"

const struct sf_state_table sf_tio_states = {
    .machine = "region",
    .states = SF_TIO_CANCELED + 1,
    .name = {"pending", "timeout", "ok", "error", "canceled"},
    .moves =
        {
            [SF_TIO_PENDING] = SF_MOVE_TO(SF_TIO_TIMEOUT) | SF_MOVE_TO(SF_TIO_OK) |
                               SF_MOVE_TO(SF_TIO_ERROR) | SF_MOVE_TO(SF_TIO_CANCELED),
            [SF_TIO_TIMEOUT] =
                SF_MOVE_TO(SF_TIO_OK) | SF_MOVE_TO(SF_TIO_ERROR) | SF_MOVE_TO(SF_TIO_CANCELED),
        },
};

const char *
sf_tio_state_name(enum sf_tio_state state) {
  return state <= SF_TIO_CANCELED ? sf_tio_states.name[state] : "unknown";
}

struct sf_tio_request *
sf_tio_request_get(struct sf_tio_client *client) {
  struct sf_tio_request *request;

  if (sf_list_empty(&client->requests_free))
    return NULL;
  request = SF_LIST_ENTRY(client->requests_free.next, struct sf_tio_request, free_link);
  sf_list_remove(&request->free_link);
  SF_ASSERT(request->handle == 0);
  request->handle =
      ++client->sequence << SF_TIO_SLOT_BITS | (uint64_t) (request - client->requests);
  client->requests_n++;
  return request;
}

/* Drops one of the references counted in `unreleased`. */
void
sf_tio_request_release(struct sf_tio_request *request) {
  struct sf_tio_client *client = request->client;

  SF_ASSERT(request->unreleased > 0);
  if (--request->unreleased)
    return;
  SF_ASSERT(request->untold == 0);
  SF_ASSERT(request->queue->requests_n > 0);
  if (--request->queue->requests_n == 0 && request->queue->alone &&
      request->queue != sf_tio_queue_current(client))
    sf_tio_wake(request->queue); /* it may wait for nothing else than to be idle */
  request->handle = 0;
  /* The next one takes it while it is in the processor's cache; a handle that is stale shows by its
   * sequence. */
  sf_list_prepend(&client->requests_free, &request->free_link);
  client->requests_n--;
}

struct sf_tio_request *
sf_tio_request_find(struct sf_tio_client *client, uint64_t handle) {
  uint64_t slot = handle & (SF_TIO_REQUESTS_LIMIT - 1);

  if (handle == 0 || slot >= client->requests_max || client->requests[slot].handle != handle)
    return NULL;
  return &client->requests[slot];
}

/* A completion names a region that the kernel still had, so it cannot be unknown. */
struct sf_tio_io *
sf_tio_io_find(struct sf_tio_client *client, uint64_t user_data) {
  struct sf_tio_request *request = sf_tio_request_find(client, user_data >> SF_TIO_REGION_BITS);
  unsigned region = user_data & (SF_TIO_REGIONS_MAX - 1);

  SF_ASSERT(request != NULL);
  SF_ASSERT(region < request->n);
  return &request->io[region];
}

/* The kernel has nothing of it any more. */
void
sf_tio_io_ended(struct sf_tio_io *io) {
  struct sf_tio_device *device = io->device;
  struct sf_tio_slot *buffer = io->request->buffer;

  io->where = SF_TIO_NOWHERE;
  if (io->kind != SF_TIO_REAL)
    device->running--; /* a REAL one left it when it was cancelled */
  if (io->overdue)
    device->overdue--;
  if (io->detached) {
    device->detached[buffer ? buffer->class : SF_TIO_NO_BUFFER]--;
    if (buffer)
      atomic_fetch_sub(&buffer->detached, 1);
  }
  io->overdue = io->detached = false;
}

/* Frees what it holds, once it has ended and everything about it is told. */
void
sf_tio_io_release(struct sf_tio_io *io) {
  struct sf_tio_request *request = io->request;

  if (io->where != SF_TIO_NOWHERE || io->events || !sf_tio_io_terminal(io))
    return;
  sf_tio_device_unuse(io->device);
  if (request->buffer)
    sf_tio_pool_put(&request->client->pool, request->buffer);
  sf_tio_request_release(request);
}

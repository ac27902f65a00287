/* Events: they wait in a region's queue until its driver delivers them, in order. */
#include "timed_io/internal.h"

#include <string.h>

static _Thread_local unsigned callouts;

bool
sf_tio_in_callout(void) {
  return callouts > 0;
}

void
sf_tio_event_add(struct sf_tio_io *io, enum sf_tio_pending_event event, uint64_t now_ns) {
  struct sf_tio_queue *queue = io->request->queue;

  SF_ASSERT(!(io->events & event));
  if (!io->events)
    sf_list_append(&queue->events, &io->event_link);
  io->events |= event;
  io->at_ns[__builtin_ctz(event)] = now_ns;
  sf_tio_queue_kick(queue);
}

static uint64_t
latency(const struct sf_tio_request *request, uint64_t at_ns) {
  uint64_t delay_ns =
      sf_tio_own_delay_now(&request->client->own_delay, at_ns) - request->entry_delay_ns;
  uint64_t since_ns = at_ns > request->entry_ns ? at_ns - request->entry_ns : 0;

  return since_ns > delay_ns ? since_ns - delay_ns : 0;
}

static struct sf_tio_event
describe(const struct sf_tio_io *io, enum sf_tio_pending_event event) {
  const struct sf_tio_request *request = io->request;
  uint64_t at_ns = io->at_ns[__builtin_ctz(event)];
  struct sf_tio_event told = {
      .handle = request->handle,
      .context = request->context,
      .device = io->device,
      .region = io->index,
      .state = event == SF_TIO_EV_TIMEOUT ? SF_TIO_TIMEOUT : io->machine.state,
      .now_ns = at_ns,
      .latency_ns = latency(request, at_ns),
  };

  if (told.state == SF_TIO_CANCELED)
    told.kind = io->kind;
  if (told.state == SF_TIO_ERROR)
    told.error = io->error;
  if (event == SF_TIO_EV_LATE) {
    told.late = true;
    told.error = io->late_error;
  }
  return told;
}

/* A read's data is copied out before its notify, and never for a read that was given up on. */
static void
copy_out(struct sf_tio_client *client, struct sf_tio_io *io, enum sf_tio_pending_event event) {
  struct sf_tio_request *request = io->request;

  if (event != SF_TIO_EV_TERMINAL || io->machine.state != SF_TIO_OK || request->op != SF_TIO_READ ||
      request->data == NULL)
    return;
  /* Nothing else touches an OK region, and its event keeps it. */
  pthread_mutex_unlock(&client->lock);
  memcpy(request->data, request->buffer->pub.data, io->length);
  pthread_mutex_lock(&client->lock);
}

struct call {
  sf_tio_event_fn *function; /* or NULL */
  struct sf_tio_event told;
};

/* Under client->lock.  The region releases its slot and buffer before its last event is delivered:
 * the callback may need them for its next request.  The device stays until it has returned. */
static void
take(struct sf_tio_client *client, struct sf_tio_io *io, struct call *call) {
  struct sf_tio_request *request = io->request;
  enum sf_tio_pending_event event = io->events & -io->events;

  copy_out(client, io, event);
  call->function = event == SF_TIO_EV_LATE ? client->late : request->notify;
  call->told = describe(io, event);
  io->events &= (uint8_t) ~event;
  if (!io->events)
    sf_list_remove(&io->event_link);
  if (event == SF_TIO_EV_TERMINAL)
    request->untold--;
  sf_tio_device_use(call->told.device);
  sf_tio_io_release(io);
}

void
sf_tio_events_deliver(struct sf_tio_queue *queue) {
  struct sf_tio_client *client = queue->client;

  while (!sf_list_empty(&queue->events)) {
    struct call calls[SF_TIO_CALLS];
    unsigned n = 0;

    for (; n < SF_TIO_CALLS && !sf_list_empty(&queue->events); n++)
      take(client, SF_LIST_ENTRY(queue->events.next, struct sf_tio_io, event_link), &calls[n]);
    pthread_mutex_unlock(&client->lock);
    callouts++;
    for (unsigned i = 0; i < n; i++)
      if (calls[i].function)
        calls[i].function(&calls[i].told);
    callouts--;
    pthread_mutex_lock(&client->lock);
    for (unsigned i = 0; i < n; i++)
      sf_tio_device_unuse(calls[i].told.device);
  }
}

/* Cancels: by device, by handle, and for a deadline.  A region not yet handed over is dropped, the
 * kernel is asked to cancel one that it has queued, one that runs is given up on. */
#include "timed_io/internal.h"

#include <string.h>

/* A region in a submitting thread's ring went there with RWF_NOWAIT, so it never waits for a worker
 * of the kernel, which is all that IORING_OP_ASYNC_CANCEL could take it from: it is at the device.
 * Asking would cost the thread a system call and can only be answered with -ENOENT. */
static void
cancel_one(struct sf_tio_io *io, uint64_t now_ns, struct sf_tio_io **in_device_thread,
           unsigned *in_device_thread_n, struct sf_tio_canceled *canceled) {
  enum sf_tio_kind kind = SF_TIO_DETACHED;

  switch ((enum sf_tio_where) io->where) {
  case SF_TIO_IN_DEVICE_THREAD:
    SF_ASSERT(*in_device_thread_n < SF_TIO_DEVICE_THREAD_DEPTH);
    in_device_thread[(*in_device_thread_n)++] = io;
    return;
  case SF_TIO_IN_QUEUE:
  case SF_TIO_AT_DEVICE_THREAD:
    kind = sf_tio_io_drop(io, now_ns);
    break;
  case SF_TIO_IN_RING:
    sf_tio_io_cancel(io, kind, now_ns);
    break;
  case SF_TIO_NOWHERE:
    SF_ASSERT(!"a live region is somewhere");
  }
  canceled->real += kind == SF_TIO_REAL;
  canceled->detached += kind == SF_TIO_DETACHED;
}

void
sf_tio_cancel_on(struct sf_tio_device *device, uint64_t handle, bool due,
                 struct sf_tio_canceled *canceled) {
  struct sf_tio_client *client = device->client;
  struct sf_tio_io *in_device_thread[SF_TIO_DEVICE_THREAD_DEPTH];
  uint64_t now_ns = sf_tio_now();
  unsigned in_device_thread_n = 0;

  pthread_mutex_lock(&device->device_thread.ring_lock);
  pthread_mutex_lock(&client->lock);
  SF_LIST_EACH(entry, &device->live) {
    struct sf_tio_io *io = SF_LIST_ENTRY(entry, struct sf_tio_io, device_link);

    if ((!handle || io->request->handle == handle) && (!due || io->due))
      cancel_one(io, now_ns, in_device_thread, &in_device_thread_n, canceled);
  }
  pthread_mutex_unlock(&client->lock);
  if (in_device_thread_n)
    sf_tio_device_thread_cancel(device, in_device_thread, in_device_thread_n, canceled);
  pthread_mutex_unlock(&device->device_thread.ring_lock);
}

struct sf_tio_canceled
sf_tio_cancel_by_device(struct sf_tio_device *device) {
  struct sf_tio_client *client = device->client;
  struct sf_tio_canceled canceled = {0};

  pthread_mutex_lock(&client->lock);
  sf_tio_device_use(device);
  pthread_mutex_unlock(&client->lock);
  sf_tio_cancel_on(device, 0, false, &canceled);
  pthread_mutex_lock(&client->lock);
  sf_tio_device_unuse(device);
  pthread_mutex_unlock(&client->lock);
  return canceled;
}

/* The devices on which the request has live regions, pinned; terminal regions are counted as
 * done. */
static unsigned
find_devices(struct sf_tio_request *request, struct sf_tio_device **devices,
             struct sf_tio_canceled *canceled) {
  unsigned n = 0;

  for (unsigned i = 0; i < request->n; i++) {
    struct sf_tio_device *device = request->io[i].device;
    bool known = false;

    if (sf_tio_io_terminal(&request->io[i])) {
      canceled->done++;
      continue;
    }
    for (unsigned j = 0; j < n; j++)
      known |= devices[j] == device;
    if (known)
      continue;
    sf_tio_device_use(device);
    devices[n++] = device;
  }
  return n;
}

struct sf_tio_canceled
sf_tio_cancel_by_handle(struct sf_tio_client *client, uint64_t handle) {
  struct sf_tio_device *devices[SF_TIO_REGIONS_MAX];
  struct sf_tio_canceled canceled = {0};
  struct sf_tio_request *request;
  unsigned n = 0;

  pthread_mutex_lock(&client->lock);
  request = sf_tio_request_find(client, handle);
  if (request)
    n = find_devices(request, devices, &canceled);
  else
    canceled.done = 1;
  pthread_mutex_unlock(&client->lock);
  for (unsigned i = 0; i < n; i++)
    sf_tio_cancel_on(devices[i], handle, false, &canceled);
  pthread_mutex_lock(&client->lock);
  for (unsigned i = 0; i < n; i++)
    sf_tio_device_unuse(devices[i]);
  pthread_mutex_unlock(&client->lock);
  return canceled;
}

/* Deadlines: completions are looked at first, own delay is added, then a region is late. */
#include "timed_io/internal.h"

static bool
expired(struct sf_tio_io *io, uint64_t now_ns) {
  uint64_t delay_ns;

  if (now_ns < io->deadline_ns)
    return false;
  delay_ns = sf_tio_own_delay_now(&io->request->client->own_delay, now_ns) - io->delay_seen_ns;
  io->delay_seen_ns += delay_ns;
  io->deadline_ns = sf_tio_after(io->deadline_ns, delay_ns);
  return now_ns >= io->deadline_ns;
}

/* The devices named by the mask stay while we look at them without the lock. */
static void
pin(struct sf_tio_client *client, uint32_t devices) {
  for (unsigned i = 0; i < SF_TIO_DEVICES_MAX; i++)
    if (devices & UINT32_C(1) << i)
      sf_tio_device_use(client->devices[i]);
}

static void
unpin(struct sf_tio_client *client, uint32_t devices) {
  for (unsigned i = 0; i < SF_TIO_DEVICES_MAX; i++)
    if (devices & UINT32_C(1) << i)
      sf_tio_device_unuse(client->devices[i]);
}

/* A device thread may be just about to say that a region is done. */
static void
ask_device_threads(struct sf_tio_queue *queue, uint64_t now_ns) {
  struct sf_tio_client *client = queue->client;
  uint32_t devices = 0;

  SF_LIST_EACH(entry, &queue->live) {
    struct sf_tio_io *io = SF_LIST_ENTRY(entry, struct sf_tio_io, live_link);

    if (io->where == SF_TIO_IN_DEVICE_THREAD && expired(io, now_ns))
      devices |= UINT32_C(1) << io->device->index;
  }
  if (!devices)
    return;
  pin(client, devices);
  pthread_mutex_unlock(&client->lock);
  for (unsigned i = 0; i < SF_TIO_DEVICES_MAX; i++)
    if (devices & UINT32_C(1) << i)
      sf_tio_device_thread_reap(client->devices[i]);
  pthread_mutex_lock(&client->lock);
  unpin(client, devices);
}

/* Returns the devices on which something is to be cancelled for its deadline; they are pinned. */
static uint32_t
find_expired(struct sf_tio_queue *queue, uint64_t now_ns) {
  uint32_t due = 0;

  queue->deadline_ns = SF_TIO_NEVER;
  SF_LIST_EACH(entry, &queue->live) {
    struct sf_tio_io *io = SF_LIST_ENTRY(entry, struct sf_tio_io, live_link);

    if (expired(io, now_ns)) {
      queue->scattered = true;
      sf_tio_io_timeout(io, now_ns);
    }
    if (io->due)
      due |= UINT32_C(1) << io->device->index;
    if (io->deadline_ns < queue->deadline_ns)
      queue->deadline_ns = io->deadline_ns;
  }
  pin(queue->client, due);
  return due;
}

void
sf_tio_deadlines(struct sf_tio_queue *queue, uint64_t now_ns) {
  struct sf_tio_client *client = queue->client;
  uint32_t due;

  if (now_ns < queue->deadline_ns)
    return;
  ask_device_threads(queue, now_ns);
  due = find_expired(queue, now_ns);
  if (!due)
    return;
  pthread_mutex_unlock(&client->lock);
  for (unsigned i = 0; i < SF_TIO_DEVICES_MAX; i++) {
    struct sf_tio_canceled canceled = {0};

    if (due & UINT32_C(1) << i)
      sf_tio_cancel_on(client->devices[i], 0, true, &canceled);
  }
  pthread_mutex_lock(&client->lock);
  unpin(client, due);
}

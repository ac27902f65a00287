/* sf_tio(): checks a request, admits it, enters it and, for SYNC, waits for it. */
#include "timed_io/internal.h"

#include <errno.h>
#include <string.h>

/* ---- what may be asked ---- */

static uint64_t
timeout_of(const struct sf_tio_control *control, const struct sf_tio_region *region) {
  return region->timeout_ns ? region->timeout_ns : control->timeout_ns;
}

static int
check_memory(const struct sf_tio_client *client, const struct sf_tio_control *control,
             const struct sf_tio_region *regions) {
  bool transfer = control->op == SF_TIO_READ || control->op == SF_TIO_WRITE;

  if (!transfer)
    return control->buffer || control->data ? -EINVAL : 0;
  if ((control->buffer == NULL) == (control->data == NULL))
    return -EINVAL;
  if (regions[0].length > client->pool.bytes[SF_TIO_LARGE])
    return -EMSGSIZE;
  if (control->buffer && regions[0].length > control->buffer->size)
    return -EMSGSIZE;
  return 0;
}

static int
check_region(const struct sf_tio_client *client, const struct sf_tio_control *control,
             const struct sf_tio_region *regions, unsigned i) {
  const struct sf_tio_region *region = &regions[i];

  if (region->device == NULL || region->device->client != client)
    return -EINVAL;
  /* Without SYNC, notify and timeout its end would never be reported. */
  if (!(control->flags & SF_TIO_SYNC) && control->notify == NULL && !timeout_of(control, region))
    return -EINVAL;
  if (control->op == SF_TIO_FLUSH)
    return 0;
  if (region->length == 0 || region->offset > INT64_MAX ||
      region->length > INT64_MAX - region->offset)
    return -EINVAL;
  if (control->op == SF_TIO_WRITE && region->length != regions[0].length)
    return -EINVAL;
  return 0;
}

static int
check(const struct sf_tio_client *client, const struct sf_tio_control *control,
      const struct sf_tio_region *regions, unsigned n) {
  unsigned known = SF_TIO_SYNC;
  int error = 0;

  if (control->op >= SF_TIO_OPS || n == 0 || n > SF_TIO_REGIONS_MAX)
    return -EINVAL;
  if (control->op == SF_TIO_READ && n != 1)
    return -EINVAL;
  if (control->op == SF_TIO_WRITE || control->op == SF_TIO_ZERO)
    known |= SF_TIO_FUA;
  if (control->op == SF_TIO_ZERO)
    known |= SF_TIO_MAY_UNMAP;
  if (control->flags & ~known)
    return -EINVAL;
  /* The caller could not know when its memory is its own again. */
  if (control->op == SF_TIO_READ && control->data && control->notify == NULL &&
      !(control->flags & SF_TIO_SYNC))
    return -EINVAL;
  for (unsigned i = 0; i < n && !error; i++)
    error = check_region(client, control, regions, i);
  return error ? error : check_memory(client, control, regions);
}

/* ---- memory for `data` ---- */

static uint64_t
shortest_timeout(const struct sf_tio_control *control, const struct sf_tio_region *regions,
                 unsigned n) {
  uint64_t shortest_ns = SF_TIO_NEVER;

  for (unsigned i = 0; i < n; i++) {
    uint64_t timeout_ns = timeout_of(control, &regions[i]);

    if (timeout_ns && timeout_ns < shortest_ns)
      shortest_ns = timeout_ns;
  }
  return shortest_ns == SF_TIO_NEVER ? 0 : shortest_ns;
}

/* With a reference for the caller. */
static int
get_buffer(struct sf_tio_client *client, const struct sf_tio_control *control,
           const struct sf_tio_region *regions, unsigned n, struct sf_tio_slot **slot) {
  uint64_t wait_ns = sf_tio_in_callout() ? 0 : shortest_timeout(control, regions, n);
  int error;

  *slot = (struct sf_tio_slot *) control->buffer;
  if (*slot)
    sf_tio_pool_ref(*slot);
  if (control->data == NULL)
    return 0;
  error = sf_tio_pool_get(&client->pool, regions[0].length, wait_ns, slot);
  if (!error && control->op == SF_TIO_WRITE)
    memcpy((*slot)->pub.data, control->data, regions[0].length);
  return error;
}

/* ---- writing it down, under client->lock ---- */

struct asked {
  const struct sf_tio_control *control;
  const struct sf_tio_region *regions;
  unsigned n;
  struct sf_tio_queue *queue;
  struct sf_tio_slot *buffer;
  uint64_t entry_ns, entry_delay_ns;
};

static enum sf_tio_stage
first_stage(const struct sf_tio_control *control, const struct sf_tio_device *device) {
  switch (control->op) {
  case SF_TIO_FLUSH:
    return SF_TIO_DO_FSYNC;
  case SF_TIO_ZERO:
    if (control->flags & SF_TIO_MAY_UNMAP && !device->no_punch)
      return SF_TIO_DO_PUNCH;
    return device->no_zero_range ? SF_TIO_DO_WRITE_ZEROS : SF_TIO_DO_ZERO_RANGE;
  default:
    return SF_TIO_DO_TRANSFER;
  }
}

static void
start_region(struct sf_tio_request *request, const struct sf_tio_control *control,
             const struct sf_tio_region *region, unsigned i) {
  struct sf_tio_queue *queue = request->queue;
  struct sf_tio_io *io = &request->io[i];
  uint64_t timeout_ns = timeout_of(control, region);

  *io = (struct sf_tio_io){
      .request = request,
      .device = region->device,
      .offset = region->offset,
      .length = region->length,
      .deadline_ns = timeout_ns ? sf_tio_after(request->entry_ns, timeout_ns) : SF_TIO_NEVER,
      .delay_seen_ns = request->entry_delay_ns,
      .index = (uint8_t) i,
      .where = SF_TIO_IN_QUEUE,
      .stage = (uint8_t) first_stage(control, region->device),
  };
  sf_state_init(&io->machine, &sf_tio_states, sf_tio_io_user_data(io), SF_TIO_PENDING);
  sf_list_append(&queue->pending, &io->where_link);
  sf_list_append(&queue->live, &io->live_link);
  sf_list_append(&region->device->live, &io->device_link);
  queue->pending_n++;
  queue->live_n++;
  if (io->deadline_ns < queue->deadline_ns)
    queue->deadline_ns = io->deadline_ns;
  region->device->running++;
  sf_tio_device_use(region->device);
  if (request->buffer)
    sf_tio_pool_ref(request->buffer);
}

static struct sf_tio_request *
start_request(struct sf_tio_client *client, const struct asked *asked) {
  const struct sf_tio_control *control = asked->control;
  bool sync = control->flags & SF_TIO_SYNC;
  struct sf_tio_request *request = sf_tio_request_get(client);

  request->queue = asked->queue;
  request->buffer = asked->buffer;
  request->data = control->data;
  request->notify = control->notify;
  request->context = control->context;
  request->entry_ns = asked->entry_ns;
  request->entry_delay_ns = asked->entry_delay_ns;
  request->result = (struct sf_tio_result){0};
  request->expired = 0;
  request->op = (uint8_t) control->op;
  request->flags = (uint8_t) control->flags;
  request->n = (uint8_t) asked->n;
  request->untold = (uint8_t) asked->n;
  request->unreleased = (uint8_t) (asked->n + sync);
  request->auto_cancel = control->notify == NULL;
  asked->queue->requests_n++;
  atomic_fetch_add(&client->live, asked->n);
  for (unsigned i = 0; i < asked->n; i++)
    start_region(request, control, &asked->regions[i], i);
  return request;
}

static int
admit(struct sf_tio_client *client, const struct asked *asked) {
  unsigned class = asked->buffer ? asked->buffer->class : SF_TIO_NO_BUFFER;

  if (sf_list_empty(&client->requests_free))
    return -EAGAIN;
  for (unsigned i = 0; i < asked->n; i++)
    if (sf_tio_device_full(asked->regions[i].device, class))
      return -EAGAIN;
  return 0;
}

static int
start(struct sf_tio_client *client, const struct asked *asked, struct sf_tio_request **request,
      uint64_t *handle) {
  int error;

  pthread_mutex_lock(&client->lock);
  error = admit(client, asked);
  if (!error) {
    *request = start_request(client, asked);
    /* Before any thread can look at its deadline: while the own-delay thread rests, a stop of this
     * process is not counted.  In a long wait for a buffer it may have gone to rest again. */
    sf_tio_own_delay_begin(&client->own_delay);
    /* Every region has a reference of its own.  Ours ends here, before a notify of the last
     * region's end can want the buffer. */
    if (asked->buffer)
      sf_tio_pool_put(&client->pool, asked->buffer);
    if (handle)
      *handle = (*request)->handle; /* it may be over before the call returns */
    if (asked->queue->background)
      sf_tio_queue_kick(asked->queue);
  }
  pthread_mutex_unlock(&client->lock);
  return error;
}

/* ---- the call ---- */

static bool
all_told(void *arg) {
  struct sf_tio_request *request = arg;
  bool told;

  pthread_mutex_lock(&request->client->lock);
  told = request->untold == 0;
  pthread_mutex_unlock(&request->client->lock);
  return told;
}

static int
wait_for(struct sf_tio_request *request, struct sf_tio_result *result) {
  struct sf_tio_client *client = request->client;
  struct sf_tio_result found;
  uint32_t expired;

  SF_ASSERT(sf_tio_drive(request->queue, 0, all_told, request) == 0);
  pthread_mutex_lock(&client->lock);
  found = request->result;
  expired = request->expired;
  sf_tio_request_release(request);
  pthread_mutex_unlock(&client->lock);
  if (result)
    *result = found;
  if (found.error)
    return -EIO;
  if (found.canceled)
    return expired & found.canceled ? -ETIMEDOUT : -ECANCELED;
  return 0;
}

static int
find_queue(struct sf_tio_client *client, unsigned flags, struct sf_tio_queue **queue) {
  if (flags & SF_TIO_SYNC)
    return sf_tio_in_callout() ? -EDEADLK : sf_tio_queue_get(client, queue);
  *queue = sf_tio_queue_current(client);
  if (*queue == NULL || !(*queue)->drives_itself)
    *queue = client->background.queue;
  return 0;
}

int
sf_tio(struct sf_tio_client *client, const struct sf_tio_control *control,
       const struct sf_tio_region *regions, unsigned n, uint64_t *handle,
       struct sf_tio_result *result) {
  /* Before anything that could take time. */
  struct asked asked = {.control = control, .regions = regions, .n = n, .entry_ns = sf_tio_now()};
  struct sf_tio_request *request = NULL;
  int error = check(client, control, regions, n);

  if (!error) {
    asked.entry_delay_ns = sf_tio_own_delay_now(&client->own_delay, asked.entry_ns);
    sf_tio_own_delay_begin(&client->own_delay);
  }
  if (!error)
    error = find_queue(client, control->flags, &asked.queue);
  if (!error)
    error = get_buffer(client, control, regions, n, &asked.buffer);
  if (error)
    return error;
  error = start(client, &asked, &request, handle);
  if (error && asked.buffer)
    sf_tio_pool_put(&client->pool, asked.buffer);
  if (error)
    return error;
  return control->flags & SF_TIO_SYNC ? wait_for(request, result) : 0;
}

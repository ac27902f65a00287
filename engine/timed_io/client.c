/* A client: made with all that it will ever need, and gone only when nothing of it runs. */
#include "timed_io/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const struct sf_tio_client_params defaults = {
    .requests_max = 256,
    .buffers_small = 256,
    .small_bytes = 16 * 1024,
    .buffers_large = 64,
    .large_bytes = 256 * 1024,
    .thread_name = "sf-tio",
};

static int
complete_params(const struct sf_tio_client_params *given, struct sf_tio_client_params *params) {
  *params = given ? *given : defaults;
  if (!params->requests_max)
    params->requests_max = defaults.requests_max;
  if (!params->buffers_small)
    params->buffers_small = defaults.buffers_small;
  if (!params->small_bytes)
    params->small_bytes = defaults.small_bytes;
  if (!params->buffers_large)
    params->buffers_large = defaults.buffers_large;
  if (!params->large_bytes)
    params->large_bytes = defaults.large_bytes;
  if (params->thread_name == NULL)
    params->thread_name = defaults.thread_name;
  if (params->requests_max > SF_TIO_REQUESTS_LIMIT || params->small_bytes % SF_TIO_ALIGN ||
      params->spare_small >= params->buffers_small ||
      params->spare_large >= params->buffers_large || params->large_bytes % SF_TIO_ALIGN ||
      params->large_bytes < params->small_bytes || params->large_bytes > INT32_MAX)
    return -EINVAL;
  return 0;
}

static int
make_requests(struct sf_tio_client *client, unsigned n) {
  client->requests = calloc(n, sizeof *client->requests);
  if (client->requests == NULL)
    return -ENOMEM;
  client->requests_max = n;
  for (unsigned i = 0; i < n; i++) {
    client->requests[i].client = client;
    sf_list_append(&client->requests_free, &client->requests[i].free_link);
  }
  return 0;
}

static int
start_threads(struct sf_tio_client *client) {
  int error = -pthread_key_create(&client->key, sf_tio_queue_destructor);

  if (error)
    return error;
  error = sf_tio_own_delay_start(&client->own_delay, &client->live, client->thread_name);
  if (error)
    goto no_own_delay;
  error = sf_tio_background_start(client);
  if (error)
    goto no_service;
  return 0;

no_service:
  sf_tio_own_delay_stop(&client->own_delay);
no_own_delay:
  pthread_key_delete(client->key);
  return error;
}

static void
free_client(struct sf_tio_client *client) {
  free(client->requests);
  pthread_cond_destroy(&client->unused);
  pthread_mutex_destroy(&client->opening);
  pthread_mutex_destroy(&client->lock);
  free(client);
}

int
sf_tio_client_create(const struct sf_tio_client_params *params, struct sf_tio_client **client) {
  struct sf_tio_client_params complete;
  struct sf_tio_client *made;
  int error = complete_params(params, &complete);

  if (error)
    return error;
  made = calloc(1, sizeof *made);
  if (made == NULL)
    return -ENOMEM;
  pthread_mutex_init(&made->lock, NULL);
  pthread_mutex_init(&made->opening, NULL);
  sf_tio_cond_init(&made->unused);
  sf_list_init(&made->requests_free);
  sf_list_init(&made->queues_free);
  made->late = complete.late;
  made->submitters = complete.submitters;
  made->submitter_lost = complete.submitter_lost;
  made->submitter_context = complete.submitter_context;
  made->files_kept = complete.files_kept;
  snprintf(made->thread_name, sizeof made->thread_name, "%s", complete.thread_name);
  error = make_requests(made, complete.requests_max);
  if (!error)
    error = sf_tio_pool_init(&made->pool, &complete);
  if (!error) {
    error = start_threads(made);
    if (error)
      sf_tio_pool_destroy(&made->pool);
  }
  if (error) {
    free_client(made);
    return error;
  }
  *client = made;
  return 0;
}

#define ALONE_WAIT_NS SF_S

/* Threads that attend alone and have nothing left are about to end. */
static bool
busy(struct sf_tio_client *client) {
  struct timespec until = sf_tio_timespec(sf_tio_now() + ALONE_WAIT_NS);
  int error = 0;
  bool busy;

  pthread_mutex_lock(&client->lock);
  while (client->requests_n == 0 && client->alone_n && error == 0)
    error = pthread_cond_timedwait(&client->unused, &client->lock, &until);
  busy = client->requests_n || client->devices_n || client->alone_n;
  pthread_mutex_unlock(&client->lock);
  return busy || !sf_tio_pool_idle(&client->pool);
}

int
sf_tio_client_destroy(struct sf_tio_client *client) {
  if (client == NULL)
    return 0;
  if (sf_tio_in_callout())
    return -EDEADLK;
  if (busy(client))
    return -EBUSY;
  sf_tio_background_stop(client);
  sf_tio_own_delay_stop(&client->own_delay);
  pthread_key_delete(client->key);
  for (unsigned i = 0; i < client->queues_n; i++)
    sf_tio_queue_free(client->queues[i]);
  sf_tio_pool_destroy(&client->pool);
  free_client(client);
  return 0;
}

void
sf_tio_client_stats(struct sf_tio_client *client, struct sf_tio_client_stats *stats) {
  struct sf_tio_pool *pool = &client->pool;

  *stats = (struct sf_tio_client_stats){0};
  pthread_mutex_lock(&client->lock);
  stats->requests = client->requests_n;
  pthread_mutex_unlock(&client->lock);
  pthread_mutex_lock(&pool->lock);
  stats->buffers_free_small = pool->free[SF_TIO_SMALL];
  stats->buffers_free_large = pool->free[SF_TIO_LARGE];
  pthread_mutex_unlock(&pool->lock);
  stats->buffers_quarantined = sf_tio_pool_quarantined(pool);
  stats->memory_bytes = pool->memory_bytes;
  stats->own_delay_ns = sf_tio_own_delay_now(&client->own_delay, sf_tio_now());
  stats->cancels_submitted = atomic_load(&client->cancels_submitted);
  stats->enters = atomic_load(&client->enters);
}

int
sf_tio_buffer_get(struct sf_tio_client *client, size_t len, uint64_t wait_ns,
                  struct sf_tio_buffer **buffer) {
  struct sf_tio_slot *slot;
  int error = sf_tio_pool_get(&client->pool, len, sf_tio_in_callout() ? 0 : wait_ns, &slot);

  if (!error)
    *buffer = &slot->pub;
  return error;
}

int
sf_tio_buffer_get_or_wake(struct sf_tio_queue *queue, size_t len, struct sf_tio_buffer **buffer) {
  struct sf_tio_slot *slot;
  int error = sf_tio_pool_get_or_wake(&queue->client->pool, len, queue, &slot);

  if (!error)
    *buffer = &slot->pub;
  return error;
}

bool
sf_tio_buffer_is_awaited(struct sf_tio_queue *queue) {
  return sf_tio_pool_awaits(&queue->client->pool, queue);
}

int
sf_tio_buffer_get_spare(struct sf_tio_client *client, size_t len, struct sf_tio_buffer **buffer) {
  struct sf_tio_slot *slot;
  int error = sf_tio_pool_get_spare(&client->pool, len, &slot);

  if (!error)
    *buffer = &slot->pub;
  return error;
}

bool
sf_tio_buffer_is_shared(const struct sf_tio_buffer *buffer) {
  return atomic_load(&((const struct sf_tio_slot *) buffer)->refs) > 1;
}

void
sf_tio_buffer_put(struct sf_tio_client *client, struct sf_tio_buffer *buffer) {
  sf_tio_pool_put(&client->pool, (struct sf_tio_slot *) buffer);
}

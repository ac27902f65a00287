/* Queues: made when a thread attends, given back when it ends, woken when there is news. */
#include "timed_io/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

/* What one round of an alone thread hands over together: many requests, each to several devices. */
enum { ALONE_ENTRIES = 512 };

/* A new file gets the lowest number that is free: so many are open, at least.  One thread looks and
 * opens at a time (client->opening): two that have looked would open more than are left. */
static bool
few_files_left(const struct sf_tio_client *client, int fd) {
  rlim_t open = (rlim_t) fd + 1 + 1; /* the ring is still to come */
  struct rlimit limit;

  return client->files_kept != 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
         open + client->files_kept > limit.rlim_cur;
}

static int
open_files(struct sf_tio_queue *queue) {
  unsigned completions = queue->background ? 4096 : 1024;
  int error;

  queue->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (queue->wake_fd < 0)
    return -errno;
  error = few_files_left(queue->client, queue->wake_fd) ? -EMFILE : 0;
  if (!error && queue->alone)
    error = sf_tio_ring_init_alone(&queue->ring, ALONE_ENTRIES, completions);
  else if (!error)
    error = sf_tio_ring_init(&queue->ring, SF_TIO_RING_ENTRIES, completions);
  if (error)
    close(queue->wake_fd);
  return error;
}

static int
open_queue(struct sf_tio_queue *queue) {
  int error;

  pthread_mutex_lock(&queue->client->opening);
  error = open_files(queue);
  pthread_mutex_unlock(&queue->client->opening);
  if (!error)
    (void) sf_tio_ring_register(&queue->ring, &queue->client->pool);
  return error;
}

int
sf_tio_queue_new(struct sf_tio_client *client, enum sf_tio_queue_kind kind,
                 struct sf_tio_queue **queue) {
  struct sf_tio_queue *made = calloc(1, sizeof *made);
  int error;

  if (made == NULL)
    return -ENOMEM;
  made->client = client;
  made->background = kind == SF_TIO_BACKGROUND;
  made->alone = kind == SF_TIO_ALONE;
  made->deadline_ns = SF_TIO_NEVER;
  sf_list_init(&made->pending);
  sf_list_init(&made->live);
  sf_list_init(&made->events);
  error = open_queue(made);
  if (error) {
    free(made);
    return error;
  }
  pthread_mutex_init(&made->owner, NULL);
  *queue = made;
  return 0;
}

void
sf_tio_queue_free(struct sf_tio_queue *queue) {
  SF_ASSERT(!sf_tio_queue_busy(queue));
  sf_tio_ring_exit(&queue->ring);
  close(queue->wake_fd);
  pthread_mutex_destroy(&queue->owner);
  free(queue);
}

bool
sf_tio_queue_busy(const struct sf_tio_queue *queue) {
  return queue->live_n || queue->in_ring || !sf_list_empty(&queue->events);
}

struct sf_tio_queue *
sf_tio_queue_current(struct sf_tio_client *client) {
  return pthread_getspecific(client->key);
}

/* ---- waking ---- */

void
sf_tio_queue_kick(struct sf_tio_queue *queue) {
  if (queue->background || queue->driven) {
    sf_tio_wake(queue);
    return;
  }
  if (!queue->listed)
    queue->drives_seen = queue->drives;
  queue->listed = true;
  sf_tio_wake(queue->client->background.queue);
}

/* ---- attending ---- */

static int
add_queue(struct sf_tio_client *client, struct sf_tio_queue **queue) {
  struct sf_tio_queue *made;
  int error = sf_tio_queue_new(client, SF_TIO_ATTENDING, &made);

  if (error)
    return error;
  made->attended = true;
  pthread_mutex_lock(&client->lock);
  if (client->queues_n < SF_TIO_QUEUES_LIMIT)
    client->queues[client->queues_n++] = made;
  else
    error = -EAGAIN; /* a client that meets it is not to take the disk for full */
  pthread_mutex_unlock(&client->lock);
  if (error) {
    sf_tio_queue_free(made);
    return error;
  }
  *queue = made;
  return 0;
}

/* A region that was given up and is with a device thread does not keep its queue busy.  When it
 * ends after the queue was given back, the background thread reports it there and finds the queue
 * idle a second time. */
void
sf_tio_queue_give_back(struct sf_tio_queue *queue) {
  if (!queue->is_free)
    sf_list_append(&queue->client->queues_free, &queue->free_link);
  queue->is_free = true;
}

static struct sf_tio_queue *
reuse_queue(struct sf_tio_client *client) {
  struct sf_tio_queue *queue = NULL;

  pthread_mutex_lock(&client->lock);
  if (!sf_list_empty(&client->queues_free)) {
    queue = SF_LIST_ENTRY(client->queues_free.next, struct sf_tio_queue, free_link);
    sf_list_remove(&queue->free_link);
    queue->is_free = false;
    queue->attended = true;    /* at once: the background thread may be looking after it */
    queue->wake_armed = false; /* the poll belonged to the thread that ended */
  }
  pthread_mutex_unlock(&client->lock);
  return queue;
}

int
sf_tio_queue_get(struct sf_tio_client *client, struct sf_tio_queue **queue) {
  struct sf_tio_queue *mine = sf_tio_queue_current(client);
  int error;

  if (mine == NULL) {
    mine = reuse_queue(client);
    error = mine ? 0 : add_queue(client, &mine);
    if (error)
      return error;
    SF_ASSERT(pthread_setspecific(client->key, mine) == 0);
  }
  *queue = mine;
  return 0;
}

int
sf_tio_attend(struct sf_tio_client *client, struct sf_tio_queue **queue) {
  int error = sf_tio_queue_get(client, queue);

  if (!error && !(*queue)->background)
    (*queue)->drives_itself = true;
  return error;
}

/* ---- attending alone ---- */

/* It counts as driven always: what happens meanwhile is for its next round, and wakes it. */
int
sf_tio_attend_alone(struct sf_tio_client *client, struct sf_tio_queue **queue) {
  struct sf_tio_queue *made;
  int error;

  SF_ASSERT(sf_tio_queue_current(client) == NULL);
  error = sf_tio_queue_new(client, SF_TIO_ALONE, &made);
  if (error)
    return error;
  made->attended = made->drives_itself = made->driven = true;
  pthread_mutex_lock(&client->lock);
  client->alone_n++;
  pthread_mutex_unlock(&client->lock);
  SF_ASSERT(pthread_setspecific(client->key, made) == 0);
  *queue = made;
  return 0;
}

bool
sf_tio_is_idle(struct sf_tio_queue *queue) {
  bool idle;

  SF_ASSERT(queue->alone);
  pthread_mutex_lock(&queue->client->lock);
  idle = queue->requests_n == 0;
  pthread_mutex_unlock(&queue->client->lock);
  for (unsigned i = 0; i < SF_TIO_MESSAGES_MAX; i++)
    idle &= queue->message[i] == NULL;
  return idle && queue->messages_done == NULL;
}

static void
end_alone(struct sf_tio_queue *queue) {
  struct sf_tio_client *client = queue->client;

  SF_ASSERT(sf_tio_is_idle(queue));
  sf_tio_pool_forget(&client->pool, queue);
  sf_tio_queue_free(queue);
  pthread_mutex_lock(&client->lock);
  client->alone_n--;
  pthread_cond_broadcast(&client->unused);
  pthread_mutex_unlock(&client->lock);
}

/* The thread has ended: what still runs on its ring is the background thread's now. */
void
sf_tio_queue_destructor(void *arg) {
  struct sf_tio_queue *queue = arg;
  struct sf_tio_client *client = queue->client;

  if (queue->alone) {
    end_alone(queue);
    return;
  }
  pthread_mutex_lock(&client->lock);
  queue->attended = false;
  queue->drives_itself = false;
  if (sf_tio_queue_busy(queue) || queue->listed)
    sf_tio_queue_kick(queue);
  else
    sf_tio_queue_give_back(queue);
  pthread_mutex_unlock(&client->lock);
}

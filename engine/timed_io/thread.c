/* Queues: made when a thread attends, given back when it ends, woken when there is news. */
#include "timed_io/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

/* What one round of an alone thread hands over together: many requests, each to several devices. */
enum { ALONE_ENTRIES = 512 };

/* A new file gets the lowest number that is free: so many are open, at least. */
static bool
few_files_left(const struct sf_tio_client *client, int fd) {
  struct rlimit limit;

  return client->files_kept != 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
         (rlim_t) fd + client->files_kept >= limit.rlim_cur;
}

static int
open_queue(struct sf_tio_thread *thread) {
  unsigned completions = thread->service ? 4096 : 1024;
  int error;

  thread->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (thread->wake_fd < 0)
    return -errno;
  error = few_files_left(thread->client, thread->wake_fd) ? -EMFILE : 0;
  if (!error && thread->alone)
    error = sf_tio_ring_init_alone(&thread->ring, ALONE_ENTRIES, completions);
  else if (!error)
    error = sf_tio_ring_init(&thread->ring, SF_TIO_RING_ENTRIES, completions);
  if (error) {
    close(thread->wake_fd);
    return error;
  }
  (void) sf_tio_ring_register(&thread->ring, &thread->client->pool);
  return 0;
}

int
sf_tio_thread_new(struct sf_tio_client *client, enum sf_tio_thread_kind kind,
                  struct sf_tio_thread **thread) {
  struct sf_tio_thread *made = calloc(1, sizeof *made);
  int error;

  if (!made)
    return -ENOMEM;
  made->client = client;
  made->service = kind == SF_TIO_SERVICE;
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
  *thread = made;
  return 0;
}

void
sf_tio_thread_free(struct sf_tio_thread *thread) {
  SF_MUST(!sf_tio_thread_busy(thread));
  sf_tio_ring_exit(&thread->ring);
  close(thread->wake_fd);
  pthread_mutex_destroy(&thread->owner);
  free(thread);
}

bool
sf_tio_thread_busy(const struct sf_tio_thread *thread) {
  return thread->live_n || thread->in_ring || !sf_list_empty(&thread->events);
}

struct sf_tio_thread *
sf_tio_thread_current(struct sf_tio_client *client) {
  return pthread_getspecific(client->key);
}

/* ---- waking ---- */

void
sf_tio_thread_kick(struct sf_tio_thread *thread) {
  if (thread->service || thread->driven) {
    sf_tio_wake(thread);
    return;
  }
  if (!thread->listed)
    thread->drives_seen = thread->drives;
  thread->listed = true;
  sf_tio_wake(thread->client->service.queue);
}

/* ---- attending ---- */

static int
add_thread(struct sf_tio_client *client, struct sf_tio_thread **thread) {
  struct sf_tio_thread *made;
  int error = sf_tio_thread_new(client, SF_TIO_ATTENDING, &made);

  if (error)
    return error;
  made->attended = true;
  pthread_mutex_lock(&client->lock);
  if (client->threads_n < SF_TIO_THREADS_LIMIT)
    client->threads[client->threads_n++] = made;
  else
    error = -EAGAIN; /* a client that meets it is not to take the disk for full */
  pthread_mutex_unlock(&client->lock);
  if (error) {
    sf_tio_thread_free(made);
    return error;
  }
  *thread = made;
  return 0;
}

/* A region that was given up and is with an executor does not keep its queue busy.  When it ends after
 * the queue was given back, the service reports it there and finds the queue idle a second time. */
void
sf_tio_thread_give_back(struct sf_tio_thread *thread) {
  if (!thread->is_free)
    sf_list_append(&thread->client->threads_free, &thread->free_link);
  thread->is_free = true;
}

static struct sf_tio_thread *
reuse_thread(struct sf_tio_client *client) {
  struct sf_tio_thread *thread = NULL;

  pthread_mutex_lock(&client->lock);
  if (!sf_list_empty(&client->threads_free)) {
    thread = SF_LIST_ENTRY(client->threads_free.next, struct sf_tio_thread, free_link);
    sf_list_remove(&thread->free_link);
    thread->is_free = false;
    thread->attended = true;    /* at once: the service may be looking after it */
    thread->wake_armed = false; /* the poll belonged to the thread that ended */
  }
  pthread_mutex_unlock(&client->lock);
  return thread;
}

int
sf_tio_thread_get(struct sf_tio_client *client, struct sf_tio_thread **thread) {
  struct sf_tio_thread *mine = sf_tio_thread_current(client);
  int error;

  if (!mine) {
    mine = reuse_thread(client);
    error = mine ? 0 : add_thread(client, &mine);
    if (error)
      return error;
    SF_MUST(pthread_setspecific(client->key, mine) == 0);
  }
  *thread = mine;
  return 0;
}

int
sf_tio_attend(struct sf_tio_client *client, struct sf_tio_thread **thread) {
  int error = sf_tio_thread_get(client, thread);

  if (!error && !(*thread)->service)
    (*thread)->drives_itself = true;
  return error;
}

/* ---- attending alone ---- */

/* It counts as driven always: what happens meanwhile is for its next round, and wakes it. */
int
sf_tio_attend_alone(struct sf_tio_client *client, struct sf_tio_thread **thread) {
  struct sf_tio_thread *made;
  int error;

  SF_MUST(sf_tio_thread_current(client) == NULL);
  error = sf_tio_thread_new(client, SF_TIO_ALONE, &made);
  if (error)
    return error;
  made->attended = made->drives_itself = made->driven = true;
  pthread_mutex_lock(&client->lock);
  client->alone_n++;
  pthread_mutex_unlock(&client->lock);
  SF_MUST(pthread_setspecific(client->key, made) == 0);
  *thread = made;
  return 0;
}

bool
sf_tio_is_idle(struct sf_tio_thread *thread) {
  bool idle;

  SF_MUST(thread->alone);
  pthread_mutex_lock(&thread->client->lock);
  idle = thread->requests_n == 0;
  pthread_mutex_unlock(&thread->client->lock);
  for (unsigned i = 0; i < SF_TIO_MESSAGES_MAX; i++)
    idle &= thread->message[i] == NULL;
  return idle && thread->messages_done == NULL;
}

static void
end_alone(struct sf_tio_thread *thread) {
  struct sf_tio_client *client = thread->client;

  SF_MUST(sf_tio_is_idle(thread));
  sf_tio_pool_forget(&client->pool, thread);
  sf_tio_thread_free(thread);
  pthread_mutex_lock(&client->lock);
  client->alone_n--;
  pthread_cond_broadcast(&client->unused);
  pthread_mutex_unlock(&client->lock);
}

/* The thread has ended: what still runs on its ring is the service's now. */
void
sf_tio_thread_destructor(void *arg) {
  struct sf_tio_thread *thread = arg;
  struct sf_tio_client *client = thread->client;

  if (thread->alone) {
    end_alone(thread);
    return;
  }
  pthread_mutex_lock(&client->lock);
  thread->attended = false;
  thread->drives_itself = false;
  if (sf_tio_thread_busy(thread) || thread->listed)
    sf_tio_thread_kick(thread);
  else
    sf_tio_thread_give_back(thread);
  pthread_mutex_unlock(&client->lock);
}

/* The background thread: drives what no attending thread drives.  Its own queue takes the requests
 * of threads that do not attend; besides it looks after the queues of threads that went away or do
 * something else while a region of theirs still runs. */
#include "timed_io/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS = 16 };

/* How soon it looks again at a queue that another thread is driving. */
#define REVISIT_NS (10 * SF_MS)

static uint64_t
earlier(uint64_t a_ns, uint64_t b_ns) {
  return a_ns < b_ns ? a_ns : b_ns;
}

/* Under client->lock, which is dropped around what enters the kernel or calls out. */
static void
one_round(struct sf_tio_queue *queue) {
  sf_tio_turn_feed(queue);
  pthread_mutex_unlock(&queue->client->lock);
  sf_tio_turn_submit(queue);
  pthread_mutex_lock(&queue->client->lock);
  sf_tio_turn_collect(queue, sf_tio_now());
  sf_tio_events_deliver(queue);
}

/* ---- other threads' queues ---- */

static void
watch(struct sf_tio_queue *queue) {
  struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.ptr = queue};
  int epoll_fd = queue->client->background.epoll_fd, ring_fd = queue->ring.uring.ring_fd;

  if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, ring_fd, &event) < 0)
    SF_ASSERT(errno == ENOENT && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, ring_fd, &event) == 0);
  queue->watched = true;
}

/* Returns when to come again.  A ring is not watched while its thread keeps driving: every
 * completion would wake us for nothing. */
static uint64_t
after_round(struct sf_tio_queue *queue) {
  uint64_t until_ns = queue->deadline_ns;

  if (!sf_tio_queue_busy(queue)) {
    queue->listed = false;
    if (!queue->attended)
      sf_tio_queue_give_back(queue);
    return SF_TIO_NEVER;
  }
  if (queue->watched)
    return until_ns;
  if (queue->drives == queue->drives_seen) {
    watch(queue);
    return until_ns;
  }
  queue->drives_seen = queue->drives;
  return earlier(until_ns, sf_tio_after(sf_tio_now(), REVISIT_NS));
}

static uint64_t
look_after(struct sf_tio_queue *queue) {
  uint64_t until_ns;

  if (pthread_mutex_trylock(&queue->owner) != 0)
    return sf_tio_after(sf_tio_now(), REVISIT_NS);
  pthread_mutex_lock(&queue->client->lock);
  one_round(queue);
  until_ns = after_round(queue);
  pthread_mutex_unlock(&queue->client->lock);
  pthread_mutex_unlock(&queue->owner);
  return until_ns;
}

static uint64_t
look_after_all(struct sf_tio_client *client) {
  uint64_t until_ns = SF_TIO_NEVER;
  unsigned n;

  pthread_mutex_lock(&client->lock);
  n = client->queues_n;
  for (unsigned i = 0; i < n; i++) {
    struct sf_tio_queue *queue = client->queues[i];

    if (!queue->listed)
      continue;
    pthread_mutex_unlock(&client->lock);
    until_ns = earlier(until_ns, look_after(queue));
    pthread_mutex_lock(&client->lock);
  }
  pthread_mutex_unlock(&client->lock);
  return until_ns;
}

/* ---- its own ---- */

static uint64_t
own_round(struct sf_tio_queue *queue) {
  uint64_t until_ns;

  pthread_mutex_lock(&queue->client->lock);
  one_round(queue);
  until_ns = queue->deadline_ns;
  pthread_mutex_unlock(&queue->client->lock);
  return until_ns;
}

static void
wait_for_news(struct sf_tio_background *background, uint64_t until_ns) {
  struct epoll_event events[EVENTS];
  uint64_t now_ns = sf_tio_now(), count;
  uint64_t wait_ns = until_ns > now_ns ? until_ns - now_ns : 0;
  struct timespec ts = sf_tio_timespec(wait_ns);
  int n = 0;

  atomic_store(&background->until_ns, until_ns);
  atomic_store(&background->queue->waiting, true);
  if (!atomic_load(&background->queue->wake))
    n = epoll_pwait2(background->epoll_fd, events, EVENTS, until_ns == SF_TIO_NEVER ? NULL : &ts,
                     NULL);
  atomic_store(&background->queue->waiting, false);
  for (int i = 0; i < n; i++)
    if (events[i].data.ptr == background)
      (void) !read(background->queue->wake_fd, &count, sizeof count);
    else if (events[i].data.ptr != background->queue)
      ((struct sf_tio_queue *) events[i].data.ptr)->watched = false;
}

/* The wake is cleared before anything is looked at, so that news that comes later sets it again. */
static bool
stopped(struct sf_tio_client *client) {
  bool stop;

  atomic_store(&client->background.queue->wake, false);
  pthread_mutex_lock(&client->lock);
  stop = client->background.stop;
  pthread_mutex_unlock(&client->lock);
  return stop;
}

static void *
background_main(void *arg) {
  struct sf_tio_client *client = arg;
  struct sf_tio_background *background = &client->background;

  /* A request from inside a notify that runs here is the background thread's. */
  pthread_setspecific(client->key, background->queue);
  pthread_mutex_lock(&background->queue->owner);
  while (!stopped(client)) {
    uint64_t until_ns;

    /* A queue that this round has looked after is not looked at again before the sleep, so a thread
     * that leaves a deadline behind meanwhile must wake this one (leave() in drive.c compares with
     * until_ns). */
    atomic_store(&background->until_ns, SF_TIO_NEVER);
    until_ns = own_round(background->queue);
    until_ns = earlier(until_ns, look_after_all(client));
    wait_for_news(background, until_ns);
  }
  pthread_mutex_unlock(&background->queue->owner);
  pthread_setspecific(client->key, NULL);
  return NULL;
}

static int
add_to_epoll(struct sf_tio_background *background, int fd, void *ptr) {
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = ptr};

  return epoll_ctl(background->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int
sf_tio_background_start(struct sf_tio_client *client) {
  struct sf_tio_background *background = &client->background;
  int error = sf_tio_queue_new(client, SF_TIO_BACKGROUND, &background->queue);

  if (error)
    return error;
  background->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  error = background->epoll_fd < 0 ? -errno : 0;
  if (!error)
    error = add_to_epoll(background, background->queue->wake_fd, background);
  if (!error)
    error = add_to_epoll(background, background->queue->ring.uring.ring_fd, background->queue);
  if (!error)
    error =
        sf_tio_spawn(&background->thread, client->thread_name, "backgr", background_main, client);
  if (error) {
    if (background->epoll_fd >= 0)
      close(background->epoll_fd);
    sf_tio_queue_free(background->queue);
  }
  return error;
}

void
sf_tio_background_stop(struct sf_tio_client *client) {
  struct sf_tio_background *background = &client->background;

  pthread_mutex_lock(&client->lock);
  background->stop = true;
  sf_tio_wake(background->queue);
  pthread_mutex_unlock(&client->lock);
  pthread_join(background->thread, NULL);
  close(background->epoll_fd);
  sf_tio_queue_free(background->queue);
}

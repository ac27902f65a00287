/* The service thread: drives what no attending thread drives.  Its own queue takes the requests of
 * threads that do not attend; besides it looks after the queues of threads that went away or do
 * something else while a region of theirs still runs. */
#include "timed_io/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS = 16 };

/* How soon it looks again at a queue that another thread is driving. */
#define REVISIT_NS (10 * SF_TIO_MS)

static uint64_t
earlier(uint64_t a_ns, uint64_t b_ns) {
  return a_ns < b_ns ? a_ns : b_ns;
}

/* Under client->lock, which is dropped around what enters the kernel or calls out. */
static void
one_round(struct sf_tio_thread *thread) {
  sf_tio_turn_feed(thread);
  pthread_mutex_unlock(&thread->client->lock);
  sf_tio_turn_submit(thread);
  pthread_mutex_lock(&thread->client->lock);
  sf_tio_turn_collect(thread, sf_tio_now());
  sf_tio_events_deliver(thread);
}

/* ---- other threads' queues ---- */

static void
watch(struct sf_tio_thread *thread) {
  struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.ptr = thread};
  int epoll_fd = thread->client->service.epoll_fd, ring_fd = thread->ring.uring.ring_fd;

  if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, ring_fd, &event) < 0)
    SF_MUST(errno == ENOENT && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, ring_fd, &event) == 0);
  thread->watched = true;
}

/* Returns when to come again.  A ring whose thread keeps driving is not watched: every completion
 * would wake us for nothing. */
static uint64_t
after_round(struct sf_tio_thread *thread) {
  uint64_t until_ns = thread->deadline_ns;

  if (!sf_tio_thread_busy(thread)) {
    thread->listed = false;
    if (!thread->attended)
      sf_tio_thread_give_back(thread);
    return SF_TIO_NEVER;
  }
  if (thread->watched)
    return until_ns;
  if (thread->drives == thread->drives_seen) {
    watch(thread);
    return until_ns;
  }
  thread->drives_seen = thread->drives;
  return earlier(until_ns, sf_tio_after(sf_tio_now(), REVISIT_NS));
}

static uint64_t
look_after(struct sf_tio_thread *thread) {
  uint64_t until_ns;

  if (pthread_mutex_trylock(&thread->owner) != 0)
    return sf_tio_after(sf_tio_now(), REVISIT_NS);
  pthread_mutex_lock(&thread->client->lock);
  one_round(thread);
  until_ns = after_round(thread);
  pthread_mutex_unlock(&thread->client->lock);
  pthread_mutex_unlock(&thread->owner);
  return until_ns;
}

static uint64_t
look_after_all(struct sf_tio_client *client) {
  uint64_t until_ns = SF_TIO_NEVER;
  unsigned n;

  pthread_mutex_lock(&client->lock);
  n = client->threads_n;
  for (unsigned i = 0; i < n; i++) {
    struct sf_tio_thread *thread = client->threads[i];

    if (!thread->listed)
      continue;
    pthread_mutex_unlock(&client->lock);
    until_ns = earlier(until_ns, look_after(thread));
    pthread_mutex_lock(&client->lock);
  }
  pthread_mutex_unlock(&client->lock);
  return until_ns;
}

/* ---- its own ---- */

static uint64_t
own_round(struct sf_tio_thread *queue) {
  uint64_t until_ns;

  pthread_mutex_lock(&queue->client->lock);
  one_round(queue);
  until_ns = queue->deadline_ns;
  pthread_mutex_unlock(&queue->client->lock);
  return until_ns;
}

static void
wait_for_news(struct sf_tio_service *service, uint64_t until_ns) {
  struct epoll_event events[EVENTS];
  uint64_t now_ns = sf_tio_now(), count;
  uint64_t wait_ns = until_ns > now_ns ? until_ns - now_ns : 0;
  struct timespec ts = sf_tio_timespec(wait_ns);
  int n = 0;

  atomic_store(&service->until_ns, until_ns);
  atomic_store(&service->queue->waiting, true);
  if (!atomic_load(&service->queue->wake))
    n = epoll_pwait2(service->epoll_fd, events, EVENTS, until_ns == SF_TIO_NEVER ? NULL : &ts,
                     NULL);
  atomic_store(&service->queue->waiting, false);
  for (int i = 0; i < n; i++)
    if (events[i].data.ptr == service)
      (void) !read(service->queue->wake_fd, &count, sizeof count);
    else if (events[i].data.ptr != service->queue)
      ((struct sf_tio_thread *) events[i].data.ptr)->watched = false;
}

/* The wake is cleared before anything is looked at: whoever says something later sets it again. */
static bool
stopped(struct sf_tio_client *client) {
  bool stop;

  atomic_store(&client->service.queue->wake, false);
  pthread_mutex_lock(&client->lock);
  stop = client->service.stop;
  pthread_mutex_unlock(&client->lock);
  return stop;
}

static void *
service_main(void *arg) {
  struct sf_tio_client *client = arg;
  struct sf_tio_service *service = &client->service;

  /* A request from inside a notify that runs here is the service's. */
  pthread_setspecific(client->key, service->queue);
  pthread_mutex_lock(&service->queue->owner);
  while (!stopped(client)) {
    uint64_t until_ns;

    /* Whom it has looked after in this round it does not ask again: a deadline that is left behind
     * meanwhile is news, whatever the last sleep was for. */
    atomic_store(&service->until_ns, SF_TIO_NEVER);
    until_ns = own_round(service->queue);
    until_ns = earlier(until_ns, look_after_all(client));
    wait_for_news(service, until_ns);
  }
  pthread_mutex_unlock(&service->queue->owner);
  pthread_setspecific(client->key, NULL);
  return NULL;
}

static int
add_to_epoll(struct sf_tio_service *service, int fd, void *ptr) {
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = ptr};

  return epoll_ctl(service->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int
sf_tio_service_start(struct sf_tio_client *client) {
  struct sf_tio_service *service = &client->service;
  int error = sf_tio_thread_new(client, SF_TIO_SERVICE, &service->queue);

  if (error)
    return error;
  service->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  error = service->epoll_fd < 0 ? -errno : 0;
  if (!error)
    error = add_to_epoll(service, service->queue->wake_fd, service);
  if (!error)
    error = add_to_epoll(service, service->queue->ring.uring.ring_fd, service->queue);
  if (!error)
    error = sf_tio_spawn(&service->thread, client->thread_name, "serve", service_main, client);
  if (error) {
    if (service->epoll_fd >= 0)
      close(service->epoll_fd);
    sf_tio_thread_free(service->queue);
  }
  return error;
}

void
sf_tio_service_stop(struct sf_tio_client *client) {
  struct sf_tio_service *service = &client->service;

  pthread_mutex_lock(&client->lock);
  service->stop = true;
  sf_tio_wake(service->queue);
  pthread_mutex_unlock(&client->lock);
  pthread_join(service->thread, NULL);
  close(service->epoll_fd);
  sf_tio_thread_free(service->queue);
}

/* Has the disk of a leg that answers with errors left the machine?  The thread that has the error waits for the answer,
 * and it serves clients.  So the question has a process of its own, as the kernel may hang in it while the disk is dying,
 * and the wait is short: without an answer in time the disk counts as there, and as long as the question hangs it is not
 * waited for again.  A leg that is faulty for it is looked at later (presence.c). */
#include "serve/internal.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/units.h"

enum {
  WAIT_MS = 200,
  FRESH_MS = 100, /* a disk that fails has many requests */
};

void
sf_serve_gone_init(struct serve_gone *gone) {
  pthread_mutex_init(&gone->lock, NULL);
  sf_serve_cond_init(&gone->changed);
  for (unsigned i = 0; i < SF_TIO_DEVICES_MAX; i++)
    gone->of[i] = (struct serve_question){.socket = -1};
}

/* What hangs keeps its process, which needs nothing of ours. */
static void
forget(struct serve_question *question) {
  if (question->socket >= 0)
    close(question->socket);
  *question = (struct serve_question){.socket = -1};
}

void
sf_serve_gone_destroy(struct serve_gone *gone) {
  for (unsigned i = 0; i < SF_TIO_DEVICES_MAX; i++)
    forget(&gone->of[i]);
  pthread_cond_destroy(&gone->changed);
  pthread_mutex_destroy(&gone->lock);
}

/* With the lock held.  device NULL: an unused one. */
static struct serve_question *
find(struct serve_gone *gone, const struct sf_tio_device *device) {
  for (unsigned i = 0; i < SF_TIO_DEVICES_MAX; i++)
    if (gone->of[i].device == device)
      return &gone->of[i];
  return NULL;
}

void
sf_serve_gone_forget(struct sf_serve *serve, const struct sf_tio_device *device) {
  struct serve_question *question;

  pthread_mutex_lock(&serve->gone.lock);
  question = find(&serve->gone, device);
  if (question != NULL)
    forget(question);
  pthread_mutex_unlock(&serve->gone.lock);
}

static int
begin(struct sf_serve *serve, const struct sf_tio_device *device) {
  struct sf_tio_presence presence;
  int r = sf_tio_presence_take(device, &presence);

  if (r < 0)
    return r;
  r = sf_leg_is_gone_begin(serve->openers, presence.fd, (dev_t) presence.number, presence.named);
  sf_tio_presence_asked(&presence);
  return r;
}

/* Without the lock: waited_for keeps the others away. */
static void
ask(struct sf_serve *serve, struct serve_question *question) {
  bool hangs = question->socket >= 0;
  struct pollfd answer;

  if (!hangs)
    question->socket = begin(serve, question->device);
  question->gone = question->socket == -EPIPE && sf_tio_device_is_gone(question->device);
  if (question->socket < 0)
    return;
  answer = (struct pollfd){.fd = question->socket, .events = POLLIN};
  if (poll(&answer, 1, hangs ? 0 : WAIT_MS) <= 0)
    return;
  if (sf_leg_is_gone_end(question->socket, &question->gone) == 0)
    question->told_ns = sf_tio_now();
  question->socket = -1;
}

bool
sf_serve_device_is_gone(void *ctx, struct sf_tio_device *device) {
  struct sf_serve *serve = ctx;
  struct serve_gone *gone = &serve->gone;
  struct serve_question *question;
  bool is_gone = false;

  pthread_mutex_lock(&gone->lock);
  question = find(gone, device);
  if (question == NULL && (question = find(gone, NULL)) != NULL)
    question->device = device;
  while (question != NULL && question->waited_for)
    pthread_cond_wait(&gone->changed, &gone->lock);
  if (question != NULL &&
      (question->told_ns == 0 || sf_tio_now() - question->told_ns > FRESH_MS * SF_MS)) {
    question->waited_for = true;
    pthread_mutex_unlock(&gone->lock);
    ask(serve, question);
    pthread_mutex_lock(&gone->lock);
    question->waited_for = false;
    pthread_cond_broadcast(&gone->changed);
  }
  if (question != NULL)
    is_gone = question->gone;
  pthread_mutex_unlock(&gone->lock);
  return is_gone;
}

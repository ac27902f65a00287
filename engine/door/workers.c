/* Workers: threads of one connection for what would keep its loop waiting: zeroes, trims, and parts
 * of blocks.  They use the blocking calls.  The first one is there before the client is: later ones
 * are made when they are needed, and without them requests wait for the first. */
#include "door/internal.h"

#include "base/thread.h"

void
sf_door_workers_init(struct door_workers *workers) {
  SF_ASSERT(pthread_mutex_init(&workers->lock, NULL) == 0);
  SF_ASSERT(pthread_cond_init(&workers->changed, NULL) == 0);
}

/* The thread that takes them is told by the first only: it takes all. */
void
sf_door_piece_done(struct door_piece *piece) {
  struct door_connection *c = piece->connection;
  struct door_piece *before = atomic_load(&c->done);

  do
    piece->next = before;
  while (!atomic_compare_exchange_weak(&c->done, &before, piece));
}

/* In any thread; c and its thread stay until this has returned (sf_serve_client_close()). */
static void
on_done(struct sf_serve_request *its) {
  struct door_piece *piece = (struct door_piece *) its;
  struct door_connection *c = piece->connection;

  sf_door_piece_done(piece);
  if (!pthread_equal(pthread_self(), c->self))
    sf_tio_wake(c->queue);
}

void
sf_door_piece_to_volume(struct door_connection *c, struct door_piece *piece) {
  SF_ASSERT(c->batch_n < sizeof c->batch / sizeof c->batch[0]);
  piece->its.done = on_done;
  piece->its.request.asked_ns = sf_tio_now() - piece->waited_ns;
  piece->in_volume = true;
  c->batch[c->batch_n++] = &piece->its;
}

static int
call(struct door_piece *piece) {
  const struct sf_request *request = &piece->its.request;
  struct sf_serve_client *client = piece->connection->client;
  bool fua = request->fua;

  switch (piece->of->nbd.type) {
  case NBD_READ:
    return sf_serve_read(client, piece->data, request->length, request->offset);
  case NBD_WRITE:
    return sf_serve_write(client, piece->data, request->length, request->offset, fua);
  case NBD_TRIM:
    return sf_serve_trim(client, request->length, request->offset, fua);
  default:
    return sf_serve_zero(client, request->length, request->offset, fua, request->may_unmap);
  }
}

/* With the lock held. */
static struct door_piece *
next_piece(struct door_workers *workers) {
  struct door_piece *piece;

  while (workers->first == NULL && !workers->quit)
    pthread_cond_wait(&workers->changed, &workers->lock);
  piece = workers->first;
  if (piece != NULL) {
    workers->first = piece->next;
    workers->queued--;
  }
  return piece;
}

static void *
worker_main(void *arg) {
  struct door_connection *c = arg;
  struct door_workers *workers = &c->workers;
  struct door_piece *piece;
  struct sf_tio_queue *queue;

  /* The ring is not to be made on the way of a request.  Without one the calls take longer. */
  (void) sf_tio_attend(sf_serve_pool(c->door->serve), &queue);
  pthread_mutex_lock(&workers->lock);
  while ((piece = next_piece(workers)) != NULL) {
    workers->busy++;
    pthread_mutex_unlock(&workers->lock);
    piece->its.request.error = call(piece);
    sf_door_piece_done(piece);
    sf_tio_wake(c->queue);
    pthread_mutex_lock(&workers->lock);
    workers->busy--;
  }
  pthread_mutex_unlock(&workers->lock);
  return NULL;
}

/* With the lock held, or the first. */
static int
add_worker(struct door_connection *c) {
  struct door_workers *workers = &c->workers;
  int r = sf_thread_start(&workers->thread[workers->n], "surefoot-work", worker_main, c);

  if (r == 0)
    workers->n++;
  return r;
}

int
sf_door_workers_begin(struct door_connection *c) {
  return add_worker(c);
}

void
sf_door_work(struct door_connection *c, struct door_piece *piece) {
  struct door_workers *workers = &c->workers;

  piece->next = NULL;
  pthread_mutex_lock(&workers->lock);
  if (workers->first == NULL)
    workers->first = piece;
  else
    workers->last->next = piece;
  workers->last = piece;
  workers->queued++;
  if (workers->queued + workers->busy > workers->n && workers->n < DOOR_WORKERS)
    (void) add_worker(c);
  pthread_cond_signal(&workers->changed);
  pthread_mutex_unlock(&workers->lock);
}

/* Nothing waits for one any more. */
void
sf_door_workers_end(struct door_workers *workers) {
  pthread_mutex_lock(&workers->lock);
  SF_ASSERT(workers->first == NULL);
  workers->quit = true;
  pthread_cond_broadcast(&workers->changed);
  pthread_mutex_unlock(&workers->lock);
  for (unsigned i = 0; i < workers->n; i++)
    pthread_join(workers->thread[i], NULL);
  pthread_cond_destroy(&workers->changed);
  pthread_mutex_destroy(&workers->lock);
}

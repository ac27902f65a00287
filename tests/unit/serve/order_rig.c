/* The volume is played: a request takes effect the moment it is submitted, so that the disk shows
 * the order of submission, and is answered then too unless the test has its block stick.  Threads
 * are held where they may be kept from running: where they make a ring, and after they have looked
 * at their connection. */
#include "rig.h"

#include "order_rig.h" /* after it: there a `serve` is another one */

struct sf_serve *serve;
static char played;

#define PLAYED ((struct sf_tio_queue *) (void *) &played)

struct the_volume volume = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void
act(struct sf_request *request) {
  unsigned char *at = volume.disk[request->offset / BLOCK];

  if (request->kind == SF_REQ_READ)
    memcpy(request->buffer->data, at, request->length);
  if (request->kind == SF_REQ_READ && volume.repairs) {
    volume.repairing = request->buffer;
    sf_tio_pool_ref((struct sf_tio_slot *) request->buffer);
  } else if (request->kind == SF_REQ_WRITE)
    memcpy(at, request->buffer->data, request->length);
  else if (request->kind == SF_REQ_ZERO)
    memset(at, 0, request->length);
}

static void
finish(struct sf_request *request, int error) {
  request->error = error;
  request->done(request);
}

void
__wrap_sf_volume_submit(struct sf_volume *v, struct sf_request *request, uint64_t now_ns) {
  pthread_mutex_lock(&volume.lock);
  volume.submitted++;
  act(request);
  if ((int) (request->offset / BLOCK) == volume.stuck_block && volume.stuck == NULL)
    volume.stuck = request;
  else
    finish(request, 0);
  pthread_cond_broadcast(&volume.changed);
  pthread_mutex_unlock(&volume.lock);
}

void
__wrap_sf_volume_give_up(struct sf_volume *v, struct sf_request *request, uint64_t now_ns) {
  pthread_mutex_lock(&volume.lock);
  if (volume.stuck == request) {
    volume.stuck = NULL;
    finish(request, -ESHUTDOWN);
  }
  pthread_mutex_unlock(&volume.lock);
}

void
__wrap_sf_volume_wait_told(struct sf_volume *v) {
}

/* The pool's client has real ones. */
void
__wrap_sf_tio_wake(struct sf_tio_queue *queue) {
  if (queue == PLAYED)
    pthread_cond_broadcast(&volume.changed);
  else
    __real_sf_tio_wake(queue);
}

int
__wrap_sf_tio_drive(struct sf_tio_queue *queue, uint64_t until_ns, bool (*stop)(void *),
                    void *arg) {
  struct timespec soon;
  bool stopped;

  clock_gettime(CLOCK_REALTIME, &soon);
  soon.tv_sec++;
  pthread_mutex_lock(&volume.lock);
  while (!(stopped = stop(arg)) && sf_tio_now() < until_ns)
    pthread_cond_timedwait(&volume.changed, &volume.lock, &soon);
  pthread_mutex_unlock(&volume.lock);
  return stopped ? 0 : -ETIME;
}

void
stick(int block) {
  pthread_mutex_lock(&volume.lock);
  volume.stuck_block = block;
  pthread_mutex_unlock(&volume.lock);
}

void
wait_until_stuck(void) {
  pthread_mutex_lock(&volume.lock);
  while (volume.stuck == NULL)
    pthread_cond_wait(&volume.changed, &volume.lock);
  pthread_mutex_unlock(&volume.lock);
}

void
unstick(void) {
  pthread_mutex_lock(&volume.lock);
  volume.stuck_block = -1;
  if (volume.stuck != NULL)
    finish(volume.stuck, 0);
  volume.stuck = NULL;
  pthread_cond_broadcast(&volume.changed);
  pthread_mutex_unlock(&volume.lock);
}

_Thread_local struct connection *mine;

static struct the_gate gate = {.lock = PTHREAD_MUTEX_INITIALIZER,
                               .changed = PTHREAD_COND_INITIALIZER};

static void
pass_gate(void) {
  pthread_mutex_lock(&gate.lock);
  gate.held = true;
  pthread_cond_broadcast(&gate.changed);
  while (!gate.go)
    pthread_cond_wait(&gate.changed, &gate.lock);
  pthread_mutex_unlock(&gate.lock);
}

void
wait_until_held(void) {
  pthread_mutex_lock(&gate.lock);
  while (!gate.held)
    pthread_cond_wait(&gate.changed, &gate.lock);
  pthread_mutex_unlock(&gate.lock);
}

void
open_gate(void) {
  pthread_mutex_lock(&gate.lock);
  gate.go = true;
  pthread_cond_broadcast(&gate.changed);
  pthread_mutex_unlock(&gate.lock);
}

void
pause_at_random(void) {
  static _Thread_local unsigned seed = 1;

  for (int n = rand_r(&seed) % 4; n > 0; n--)
    sched_yield();
}

static void
come_by(enum place place) {
  if (mine->hold_at == place && mine->let_by > 0) {
    mine->let_by--;
  } else if (mine->hold_at == place) {
    mine->hold_at = NOWHERE;
    pass_gate();
  }
  if (mine->random_pauses)
    pause_at_random();
}

int
__wrap_sf_tio_attend(struct sf_tio_client *client, struct sf_tio_queue **queue) {
  come_by(AT_RING);
  if (mine->no_ring)
    return -EMFILE;
  *queue = PLAYED;
  return 0;
}

static bool
hangup(void *ctx) {
  bool dead = atomic_load(&mine->dead);

  atomic_fetch_add(&mine->looks, 1);
  if (mine->on_look != NULL)
    mine->on_look();
  come_by(AFTER_LOOK);
  return dead;
}

void
connect_it(struct connection *connection) {
  struct connection *before = mine;

  *connection = (struct connection){0};
  mine = connection;
  assert_int_equal(sf_serve_client_open(serve, &connection->client), 0);
  mine = before;
}

int
write_all(struct connection *connection, unsigned byte, uint64_t length, uint64_t offset) {
  unsigned char data[2 * BLOCK];

  mine = connection;
  memset(data, (int) byte, sizeof data);
  return sf_serve_write(connection->client, data, length, offset, false);
}

int
byte_at(uint64_t offset) {
  int byte;

  pthread_mutex_lock(&volume.lock);
  byte = volume.disk[offset / BLOCK][offset % BLOCK];
  pthread_mutex_unlock(&volume.lock);
  return byte;
}

static void *
ask_thread(void *arg) {
  struct asked *asked = arg;

  mine = asked->connection;
  asked->r = asked->zero ? sf_serve_zero(mine->client, asked->length, asked->offset, false, false)
                         : write_all(mine, asked->byte, asked->length, asked->offset);
  return NULL;
}

void
ask(struct asked *asked) {
  assert_int_equal(pthread_create(&asked->thread, NULL, ask_thread, asked), 0);
}

int
answer(struct asked *asked) {
  pthread_join(asked->thread, NULL);
  return asked->r;
}

int
begin(void **state) {
  const struct sf_tio_client_params params = {.large_bytes = SERVE_LARGE_BYTES};

  serve = serve_with(&params);
  atomic_store(&serve->block_bytes, BLOCK);
  serve->options.hangup = hangup;
  memset(volume.disk, 0, sizeof volume.disk);
  volume.stuck_block = -1;
  volume.submitted = 0;
  gate.held = gate.go = false;
  return 0;
}

int
end(void **state) {
  serve_end(serve);
  return 0;
}

/* The thread of one connection: input, finished requests, output, and one wait for all of it. */
#include "base/units.h"
#include "door/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TICK_NS (DOOR_TICK_MS * SF_MS)

/* ---- the socket ---- */

static void
on_received(struct sf_tio_message *message, int result) {
  struct door_connection *c = message->user;

  c->receiving = false;
  c->received = true;
  c->receive_result = result;
}

static void
on_sent(struct sf_tio_message *message, int result) {
  struct door_connection *c = message->user;

  c->sending = false;
  c->sent = true;
  c->send_result = result;
}

static size_t
asked_for(const struct msghdr *header) {
  size_t n = 0;

  for (size_t i = 0; i < header->msg_iovlen; i++)
    n += header->msg_iov[i].iov_len;
  return n;
}

static bool
is_short(const struct msghdr *header, int result) {
  return result < 0 || (size_t) result < asked_for(header);
}

static bool
is_in_the_middle(const struct door_connection *c) {
  return !c->serving || c->filling != NULL || c->skip > 0 || c->in_begin != c->in_end;
}

/* Its writing side is shut, which libnbd does after it has asked for the end: it takes answers. */
static bool
asks_no_more(struct door_connection *c) {
  return c->receive_result == 0 && atomic_load(&c->closing) && !sf_door_client_is_gone(c);
}

static void
take_received(struct door_connection *c) {
  size_t n, first;

  if (!c->received)
    return;
  c->received = false;
  c->receive.none_yet = is_short(&c->receive_header, c->receive_result);
  if (asks_no_more(c))
    return;
  if (c->receive_result <= 0 && c->receive_result != -EINTR && c->receive_result != -EAGAIN) {
    sf_door_gone(c);
    return;
  }
  n = c->receive_result > 0 ? (size_t) c->receive_result : 0;
  if (c->serving)
    c->quiet_ticks = 0;
  first = c->piece != NULL ? (size_t) c->piece->its.request.length - c->filled : 0;
  if (first > n)
    first = n;
  c->filled += (uint32_t) first;
  c->in_end += n - first;
  atomic_store(&c->has_said_the_end,
               n > first && sf_door_ends_with_disc(c->in + c->in_begin, c->in_end - c->in_begin));
}

static void
take_sent(struct door_connection *c) {
  if (!c->sent)
    return;
  c->sent = false;
  c->sent_in_part = is_short(&c->send_header, c->send_result);
  if (c->send_result < 0 && c->send_result != -EINTR && c->send_result != -EAGAIN)
    sf_door_gone(c);
  else if (c->send_result > 0)
    sf_door_out_sent(c, (size_t) c->send_result);
  c->unread_ticks = 0;
}

static void
start_receiving(struct door_connection *c) {
  if (c->receiving || c->closing || c->stopping > 0)
    return;
  c->receive_header.msg_iovlen = sf_door_input_parts(c, c->receive_part);
  if (c->receive_header.msg_iovlen == 0)
    return;
  c->receiving = true;
  sf_tio_receive(c->queue, c->fd, &c->receive);
}

static void
start_sending(struct door_connection *c) {
  if (c->sending)
    return;
  c->send_header.msg_iovlen = sf_door_out_parts(c, c->send_part);
  if (c->send_header.msg_iovlen == 0)
    return;
  c->send.none_yet = c->sent_in_part || asked_for(&c->send_header) > DOOR_SENT_AT_ONCE;
  c->sending = true;
  sf_tio_send(c->queue, c->fd, &c->send);
}

/* ---- what takes too long ---- */

static bool
must_tick(const struct door_connection *c) {
  return c->outstanding > 0 || is_in_the_middle(c) || !sf_door_out_is_empty(c) || c->closing ||
         c->stopping > 0;
}

static bool
is_stopping(const struct door_connection *c) {
  return atomic_load(&c->door->stop) || sf_serve_is_ending(c->door->serve);
}

/* Ticks are counted and not time: while this process does not run, nothing is the client's
 * fault. */
static void
tick(struct door_connection *c) {
  if (!c->receiving && sf_door_client_is_gone(c)) {
    sf_door_gone(c);
    return;
  }
  if (c->stopping > 0 && c->stopping++ > DOOR_GRACE_TICKS)
    sf_door_gone(c);
  if (c->receiving && is_in_the_middle(c))
    c->quiet_ticks++;
  if (!c->serving && c->quiet_ticks > SF_DOOR_HANDSHAKE_S * 1000 / DOOR_TICK_MS)
    sf_door_drop(c, "it stalls in the handshake");
  else if (c->quiet_ticks > SF_DOOR_STALL_S * 1000 / DOOR_TICK_MS)
    sf_door_drop(c, "it stalls in the middle of a request");
  if (c->sending && ++c->unread_ticks == DOOR_UNREAD_TICKS)
    sf_serve_say_once(
        c->door->serve,
        "fast socket: a client does not take its answers, and is not served meanwhile");
  if (c->unread_ticks > SF_DOOR_STALL_S * 1000 / DOOR_TICK_MS && c->closing)
    sf_door_drop(c, "it does not take its last answers");
}

static void
look_after(struct door_connection *c) {
  uint64_t now;

  if (c->stopping == 0 && is_stopping(c))
    c->stopping = 1;
  if (!must_tick(c)) {
    c->tick_ns = 0;
    return;
  }
  now = sf_tio_now();
  if (c->tick_ns == 0) {
    c->tick_ns = now + TICK_NS;
  } else if (now >= c->tick_ns) {
    c->tick_ns = now + TICK_NS;
    tick(c);
  }
}

/* ---- the loop ---- */

/* A buffer may have come free since the pool was asked in vain and before this thread began to
 * wait. */
static bool
has_news(void *arg) {
  struct door_connection *c = arg;

  if (c->wants_buffer && !sf_tio_buffer_is_awaited(c->queue))
    return true;
  return c->received || c->sent || atomic_load(&c->done) != NULL ||
         (c->stopping == 0 && is_stopping(c));
}

/* Everything under way has been answered, or was given up. */
static bool
has_ended(struct door_connection *c) {
  if ((c->closing || c->stopping > 0) && c->outstanding == 0 && sf_door_out_is_empty(c))
    sf_door_gone(c);
  return atomic_load(&c->gone) && c->outstanding == 0 && !c->receiving && !c->sending;
}

static void
serve(struct door_connection *c) {
  bool given_up = false;

  while (!has_ended(c)) {
    if (!atomic_load(&c->gone)) {
      start_receiving(c);
      start_sending(c);
    } else if (!given_up) {
      given_up = true;
      sf_door_give_up(c);
      sf_door_long_next(c);
      continue;
    }
    if (atomic_load(&c->gone) && !c->sending)
      sf_door_out_drop(c);
    /* Not while the kernel may still receive into its memory. */
    if (atomic_load(&c->gone) && !c->receiving && c->filling != NULL) {
      sf_door_drop_unfinished(c);
      continue;
    }
    (void) sf_tio_drive(c->queue, c->tick_ns, has_news, c);
    take_received(c);
    take_sent(c);
    sf_door_take_done(c);
    sf_door_take_input(c);
    look_after(c);
  }
  sf_door_out_drop(c);
}

/* ---- begin and end ---- */

static void
greet(struct door_connection *c) {
  unsigned char greeting[NBD_GREETING_BYTES];

  sf_nbd_greet(greeting);
  sf_door_out_say(c, greeting, sizeof greeting);
  c->tick_ns = sf_tio_now() + TICK_NS;
}

/* What is made here is missed here, where the client has asked for nothing yet. */
static int
begin(struct door_connection *c) {
  struct sf_serve *serve = c->door->serve;
  uint32_t block = sf_serve_block_bytes(serve);
  struct sf_tio_queue *queue;
  int r = sf_tio_attend_alone(sf_serve_pool(serve), &queue);

  if (r < 0)
    return r;
  pthread_mutex_lock(&c->door->lock);
  c->queue = queue;
  pthread_mutex_unlock(&c->door->lock);
  c->self = pthread_self();
  c->export = (struct nbd_export){.size = sf_serve_size(serve),
                                  .block_minimum = block,
                                  .block_preferred = block > 4096 ? block : 4096,
                                  .description = c->door->description};
  r = sf_door_workers_begin(c);
  return r < 0 ? r : sf_serve_client_open_as(serve, sf_door_client_is_gone, c, &c->client);
}

static bool
is_idle(void *thread) {
  return sf_tio_is_idle(thread);
}

static void
prepare(struct door_connection *c) {
  c->receive_header.msg_iov = c->receive_part;
  c->send_header.msg_iov = c->send_part;
  c->receive =
      (struct sf_tio_message){.header = &c->receive_header, .done = on_received, .user = c};
  c->send = (struct sf_tio_message){.header = &c->send_header, .done = on_sent, .user = c};
  sf_door_pieces_init(c);
  sf_door_workers_init(&c->workers);
}

/* A region that was given up on may still run on this thread's ring, which no other thread
 * drives. */
void *
sf_door_connection_main(void *arg) {
  struct door_connection *c = arg;
  struct sf_door *door = c->door;
  struct sf_tio_queue *queue;
  char line[160];
  int r;

  prepare(c);
  r = begin(c);
  if (r == 0) {
    greet(c);
    serve(c);
  } else {
    snprintf(line, sizeof line, "fast socket: a connection is refused: %s", strerrordesc_np(-r));
    sf_serve_say_once(door->serve, line);
  }
  sf_door_workers_end(&c->workers);
  sf_serve_client_close(c->client);
  queue = c->queue;
  sf_door_leave(door, c);
  if (queue != NULL)
    (void) sf_tio_drive(queue, 0, is_idle, queue);
  return NULL;
}

/* The order in which clients' writes are handed to the volume, which runs overlapping writes in the
 * order in which it gets them (R6).
 *
 * A write of a dead connection.  A client sends the unanswered writes of a dead connection again,
 * by another connection, then newer writes.  The dead connection's own may still be on their way
 * here: its thread makes a ring, waits for a buffer or a block, or gets no CPU.  They must not be
 * handed over after the newer ones.  No look at the connection is late enough by itself, since the
 * thread can be kept from running after the look.  So a look is good only for as long as no other
 * client's write has been handed over since it began:
 *
 *      count what others have handed over; look; with the lock held: is the count the same?
 *      yes: hand over, before the lock is let go      no: look again
 *
 * If a stale write is handed over, its connection was alive at a look after which no other client's
 * write was handed over.  It died after that look, so every write sent again was received after
 * that and is handed over later: the volume puts it after the stale one.  It may come by a new
 * connection or by an older one.  A connection that is the only one is never looked at again.
 * Opening a connection counts like a write of it, so that no stale write changes what it reads
 * first either.
 *
 * A look tells what this host's kernel knows: the end of a local socket at once, that of a TCP
 * connection when its FIN or RST has come.
 *
 * A part of a block is read, changed and written, and no other write of that block may be handed
 * over in between.  So it holds the block from before the read until its write is handed over; the
 * volume orders it from there to its end.  Writes of that block queue behind it, and no others. */
#include "base/units.h"
#include "serve/internal.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"

enum {
  LOOKS_WITHOUT_LOCK = 3
}; /* others may be quicker each time; with the lock held they are not */

void
sf_serve_order_init(struct serve_order *order) {
  SF_ASSERT(pthread_mutex_init(&order->lock, NULL) == 0);
  sf_serve_cond_init(&order->changed);
  sf_list_init(&order->ranges);
  order->writes = 0;
}

void
sf_serve_order_destroy(struct serve_order *order) {
  pthread_cond_destroy(&order->changed);
  pthread_mutex_destroy(&order->lock);
}

/* ---- ranges, with the lock held ---- */

static bool
overlap(const struct serve_range *a, const struct serve_range *b) {
  return a->begin < b->end && b->begin < a->end;
}

static bool
is_first(struct serve_order *order, const struct serve_range *range) {
  for (const struct sf_list *l = order->ranges.next; l != &order->ranges; l = l->next) {
    const struct serve_range *earlier = SF_LIST_ENTRY(l, struct serve_range, link);

    if (earlier == range)
      return true;
    if (overlap(earlier, range))
      return false;
  }
  return true;
}

static void
enter(struct serve_order *order, struct serve_range *range) {
  if (!range->listed)
    sf_list_append(&order->ranges, &range->link);
  range->listed = true;
}

static void
leave(struct serve_order *order, struct serve_range *range) {
  if (!range->listed)
    return;
  sf_list_remove(&range->link);
  range->listed = false;
  pthread_cond_broadcast(&order->changed);
}

/* Waits until the range is first.  It stays listed after a wait: later ranges queue behind it. */
static int
wait_for_turn(struct sf_call *call, struct serve_order *order, struct serve_range *range) {
  uint64_t asked = sf_tio_now();

  while (!is_first(order, range)) {
    enter(order, range);
    sf_serve_call_wait(call, &order->changed, &order->lock);
    if (sf_tio_now() - asked < SERVE_ASK_MS * SF_MS)
      continue;
    asked = sf_tio_now();
    if (sf_serve_call_is_gone(call))
      return -ESHUTDOWN;
    if (sf_serve_call_is_over(call))
      return is_first(order, range) ? 0 : -EIO;
  }
  return 0;
}

int
sf_serve_order_hold(struct sf_call *call, struct serve_range *range) {
  struct serve_order *order = &call->client->serve->order;
  int r;

  pthread_mutex_lock(&order->lock);
  enter(order, range);
  r = wait_for_turn(call, order, range);
  if (r < 0)
    leave(order, range);
  pthread_mutex_unlock(&order->lock);
  return r;
}

void
sf_serve_order_release(struct sf_call *call, struct serve_range *range) {
  struct serve_order *order = &call->client->serve->order;

  pthread_mutex_lock(&order->lock);
  leave(order, range);
  pthread_mutex_unlock(&order->lock);
}

/* ---- connections, with the lock held ---- */

static uint64_t
writes_of_others(const struct sf_serve_client *client) {
  return client->serve->order.writes - client->writes;
}

/* With `unlocked` the lock is let go meanwhile. */
static void
look(struct sf_call *call, bool unlocked) {
  struct sf_serve_client *client = call->client;
  struct serve_order *order = &client->serve->order;
  uint64_t others = writes_of_others(client);
  bool gone;

  if (unlocked)
    pthread_mutex_unlock(&order->lock);
  gone = sf_serve_call_is_gone(call);
  if (unlocked)
    pthread_mutex_lock(&order->lock);
  client->gone |= gone;
  if (!gone && client->alive_at < others)
    client->alive_at = others;
}

int
sf_serve_order_submit(struct sf_call *call, struct serve_range *range, void (*submit)(void *arg),
                      void *arg, unsigned n) {
  struct sf_serve_client *client = call->client;
  struct serve_order *order = &client->serve->order;
  int r = 0;

  pthread_mutex_lock(&order->lock);
  for (unsigned looks = 0; r == 0; looks++) {
    r = client->gone ? -ESHUTDOWN : wait_for_turn(call, order, range);
    if (r == 0 && client->alive_at == writes_of_others(client)) {
      submit(arg);
      order->writes += n;
      client->writes += n;
      break;
    }
    if (r == 0)
      look(call, looks < LOOKS_WITHOUT_LOCK);
  }
  leave(order, range);
  pthread_mutex_unlock(&order->lock);
  return r;
}

/* With the lock held. */
static bool
is_free(struct serve_order *order, const struct serve_range *range) {
  SF_LIST_EACH(entry, &order->ranges)
    if (overlap(SF_LIST_ENTRY(entry, struct serve_range, link), range))
      return false;
  return true;
}

/* Looks with the lock held: that is a poll(2) of one socket, and for all of them together. */
void
sf_serve_order_try(struct sf_serve_client *client, const struct serve_range *ranges, unsigned n,
                   void (*submit)(void *arg, unsigned i), void *arg, int *refused) {
  struct serve_order *order = &client->serve->order;
  struct sf_call call = {.client = client};

  pthread_mutex_lock(&order->lock);
  if (!client->gone && client->alive_at != writes_of_others(client))
    look(&call, false);
  for (unsigned i = 0; i < n; i++) {
    refused[i] = client->gone ? -ESHUTDOWN : is_free(order, &ranges[i]) ? 0 : -EAGAIN;
    if (refused[i] != 0)
      continue;
    submit(arg, i);
    order->writes++;
    client->writes++;
  }
  pthread_mutex_unlock(&order->lock);
}

int
sf_serve_client_open(struct sf_serve *serve, struct sf_serve_client **client) {
  return sf_serve_client_open_as(serve, NULL, NULL, client);
}

int
sf_serve_client_open_as(struct sf_serve *serve, bool (*hangup)(void *ctx), void *ctx,
                        struct sf_serve_client **client) {
  struct sf_serve_client *made = calloc(1, sizeof *made);
  struct sf_call call = {.client = made};

  if (made == NULL)
    return -ENOMEM;
  made->serve = serve;
  made->hangup = hangup;
  if (hangup != NULL)
    atomic_fetch_add(&serve->guests, 1);
  made->ctx = ctx;
  pthread_mutex_lock(&serve->order.lock);
  made->writes = 1;
  serve->order.writes++;
  look(&call, true);
  pthread_mutex_unlock(&serve->order.lock);
  *client = made;
  return 0;
}

/* What told it of its last request may not have returned yet, and may use what it hangs from. */
void
sf_serve_client_close(struct sf_serve_client *client) {
  if (client == NULL)
    return;
  sf_volume_wait_told(client->serve->volume);
  if (client->hangup != NULL)
    atomic_fetch_sub(&client->serve->guests, 1);
  free(client);
}

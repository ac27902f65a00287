/* Turns to zero where zeros are written out: one piece at a time for the whole volume, first come
 * first served.  Clients ask for zeros by the GiB; all of it at once would occupy a disk, and delay
 * other requests on it, for longer than a deadline.
 *
 * A call waits here for the others' pieces and not for legs, so its wait does not count against
 * fail_timeout while pieces go well. */
#include "base/units.h"
#include "serve/internal.h"

#include <errno.h>

#include "base/assert.h"

void
sf_serve_turn_init(struct serve_turn *turn) {
  SF_ASSERT(pthread_mutex_init(&turn->lock, NULL) == 0);
  sf_serve_cond_init(&turn->changed);
  sf_list_init(&turn->waiting);
  turn->passed_ns = 0;
}

void
sf_serve_turn_destroy(struct serve_turn *turn) {
  pthread_cond_destroy(&turn->changed);
  pthread_mutex_destroy(&turn->lock);
}

static void
leave(struct serve_turn *turn, struct sf_list *place) {
  sf_list_remove(place);
  pthread_cond_broadcast(&turn->changed);
}

/* The wait before a piece went well does not count. */
static void
waited(struct sf_call *call, struct serve_turn *turn, uint64_t before_ns, uint64_t *began_ns) {
  sf_serve_call_wait(call, &turn->changed, &turn->lock);
  if (turn->passed_ns > *began_ns) {
    *began_ns = turn->passed_ns;
    call->waited_ns = before_ns;
  }
}

int
sf_serve_turn_take(struct sf_call *call, struct sf_list *place) {
  struct serve_turn *turn = &call->client->serve->turn;
  uint64_t before_ns = call->waited_ns, began_ns = sf_tio_now(), asked_ns = began_ns;
  int r = 0;

  pthread_mutex_lock(&turn->lock);
  sf_list_append(&turn->waiting, place);
  while (r == 0 && turn->waiting.next != place) {
    waited(call, turn, before_ns, &began_ns);
    if (sf_tio_now() - asked_ns < SERVE_ASK_MS * SF_MS)
      continue;
    asked_ns = sf_tio_now();
    if (sf_serve_call_is_gone(call))
      r = -ESHUTDOWN;
    else if (sf_serve_call_is_over(call) && turn->waiting.next != place)
      r = -EIO;
  }
  if (r < 0)
    leave(turn, place);
  pthread_mutex_unlock(&turn->lock);
  return r;
}

void
sf_serve_turn_pass(struct sf_call *call, struct sf_list *place, bool well) {
  struct serve_turn *turn = &call->client->serve->turn;

  pthread_mutex_lock(&turn->lock);
  if (well)
    turn->passed_ns = sf_tio_now();
  leave(turn, place);
  pthread_mutex_unlock(&turn->lock);
}

/* The lock, and what is told when it has been let go.
 *
 * One thread tells at a time, so that everything is told in the order in which it was decided: the
 * first that leaves with something in the outbox, until there is nothing.  What other threads put
 * there meanwhile, or calls from inside what it tells, is told by it too.  Those may never end.  So
 * a thread that has told its share leaves the rest to one that waits for the lock, which finds it
 * when it leaves itself; where none does, it goes on.  Nobody waits for a teller but
 * sf_volume_wait_told() and the end: a caller may have a lock of its own that the told thread
 * wants. */
#include "volume/roof/delivery.h"

#include <surefoot/volume.h>

#include "volume/ground/outbox.h"

enum { TELL_MOST = 64 }; /* where another thread can go on */

void
sf_vol_init_delivery(struct sf_volume *v) {
  SF_ASSERT(pthread_mutex_init(&v->lock, NULL) == 0);
  SF_ASSERT(pthread_cond_init(&v->outbox.changed, NULL) == 0);
  sf_outbox_init(&v->outbox);
}

void
sf_vol_destroy_delivery(struct sf_volume *v) {
  pthread_cond_destroy(&v->outbox.changed);
  pthread_mutex_destroy(&v->lock);
}

/* Each thread read the clock before it waited for the lock, so the times come in any order; inside,
 * time never goes back. */
void
sf_vol_enter(struct sf_volume *v, uint64_t now_ns) {
  atomic_fetch_add(&v->outbox.coming, 1);
  pthread_mutex_lock(&v->lock);
  atomic_fetch_sub(&v->outbox.coming, 1);
  if (now_ns > v->now_ns)
    v->now_ns = now_ns;
}

/* Who counts as coming has yet to leave. */
static bool
has_heir(const struct outbox *outbox) {
  return atomic_load(&outbox->coming) > 0;
}

static void
tell_one(struct sf_volume *v) {
  struct outbox_item item = sf_outbox_take(&v->outbox);

  pthread_mutex_unlock(&v->lock);
  if (item.request != NULL)
    item.request->done(item.request);
  else
    v->host.event(v->ctx, item.event);
  pthread_mutex_lock(&v->lock);
  sf_outbox_told(&v->outbox, &item);
}

/* With the lock held, but not while it tells. */
static void
tell(struct sf_volume *v) {
  struct outbox *outbox = &v->outbox;

  outbox->telling = true;
  outbox->teller = pthread_self();
  for (unsigned n = 0; !sf_outbox_is_empty(outbox) && (n < TELL_MOST || !has_heir(outbox)); n++) {
    tell_one(v);
    if (outbox->waiting > 0)
      pthread_cond_broadcast(&outbox->changed);
  }
  outbox->telling = false;
}

static void
let_go(struct sf_volume *v) {
  if (v->outbox.waiting > 0)
    pthread_cond_broadcast(&v->outbox.changed);
  pthread_mutex_unlock(&v->lock);
}

void
sf_vol_leave(struct sf_volume *v) {
  if (!v->outbox.telling && !sf_outbox_is_empty(&v->outbox))
    tell(v);
  let_go(v);
}

/* ---- waiting for it ---- */

static void
wait(struct sf_volume *v) {
  struct outbox *outbox = &v->outbox;

  SF_ASSERT(!outbox->telling || !pthread_equal(outbox->teller, pthread_self()));
  if (!outbox->telling && !sf_outbox_is_empty(outbox)) {
    tell(v);
    return;
  }
  outbox->waiting++;
  pthread_cond_wait(&outbox->changed, &v->lock);
  outbox->waiting--;
}

void
sf_volume_wait_told(struct sf_volume *v) {
  uint64_t decided;

  pthread_mutex_lock(&v->lock);
  decided = v->outbox.decided;
  while (v->outbox.told < decided)
    wait(v);
  let_go(v);
}

void
sf_vol_tell_the_rest(struct sf_volume *v) {
  const struct outbox *outbox = &v->outbox;

  while (outbox->telling || !sf_outbox_is_empty(outbox) || has_heir(outbox))
    wait(v);
}

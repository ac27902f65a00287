/* Whose turn it is at a leg, and whether there is room for it: metadata first, then clients, and
 * copies last; by the leg's window, its share of the ops, and one at a time while it is silent. */
#include "volume/ground/leg_room.h"

#include "volume/ground/deadline.h"
#include "volume/ground/facts.h"
#include "volume/ground/silence.h"
#include "volume/ground/window.h"

enum { CLIENTS_MS = 1000 }; /* a client was here so recently: copies keep to less */

/* Ops that a leg has something of are kept until it has ended that: where it hangs, the other legs
 * must have ops left.  When all of that hangs, it gets one at a time, to show whether it
 * answers. */
static unsigned
share_of_ops(const struct sf_volume *v) {
  return SF_OPS_MAX / (v->legs > 2 ? v->legs : 2);
}

static struct leg_io_part *
first_of(const struct leg *leg, enum window_use use) {
  return sf_list_empty(&leg->waiting[use])
             ? NULL
             : SF_LIST_ENTRY(leg->waiting[use].next, struct leg_io_part, link);
}

/* In the order in which requests are sent, and not in which they came: where the leg is when it gets
 * this one depends on what went before it. */
static unsigned
class_now(const struct leg *leg, const struct leg_io_part *part) {
  const struct leg_io_args *args = &part->io->args;

  return sf_window_class(&leg->window, args->op, part->io->fua, args->offset, args->length);
}

/* A copy that has waited for as long as all outstanding requests may take goes before younger
 * requests of clients, or it would wait for as long as they work.  It stays within the copies'
 * share: the limit keeps copies from being sent all at once, when they would be late. */
static struct leg_io_part *
overdue_copy(const struct sf_volume *v, const struct leg *leg) {
  struct leg_io_part *copy = first_of(leg, WINDOW_COPIES);
  uint64_t target;

  if (copy == NULL)
    return NULL;
  target = sf_deadline_target_ns(v, leg->index, copy->io->args.kind);
  if (v->now_ns - copy->since_ns < target)
    return NULL;
  return sf_window_copy_fits(&leg->window,
                             sf_window_cost(&leg->window, class_now(leg, copy), target), target,
                             clients_were_here(v, CLIENTS_MS * SF_MS))
             ? copy
             : NULL;
}

/* A silent leg gets one at a time of each direction, to show whether it answers, the next when the
 * last is overdue.  A flush shows nothing: it may take long. */
static bool
has_its_one(const struct leg *leg, bool reads) {
  for (const struct sf_list *l = leg->outstanding.prev; l != &leg->outstanding; l = l->prev) {
    const struct leg_io_part *part = SF_LIST_ENTRY(l, struct leg_io_part, link);

    if (part->io->args.op != SF_TIO_FLUSH && part->io->reads == reads)
      return !part->overdue;
  }
  return false;
}

/* An overdue copy, for which clients wait, may try the window as they may. */
bool
sf_leg_room_is_there(struct sf_volume *v, struct leg_io_part *part) {
  struct leg *leg = &v->leg[part->leg];
  const struct leg_io_args *args = &part->io->args;
  uint64_t target = sf_deadline_target_ns(v, part->leg, args->kind);

  if (leg->drain_until_ns != 0)
    return false;
  part->class = (uint8_t) class_now(leg, part);
  part->cost_ns = sf_window_cost(&leg->window, part->class, target);
  if (sf_insync_leg_is_silent(v, part->leg)) {
    if (!has_its_one(leg, part->io->reads))
      return true;
    if (part->use != WINDOW_META)
      return false;
  }
  if (part->use != WINDOW_META && leg->outstanding_n >= share_of_ops(v) &&
      !sf_window_is_empty(&leg->window))
    return false;
  return sf_window_admits(&leg->window, part == overdue_copy(v, leg) ? WINDOW_CLIENTS : part->use,
                          part->cost_ns, target, clients_were_here(v, CLIENTS_MS * SF_MS));
}

bool
sf_leg_room_is_queued_for(const struct sf_volume *v, const struct leg *leg, enum window_use use) {
  if (first_of(leg, WINDOW_META) != NULL)
    return true;
  switch (use) {
  case WINDOW_META:
    return false;
  case WINDOW_CLIENTS:
    return first_of(leg, WINDOW_CLIENTS) != NULL || overdue_copy(v, leg) != NULL;
  default:
    return first_of(leg, WINDOW_CLIENTS) != NULL || first_of(leg, WINDOW_COPIES) != NULL;
  }
}

struct leg_io_part *
sf_leg_room_next(struct sf_volume *v, struct leg *leg) {
  struct leg_io_part *client = first_of(leg, WINDOW_CLIENTS), *copy = overdue_copy(v, leg);

  if (first_of(leg, WINDOW_META) != NULL)
    return first_of(leg, WINDOW_META);
  if (copy != NULL && (client == NULL || copy->since_ns < client->since_ns))
    return copy;
  return client != NULL ? client : first_of(leg, WINDOW_COPIES);
}

/* What is decided and not told yet.  Nothing is allocated: a request is its own link, and events
 * have a ring.  Where the ring is full, events that can be told only once have places of their own,
 * and the stop has another one; what finds none is counted. */
#include "volume/ground/outbox.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void
sf_outbox_init(struct outbox *outbox) {
  memset(outbox->event, 0, sizeof outbox->event); /* its memory is there from now on */
  outbox->answers_tail = &outbox->answers;
}

void
sf_outbox_put_answer(struct outbox *outbox, struct sf_request *request) {
  request->order = ++outbox->decided;
  request->next = NULL;
  *outbox->answers_tail = request;
  outbox->answers_tail = &request->next;
}

/* ---- events ---- */

/* What an operator or a program waits for, and what the status does not show afterwards. */
static bool
is_told_once(enum sf_volume_event_kind kind) {
  switch (kind) {
  case SF_EVENT_STARTED:
  case SF_EVENT_GROWN:
  case SF_EVENT_GROW_FAILED:
  case SF_EVENT_LEG_REPLACED:
  case SF_EVENT_LEG_ADDED:
  case SF_EVENT_LEG_REMOVED:
  case SF_EVENT_CHANGE_FAILED:
    return true;
  default:
    return false;
  }
}

/* So many may be there already. */
static unsigned
room_for(enum sf_volume_event_kind kind) {
  if (kind == SF_EVENT_STOPPED)
    return OUTBOX_EVENTS;
  return is_told_once(kind) ? OUTBOX_EVENTS - OUTBOX_STOP
                            : OUTBOX_EVENTS - OUTBOX_STOP - OUTBOX_ONCE;
}

bool
sf_outbox_has_room(const struct outbox *outbox) {
  return outbox->events_n < room_for(SF_EVENT_KINDS);
}

/* The first that finds no room has its place in the order, the others are told of with it.  After
 * the stop none is told of. */
static void
count_untold(struct outbox *outbox, uint64_t now_ns) {
  if (outbox->stop_is_put)
    return;
  if (outbox->untold.count == 0)
    outbox->untold_order = ++outbox->decided;
  outbox->untold.count++;
  outbox->untold.now_ns = now_ns;
}

static const char *
copy(char *to, size_t size, const char *from) {
  if (from == NULL)
    return NULL;
  snprintf(to, size, "%s", from);
  return to;
}

void
sf_outbox_put_event(struct outbox *outbox, const struct sf_volume_event *event) {
  struct outbox_event *kept;

  if (outbox->events_n >= room_for(event->kind)) {
    count_untold(outbox, event->now_ns);
    return;
  }
  kept = &outbox->event[(outbox->events_first + outbox->events_n++) % OUTBOX_EVENTS];
  kept->event = *event;
  kept->event.leg_name = copy(kept->leg_name, sizeof kept->leg_name, event->leg_name);
  kept->event.reason = copy(kept->reason, sizeof kept->reason, event->reason);
  kept->order = ++outbox->decided;
  outbox->stop_is_put |= event->kind == SF_EVENT_STOPPED;
}

/* ---- telling ---- */

bool
sf_outbox_is_empty(const struct outbox *outbox) {
  return outbox->answers == NULL && outbox->events_n == 0 && outbox->untold.count == 0;
}

static struct outbox_item
take_answer(struct outbox *outbox) {
  struct sf_request *request = outbox->answers;

  outbox->answers = request->next;
  if (outbox->answers == NULL)
    outbox->answers_tail = &outbox->answers;
  return (struct outbox_item){.request = request, .order = request->order};
}

static struct outbox_item
take_untold(struct outbox *outbox) {
  struct sf_volume_event *telling = &outbox->untold_telling;

  snprintf(outbox->untold_reason, sizeof outbox->untold_reason,
           "%" PRIu64 " events were not told: there was no room for them", outbox->untold.count);
  *telling = outbox->untold;
  telling->kind = SF_EVENT_EVENTS_UNTOLD;
  telling->leg = -1;
  telling->reason = outbox->untold_reason;
  outbox->untold.count = 0;
  return (struct outbox_item){.event = telling, .order = outbox->untold_order};
}

/* An event keeps its place until it is told. */
struct outbox_item
sf_outbox_take(struct outbox *outbox) {
  const struct outbox_event *event = &outbox->event[outbox->events_first];
  uint64_t of_answer = outbox->answers != NULL ? outbox->answers->order : UINT64_MAX;
  uint64_t of_event = outbox->events_n > 0 ? event->order : UINT64_MAX;
  uint64_t of_untold = outbox->untold.count > 0 ? outbox->untold_order : UINT64_MAX;

  SF_ASSERT(!sf_outbox_is_empty(outbox));
  if (of_answer < of_event && of_answer < of_untold)
    return take_answer(outbox);
  if (of_untold < of_event)
    return take_untold(outbox);
  return (struct outbox_item){.event = &event->event, .order = event->order};
}

void
sf_outbox_told(struct outbox *outbox, const struct outbox_item *item) {
  SF_ASSERT(item->order > outbox->told);
  outbox->told = item->order;
  if (item->event == NULL || item->event == &outbox->untold_telling)
    return;
  outbox->events_first = (outbox->events_first + 1) % OUTBOX_EVENTS;
  outbox->events_n--;
}

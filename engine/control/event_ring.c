#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "control/event_ring.h"

void
sf_event_ring_init(struct sf_event_ring *ring) {
  SF_ASSERT(pthread_mutex_init(&ring->lock, NULL) == 0);
  ring->next = 0;
}

void
sf_event_ring_destroy(struct sf_event_ring *ring) {
  SF_ASSERT(pthread_mutex_destroy(&ring->lock) == 0);
}

static void
copy_text(char *to, size_t size, const char *from) {
  size_t len = from ? strnlen(from, size - 1) : 0;
  if (len)
    memcpy(to, from, len);
  to[len] = '\0';
}

void
sf_event_ring_put(struct sf_event_ring *ring, const struct sf_volume_event *event) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);

  SF_ASSERT(pthread_mutex_lock(&ring->lock) == 0);
  struct sf_kept_event *kept = &ring->kept[ring->next++ % SF_CONTROL_EVENTS_KEPT];
  kept->kind = event->kind;
  kept->now_ns = event->now_ns;
  kept->wall_ns = (int64_t) now.tv_sec * 1000000000 + now.tv_nsec;
  kept->leg = event->leg;
  kept->offset = event->offset;
  kept->length = event->length;
  kept->count = event->count;
  kept->error = event->error;
  copy_text(kept->leg_name, sizeof kept->leg_name, event->leg_name);
  copy_text(kept->from, sizeof kept->from, event->from);
  copy_text(kept->to, sizeof kept->to, event->to);
  copy_text(kept->reason, sizeof kept->reason, event->reason);
  SF_ASSERT(pthread_mutex_unlock(&ring->lock) == 0);
}

static uint64_t
oldest(const struct sf_event_ring *ring) {
  return ring->next > SF_CONTROL_EVENTS_KEPT ? ring->next - SF_CONTROL_EVENTS_KEPT : 0;
}

void
sf_event_ring_range(struct sf_event_ring *ring, uint64_t *first, uint64_t *next) {
  SF_ASSERT(pthread_mutex_lock(&ring->lock) == 0);
  *first = oldest(ring);
  *next = ring->next;
  SF_ASSERT(pthread_mutex_unlock(&ring->lock) == 0);
}

bool
sf_event_ring_get(struct sf_event_ring *ring, uint64_t number, struct sf_kept_event *event) {
  SF_ASSERT(pthread_mutex_lock(&ring->lock) == 0);
  bool there = number >= oldest(ring) && number < ring->next;
  if (there)
    *event = ring->kept[number % SF_CONTROL_EVENTS_KEPT];
  SF_ASSERT(pthread_mutex_unlock(&ring->lock) == 0);
  return there;
}

json_t *
sf_kept_event_to_json(const char *volume_name, const struct sf_kept_event *kept) {
  struct sf_volume_event event = {
      .kind = kept->kind,
      .now_ns = kept->now_ns,
      .leg = kept->leg,
      .leg_name = kept->leg_name,
      .from = kept->from,
      .to = kept->to,
      .reason = kept->reason,
      .offset = kept->offset,
      .length = kept->length,
      .count = kept->count,
      .error = kept->error,
  };
  json_t *object = sf_event_to_json(volume_name, &event);
  if (object == NULL)
    return NULL;

  if (json_object_set_new(object, "time", sf_time_to_json(kept->wall_ns)) < 0) {
    json_decref(object);
    return NULL;
  }
  return object;
}

/* The last SF_CONTROL_EVENTS_KEPT events, copied, numbered from 0 on.
 * Any thread may put: it copies under a lock that is held for a copy only. */
#ifndef SF_CONTROL_EVENT_RING_H
#define SF_CONTROL_EVENT_RING_H

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <surefoot/control.h>

enum { SF_KEPT_STATE_MAX = 32, SF_KEPT_REASON_MAX = PATH_MAX /* a reason may be a leg's path */ };

/* Longer texts are cut. */
struct sf_kept_event {
  enum sf_volume_event_kind kind;
  uint64_t now_ns;
  int64_t wall_ns; /* CLOCK_REALTIME when it was put */
  int leg;
  char leg_name[SF_LEG_NAME_MAX];
  char from[SF_KEPT_STATE_MAX], to[SF_KEPT_STATE_MAX];
  char reason[SF_KEPT_REASON_MAX];
  uint64_t offset, length, count; /* as in sf_volume_event */
  int error;
};

struct sf_event_ring {
  pthread_mutex_t lock;
  uint64_t next; /* the number that the next event gets */
  struct sf_kept_event kept[SF_CONTROL_EVENTS_KEPT];
};

void sf_event_ring_init(struct sf_event_ring *ring);
void sf_event_ring_destroy(struct sf_event_ring *ring);
void sf_event_ring_put(struct sf_event_ring *ring, const struct sf_volume_event *event);

/* The oldest number still kept, and the next to come. */
void sf_event_ring_range(struct sf_event_ring *ring, uint64_t *first, uint64_t *next);

/* False: not there yet, or overwritten. */
bool sf_event_ring_get(struct sf_event_ring *ring, uint64_t number, struct sf_kept_event *event);

/* sf_event_to_json, and "time": UTC, ISO 8601. */
json_t *sf_kept_event_to_json(const char *volume_name, const struct sf_kept_event *kept);

#endif

/* Events of all volumes: the last ones are kept, each is logged, sent to the followers, and told to
 * the hook. */
#ifndef SUREFOOTD_EVENTS_H
#define SUREFOOTD_EVENTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include <surefoot/wire.h>

struct events {
  /* The owner's: an event is there. */
  void (*published)(void *ctx, const json_t *event);
  void *ctx;

  uint64_t next;
  json_t *kept[SF_CONTROL_EVENTS_KEPT];
};

void sfd_events_clear(struct events *events);

/* An event of a volume, as its own socket gave it. */
void sfd_events_publish(struct events *events, json_t *event);

/* One from before this process: kept, and not told. */
void sfd_events_restore(struct events *events, json_t *event);

/* How many of a list, the oldest ones, were told already when last was told (NULL: nothing was). */
size_t sfd_events_told(const json_t *list, const json_t *last);

/* One of the daemon's own: "service", from one state to another.  from and reason may be "". */
void sfd_events_service(struct events *events, const char *volume, const char *from, const char *to,
                        const char *reason);

/* "device": what became of the kernel's device of the volume. */
void sfd_events_device(struct events *events, const char *volume, const char *to,
                       const char *reason);

/* "leg-state" of a leg that was not in sync when its volume started: the volume itself tells
 * changes. */
void sfd_events_leg(struct events *events, const char *volume, const char *leg, const char *to,
                    const char *reason);
/* Is this the last that was told of the leg, from event number since on? */
bool sfd_events_leg_is_told(const struct events *events, uint64_t since, const char *volume,
                            const char *leg, const char *state);

/* "spare": used for a leg, refused by the volume, or free again. */
void sfd_events_spare(struct events *events, const char *volume, const char *leg, const char *to,
                      const char *reason);

/* How bad it is, as for syslog: failed and suspended LOG_CRIT, a leg that is faulty and a server
 * that is not there LOG_ERR, what the volume lives with LOG_WARNING. */
int sfd_events_priority(const json_t *event);
/* The journal's MESSAGE_ID of this kind of event; NULL: it has none. */
const char *sfd_events_message_id(const json_t *event);

/* Those kept; volume NULL: of all.  NULL: no memory. */
json_t *sfd_events_list(const struct events *events, const char *volume);

/* The name that a hook knows it by ("leg-late", "degraded"), or NULL. */
const char *sfd_events_hook_name(const json_t *event);

/* CLOCK_REALTIME. */
int64_t sfd_events_now_ns(void);
/* Text of an event's key, "" if there is none. */
const char *sfd_events_text(const json_t *event, const char *key);

#endif

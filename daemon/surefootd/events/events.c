#include "events/events.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <surefoot/wire.h>

#include "common/log.h"

const char *
sfd_events_text(const json_t *event, const char *key) {
  const char *text = json_string_value(json_object_get(event, key));
  return text ? text : "";
}

void
sfd_events_clear(struct events *events) {
  for (unsigned i = 0; i < SF_CONTROL_EVENTS_KEPT; i++) {
    json_decref(events->kept[i]);
    events->kept[i] = NULL;
  }
}

/* ---- the hook's names ---- */

const char *
sfd_events_hook_name(const json_t *event) {
  static const struct {
    const char *event, *to, *name;
  } names[] = {
      {"leg-state", "late", "leg-late"},      {"leg-state", "in-sync", "leg-returned"},
      {"leg-state", "faulty", "leg-faulty"},  {"leg-state", "missing", "leg-missing"},
      {"state", "degraded", "degraded"},      {"state", "healthy", "healthy"},
      {"state", "suspended", "suspended"},    {"state", "failed", "failed"},
      {"service", "down", "server-down"},     {"service", "serving", "server-ready"},
      {"service", "silent", "server-silent"}, {"device", "lost", "device-lost"},
      {"leg-slow", "slow", "leg-slow"},       {"leg-trouble", "", "leg-trouble"},
      {"read-repaired", "", "read-repaired"}, {"read-failed", "", "read-failed"},
      {"lost-range", "", "lost-range"},       {"mismatch", "", "mismatch"},
      {"scrub", "done", "scrub-done"},        {"spare", "used", "spare-used"},
      {"spare", "refused", "spare-refused"},  {"spare", "free", "spare-free"},
  };
  const char *kind = sfd_events_text(event, "event"), *to = sfd_events_text(event, "to");
  for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
    if (strcmp(names[i].event, kind) == 0 && strcmp(names[i].to, to) == 0)
      return names[i].name;
  return NULL;
}

/* ---- the log ---- */

int
sfd_events_priority(const json_t *event) {
  static const struct {
    const char *to;
    int priority;
  } bad[] = {{"failed", LOG_CRIT},
             {"suspended", LOG_CRIT},
             {"faulty", LOG_ERR},
             {"silent", LOG_ERR},
             {"down", LOG_ERR},
             {"lost", LOG_ERR},
             {"late", LOG_WARNING},
             {"slow", LOG_WARNING},
             {"missing", LOG_WARNING},
             {"degraded", LOG_WARNING},
             {"read-failed", LOG_ERR},
             {"lost-range", LOG_ERR},
             {"refused", LOG_ERR},
             {"used", LOG_WARNING},
             {"mismatch", LOG_ERR},
             {"leg-trouble", LOG_ERR},
             {"events-untold", LOG_WARNING},
             {"read-repaired", LOG_WARNING}};
  const char *to = sfd_events_text(event, "to");
  if (!*to)
    to = sfd_events_text(event, "event");
  for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
    if (strcmp(to, bad[i].to) == 0)
      return bad[i].priority;
  return LOG_NOTICE;
}

const char *
sfd_events_message_id(const json_t *event) {
  static const struct {
    const char *event, *id;
  } ids[] = {
      {"service", "4721a88a8a40521c98354e10a162f754"},
      {"state", "0a0ff80e464c5507a9dd32435e8b5436"},
      {"leg-state", "42b2b61968855676a97d8473cb96fffa"},
      {"leg-slow", "1eb80e3b01c05f47b680d0f8f8545d8f"},
      {"leg-trouble", "763abce751ad57cf8ffb24e0ff1a886a"},
      {"leg-replaced", "87ae010a3cb850fb953d3f080569f2eb"},
      {"leg-added", "a8584a12545954198765f3ec3425ed74"},
      {"leg-removed", "adb8d089c746511199f317fb01bb348e"},
      {"read-repaired", "b801f5e75a175fa3bff7f90694cb3e0c"},
      {"read-failed", "db9c7ced9ca1539dbe12323fa89ba066"},
      {"lost-range", "281695698dfd50629a0dab71790f0013"},
      {"mismatch", "9c431e3daa285a34a8417b5a0f220ffb"},
      {"scrub", "826d8bc293f55a74b5a55334555b68fb"},
      {"device", "027a5ef3d2ec5d3eb086b1df83cffd1a"},
      {"grown", "d8a749fc4ff9559aa9e809bccdb6825c"},
      {"grow-failed", "143e4ac1a06d5493b0243fb19bb43bc1"},
      {"leg-not-opened", "92e22dec37d95562b574410f9c7bdce1"},
      {"change-failed", "06c952cdbb33598fa27ed7b3e834177a"},
      {"drill", "1e9aa9a746005fc2a93907dd2abd2308"},
      {"leg-path", "8be5c5a1dc2455ec9464a6c9caf9deaf"},
      {"events-untold", "81eeffc5e82253a1999504e142e06f64"},
      {"spare", "af5d6c7613e2564eb1f4652648188a24"},
      {"started", "b500d9293b925b66a004294725d11981"},
      {"stopped", "b022f9e0cd905da881c15b4729ee5b77"},
  };
  const char *kind = sfd_events_text(event, "event");
  for (unsigned i = 0; i < sizeof ids / sizeof ids[0]; i++)
    if (strcmp(ids[i].event, kind) == 0)
      return ids[i].id;
  return NULL;
}

static void
log_event(const json_t *event) {
  const char *kind = sfd_events_text(event, "event"), *leg = sfd_events_text(event, "leg");
  const char *from = sfd_events_text(event, "from"), *to = sfd_events_text(event, "to");
  const char *reason = sfd_events_text(event, "reason");
  const struct log_fields fields = {.volume = sfd_events_text(event, "volume"),
                                    .leg = leg,
                                    .reason = reason,
                                    .message_id = sfd_events_message_id(event)};
  bool is_scrub = strcmp(kind, "scrub") == 0;
  sfd_log_fields(sfd_events_priority(event), &fields, "%s%s%s%s%s%s%s%s%s", *leg ? "leg " : "",
                 is_scrub ? "scrub" : leg, *leg || is_scrub ? ": " : "", from,
                 *from && *to ? " -> " : "", *to ? to : kind, *reason ? " (" : "", reason,
                 *reason ? ")" : "");
}

/* ---- publishing ---- */

int64_t
sfd_events_now_ns(void) {
  struct timespec wall;
  clock_gettime(CLOCK_REALTIME, &wall);
  return (int64_t) wall.tv_sec * 1000000000 + wall.tv_nsec;
}

void
sfd_events_restore(struct events *events, json_t *event) {
  json_t **slot = &events->kept[events->next++ % SF_CONTROL_EVENTS_KEPT];
  json_decref(*slot);
  *slot = json_incref(event);
}

void
sfd_events_publish(struct events *events, json_t *event) {
  sfd_events_restore(events, event);
  log_event(event);
  events->published(events->ctx, event);
}

size_t
sfd_events_told(const json_t *list, const json_t *last) {
  size_t told = last ? json_array_size(list) : 0;
  while (told > 0 && !json_equal(json_array_get(list, told - 1), last))
    told--;
  return told;
}

static void
publish_own(struct events *events, const char *volume, const char *kind, const char *leg,
            const char *from, const char *to, const char *reason) {
  struct timespec monotonic;
  clock_gettime(CLOCK_MONOTONIC, &monotonic);
  json_t *event = json_pack("{ss ss so so ss so sI so}", "event", kind, "volume", volume, "leg",
                            sf_text_to_json(leg), "from", sf_text_to_json(from), "to", to, "reason",
                            sf_text_to_json(reason), "monotonic_ns",
                            (json_int_t) monotonic.tv_sec * 1000000000 + monotonic.tv_nsec, "time",
                            sf_time_to_json(sfd_events_now_ns()));
  if (event == NULL) {
    log_error(volume, "out of memory for an event: %s", to);
    return;
  }
  sfd_events_publish(events, event);
  json_decref(event);
}

void
sfd_events_service(struct events *events, const char *volume, const char *from, const char *to,
                   const char *reason) {
  publish_own(events, volume, "service", "", from, to, reason);
}

bool
sfd_events_leg_is_told(const struct events *events, uint64_t since, const char *volume,
                       const char *leg, const char *state) {
  if (events->next > since + SF_CONTROL_EVENTS_KEPT)
    since = events->next - SF_CONTROL_EVENTS_KEPT;
  for (uint64_t i = events->next; i-- > since;) {
    const json_t *event = events->kept[i % SF_CONTROL_EVENTS_KEPT];
    if (strcmp(sfd_events_text(event, "event"), "leg-state") == 0 &&
        strcmp(sfd_events_text(event, "volume"), volume) == 0 &&
        strcmp(sfd_events_text(event, "leg"), leg) == 0)
      return strcmp(sfd_events_text(event, "to"), state) == 0;
  }
  return false;
}

void
sfd_events_device(struct events *events, const char *volume, const char *to, const char *reason) {
  publish_own(events, volume, "device", "", "attached", to, reason);
}

void
sfd_events_leg(struct events *events, const char *volume, const char *leg, const char *to,
               const char *reason) {
  publish_own(events, volume, "leg-state", leg, "", to, reason);
}

void
sfd_events_spare(struct events *events, const char *volume, const char *leg, const char *to,
                 const char *reason) {
  publish_own(events, volume, "spare", leg, "", to, reason);
}

json_t *
sfd_events_list(const struct events *events, const char *volume) {
  json_t *list = json_array();
  uint64_t first =
      events->next > SF_CONTROL_EVENTS_KEPT ? events->next - SF_CONTROL_EVENTS_KEPT : 0;
  for (uint64_t i = first; list && i < events->next; i++) {
    json_t *event = events->kept[i % SF_CONTROL_EVENTS_KEPT];
    if (volume && strcmp(sfd_events_text(event, "volume"), volume) != 0)
      continue;
    if (json_array_append(list, event) < 0) {
      json_decref(list);
      return NULL;
    }
  }
  return list;
}

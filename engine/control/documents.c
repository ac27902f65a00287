/* The document of `status --json` and one event, as DESIGN section 7 and control.h name them. */
#include <surefoot/control.h>
#include <surefoot/wire.h>

static uint64_t
to_us(uint64_t ns) {
  return ns / 1000 + (ns % 1000 != 0);
}

/* [the longest time that counts in it, in ns; how many], of each bucket that is not empty. */
static json_t *
buckets_to_json(const struct sf_latency *latency) {
  json_t *list = json_array();

  for (unsigned i = 0; list && i < SF_LATENCY_BUCKETS; i++) {
    if (latency->bucket[i] == 0)
      continue;
    if (json_array_append_new(list, json_pack("[I, I]", (json_int_t) sf_latency_bucket_ns(i),
                                              (json_int_t) latency->bucket[i])) < 0) {
      json_decref(list);
      return NULL;
    }
  }
  return list;
}

/* json_pack steals what 'o' gives it even when it fails, and fails on NULL: so parts can be packed
 * without looking at each. */
static json_t *
latency_to_json(const struct sf_latency *latency) {
  return json_pack("{sI sI sI sI sI sI so}", "count", (json_int_t) latency->count, "recent",
                   (json_int_t) latency->recent, "p50_us", (json_int_t) to_us(latency->p50_ns),
                   "p99_us", (json_int_t) to_us(latency->p99_ns), "p999_us",
                   (json_int_t) to_us(latency->p999_ns), "max_us",
                   (json_int_t) to_us(latency->max_ns), "buckets", buckets_to_json(latency));
}

static json_t *
latencies_to_json(const struct sf_latency latency[SF_KINDS]) {
  return json_pack("{so so so}", "read", latency_to_json(&latency[SF_READ_KIND]), "write",
                   latency_to_json(&latency[SF_WRITE_KIND]), "flush",
                   latency_to_json(&latency[SF_FLUSH_KIND]));
}

static json_t *
resync_to_json(const struct sf_leg_status *leg) {
  if (!leg->resyncing)
    return json_null();
  /* Without a rate, or where it does not advance, there is no honest guess of the time left. */
  json_t *seconds = leg->resync_rate && leg->resync_stalled_ns == 0
                        ? json_integer((json_int_t) (leg->resync_left_ns / 1000000000))
                        : json_null();
  return json_pack("{sI sI sI so sI}", "done_bytes", (json_int_t) leg->resync_done_bytes,
                   "total_bytes", (json_int_t) leg->resync_total_bytes, "rate_bytes_per_s",
                   (json_int_t) leg->resync_rate, "seconds_left", seconds, "stalled_ms",
                   (json_int_t) (leg->resync_stalled_ns / 1000000));
}

static json_t *
since_to_json(const struct sf_volume_status *volume, uint64_t age_ns) {
  return sf_time_to_json(volume->wall_ns == 0 ? 0 : volume->wall_ns - (int64_t) age_ns);
}

/* When a request stops waiting for this leg. */
static json_t *
deadlines_to_json(const struct sf_leg_status *leg) {
  return json_pack("{sI sI sI}", "read_us", (json_int_t) to_us(leg->deadline_ns[SF_READ_KIND]),
                   "write_us", (json_int_t) to_us(leg->deadline_ns[SF_WRITE_KIND]), "flush_us",
                   (json_int_t) to_us(leg->deadline_ns[SF_FLUSH_KIND]));
}

static json_t *
deadline_sources_to_json(const struct sf_leg_status *leg) {
  return json_pack("{ss ss ss}", "read",
                   sf_deadline_source_name(leg->deadline_source[SF_READ_KIND]), "write",
                   sf_deadline_source_name(leg->deadline_source[SF_WRITE_KIND]), "flush",
                   sf_deadline_source_name(leg->deadline_source[SF_FLUSH_KIND]));
}

static json_t *
leg_requests_to_json(const struct sf_leg_status *leg) {
  return json_pack("{sI sI sI}", "reads", (json_int_t) leg->latency[SF_READ_KIND].count, "writes",
                   (json_int_t) leg->latency[SF_WRITE_KIND].count, "flushes",
                   (json_int_t) leg->latency[SF_FLUSH_KIND].count);
}

static json_t *
leg_to_json(const struct sf_volume_status *volume, const struct sf_leg_status *leg) {
  return json_pack(
      "{so so ss so so sI si sI sI sI sI so so sI sI si si sI sI so so so}", "name",
      sf_text_to_json_string(leg->name), "path", sf_text_to_json_string(leg->path), "state",
      sf_leg_state_name(leg->state), "since", since_to_json(volume, leg->state_age_ns), "reason",
      sf_text_to_json(leg->reason), "stale_bytes", (json_int_t) leg->stale_bytes, "late_requests",
      (int) leg->late_requests, "timeouts", (json_int_t) leg->timeouts, "errors",
      (json_int_t) leg->errors, "repairs", (json_int_t) leg->repairs, "resync_bytes",
      (json_int_t) leg->resync_bytes, "resync", resync_to_json(leg), "requests",
      leg_requests_to_json(leg), "bytes_read", (json_int_t) leg->bytes_read, "bytes_written",
      (json_int_t) leg->bytes_written, "window", (int) leg->window, "in_flight",
      (int) leg->in_flight, "oldest_ms", (json_int_t) (leg->oldest_ns / 1000000), "drill_ms",
      (json_int_t) (leg->drill_left_ns / 1000000), "deadline", deadlines_to_json(leg),
      "deadline_source", deadline_sources_to_json(leg), "latency", latencies_to_json(leg->latency));
}

static json_t *
legs_to_json(const struct sf_volume_status *volume, uint16_t legs) {
  json_t *list = json_array();

  for (unsigned i = 0; list && i < volume->legs && i < SF_LEGS_MAX; i++) {
    if (!(legs & 1u << i))
      continue;
    if (json_array_append_new(list, sf_text_to_json_string(volume->leg[i].name)) < 0) {
      json_decref(list);
      return NULL;
    }
  }
  return list;
}

static json_t *
lost_to_json(const struct sf_volume_status *volume) {
  json_t *list = json_array();

  for (unsigned i = 0; list && i < volume->lost_n; i++) {
    const struct sf_lost_range *lost = &volume->lost[i];
    json_t *range = json_pack("{sI sI so sb}", "offset", (json_int_t) lost->begin, "length",
                              (json_int_t) (lost->end - lost->begin), "legs",
                              legs_to_json(volume, lost->legs), "recorded", (int) lost->recorded);

    if (json_array_append_new(list, range) < 0) {
      json_decref(list);
      return NULL;
    }
  }
  return list;
}

static json_t *
scrub_ranges_to_json(const struct sf_volume_status *volume) {
  const struct sf_scrub_status *scrub = &volume->scrub;
  json_t *list = json_array();

  for (unsigned i = 0; list && i < scrub->ranges; i++) {
    const struct sf_scrub_range *range = &scrub->range[i];
    json_t *object = json_pack("{sI sI so ss sb}", "offset", (json_int_t) range->begin, "length",
                               (json_int_t) (range->end - range->begin), "legs",
                               legs_to_json(volume, range->legs), "what",
                               sf_scrub_what_name(range->what), "repaired", (int) range->repaired);

    if (json_array_append_new(list, object) < 0) {
      json_decref(list);
      return NULL;
    }
  }
  return list;
}

/* Seconds since 1970, as a metric has it. */
static json_t *
scrub_end_to_json(const struct sf_volume_status *volume) {
  const struct sf_scrub_status *scrub = &volume->scrub;

  if (scrub->state < SF_SCRUB_DONE || volume->wall_ns == 0)
    return json_null();
  return json_integer(
      (json_int_t) ((volume->wall_ns - (int64_t) scrub->ended_age_ns) / 1000000000));
}

static json_t *
scrub_to_json(const struct sf_volume_status *volume) {
  const struct sf_scrub_status *scrub = &volume->scrub;
  const char *from = scrub->order.from >= 0 ? volume->leg[scrub->order.from].name : NULL;
  bool ended = scrub->state >= SF_SCRUB_DONE;

  if (scrub->state == SF_SCRUB_NONE)
    return json_null();
  return json_pack(
      "{ss sb so sI so so so so sI sI sI sI sI sI sI so}", "state",
      sf_scrub_state_name(scrub->state), "repair", (int) scrub->order.repair, "from",
      sf_text_to_json(from), "rate", (json_int_t) scrub->order.rate, "began",
      since_to_json(volume, scrub->age_ns), "ended",
      ended ? since_to_json(volume, scrub->ended_age_ns) : json_null(), "end_time_s",
      scrub_end_to_json(volume), "legs", legs_to_json(volume, scrub->legs), "total_bytes",
      (json_int_t) scrub->total_bytes, "done_bytes", (json_int_t) scrub->done_bytes,
      "unwritten_bytes", (json_int_t) scrub->unwritten_bytes, "mismatches",
      (json_int_t) scrub->mismatches, "mismatch_bytes", (json_int_t) scrub->mismatch_bytes,
      "unreadable_bytes", (json_int_t) scrub->unreadable_bytes, "repaired_bytes",
      (json_int_t) scrub->repaired_bytes, "ranges", scrub_ranges_to_json(volume));
}

static json_t *
volume_to_json(const struct sf_volume_status *volume) {
  json_t *legs = json_array();
  for (unsigned i = 0; legs && i < volume->legs && i < SF_LEGS_MAX; i++) {
    if (volume->leg[i].name[0] == '\0')
      continue; /* an empty place */
    if (json_array_append_new(legs, leg_to_json(volume, &volume->leg[i])) < 0) {
      json_decref(legs);
      return NULL;
    }
  }
  char uuid[37];
  sf_uuid_format(&volume->uuid, uuid);
  return json_pack(
      "{so ss ss so so so sI s{sI sI} si si sI sI sI so s{sI sI sI sI sI} sI sI si sI so so so}",
      "name", sf_text_to_json_string(volume->name), "uuid", uuid, "state",
      sf_volume_state_name(volume->state), "since", since_to_json(volume, volume->state_age_ns),
      "reason", sf_text_to_json(volume->reason), "waits_for",
      legs_to_json(volume, volume->waits_for), "size_bytes", (json_int_t) volume->size_bytes,
      "record", "term", (json_int_t) volume->term, "change", (json_int_t) volume->change,
      "min_legs", (int) volume->min_legs, "legs_in_sync", (int) volume->legs_in_sync,
      "unconverged_bytes", (json_int_t) volume->unconverged_bytes, "unwritten_bytes",
      (json_int_t) volume->unwritten_bytes, "intent_bytes", (json_int_t) volume->intent_bytes,
      "lost_ranges", lost_to_json(volume), "requests", "reads", (json_int_t) volume->reads,
      "writes", (json_int_t) volume->writes, "flushes", (json_int_t) volume->flushes, "late_acks",
      (json_int_t) volume->late_acks, "errors", (json_int_t) volume->errors, "bytes_read",
      (json_int_t) volume->bytes_read, "bytes_written", (json_int_t) volume->bytes_written,
      "in_flight", (int) volume->in_flight, "oldest_ms", (json_int_t) (volume->oldest_ns / 1000000),
      "latency", latencies_to_json(volume->latency), "scrub", scrub_to_json(volume), "legs", legs);
}

json_t *
sf_status_to_json(const struct sf_volume_status *status, unsigned volumes) {
  json_t *list = json_array();
  for (unsigned i = 0; list && i < volumes; i++) {
    if (json_array_append_new(list, volume_to_json(&status[i])) < 0) {
      json_decref(list);
      return NULL;
    }
  }
  return json_pack("{si so}", "version", SF_CONTROL_VERSION, "volumes", list);
}

static void
add_setting(void *ctx, const char *key, const char *value, const char *source) {
  json_t **settings = ctx;

  if (*settings == NULL)
    return;
  if (json_object_set_new(*settings, key,
                          json_pack("{so ss}", "value", sf_text_to_json(value), "source", source)) <
      0) {
    json_decref(*settings);
    *settings = NULL;
  }
}

json_t *
sf_settings_to_json(const struct sf_config *config) {
  json_t *settings = json_object();

  sf_config_each(config, add_setting, &settings);
  return settings;
}

/* What it is about, where that is bytes of the volume. */
static bool
add_place(json_t *object, const struct sf_volume_event *event) {
  json_t *place = json_pack("{sI sI si sI}", "offset", (json_int_t) event->offset, "length",
                            (json_int_t) event->length, "errno", -event->error, "count",
                            (json_int_t) event->count);
  int r = place ? json_object_update(object, place) : -1;
  json_decref(place);
  return r == 0;
}

json_t *
sf_event_to_json(const char *volume_name, const struct sf_volume_event *event) {
  static const char *const kind_name[] = {
      [SF_EVENT_STARTED] = "started",
      [SF_EVENT_LEG_STATE] = "leg-state",
      [SF_EVENT_STATE] = "state",
      [SF_EVENT_READ_REPAIRED] = "read-repaired",
      [SF_EVENT_STOPPED] = "stopped",
      [SF_EVENT_GROWN] = "grown",
      [SF_EVENT_GROW_FAILED] = "grow-failed",
      [SF_EVENT_LEG_REPLACED] = "leg-replaced",
      [SF_EVENT_LEG_ADDED] = "leg-added",
      [SF_EVENT_LEG_REMOVED] = "leg-removed",
      [SF_EVENT_LEG_NOT_OPENED] = "leg-not-opened",
      [SF_EVENT_CHANGE_FAILED] = "change-failed",
      [SF_EVENT_LEG_TROUBLE] = "leg-trouble",
      [SF_EVENT_LOST_RANGE] = "lost-range",
      [SF_EVENT_SCRUB] = "scrub",
      [SF_EVENT_MISMATCH] = "mismatch",
      [SF_EVENT_LEG_SLOW] = "leg-slow",
      [SF_EVENT_READ_FAILED] = "read-failed",
      [SF_EVENT_DRILL] = "drill",
      [SF_EVENT_EVENTS_UNTOLD] = "events-untold",
      [SF_EVENT_LEG_PATH] = "leg-path",
  };
  _Static_assert(sizeof kind_name / sizeof kind_name[0] == SF_EVENT_KINDS, "one name each");

  json_t *object =
      json_pack("{ss so so so so so sI}", "event", kind_name[event->kind], "volume",
                sf_text_to_json_string(volume_name), "leg",
                sf_text_to_json(event->leg < 0 ? NULL : event->leg_name), "from",
                sf_text_to_json(event->from), "to", sf_text_to_json(event->to), "reason",
                sf_text_to_json(event->reason), "monotonic_ns", (json_int_t) event->now_ns);
  if (object && event->length > 0 && !add_place(object, event)) {
    json_decref(object);
    return NULL;
  }
  return object;
}

#include "monitor/exposition.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "events/events.h"

/* A family's lines must stand together: so each family goes over all volumes. */
struct writer {
  FILE *out;
  const char *family;
};

static void
begin(struct writer *writer, const char *family, const char *type, const char *help) {
  writer->family = family;
  fprintf(writer->out, "# HELP surefoot_%s %s\n# TYPE surefoot_%s %s\n", family, help, family,
          type);
}

static void
put_label(struct writer *writer, const char *name, const char *value) {
  fprintf(writer->out, "%s=\"", name);
  for (; *value; value++) {
    if (*value == '\\' || *value == '"')
      fputc('\\', writer->out);
    if (*value == '\n')
      fputs("\\n", writer->out);
    else
      fputc(*value, writer->out);
  }
  fputc('"', writer->out);
}

/* labels: names and values in turn, NULL at the end. */
static void
put(struct writer *writer, const char *const *labels, double value) {
  fprintf(writer->out, "surefoot_%s{", writer->family);
  for (unsigned i = 0; labels[i]; i += 2) {
    if (i > 0)
      fputc(',', writer->out);
    put_label(writer, labels[i], labels[i + 1]);
  }
  fprintf(writer->out, "} %.17g\n", value);
}

#define LABELS(...) ((const char *const[]){__VA_ARGS__, NULL})

static double
number(const json_t *object, const char *key) {
  return json_number_value(json_object_get(object, key));
}

/* In base units: "_ms" is told in seconds. */
static double
scaled(const json_t *object, const char *key) {
  size_t len = strlen(key);
  bool ms = len > 3 && strcmp(key + len - 3, "_ms") == 0;
  return ms ? number(object, key) / 1e3 : number(object, key);
}

static void
put_build(struct writer *writer) {
  begin(writer, "build_info", "gauge", "1, with the version of surefootd.");
  put(writer, LABELS("version", SF_VERSION), 1);
}

/* ---- volumes ---- */

static void
put_states(struct writer *writer, const json_t *volumes) {
  static const char *const states[] = {"healthy",  "degraded", "suspended", "failed",
                                       "starting", "stopping", "silent",    "stopped"};
  size_t i;
  json_t *volume;
  begin(writer, "volume_state", "gauge", "1 for the state that the volume is in.");
  json_array_foreach(volumes, i, volume) {
    for (unsigned s = 0; s < sizeof states / sizeof states[0]; s++)
      put(writer, LABELS("volume", sfd_events_text(volume, "name"), "state", states[s]),
          strcmp(sfd_events_text(volume, "state"), states[s]) == 0);
  }
}

static const struct of_volume {
  const char *family, *type, *inner, *key, *help;
} of_volumes[] = {
    {"volume_size_bytes", "gauge", NULL, "size_bytes", "Size of the volume."},
    {"volume_legs_in_sync", "gauge", NULL, "legs_in_sync",
     "Legs that hold every acknowledged write."},
    {"volume_min_legs", "gauge", NULL, "min_legs",
     "Legs that must have a write before it is answered."},
    {"volume_unconverged_bytes", "gauge", NULL, "unconverged_bytes",
     "Bytes that may differ between legs since a crash."},
    {"volume_unwritten_bytes", "gauge", NULL, "unwritten_bytes",
     "Bytes never written, that read as zeros and are still to be zeroed on the legs."},
    {"volume_reads_total", "counter", "requests", "reads",
     "Reads answered since the server started."},
    {"volume_writes_total", "counter", "requests", "writes", "Writes answered."},
    {"volume_flushes_total", "counter", "requests", "flushes", "Flushes answered."},
    {"volume_late_acks_total", "counter", "requests", "late_acks",
     "Writes answered without a late leg."},
    {"volume_errors_total", "counter", "requests", "errors", "Requests that failed."},
    {"volume_read_bytes_total", "counter", NULL, "bytes_read", "Bytes read by clients."},
    {"volume_written_bytes_total", "counter", NULL, "bytes_written",
     "Bytes written by clients; zeroing is not counted."},
    {"volume_in_flight", "gauge", NULL, "in_flight", "Clients' requests that are not answered."},
    {"volume_oldest_seconds", "gauge", NULL, "oldest_ms",
     "How long the oldest of these has waited."},
    {"volume_scrub_running", "gauge", "scrub", "scrub_running",
     "1 while the legs are compared, paused or not."},
    {"volume_scrub_total_bytes", "gauge", "scrub", "total_bytes",
     "To be compared in the last scrub."},
    {"volume_scrub_done_bytes", "gauge", "scrub", "done_bytes", "Compared in it."},
    {"volume_scrub_unwritten_bytes", "gauge", "scrub", "unwritten_bytes",
     "Of these never written, so that legs may hold anything there."},
    {"volume_scrub_mismatch_bytes", "gauge", "scrub", "mismatch_bytes",
     "Bytes in which it found that legs differ."},
    {"volume_scrub_unreadable_bytes", "gauge", "scrub", "unreadable_bytes",
     "Bytes that a leg was not able to read in it."},
    {"volume_scrub_repaired_bytes", "gauge", "scrub", "repaired_bytes",
     "Bytes of these two that it wrote anew."},
    {"volume_scrub_end_time_seconds", "gauge", "scrub", "end_time_s",
     "When it ended, in seconds since 1970."},
    {"server_up", "gauge", "service", "up", "1 while the volume's server answers."},
    {"server_restarts_total", "counter", "service", "restarts",
     "Times that the volume's server ended by itself and was started again."},
    {"device_attached", "gauge", "service", "attached", "1 while the kernel's device is attached."},
};

/* False: it has none. */
static bool
value_of(const struct of_volume *family, const json_t *volume, double *value) {
  const json_t *object = family->inner ? json_object_get(volume, family->inner) : volume;
  const json_t *device = json_object_get(object, "device");
  const char *state = sfd_events_text(object, "state");

  *value = scaled(object, family->key);
  if (strcmp(family->key, "up") == 0)
    *value = strcmp(state, "serving") == 0;
  if (family->inner && strcmp(family->inner, "scrub") == 0 &&
      (!json_is_object(object) || (strcmp(family->key, "end_time_s") == 0 && *value == 0)))
    return false;
  if (strcmp(family->key, "scrub_running") == 0)
    *value = strcmp(state, "running") == 0 || strcmp(state, "paused") == 0;
  if (strcmp(family->key, "attached") == 0) {
    if (!json_is_object(device))
      return false;
    *value = strcmp(sfd_events_text(device, "state"), "attached") == 0;
  }
  return true;
}

static void
put_volumes(struct writer *writer, const json_t *volumes) {
  size_t i;
  json_t *volume;
  double value;
  for (unsigned f = 0; f < sizeof of_volumes / sizeof of_volumes[0]; f++) {
    const struct of_volume *family = &of_volumes[f];
    begin(writer, family->family, family->type, family->help);
    json_array_foreach(volumes, i, volume) {
      if (value_of(family, volume, &value))
        put(writer, LABELS("volume", sfd_events_text(volume, "name")), value);
    }
  }
}

static void
put_spares(struct writer *writer, const json_t *volumes) {
  static const char *const states[] = {"free", "used", "refused"};
  size_t i, j;
  json_t *volume, *spare;
  begin(writer, "spare_state", "gauge", "1 for the state that the volume's spare is in.");
  json_array_foreach(volumes, i, volume) {
    json_array_foreach(json_object_get(json_object_get(volume, "service"), "spares"), j, spare) {
      for (unsigned s = 0; s < sizeof states / sizeof states[0]; s++)
        put(writer,
            LABELS("volume", sfd_events_text(volume, "name"), "spare",
                   sfd_events_text(spare, "name"), "state", states[s]),
            strcmp(sfd_events_text(spare, "state"), states[s]) == 0);
    }
  }
}

/* ---- legs ---- */

#define EACH_LEG(volumes, volume, leg)                                                             \
  size_t i_, j_;                                                                                   \
  json_t *volume, *leg;                                                                            \
  json_array_foreach(volumes, i_, volume)                                                          \
    json_array_foreach(json_object_get(volume, "legs"), j_, leg)

static void
put_leg_states(struct writer *writer, const json_t *volumes) {
  static const char *const states[] = {"in-sync",     "late",    "probing",
                                       "catching-up", "missing", "faulty"};
  begin(writer, "leg_state", "gauge", "1 for the state that the leg is in.");
  EACH_LEG(volumes, volume, leg) {
    for (unsigned s = 0; s < sizeof states / sizeof states[0]; s++)
      put(writer,
          LABELS("volume", sfd_events_text(volume, "name"), "leg", sfd_events_text(leg, "name"),
                 "state", states[s]),
          strcmp(sfd_events_text(leg, "state"), states[s]) == 0);
  }
}

/* The legs that a suspended volume waits for. */
static void
put_waited_for(struct writer *writer, const json_t *volumes) {
  begin(writer, "leg_waited_for", "gauge",
        "1 while the volume is suspended, or fails requests, for want of the leg.");
  EACH_LEG(volumes, volume, leg) {
    const char *name = sfd_events_text(leg, "name");
    size_t i;
    json_t *waits;
    bool waited = false;
    json_array_foreach(json_object_get(volume, "waits_for"), i, waits)
      waited = waited || strcmp(json_string_value(waits), name) == 0;
    put(writer, LABELS("volume", sfd_events_text(volume, "name"), "leg", name), waited);
  }
}

static void
put_legs(struct writer *writer, const json_t *volumes) {
  static const struct {
    const char *family, *type, *inner, *key, *help;
  } families[] = {
      {"leg_stale_bytes", "gauge", NULL, "stale_bytes", "Bytes that the leg lacks."},
      {"leg_late_requests", "gauge", NULL, "late_requests",
       "Requests given up on that the kernel still holds."},
      {"leg_timeouts_total", "counter", NULL, "timeouts",
       "Requests that the leg did not answer in time."},
      {"leg_errors_total", "counter", NULL, "errors", "Requests that the leg failed."},
      {"leg_repairs_total", "counter", NULL, "repairs",
       "What the leg could not read and was written over from another one."},
      {"leg_read_bytes_total", "counter", NULL, "bytes_read",
       "Bytes read from the leg for clients."},
      {"leg_written_bytes_total", "counter", NULL, "bytes_written",
       "Bytes written to the leg for clients."},
      {"leg_window", "gauge", NULL, "window",
       "Requests that the leg is handed at a time, of the kind that it has."},
      {"leg_in_flight", "gauge", NULL, "in_flight",
       "Requests of any kind that the leg owes an answer."},
      {"leg_oldest_seconds", "gauge", NULL, "oldest_ms", "The age of the oldest of these."},
      {"leg_resync_done_bytes", "gauge", "resync", "done_bytes",
       "Copied to the leg in this catching-up."},
      {"leg_resync_total_bytes", "gauge", "resync", "total_bytes",
       "To be copied in this catching-up."},
  };
  for (unsigned f = 0; f < sizeof families / sizeof families[0]; f++) {
    begin(writer, families[f].family, families[f].type, families[f].help);
    EACH_LEG(volumes, volume, leg) {
      const json_t *object = families[f].inner ? json_object_get(leg, families[f].inner) : leg;
      if (!json_is_object(object))
        continue;
      put(writer,
          LABELS("volume", sfd_events_text(volume, "name"), "leg", sfd_events_text(leg, "name")),
          scaled(object, families[f].key));
    }
  }
}

/* The quantiles are of the last minute, the count is since the start. */
static void
put_latencies(struct writer *writer, const json_t *volumes) {
  static const char *const kinds[] = {"read", "write", "flush"};
  static const char *const quantiles[][2] = {
      {"0.5", "p50_us"}, {"0.99", "p99_us"}, {"0.999", "p999_us"}, {"1", "max_us"}};
  begin(writer, "leg_latency_seconds", "summary",
        "How long the leg took to answer in the last minute, by quantile; an unanswered "
        "request counts with its age.");
  {
    EACH_LEG(volumes, volume, leg) {
      for (unsigned k = 0; k < 3; k++) {
        const json_t *latency = json_object_get(json_object_get(leg, "latency"), kinds[k]);
        for (unsigned q = 0; q < 4 && number(latency, "recent") > 0; q++)
          put(writer,
              LABELS("volume", sfd_events_text(volume, "name"), "leg", sfd_events_text(leg, "name"),
                     "kind", kinds[k], "quantile", quantiles[q][0]),
              number(latency, quantiles[q][1]) / 1e6);
      }
    }
  }
  begin(writer, "leg_requests_total", "counter", "Requests that the leg answered.");
  EACH_LEG(volumes, volume, leg) {
    for (unsigned k = 0; k < 3; k++)
      put(writer,
          LABELS("volume", sfd_events_text(volume, "name"), "leg", sfd_events_text(leg, "name"),
                 "kind", kinds[k]),
          number(json_object_get(json_object_get(leg, "latency"), kinds[k]), "count"));
  }
}

/* ---- histograms ---- */

/* In seconds. */
static const double bounds[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10};

/* Counts the server's own buckets, four to the octave, that end at or below the bound. */
static double
count_within(const json_t *latency, double bound) {
  double count = 0;
  size_t i;
  json_t *bucket;
  json_array_foreach(json_object_get(latency, "buckets"), i, bucket)
    if (json_number_value(json_array_get(bucket, 0)) <= bound * 1e9)
      count += json_number_value(json_array_get(bucket, 1));
  return count;
}

/* As exact as the buckets are: each counts as its longest. */
static double
sum_of(const json_t *latency) {
  double sum = 0;
  size_t i;
  json_t *bucket;
  json_array_foreach(json_object_get(latency, "buckets"), i, bucket)
    sum += json_number_value(json_array_get(bucket, 0)) / 1e9 *
           json_number_value(json_array_get(bucket, 1));
  return sum;
}

static void
put_histogram(struct writer *writer, const char *volume, const char *leg, const char *kind,
              const json_t *latency) {
  const char *family = writer->family;
  char name[64], bound[32];
  snprintf(name, sizeof name, "%s_bucket", family);
  writer->family = name;
  for (unsigned i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
    snprintf(bound, sizeof bound, "%g", bounds[i]);
    put(writer, LABELS("volume", volume, "leg", leg, "kind", kind, "le", bound),
        count_within(latency, bounds[i]));
  }
  put(writer, LABELS("volume", volume, "leg", leg, "kind", kind, "le", "+Inf"),
      count_within(latency, HUGE_VAL));
  snprintf(name, sizeof name, "%s_sum", family);
  put(writer, LABELS("volume", volume, "leg", leg, "kind", kind), sum_of(latency));
  snprintf(name, sizeof name, "%s_count", family);
  put(writer, LABELS("volume", volume, "leg", leg, "kind", kind), count_within(latency, HUGE_VAL));
  writer->family = family;
}

static void
put_histograms(struct writer *writer, const json_t *volumes) {
  static const char *const kinds[] = {"read", "write", "flush"};
  begin(writer, "leg_request_duration_seconds", "histogram",
        "How long the leg took to answer, since the server started.");
  EACH_LEG(volumes, volume, leg) {
    for (unsigned k = 0; k < 3; k++) {
      const json_t *latency = json_object_get(json_object_get(leg, "latency"), kinds[k]);
      if (json_is_array(json_object_get(latency, "buckets")))
        put_histogram(writer, sfd_events_text(volume, "name"), sfd_events_text(leg, "name"),
                      kinds[k], latency);
    }
  }
}

char *
sfd_exposition_make(const json_t *volumes) {
  char *text = NULL;
  size_t size = 0;
  struct writer writer = {.out = open_memstream(&text, &size)};
  if (writer.out == NULL)
    return NULL;
  put_build(&writer);
  put_states(&writer, volumes);
  put_volumes(&writer, volumes);
  put_spares(&writer, volumes);
  put_leg_states(&writer, volumes);
  put_waited_for(&writer, volumes);
  put_legs(&writer, volumes);
  put_latencies(&writer, volumes);
  put_histograms(&writer, volumes);
  bool failed = ferror(writer.out) != 0;
  if (fclose(writer.out) != 0 || failed) {
    free(text);
    return NULL;
  }
  return text;
}

/* The last incident in plain sentences, from the events. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl.h"

static bool
is(const json_t *event, const char *key, const char *text) {
  return strcmp(ctl_json_text(event, key), text) == 0;
}

/* A leg that leaves, or a volume that is not healthy any more, with nothing wrong before. */
static size_t
find_begin(const json_t *events, size_t *end) {
  size_t count = json_array_size(events), begin = count;
  bool well = true;
  *end = count;
  for (size_t i = 0; i < count; i++) {
    const json_t *event = json_array_get(events, i);
    bool leaves = is(event, "event", "leg-state") && !is(event, "to", "in-sync");
    bool fails =
        (is(event, "event", "state") && !is(event, "to", "healthy") &&
         !is(event, "to", "stopping")) ||
        (is(event, "event", "service") && (is(event, "to", "down") || is(event, "to", "silent")));
    if ((leaves || fails) && well) {
      begin = i;
      *end = count;
      well = false;
    }
    if (is(event, "event", "state") && is(event, "to", "healthy")) {
      if (!well)
        *end = i;
      well = true;
    }
  }
  return begin;
}

/* Milliseconds since 1970. */
static int64_t
time_of(const json_t *event) {
  const char *utc = ctl_json_text(event, "time"), *rest;
  time_t seconds = 0;
  int ms = 0;
  rest = ctl_parse_time(utc, &seconds);
  if (rest)
    sscanf(rest, ".%3d", &ms);
  return (int64_t) seconds * 1000 + ms;
}

static void
put_time(int64_t ms) {
  time_t seconds = (time_t) (ms / 1000);
  struct tm local;
  char text[32];
  strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", localtime_r(&seconds, &local));
  printf("%s.%03d  ", text, (int) (ms % 1000));
}

static const char *
duration(int64_t ms, char text[CTL_TEXT_MAX]) {
  return ms < 100000 ? ctl_time_us((uint64_t) (ms < 0 ? 0 : ms) * 1000, text)
                     : ctl_time_left((uint64_t) ms / 1000, text);
}

/* ---- one event, in words ---- */

/* When the leg, or the volume where leg is "", came to the state that this event ends. */
static int64_t
since(const json_t *events, size_t begin, size_t i, const char *leg) {
  const char *from = ctl_json_text(json_array_get(events, i), "from");
  for (size_t k = i; k-- > begin;) {
    const json_t *event = json_array_get(events, k);
    if (is(event, "leg", leg) && is(event, "to", from) &&
        is(event, "event", *leg ? "leg-state" : "state"))
      return time_of(event);
  }
  return 0;
}

static void
tell_leg(const json_t *event, const char *reason) {
  static const struct {
    const char *to, *says;
  } words[] = {{"late", "did not answer in time and was left out"},
               {"missing", "went away"},
               {"faulty", "was taken out"},
               {"probing", "answers again, and is tried"},
               {"catching-up", "is well, and is copied what it missed"},
               {"in-sync", "is whole again"}};
  const char *says = ctl_json_text(event, "to");
  for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++)
    if (is(event, "to", words[i].to))
      says = words[i].says;
  printf("Leg %s %s", ctl_json_text(event, "leg"), says);
  if (*reason) {
    fputs(": ", stdout);
    ctl_put(reason);
  }
}

static void
tell_state(const json_t *event, const char *reason) {
  const char *to = ctl_json_text(event, "to");
  if (strcmp(to, "suspended") == 0)
    fputs("Writes had to wait", stdout);
  else if (strcmp(to, "failed") == 0)
    fputs("Requests failed to their clients", stdout);
  else if (strcmp(to, "degraded") == 0)
    fputs("The volume went on with fewer legs", stdout);
  else if (strcmp(to, "healthy") == 0)
    fputs("All legs are in sync", stdout);
  else
    printf("The volume is %s", to);
  if (*reason) {
    fputs(": it ", stdout);
    ctl_put(reason);
  }
}

static void
tell(const json_t *events, size_t begin, size_t i) {
  const json_t *event = json_array_get(events, i);
  const char *reason = ctl_json_text(event, "reason"), *leg = ctl_json_text(event, "leg");
  char text[CTL_TEXT_MAX];
  int64_t now = time_of(event), before = 0;
  put_time(now);
  if (is(event, "event", "leg-state")) {
    tell_leg(event, reason);
    before = since(events, begin, i, leg);
  } else if (is(event, "event", "state")) {
    tell_state(event, reason);
    before = since(events, begin, i, "");
  } else {
    printf("%s%s%s", *leg ? "Leg " : "", leg, *leg ? ": " : "");
    ctl_put(ctl_json_text(event, "event"));
    if (*ctl_json_text(event, "to"))
      printf(" %s", ctl_json_text(event, "to"));
    if (*reason) {
      fputs(": ", stdout);
      ctl_put(reason);
    }
  }
  if (before > 0)
    printf(" (after %s %s)", duration(now - before, text), ctl_json_text(event, "from"));
  puts(".");
}

/* ---- what it has cost ---- */

static uint64_t
longest_us(const json_t *volume) {
  static const char *const kinds[] = {"read", "write", "flush"};
  uint64_t longest = 0;
  for (unsigned k = 0; k < 3; k++) {
    const json_t *buckets =
        json_object_get(json_object_get(json_object_get(volume, "latency"), kinds[k]), "buckets");
    size_t n = json_array_size(buckets);
    uint64_t us =
        n == 0 ? 0
               : (uint64_t) json_integer_value(json_array_get(json_array_get(buckets, n - 1), 0)) /
                     1000;
    longest = us > longest ? us : longest;
  }
  return longest;
}

static void
print_cost(const json_t *volume) {
  char text[CTL_TEXT_MAX];
  uint64_t longest = longest_us(volume), errors;
  size_t i;
  json_t *leg;
  errors = ctl_json_number(json_object_get(volume, "requests"), "errors");
  putchar('\n');
  if (longest > 0)
    printf("Since its server started no client has waited longer than %s for an answer",
           ctl_time_us(longest, text));
  else
    fputs("Since its server started no client has asked for anything", stdout);
  printf("; %" PRIu64 " requests failed.\n", errors);
  json_array_foreach(json_object_get(volume, "legs"), i, leg) {
    uint64_t copied = ctl_json_number(leg, "resync_bytes"),
             stale = ctl_json_number(leg, "stale_bytes");
    if (copied > 0)
      printf("Leg %s was copied %s that it had missed.\n", ctl_json_text(leg, "name"),
             ctl_size(copied, text));
    if (stale > 0)
      printf("Leg %s still lacks %s.\n", ctl_json_text(leg, "name"), ctl_size(stale, text));
  }
}

static int
print_incident(const char *volume, const json_t *events, const json_t *own) {
  size_t end, begin = find_begin(events, &end), count = json_array_size(events);
  char text[CTL_TEXT_MAX];
  if (begin == count) {
    printf("%s: nothing has gone wrong, as far back as the events go.\n", volume);
    return CTL_DONE;
  }
  int64_t first = time_of(json_array_get(events, begin));
  if (end < count)
    printf("%s: the last incident took %s.\n\n", volume,
           duration(time_of(json_array_get(events, end)) - first, text));
  else
    printf("%s: this goes on.\n\n", volume);
  for (size_t i = begin; i < count && i <= end; i++)
    tell(events, begin, i);
  print_cost(own);
  return CTL_DONE;
}

int
ctl_why(struct ctl_command_call *call) {
  static const struct option options[] = {{0}};
  if (ctl_next_option(call, options) != -1)
    return CTL_USAGE;
  if (call->argc - optind != 1)
    return ctl_wrong_usage(call->command, "why: one VOLUME is needed");
  const char *volume = call->argv[optind];
  char path[SF_CONTROL_PATH_MAX];
  json_t *reply = NULL, *own;
  int status = ctl_find_socket(call, volume, path);
  if (status == CTL_DONE)
    status = ctl_ask(path, json_pack("{ss ss}", "command", "events", "volume", volume), &reply);
  if (status != CTL_DONE)
    return status;
  own = ctl_ask_status(path, volume);
  status = own ? print_incident(volume, json_object_get(reply, "events"), own) : CTL_FAILED;
  json_decref(own);
  json_decref(reply);
  return status;
}

/* The last incident, or an earlier one, in plain sentences, from the events. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl.h"

static bool
is(const json_t *event, const char *key, const char *text) {
  return strcmp(ctl_json_text(event, key), text) == 0;
}

/* From its first event to its last; end: the number of all events if it goes on. */
struct incident {
  size_t begin, end;
};

static bool
is_bad(const json_t *event) {
  bool leaves = is(event, "event", "leg-state") && !is(event, "to", "in-sync");
  bool fails =
      is(event, "event", "state") && !is(event, "to", "healthy") && !is(event, "to", "stopping");
  bool is_gone =
      is(event, "event", "service") && (is(event, "to", "down") || is(event, "to", "silent"));
  return leaves || fails || is_gone;
}

/* A leg that leaves, or a volume that is not healthy any more, with nothing wrong before.  The
 * oldest first. */
static unsigned
find_incidents(const json_t *events, struct incident incident[SF_CONTROL_EVENTS_KEPT]) {
  size_t count = json_array_size(events);
  unsigned found = 0;
  bool well = true;
  for (size_t i = 0; i < count; i++) {
    const json_t *event = json_array_get(events, i);
    if (well && is_bad(event) && found < SF_CONTROL_EVENTS_KEPT) {
      incident[found++] = (struct incident){i, count};
      well = false;
    }
    if (is(event, "event", "state") && is(event, "to", "healthy")) {
      if (!well)
        incident[found - 1].end = i;
      well = true;
    }
  }
  return found;
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

enum { TIME_COLUMNS = 25 };

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
tell_leg(FILE *out, const json_t *event, const char *reason) {
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
  fprintf(out, "Leg %s %s", ctl_json_text(event, "leg"), says);
  if (*reason)
    fprintf(out, ": %s", reason);
}

static void
tell_state(FILE *out, const json_t *event, const char *reason) {
  const char *to = ctl_json_text(event, "to");
  if (strcmp(to, "suspended") == 0)
    fputs("Writes had to wait", out);
  else if (strcmp(to, "failed") == 0)
    fputs("Requests failed to their clients", out);
  else if (strcmp(to, "degraded") == 0)
    fputs("The volume went on with fewer legs", out);
  else if (strcmp(to, "healthy") == 0)
    fputs("All legs are in sync", out);
  else
    fprintf(out, "The volume is %s", to);
  if (*reason)
    fprintf(out, ": it %s", reason);
}

static void
tell(FILE *out, const json_t *events, size_t begin, size_t i) {
  const json_t *event = json_array_get(events, i);
  const char *reason = ctl_json_text(event, "reason"), *leg = ctl_json_text(event, "leg");
  char text[CTL_TEXT_MAX];
  int64_t before = 0;
  if (is(event, "event", "leg-state")) {
    tell_leg(out, event, reason);
    before = since(events, begin, i, leg);
  } else if (is(event, "event", "state")) {
    tell_state(out, event, reason);
    before = since(events, begin, i, "");
  } else {
    const char *to = ctl_json_text(event, "to");
    fprintf(out, "%s%s%s%s", *leg ? "Leg " : "", leg, *leg ? ": " : "",
            ctl_json_text(event, "event"));
    fprintf(out, "%s%s%s%s", *to ? " " : "", to, *reason ? ": " : "", reason);
  }
  if (before > 0)
    fprintf(out, " (after %s %s)", duration(time_of(event) - before, text),
            ctl_json_text(event, "from"));
  fputc('.', out);
}

static void
print_event(const json_t *events, size_t begin, size_t i) {
  char *text = NULL;
  size_t size;
  FILE *out = open_memstream(&text, &size);
  if (out == NULL)
    return;
  tell(out, events, begin, i);
  put_time(time_of(json_array_get(events, i)));
  if (fclose(out) == 0)
    ctl_put_wrapped(text, TIME_COLUMNS, TIME_COLUMNS);
  putchar('\n');
  free(text);
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

/* ---- which one ---- */

static int64_t
length_ms(const json_t *events, const struct incident *incident) {
  return time_of(json_array_get(events, incident->end)) -
         time_of(json_array_get(events, incident->begin));
}

static void
print_incident(const char *volume, const json_t *events, const struct incident *incident,
               unsigned number) {
  size_t count = json_array_size(events);
  char text[CTL_TEXT_MAX];
  if (incident->end == count)
    printf("%s: this goes on.\n\n", volume);
  else if (number == 1)
    printf("%s: the last incident took %s.\n\n", volume,
           duration(length_ms(events, incident), text));
  else
    printf("%s: incident %u before now took %s.\n\n", volume, number,
           duration(length_ms(events, incident), text));
  for (size_t i = incident->begin; i < count && i <= incident->end; i++)
    print_event(events, incident->begin, i);
}

/* Which legs left, each once and as it first did, and how bad it was for clients. */
static void
put_summary(const json_t *events, const struct incident *incident) {
  static const char *const worst_last[] = {"degraded", "suspended", "failed"};
  int worst = -1;
  const char *between = "";
  for (size_t i = incident->begin; i < json_array_size(events) && i <= incident->end; i++) {
    const json_t *event = json_array_get(events, i);
    bool told = false;
    for (size_t k = incident->begin; k < i; k++)
      told = told || (is(json_array_get(events, k), "event", "leg-state") &&
                      is(json_array_get(events, k), "leg", ctl_json_text(event, "leg")));
    if (is(event, "event", "leg-state") && is_bad(event) && !told) {
      printf("%sleg ", between);
      ctl_put(ctl_json_text(event, "leg"));
      printf(" %s", ctl_json_text(event, "to"));
      between = ", ";
    }
    if (is(event, "event", "service") && is_bad(event)) {
      printf("%sserver %s", between, ctl_json_text(event, "to"));
      between = ", ";
    }
    for (int w = 0; w < 3; w++)
      if (is(event, "event", "state") && is(event, "to", worst_last[w]) && w > worst)
        worst = w;
  }
  if (worst >= 0)
    printf("%s%s", *between ? "; " : "", worst_last[worst]);
}

/* The newest first, with the number that shows it whole. */
static void
print_list(const json_t *events, const struct incident *incident, unsigned incidents) {
  char text[CTL_TEXT_MAX];
  for (unsigned number = 1; number <= incidents; number++) {
    const struct incident *one = &incident[incidents - number];
    bool goes_on = one->end == json_array_size(events);
    printf("%3u  ", number);
    put_time(time_of(json_array_get(events, one->begin)));
    printf("%-10s  ", goes_on ? "goes on" : duration(length_ms(events, one), text));
    put_summary(events, one);
    putchar('\n');
  }
}

struct wish {
  const char *volume;
  bool list;
  unsigned number; /* 1: the last */
};

static int
show(const struct wish *wish, const json_t *events, const json_t *own) {
  static struct incident incident[SF_CONTROL_EVENTS_KEPT];
  unsigned incidents = find_incidents(events, incident);
  if (incidents == 0) {
    printf("%s: nothing has gone wrong, as far back as the events go.\n", wish->volume);
    return CTL_DONE;
  }
  if (wish->list) {
    print_list(events, incident, incidents);
    return CTL_DONE;
  }
  if (wish->number > incidents)
    return ctl_fail("%s: the events go back to %u incident%s: why %s --list", wish->volume,
                    incidents, incidents == 1 ? "" : "s", wish->volume);
  print_incident(wish->volume, events, &incident[incidents - wish->number], wish->number);
  if (wish->number == 1)
    print_cost(own);
  return CTL_DONE;
}

static bool
read_number(const char *text, unsigned *number) {
  char *end;
  unsigned long value = strtoul(text, &end, 10);
  *number = (unsigned) value;
  return *text >= '0' && *text <= '9' && *end == '\0' && value > 0 && value <= UINT_MAX;
}

int
ctl_why(struct ctl_command_call *call) {
  struct wish wish = {.number = 1};
  if (ctl_take_flag(call, "list", &wish.list) != CTL_DONE)
    return CTL_USAGE;
  int words = call->argc - optind;
  if (words != 1 && (words != 2 || wish.list))
    return ctl_wrong_usage(call->command, "why: one VOLUME is needed%s",
                           words > 1 ? ", and with --list no more" : "");
  wish.volume = call->argv[optind];
  if (words == 2 && !read_number(call->argv[optind + 1], &wish.number))
    return ctl_wrong_usage(call->command, "why: %s: which incident?  1 is the last",
                           call->argv[optind + 1]);
  char path[SF_CONTROL_PATH_MAX];
  json_t *reply = NULL, *own;
  int status = ctl_find_socket(call, wish.volume, path);
  if (status == CTL_DONE)
    status =
        ctl_ask(path, json_pack("{ss ss}", "command", "events", "volume", wish.volume), &reply);
  if (status != CTL_DONE)
    return status;
  own = ctl_ask_status(path, wish.volume);
  status = own ? show(&wish, json_object_get(reply, "events"), own) : CTL_FAILED;
  json_decref(own);
  json_decref(reply);
  return status;
}

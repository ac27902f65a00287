#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"

enum {
  UNANSWERED_MS = 1000, /* older than that, a request is worth a word */
  LOST_SHOWN = 5,
};

enum ctl_colour
ctl_volume_colour(const char *state) {
  static const char *const passing[] = {"degraded", "starting", "stopping"};
  if (strcmp(state, "healthy") == 0)
    return CTL_GREEN;
  for (unsigned i = 0; i < sizeof passing / sizeof passing[0]; i++)
    if (strcmp(state, passing[i]) == 0)
      return CTL_YELLOW;
  return CTL_RED;
}

enum ctl_colour
ctl_leg_colour(const char *state) {
  if (strcmp(state, "in-sync") == 0)
    return CTL_GREEN;
  bool returning = strcmp(state, "probing") == 0 || strcmp(state, "catching-up") == 0;
  return returning ? CTL_YELLOW : CTL_RED;
}

/* "resync 43.2%, 120 MiB/s, 2 min left" */
static size_t
resync_text(const json_t *resync, char *text, size_t size) {
  if (!json_is_object(resync))
    return 0;
  uint64_t done = ctl_json_number(resync, "done_bytes");
  uint64_t total = ctl_json_number(resync, "total_bytes");
  uint64_t rate = ctl_json_number(resync, "rate_bytes_per_s");
  char part[CTL_TEXT_MAX];
  size_t used = (size_t) snprintf(text, size, "resync %.1f%%",
                                  total ? (double) done * 100 / (double) total : 100.0);
  if (rate > 0)
    used += (size_t) snprintf(text + used, size - used, ", %s/s", ctl_size(rate, part));
  if (json_is_integer(json_object_get(resync, "seconds_left")))
    used += (size_t) snprintf(text + used, size - used, ", %s left",
                              ctl_time_left(ctl_json_number(resync, "seconds_left"), part));
  if (ctl_json_number(resync, "stalled_ms") > 0)
    used += (size_t) snprintf(text + used, size - used, ", not advancing for %s",
                              ctl_time_us(ctl_json_number(resync, "stalled_ms") * 1000, part));
  return used;
}

/* "3 unanswered, the oldest 6.2 s" */
static size_t
unanswered_text(const json_t *leg, char *text, size_t size) {
  uint64_t oldest_ms = ctl_json_number(leg, "oldest_ms");
  char age[CTL_TEXT_MAX];
  if (oldest_ms < UNANSWERED_MS)
    return 0;
  return (size_t) snprintf(text, size, "%" PRIu64 " unanswered, the oldest %s",
                           ctl_json_number(leg, "in_flight"), ctl_time_us(oldest_ms * 1000, age));
}

static void
note_text(const json_t *leg, char *text, size_t size) {
  const char *reason = ctl_json_text(leg, "reason");
  char age[CTL_TEXT_MAX];
  uint64_t seconds;
  size_t used = resync_text(json_object_get(leg, "resync"), text, size);
  used += (size_t) snprintf(text + used, size - used, "%s%s", used && *reason ? "; " : "", reason);
  if (strcmp(ctl_json_text(leg, "state"), "in-sync") != 0 &&
      ctl_age_s(ctl_json_text(leg, "since"), &seconds))
    used += (size_t) snprintf(text + used, size - used, "%sfor %s", used ? "; " : "",
                              ctl_time_left(seconds, age));
  size_t before = used;
  if (used)
    used += (size_t) snprintf(text + used, size - used, "; ");
  if (unanswered_text(leg, text + used, size - used) == 0)
    text[before] = '\0';
}

static void
leg_row(struct ctl_table *table, const json_t *leg) {
  const char *state = ctl_json_text(leg, "state");
  const json_t *write = json_object_get(json_object_get(leg, "latency"), "write");
  uint64_t stale = ctl_json_number(leg, "stale_bytes");
  char text[CTL_TEXT_MAX], note[CTL_REASON_MAX + 256];
  note_text(leg, note, sizeof note);

  ctl_table_row(table);
  ctl_table_cell(table, 0, ctl_json_text(leg, "name"), CTL_PLAIN);
  ctl_table_cell(table, 1, ctl_json_text(leg, "path"), CTL_PLAIN);
  ctl_table_cell(table, 2, state, ctl_leg_colour(state));
  ctl_table_cell(table, 3, stale ? ctl_size(stale, text) : "-", CTL_PLAIN);
  ctl_table_cell(table, 4, ctl_count(ctl_json_number(leg, "late_requests"), text), CTL_PLAIN);
  ctl_table_cell(table, 5, ctl_count(ctl_json_number(leg, "timeouts"), text), CTL_PLAIN);
  ctl_table_cell(table, 6, ctl_count(ctl_json_number(leg, "errors"), text), CTL_PLAIN);
  ctl_table_cell(
      table, 7,
      ctl_json_number(write, "recent") ? ctl_time_us(ctl_json_number(write, "p99_us"), text) : "-",
      CTL_PLAIN);
  ctl_table_cell(table, 8, note, CTL_PLAIN);
}

static void
print_lost(const json_t *volume) {
  const json_t *ranges = json_object_get(volume, "lost_ranges");
  size_t i, j;
  json_t *range, *leg;
  json_array_foreach(ranges, i, range) {
    if (i == LOST_SHOWN) {
      printf("  and %zu more, see --json\n", json_array_size(ranges) - i);
      return;
    }
    printf("  lost: %" PRIu64 " bytes at %" PRIu64 " cannot be read on",
           ctl_json_number(range, "length"), ctl_json_number(range, "offset"));
    json_array_foreach(json_object_get(range, "legs"), j, leg) {
      fputs(j ? ", " : " ", stdout);
      ctl_put(json_string_value(leg));
    }
    puts(json_is_true(json_object_get(range, "recorded"))
             ? ", and no other leg has them: an error on every leg until they are written anew"
             : ", and no other leg has them: write them anew");
  }
}

/* Like a resync: it reads as zeros meanwhile. */
static void
print_unwritten(const json_t *volume) {
  uint64_t unwritten = ctl_json_number(volume, "unwritten_bytes");
  uint64_t bytes = ctl_json_number(volume, "size_bytes");
  char size[CTL_TEXT_MAX];
  if (unwritten > 0 && unwritten <= bytes && bytes > 0)
    printf("  initialising, %u %%: %s were never written and are still to be zeroed\n",
           (unsigned) ((bytes - unwritten) / (bytes / 100 + 1)), ctl_size(unwritten, size));
}

static void
print_requests(const json_t *volume) {
  const json_t *requests = json_object_get(volume, "requests");
  printf("  %" PRIu64 " reads, %" PRIu64 " writes, %" PRIu64 " flushes; %" PRIu64
         " answered without a late leg, %" PRIu64 " failed\n",
         ctl_json_number(requests, "reads"), ctl_json_number(requests, "writes"),
         ctl_json_number(requests, "flushes"), ctl_json_number(requests, "late_acks"),
         ctl_json_number(requests, "errors"));
  const char *reason = ctl_json_text(volume, "reason");
  if (*reason) {
    fputs("  ", stdout);
    ctl_put_coloured(reason, CTL_RED);
    putchar('\n');
  }
  print_lost(volume);
  ctl_print_scrub(volume);
  uint64_t unconverged = ctl_json_number(volume, "unconverged_bytes");
  char size[CTL_TEXT_MAX];
  if (unconverged > 0)
    printf("  %s being made equal on all legs (after a crash or grow)\n",
           ctl_size(unconverged, size));
  print_unwritten(volume);
}

/* "writes 50 ms to 120 ms (auto)", of all legs; nothing if they do not say. */
static bool
print_deadline(const json_t *legs, const char *kind, const char *word, const char *before) {
  uint64_t least = UINT64_MAX, most = 0;
  char key[16], one[CTL_TEXT_MAX], other[CTL_TEXT_MAX];
  const char *source = "";
  size_t i;
  json_t *leg;

  snprintf(key, sizeof key, "%s_us", kind);
  json_array_foreach(legs, i, leg) {
    uint64_t us = ctl_json_number(json_object_get(leg, "deadline"), key);
    const char *its = ctl_json_text(json_object_get(leg, "deadline_source"), kind);
    least = us < least ? us : least;
    most = us > most ? us : most;
    source = !*source || strcmp(its, source) == 0 ? its : "mixed";
  }
  if (!*source || most == 0)
    return false;
  ctl_time_us(least, one);
  printf("%s%s %s%s%s (", before, word, one, least < most ? " to " : "",
         least < most ? ctl_time_us(most, other) : "");
  ctl_put(source);
  putchar(')');
  return true;
}

static void
print_deadlines(const json_t *legs) {
  bool some = print_deadline(legs, "read", "reads", "  deadlines: ");
  some = print_deadline(legs, "write", "writes", some ? ", " : "  deadlines: ") || some;
  some = print_deadline(legs, "flush", "flushes", some ? ", " : "  deadlines: ") || some;
  if (some)
    putchar('\n');
}

/* At a start of surefootd itself the file counts, and it would not start what runs now. */
static void
print_spares(const json_t *service) {
  size_t i;
  json_t *spare;
  json_array_foreach(json_object_get(service, "spares"), i, spare) {
    const char *leg = ctl_json_text(spare, "leg"), *reason = ctl_json_text(spare, "reason");
    const char *state = ctl_json_text(spare, "state"), *own = ctl_json_text(spare, "instead_of");
    printf("  spare %s, ", ctl_json_text(spare, "name"));
    ctl_put(ctl_json_text(spare, "path"));
    if (*leg)
      printf(": is leg %s%s", leg, *own ? " instead of " : "");
    else if (strcmp(state, "used") == 0)
      printf(": is used by %s", ctl_json_text(spare, "volume"));
    else
      printf(": %s%s", state, *reason ? ": " : "");
    ctl_put(*leg ? own : reason);
    putchar('\n');
  }
}

static void
print_file_behind(const json_t *service) {
  size_t i;
  json_t *leg;
  json_array_foreach(json_object_get(service, "file_behind"), i, leg) {
    const char *in_file = ctl_json_text(leg, "in_file"), *now = ctl_json_text(leg, "now");
    fputs("  ", stdout);
    ctl_put_coloured("the file does not say so", CTL_YELLOW);
    fputs(": leg ", stdout);
    ctl_put(ctl_json_text(leg, "leg"));
    fputs(*now ? " is " : " is removed", stdout);
    ctl_put(now);
    fputs(*in_file ? ", and there it is " : ", and there it is not listed", stdout);
    ctl_put(in_file);
    puts("; change it, then: surefootctl reload");
  }
}

/* What surefootd says of a volume that it runs, where that is not the usual. */
static void
print_service(const json_t *volume) {
  const json_t *service = json_object_get(volume, "service");
  const char *state = ctl_json_text(service, "state"), *reason = ctl_json_text(service, "reason");
  const char *needed = ctl_json_text(service, "restart_needed_for");
  const json_t *device = json_object_get(service, "device");
  if (*state && (strcmp(state, "serving") != 0 || *reason)) {
    printf("  server %s", state);
    if (*reason) {
      fputs(": ", stdout);
      ctl_put(reason);
    }
    putchar('\n');
  }
  if (json_is_object(device)) {
    const char *why = ctl_json_text(device, "reason"), *door = ctl_json_text(device, "door");
    fputs("  ", stdout);
    ctl_put(ctl_json_text(device, "path"));
    printf(" %s", ctl_json_text(device, "state"));
    if (*door)
      printf(" (%s door)", strcmp(door, "fast") == 0 ? "fast" : "nbdkit's");
    fputs(*why ? ": " : "", stdout);
    ctl_put(why);
    putchar('\n');
  }
  if (*needed) {
    fputs("  needs a restart for: ", stdout);
    ctl_put(needed);
    putchar('\n');
  }
  print_file_behind(service);
  print_spares(service);
}

static void
print_down(const json_t *volume) {
  ctl_put_coloured(ctl_json_text(volume, "name"), CTL_BOLD);
  fputs(": ", stdout);
  ctl_put_coloured(ctl_json_text(volume, "state"),
                   ctl_volume_colour(ctl_json_text(volume, "state")));
  putchar('\n');
  print_service(volume);
}

static void
print_volume(const json_t *volume) {
  static const char *const headings[] = {"LEG",       "PATH",    "STATE",      ">STALE", ">LATE",
                                         ">TIMEOUTS", ">ERRORS", ">P99 WRITE", "NOTE"};
  const char *state = ctl_json_text(volume, "state");
  const json_t *record = json_object_get(volume, "record");
  const json_t *legs = json_object_get(volume, "legs");
  char size[CTL_TEXT_MAX];
  uint64_t seconds;

  ctl_put_coloured(ctl_json_text(volume, "name"), CTL_BOLD);
  fputs(": ", stdout);
  ctl_put_coloured(state, ctl_volume_colour(state));
  printf(", %s, %" PRIu64 " of %zu legs in sync (%" PRIu64 " needed), record %" PRIu64 ".%" PRIu64,
         ctl_size(ctl_json_number(volume, "size_bytes"), size),
         ctl_json_number(volume, "legs_in_sync"), json_array_size(legs),
         ctl_json_number(volume, "min_legs"), ctl_json_number(record, "term"),
         ctl_json_number(record, "change"));
  if (ctl_age_s(ctl_json_text(volume, "since"), &seconds))
    printf("; for %s", ctl_time_left(seconds, size));
  putchar('\n');
  print_requests(volume);
  print_deadlines(legs);
  print_service(volume);

  struct ctl_table table;
  ctl_table_init(&table, sizeof headings / sizeof headings[0], headings);
  size_t i;
  json_t *leg;
  json_array_foreach(legs, i, leg)
    leg_row(&table, leg);
  ctl_table_print(&table);
}

/* Files that surefootd leaves out: their volumes are not served, or go on with what they said
 * before. */
static void
print_problems(const json_t *problems) {
  for (size_t i = 0; i < json_array_size(problems); i++) {
    ctl_put_coloured("not used: ", CTL_RED);
    ctl_put(json_string_value(json_array_get(problems, i)));
    putchar('\n');
  }
}

/* ---- for a monitor: Nagios and what speaks like it ---- */

enum { CHECK_OK, CHECK_WARNING, CHECK_CRITICAL, CHECK_UNKNOWN };

/* Unknown is worse than a volume that still serves, and better than one known not to serve. */
static int
worse(int a, int b) {
  static const int rank[] = {
      [CHECK_OK] = 0, [CHECK_WARNING] = 1, [CHECK_UNKNOWN] = 2, [CHECK_CRITICAL] = 3};
  return rank[a] > rank[b] ? a : b;
}

static int
check_state(const char *state) {
  static const struct {
    const char *state;
    int code;
  } codes[] = {{"healthy", CHECK_OK},
               {"degraded", CHECK_WARNING},
               {"suspended", CHECK_CRITICAL},
               {"failed", CHECK_CRITICAL}};
  for (unsigned i = 0; i < sizeof codes / sizeof codes[0]; i++)
    if (strcmp(codes[i].state, state) == 0)
      return codes[i].code;
  return CHECK_UNKNOWN;
}

static void
print_check(const json_t *volume) {
  const char *reason = ctl_json_text(volume, "reason");
  const json_t *legs = json_object_get(volume, "legs");
  size_t i;
  json_t *leg;
  if (!*reason)
    reason = ctl_json_text(json_object_get(volume, "service"), "reason");
  ctl_put(ctl_json_text(volume, "name"));
  printf(": %s", ctl_json_text(volume, "state"));
  if (json_array_size(legs) > 0)
    printf(", %" PRIu64 " of %zu legs in sync", ctl_json_number(volume, "legs_in_sync"),
           json_array_size(legs));
  if (*reason) {
    fputs("; ", stdout);
    ctl_put(reason);
  }
  json_array_foreach(legs, i, leg) {
    const char *state = ctl_json_text(leg, "state"), *why = ctl_json_text(leg, "reason");
    if (strcmp(state, "in-sync") == 0)
      continue;
    printf("; leg %s %s%s", ctl_json_text(leg, "name"), state, *why ? ": " : "");
    ctl_put(why);
  }
  putchar('\n');
}

static int
check(const struct ctl_command_call *call, const char *volume) {
  struct ctl_sockets sockets;
  if (ctl_find_sockets(call, volume, &sockets) != CTL_DONE)
    return CHECK_UNKNOWN;
  json_t *volumes = json_array(), *problems = NULL, *one;
  int code = ctl_collect_status(&sockets, volume, volumes, &problems) == CTL_DONE ? CHECK_OK
                                                                                  : CHECK_UNKNOWN;
  size_t i;
  json_array_foreach(volumes, i, one)
    code = worse(code, check_state(ctl_json_text(one, "state")));
  if (json_array_size(volumes) == 0) {
    puts("no volume");
    code = worse(code, CHECK_UNKNOWN);
  }
  if (json_array_size(problems) > 0)
    code = worse(code, CHECK_WARNING);
  /* A monitor shows the first line. */
  for (int worst = 1; worst >= 0; worst--)
    json_array_foreach(volumes, i, one)
      if ((check_state(ctl_json_text(one, "state")) == code) == worst)
        print_check(one);
  print_problems(problems);
  json_decref(volumes);
  json_decref(problems);
  return code;
}

int
ctl_status(struct ctl_command_call *call) {
  static const struct option options[] = {
      {"json", no_argument, NULL, 'j'}, {"check", no_argument, NULL, 'k'}, {0}};
  bool json = false, checks = false;
  int option;
  while ((option = ctl_next_option(call, options)) != -1) {
    if (option == '?')
      return CTL_USAGE;
    json = json || option == 'j';
    checks = checks || option == 'k';
  }
  if (call->argc - optind > 1)
    return ctl_wrong_usage(call->command, "status: one VOLUME at most");
  if (json && checks)
    return ctl_wrong_usage(call->command, "status: either --json or --check");
  const char *volume = call->argv[optind]; /* NULL at the end */
  if (checks)
    return check(call, volume);

  struct ctl_sockets sockets;
  int status = ctl_find_sockets(call, volume, &sockets);
  if (status != CTL_DONE)
    return status;
  json_t *volumes = json_array(), *problems = NULL; /* NULL: surefootd has not answered */
  status = ctl_collect_status(&sockets, volume, volumes, &problems);

  if (json && (status == CTL_DONE || json_array_size(volumes) > 0)) {
    json_t *document = json_pack("{si sO sO*}", "version", SF_CONTROL_VERSION, "volumes", volumes,
                                 "problems", problems);
    if (ctl_print_json(document) != CTL_DONE)
      status = CTL_FAILED;
    json_decref(document);
  }
  for (size_t i = 0; !json && i < json_array_size(volumes); i++) {
    if (i > 0)
      putchar('\n');
    /* Without its server there is nothing to tell of its legs. */
    if (json_array_size(json_object_get(json_array_get(volumes, i), "legs")) == 0)
      print_down(json_array_get(volumes, i));
    else
      print_volume(json_array_get(volumes, i));
  }
  if (!json)
    print_problems(problems);
  json_decref(volumes);
  json_decref(problems);
  return status;
}

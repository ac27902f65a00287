/* A drill: a leg of a healthy volume is kept from answering, its comings and goings are told as
 * they happen, and at the end what clients saw.  Ctrl-C ends it early; when this program is killed,
 * it ends by itself. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl.h"
#include "pace.h"

enum { LOOK_MS = 50, BACK_S = 60 };

struct drill {
  const char *volume, *leg;
  char path[SF_CONTROL_PATH_MAX];
  json_t *before; /* the volume's status when it began */
  struct timespec began;
  char state[CTL_TEXT_MAX]; /* of the leg, as it was told last */
  bool over, cancelled;
};

static volatile sig_atomic_t interrupted;

static void
interrupt(int signal) {
  interrupted = 1;
}

static double
elapsed_s(const struct drill *drill) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double) (now.tv_sec - drill->began.tv_sec) +
         (double) (now.tv_nsec - drill->began.tv_nsec) / 1e9;
}

__attribute__((format(printf, 2, 3))) static void
tell(const struct drill *drill, const char *format, ...) {
  va_list args;
  printf("%7.3f s  ", elapsed_s(drill));
  va_start(args, format);
  vprintf(format, args);
  va_end(args);
  putchar('\n');
  fflush(stdout);
}

/* ---- what clients saw ---- */

static void
print_kind(const json_t *now, const json_t *before, const char *kind, const char *plural) {
  struct pace_histogram histogram = {0};
  char p50[CTL_TEXT_MAX], p99[CTL_TEXT_MAX], longest[CTL_TEXT_MAX];
  ctl_pace_add(&histogram, json_object_get(now, "latency"), json_object_get(before, "latency"),
               kind);
  if (histogram.total == 0)
    return;
  printf("  %-8s %9" PRIu64 "   p50 %s, p99 %s, longest %s\n", plural, histogram.total,
         ctl_time_us(ctl_pace_percentile_ns(&histogram, 500) / 1000, p50),
         ctl_time_us(ctl_pace_percentile_ns(&histogram, 990) / 1000, p99),
         ctl_time_us(ctl_pace_percentile_ns(&histogram, 1000) / 1000, longest));
}

static uint64_t
grown_by(const json_t *now, const json_t *before, const char *key) {
  uint64_t a = ctl_json_number(json_object_get(now, "requests"), key);
  uint64_t b = ctl_json_number(json_object_get(before, "requests"), key);
  return a > b ? a - b : 0;
}

/* True: nothing failed. */
static bool
print_outcome(const struct drill *drill, const json_t *now) {
  const json_t *before = drill->before;
  uint64_t errors = grown_by(now, before, "errors"), late = grown_by(now, before, "late_acks");
  uint64_t requests = grown_by(now, before, "reads") + grown_by(now, before, "writes") +
                      grown_by(now, before, "flushes");
  if (requests == 0 && errors == 0) {
    puts("clients: no request came in that time, so nothing was tried; write to the volume "
         "meanwhile");
    return true;
  }
  puts("clients:");
  print_kind(now, before, "read", "reads");
  print_kind(now, before, "write", "writes");
  print_kind(now, before, "flush", "flushes");
  printf("  errors   %9" PRIu64 "   answered without the leg: %" PRIu64 "\n", errors, late);
  return errors == 0;
}

/* ---- watching ---- */

/* Each start of the volume has a term of its own. */
static bool
is_another_server(const struct drill *drill, const json_t *now) {
  return ctl_json_number(json_object_get(now, "record"), "term") !=
         ctl_json_number(json_object_get(drill->before, "record"), "term");
}

/* Why it ended before its time, from the events; "": it did not. */
static void
find_reason(const struct drill *drill, char reason[CTL_REASON_MAX]) {
  json_t *reply = NULL, *event;
  size_t i;
  reason[0] = '\0';
  if (ctl_ask(drill->path, json_pack("{ss ss}", "command", "events", "volume", drill->volume),
              &reply) != CTL_DONE)
    return;
  json_array_foreach(json_object_get(reply, "events"), i, event)
    if (strcmp(ctl_json_text(event, "event"), "drill") == 0 &&
        strcmp(ctl_json_text(event, "to"), "ends") == 0)
      snprintf(reason, CTL_REASON_MAX, "%s", ctl_json_text(event, "reason"));
  json_decref(reply);
}

static void
tell_end(struct drill *drill) {
  char reason[CTL_REASON_MAX];
  find_reason(drill, reason);
  drill->over = true;
  tell(drill, "the leg answers again%s%s", *reason ? ": " : "", reason);
}

/* False: there is nothing more to watch. */
static bool
look(struct drill *drill, const json_t *volume) {
  const json_t *leg = ctl_find_leg(volume, drill->leg);
  const char *state = ctl_json_text(leg, "state");
  if (strcmp(state, drill->state) != 0) {
    tell(drill, "leg %s: %s -> %s%s%s", drill->leg, drill->state, state,
         *ctl_json_text(leg, "reason") ? ": " : "", ctl_json_text(leg, "reason"));
    snprintf(drill->state, sizeof drill->state, "%s", state);
  }
  if (!drill->over && ctl_json_number(leg, "drill_ms") == 0)
    tell_end(drill);
  return !drill->over || strcmp(state, "in-sync") != 0;
}

static int
ask_to_cancel(const char *path, const char *volume) {
  return ctl_ask(path,
                 json_pack("{ss ss ss}", "command", "drill", "volume", volume, "action", "cancel"),
                 NULL);
}

static void
cancel(struct drill *drill) {
  tell(drill, "told to end");
  drill->cancelled = ask_to_cancel(drill->path, drill->volume) == CTL_DONE;
}

static int
give_up(struct drill *drill, const char *why) {
  if (!drill->over && !drill->cancelled)
    cancel(drill);
  return ctl_fail("%s: %s: what became of the drill is not known; `surefootctl status` and "
                  "`surefootctl why` tell",
                  drill->volume, why);
}

static int
watch(struct drill *drill, double duration_s) {
  const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000};
  const json_t *leg;
  bool sound;
  for (;;) {
    json_t *now = ctl_ask_status(drill->path, drill->volume);
    if (now == NULL)
      return give_up(drill, "no answer from its server");
    if (is_another_server(drill, now)) {
      json_decref(now);
      return give_up(drill, "its server ended, and another one serves");
    }
    if (!look(drill, now)) {
      sound = print_outcome(drill, now);
      json_decref(now);
      return sound ? CTL_DONE : CTL_FAILED;
    }
    leg = ctl_find_leg(now, drill->leg);
    if (drill->over && (interrupted || elapsed_s(drill) > duration_s + BACK_S)) {
      tell(drill, "leg %s is %s; `surefootctl status` tells how it goes on", drill->leg,
           ctl_json_text(leg, "state"));
      sound = print_outcome(drill, now);
      json_decref(now);
      return CTL_FAILED;
    }
    json_decref(now);
    if (interrupted && !drill->cancelled) {
      interrupted = 0;
      cancel(drill);
    }
    nanosleep(&pause, NULL);
  }
}

/* ---- asking ---- */

static int
run(struct drill *drill, const char *duration, uint64_t duration_ns) {
  const struct sigaction action = {.sa_handler = interrupt};
  int status;
  drill->before = ctl_ask_status(drill->path, drill->volume);
  if (drill->before == NULL)
    return CTL_FAILED;
  snprintf(drill->state, sizeof drill->state, "%s",
           ctl_json_text(ctl_find_leg(drill->before, drill->leg), "state"));
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  clock_gettime(CLOCK_MONOTONIC, &drill->began);
  status = ctl_ask(drill->path,
                   json_pack("{ss ss ss ss ss}", "command", "drill", "volume", drill->volume,
                             "action", "start", "leg", drill->leg, "duration", duration),
                   NULL);
  if (status == CTL_DONE) {
    tell(drill, "leg %s does not answer for %s; Ctrl-C ends it", drill->leg, duration);
    status = watch(drill, (double) duration_ns / 1e9);
  }
  json_decref(drill->before);
  return status;
}

int
ctl_drill(struct ctl_command_call *call) {
  static const struct option options[] = {
      {"for", required_argument, NULL, 'f'}, {"cancel", no_argument, NULL, 'x'}, {0}};
  bool cancels = false;
  struct drill drill = {0};
  char name[SF_LEG_NAME_MAX];
  const char *duration = NULL;
  uint64_t ns = 0;
  int option, status;
  while ((option = ctl_next_option(call, options)) != -1) {
    if (option == '?')
      return CTL_USAGE;
    cancels = cancels || option == 'x';
    if (option == 'f')
      duration = optarg;
  }
  if (cancels && duration)
    return ctl_wrong_usage(call->command, "drill --cancel: takes no time");
  if (call->argc - optind != 2 - cancels)
    return ctl_wrong_usage(call->command, "drill: one VOLUME, and one LEG or --cancel");
  drill.volume = call->argv[optind];
  status = ctl_find_socket(call, drill.volume, drill.path);
  if (status != CTL_DONE)
    return status;
  if (cancels) {
    status = ask_to_cancel(drill.path, drill.volume);
    if (status == CTL_DONE)
      printf("%s: the drill has ended\n", drill.volume);
    return status;
  }
  drill.leg = call->argv[optind + 1];
  if (duration == NULL)
    duration = "10s";
  if (sf_parse_duration(duration, &ns) < 0 || ns == 0)
    return ctl_wrong_usage(call->command, "drill: --for %s: not a time (for example 10s)",
                           duration);
  status = ctl_leg_by_path(drill.path, drill.volume, &drill.leg, name);
  return status == CTL_DONE ? run(&drill, duration, ns) : status;
}

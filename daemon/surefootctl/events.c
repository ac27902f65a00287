#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl.h"

struct show {
  bool json, follow;
  time_t since;  /* 0: all */
  bool answered; /* the first line, which holds the events so far */
  bool stopped;  /* the last event says that the volume stopped */
  int status;
};

/* "2026-01-31T12:00:00.123Z" as local time; as it is when it is something else. */
static void
put_time(const char *utc) {
  struct tm when;
  time_t seconds;
  const char *rest = ctl_parse_time(utc, &seconds);
  char date[32];
  if (rest == NULL) {
    ctl_put(utc);
    return;
  }
  localtime_r(&seconds, &when);
  strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &when);
  printf("%s%.4s", date, rest);
}

static void
put_what(const json_t *event) {
  const char *leg = ctl_json_text(event, "leg");
  const char *from = ctl_json_text(event, "from"), *to = ctl_json_text(event, "to");
  const char *kind = ctl_json_text(event, "event"), *reason = ctl_json_text(event, "reason");
  if (*leg) {
    fputs("leg ", stdout);
    ctl_put(leg);
    fputs(": ", stdout);
  }
  if (strcmp(kind, "scrub") == 0)
    fputs("scrub: ", stdout);
  if (*from && *to) {
    ctl_put(from);
    fputs(" -> ", stdout);
    ctl_put(to);
  } else {
    ctl_put(kind);
  }
  if (*reason) {
    fputs(": ", stdout);
    ctl_put(reason);
  }
  if (strcmp(kind, "events-lost") == 0)
    printf(": %d", (int) ctl_json_number(event, "count"));
}

static void
print_event(struct show *show, const json_t *event) {
  show->stopped = strcmp(ctl_json_text(event, "event"), "stopped") == 0;
  if (show->json) {
    json_dumpf(event, stdout, JSON_COMPACT);
  } else {
    put_time(ctl_json_text(event, "time"));
    fputs("  ", stdout);
    ctl_put(ctl_json_text(event, "volume"));
    fputs("  ", stdout);
    put_what(event);
  }
  putchar('\n');
}

static bool
is_wanted(const struct show *show, const json_t *event) {
  time_t when;
  return show->since == 0 || ctl_parse_time(ctl_json_text(event, "time"), &when) == NULL ||
         when >= show->since;
}

/* "10m": so long ago; or a time as it is printed, with or without its seconds, or a day. */
static bool
parse_since(const char *text, time_t *since) {
  static const char *const forms[] = {"%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"};
  uint64_t ago_ns;
  if (sf_parse_duration(text, &ago_ns) == 0) {
    *since = time(NULL) - (time_t) (ago_ns / 1000000000);
    return true;
  }
  for (unsigned i = 0; i < sizeof forms / sizeof forms[0]; i++) {
    struct tm when = {.tm_isdst = -1};
    const char *rest = strptime(text, forms[i], &when);
    if (rest && *rest == '\0') {
      *since = mktime(&when);
      return true;
    }
  }
  return false;
}

static bool
on_line(void *arg, json_t *object) {
  struct show *show = arg;
  if (!show->answered) {
    show->answered = true;
    show->status = ctl_check_reply(object);
    size_t i;
    json_t *event;
    json_array_foreach(json_object_get(object, "events"), i, event)
      if (is_wanted(show, event))
        print_event(show, event);
    show->stopped = false;
  } else {
    print_event(show, object);
  }
  /* A reader that went away ends it. */
  return fflush(stdout) == 0 && show->status == CTL_DONE && show->follow;
}

int
ctl_events(struct ctl_command_call *call) {
  static const struct option options[] = {
      {"follow", no_argument, NULL, 'f'},
      {"json", no_argument, NULL, 'j'},
      {"since", required_argument, NULL, 's'},
      {0},
  };
  struct show show = {0};
  int option;
  while ((option = ctl_next_option(call, options)) != -1) {
    if (option == '?')
      return CTL_USAGE;
    show.follow = show.follow || option == 'f';
    show.json = show.json || option == 'j';
    if (option == 's' && !parse_since(optarg, &show.since))
      return ctl_wrong_usage(call->command,
                             "events: --since %s: not a time (for example 10m, or \"2026-01-31 "
                             "12:00\")",
                             optarg);
  }
  if (call->argc - optind > 1)
    return ctl_wrong_usage(call->command, "events: one VOLUME at most");
  const char *volume = call->argv[optind];

  char path[SF_CONTROL_PATH_MAX];
  int status = ctl_find_socket(call, volume, path);
  if (status != CTL_DONE)
    return status;
  json_t *request =
      json_pack("{ss sb ss*}", "command", "events", "follow", (int) show.follow, "volume", volume);
  if (request == NULL)
    return ctl_fail("an argument is not valid UTF-8");
  int r = sf_control_follow(path, request, on_line, &show);
  json_decref(request);
  if (r < 0)
    return ctl_fail_to_reach(path, r);
  if (show.status == CTL_DONE && show.follow && !show.stopped && !ferror(stdout))
    return ctl_fail("%s: the connection ended", path);
  return show.status;
}

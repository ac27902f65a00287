/* The legs are compared online: begun, steered, waited for, and told. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"

enum { RANGES_SHOWN = 8 };

/* ---- what it has found ---- */

static void
put_names(const json_t *names) {
  size_t i;
  json_t *name;
  json_array_foreach(names, i, name) {
    fputs(i ? ", " : "", stdout);
    ctl_put(json_string_value(name));
  }
}

static void
print_range(const json_t *range) {
  const char *what = ctl_json_text(range, "what");
  bool repaired = json_is_true(json_object_get(range, "repaired"));
  printf("    %" PRIu64 " bytes at %" PRIu64 ": ", ctl_json_number(range, "length"),
         ctl_json_number(range, "offset"));
  put_names(json_object_get(range, "legs"));
  if (strcmp(what, "unknown") == 0)
    fputs(" differ, and none is known to be right: --repair --from LEG decides", stdout);
  else if (strcmp(what, "unreadable") == 0)
    fputs(repaired ? " could not be read: written anew" : " cannot be read", stdout);
  else
    fputs(repaired ? " was wrong: written anew" : " is wrong", stdout);
  putchar('\n');
}

static void
put_bytes(const json_t *scrub, const char *key, const char *what, enum ctl_colour colour) {
  uint64_t bytes = ctl_json_number(scrub, key);
  char text[128], size[CTL_TEXT_MAX];
  if (bytes == 0)
    return;
  snprintf(text, sizeof text, ", %s %s", ctl_size(bytes, size), what);
  ctl_put_coloured(text, colour);
}

static bool
is_over(const json_t *scrub) {
  const char *state = ctl_json_text(scrub, "state");
  return strcmp(state, "done") == 0 || strcmp(state, "canceled") == 0;
}

static bool
is_alike(const json_t *scrub) {
  return ctl_json_number(scrub, "mismatch_bytes") + ctl_json_number(scrub, "unreadable_bytes") == 0;
}

static void
put_times(const json_t *scrub) {
  char text[CTL_TEXT_MAX];
  uint64_t age;
  if (is_over(scrub) && ctl_age_s(ctl_json_text(scrub, "ended"), &age))
    printf("; %s ago", ctl_time_left(age, text));
  else if (!is_over(scrub) && ctl_age_s(ctl_json_text(scrub, "began"), &age))
    printf("; for %s", ctl_time_left(age, text));
}

void
ctl_print_scrub(const json_t *volume) {
  const json_t *scrub = json_object_get(volume, "scrub");
  const json_t *ranges = json_object_get(scrub, "ranges");
  uint64_t done = ctl_json_number(scrub, "done_bytes"),
           total = ctl_json_number(scrub, "total_bytes");
  char size[CTL_TEXT_MAX], of[CTL_TEXT_MAX];
  if (!json_is_object(scrub))
    return;
  printf("  scrub ");
  ctl_put(ctl_json_text(scrub, "state"));
  if (done < total)
    printf(": %.1f%%, %s of %s of ", total ? 100 * (double) done / (double) total : 0,
           ctl_size(done, size), ctl_size(total, of));
  else
    printf(": %s of ", ctl_size(total, size));
  put_names(json_object_get(scrub, "legs"));
  fputs(" compared", stdout);
  put_bytes(scrub, "unwritten_bytes", "of these never written", CTL_PLAIN);
  put_bytes(scrub, "mismatch_bytes", "differ", CTL_RED);
  put_bytes(scrub, "unreadable_bytes", "cannot be read", CTL_RED);
  put_bytes(scrub, "repaired_bytes", "of these written anew", CTL_PLAIN);
  if (is_alike(scrub))
    fputs(", all alike", stdout);
  put_times(scrub);
  putchar('\n');
  for (size_t i = 0; i < json_array_size(ranges) && i < RANGES_SHOWN; i++)
    print_range(json_array_get(ranges, i));
  if (json_array_size(ranges) > RANGES_SHOWN)
    printf("    and %zu more, see --json\n", json_array_size(ranges) - RANGES_SHOWN);
}

/* ---- waiting ---- */

static enum ctl_wait
has_ended(const json_t *volume, void *arg) {
  const json_t *scrub = json_object_get(volume, "scrub");
  bool *sound = arg;
  if (!json_is_object(scrub) || json_is_true(json_object_get(scrub, "of_earlier_server"))) {
    ctl_fail("%s: its server ended, and the scrub with it", ctl_json_text(volume, "name"));
    return CTL_WAIT_FAILED;
  }
  if (!is_over(scrub))
    return CTL_WAIT;
  *sound = strcmp(ctl_json_text(scrub, "state"), "done") == 0 &&
           ctl_json_number(scrub, "mismatch_bytes") + ctl_json_number(scrub, "unreadable_bytes") ==
               ctl_json_number(scrub, "repaired_bytes");
  printf("%s:\n", ctl_json_text(volume, "name"));
  ctl_print_scrub(volume);
  return CTL_WAIT_DONE;
}

static int
wait_for_end(const char *path, const char *volume) {
  bool sound = false;
  int status = ctl_wait_until(path, volume, has_ended, &sound);
  return status == CTL_DONE && !sound ? CTL_FAILED : status;
}

/* ---- asking ---- */

struct order {
  const char *action, *from, *rate;
  bool repair, waits, all;
};

static int
ask(const struct ctl_command_call *call, const char *volume, const struct order *order) {
  char path[SF_CONTROL_PATH_MAX], name[SF_LEG_NAME_MAX];
  const char *from = order->from;
  int status = ctl_find_socket(call, volume, path);
  bool starts = strcmp(order->action, "start") == 0;
  json_t *request;
  if (status == CTL_DONE && from)
    status = ctl_leg_by_path(path, volume, &from, name);
  if (status != CTL_DONE)
    return status;
  request = json_pack("{ss ss ss ss* ss*}", "command", "scrub", "volume", volume, "action",
                      order->action, "leg", from, "rate", order->rate);
  if (order->repair && json_object_set_new(request, "repair", json_true()) < 0)
    return ctl_fail("out of memory");
  status = ctl_ask(path, request, NULL);
  if (status != CTL_DONE)
    return status;
  if (starts && order->waits)
    return wait_for_end(path, volume);
  if (starts)
    printf("%s: the legs are compared: `surefootctl status` tells how it goes on\n", volume);
  else
    printf("%s: scrub: %s\n", volume, order->action);
  return CTL_DONE;
}

/* One after the other if they are waited for: volumes share disks. */
static int
ask_all(const struct ctl_command_call *call, const struct order *order) {
  struct ctl_sockets sockets;
  json_t *volumes = json_array(), *problems = NULL, *volume;
  int status = ctl_find_sockets(call, NULL, &sockets);
  size_t i;
  if (status == CTL_DONE)
    status = ctl_collect_status(&sockets, NULL, volumes, &problems);
  json_array_foreach(volumes, i, volume) {
    int r = json_array_size(json_object_get(volume, "legs")) > 1
                ? ask(call, ctl_json_text(volume, "name"), order)
                : CTL_DONE; /* nothing to compare */
    if (r != CTL_DONE)
      status = CTL_FAILED;
  }
  json_decref(volumes);
  json_decref(problems);
  return status;
}

/* False: wrong usage, which was told. */
static bool
take_options(struct ctl_command_call *call, struct order *order) {
  static const struct option options[] = {
      {"repair", no_argument, NULL, 'r'},     {"from", required_argument, NULL, 'F'},
      {"rate", required_argument, NULL, 'R'}, {"wait", no_argument, NULL, 'w'},
      {"all", no_argument, NULL, 'a'},        {0}};
  int option;
  while ((option = ctl_next_option(call, options)) != -1) {
    if (option == '?')
      return false;
    order->repair = order->repair || option == 'r';
    order->waits = order->waits || option == 'w';
    order->all = order->all || option == 'a';
    if (option == 'F')
      order->from = optarg;
    if (option == 'R')
      order->rate = optarg;
  }
  return true;
}

static const char *
take_action(struct ctl_command_call *call) {
  static const char *const actions[] = {"pause", "resume", "cancel"};
  for (unsigned i = 0; call->argc - optind == 2 && i < sizeof actions / sizeof actions[0]; i++)
    if (strcmp(call->argv[optind], actions[i]) == 0) {
      optind++;
      return actions[i];
    }
  return "start";
}

int
ctl_scrub(struct ctl_command_call *call) {
  struct order order = {0};
  bool plain;
  if (!take_options(call, &order))
    return CTL_USAGE;
  plain = !order.repair && order.from == NULL && order.rate == NULL && !order.waits && !order.all;
  order.action = take_action(call);
  if (strcmp(order.action, "start") != 0 && !plain)
    return ctl_wrong_usage(call->command, "scrub %s: takes no options", order.action);
  if (order.all && (order.repair || order.from))
    return ctl_wrong_usage(call->command, "scrub: --repair is for one volume");
  if (order.from && !order.repair)
    return ctl_wrong_usage(call->command, "scrub: --from is for --repair");
  if (call->argc - optind != !order.all)
    return ctl_wrong_usage(call->command, "scrub: one VOLUME%s", order.all ? ", or --all" : "");
  return order.all ? ask_all(call, &order) : ask(call, call->argv[optind], &order);
}

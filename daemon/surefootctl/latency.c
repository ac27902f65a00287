/* The legs' histograms side by side, with the deadline drawn in. */
#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl.h"
#include "pace.h"
#include "screen.h"

enum {
  ROWS = 45 /* octaves of nanoseconds */,
  FIRST_ROW = 14 /* 16 us; no disk is faster */,
  LABEL = 9,
  CELL_MIN = 14,
  CELL_MAX = 30,
  RULE_LEAST = 3
};

struct column {
  const char *name;
  uint64_t deadline_ns; /* 0: none */
  uint64_t count[ROWS], total;
};

/* The row of what took at most so long: 2^row ns, and what took less than the first has. */
static unsigned
row_of(uint64_t ns) {
  unsigned row = FIRST_ROW;
  while (row + 1 < ROWS && (UINT64_C(1) << row) < ns)
    row++;
  return row;
}

static void
fill(struct column *column, const json_t *entry, const json_t *earlier, const char *kind) {
  struct pace_histogram histogram = {0};
  ctl_pace_add(&histogram, json_object_get(entry, "latency"), json_object_get(earlier, "latency"),
               kind);
  for (unsigned i = 0; i < histogram.buckets; i++)
    column->count[row_of(histogram.bucket[i].ns)] += histogram.bucket[i].count;
  column->total = histogram.total;
}

static void
put_bar(const struct column *column, unsigned row, unsigned width, const char *block) {
  double share = column->total ? (double) column->count[row] / (double) column->total : 0;
  unsigned room = width - 7, bar = (unsigned) (share * room + 0.5);
  if (column->count[row] == 0) {
    printf("%*s", (int) width, "");
    return;
  }
  for (unsigned i = 0; i < bar; i++)
    fputs(block, stdout);
  printf("%*s", (int) (room - bar), "");
  if (share >= 0.0995)
    printf("%5.0f%% ", share * 100);
  else if (share >= 0.001)
    printf("%5.1f%% ", share * 100);
  else
    printf("%6s ", "<0.1%");
}

/* The limit lies in the row of what takes longer than half of it. */
static void
put_deadline(const struct column *column, unsigned columns, unsigned row, unsigned width,
             const char *rule) {
  bool any = false;
  for (unsigned i = 0; i < columns; i++)
    any = any || (column[i].deadline_ns && row_of(column[i].deadline_ns) == row);
  if (!any)
    return;
  printf("%*s", LABEL, "");
  for (unsigned i = 0; i < columns; i++) {
    char text[CTL_TEXT_MAX], limit[CTL_TEXT_MAX + 16] = "";
    if (column[i].deadline_ns && row_of(column[i].deadline_ns) == row)
      snprintf(limit, sizeof limit,
               width > RULE_LEAST + sizeof " late after 99.9 ms" ? " late after %s" : " late: %s",
               ctl_time_us(column[i].deadline_ns / 1000, text));
    unsigned used = (unsigned) strlen(limit);
    for (unsigned k = 0; limit[0] && k + used + 1 < width; k++) {
      ctl_put_coloured(rule, CTL_RED);
    }
    ctl_put_coloured(limit, CTL_RED);
    int pad = limit[0] ? (used + 1 < width ? 1 : 0) : (int) width;
    printf("%*s", pad, "");
  }
  putchar('\n');
}

static void
put_block(const struct column *column, unsigned columns, unsigned width) {
  bool utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
  const char *block = utf8 ? "\u2588" : "#", *rule = utf8 ? "\u2500" : "-";
  unsigned first = ROWS, last = 0;
  for (unsigned i = 0; i < columns; i++)
    for (unsigned row = 0; row < ROWS; row++)
      if (column[i].count[row] > 0) {
        first = row < first ? row : first;
        last = row > last ? row : last;
      }
  printf("%*s", LABEL, "");
  for (unsigned i = 0; i < columns; i++) {
    char head[SF_LEG_NAME_MAX + 32];
    snprintf(head, sizeof head, "%s (%" PRIu64 ")", column[i].name, column[i].total);
    printf("%-*.*s", (int) width, (int) width - 1, head);
  }
  putchar('\n');
  for (unsigned i = 0; i < columns; i++)
    if (column[i].deadline_ns && first < ROWS && row_of(column[i].deadline_ns) > last)
      last = row_of(column[i].deadline_ns);
  for (unsigned row = first; row <= last && row < ROWS; row++) {
    char text[CTL_TEXT_MAX];
    printf("%*s ", LABEL - 1, ctl_time_us(((UINT64_C(1) << row) + 999) / 1000, text));
    for (unsigned i = 0; i < columns; i++)
      put_bar(&column[i], row, width, block);
    putchar('\n');
    put_deadline(column, columns, row, width, rule);
  }
}

static void
print_histograms(const json_t *volume, const json_t *earlier, const char *kind) {
  static struct column column[SF_LEGS_MAX + 1];
  unsigned columns = 0, lines, wide, at_once, width;
  char key[16];
  size_t i;
  json_t *leg;
  memset(column, 0, sizeof column);
  snprintf(key, sizeof key, "%s_us", kind);
  column[columns].name = "clients";
  fill(&column[columns++], volume, earlier, kind);
  json_array_foreach(json_object_get(volume, "legs"), i, leg) {
    const json_t *before = json_array_get(json_object_get(earlier, "legs"), i);
    if (columns > SF_LEGS_MAX)
      break;
    column[columns].name = ctl_json_text(leg, "name");
    column[columns].deadline_ns = ctl_json_number(json_object_get(leg, "deadline"), key) * 1000;
    fill(&column[columns++], leg, before, kind);
  }
  ctl_screen_size(&lines, &wide);
  at_once = (wide - LABEL) / CELL_MIN > 0 ? (wide - LABEL) / CELL_MIN : 1;
  if (at_once > columns)
    at_once = columns;
  width = (wide - LABEL) / at_once;
  width = width > CELL_MAX ? CELL_MAX : width < CELL_MIN ? CELL_MIN : width;
  for (unsigned first = 0; first < columns; first += at_once) {
    if (first > 0)
      putchar('\n');
    put_block(&column[first], columns - first < at_once ? columns - first : at_once, width);
  }
  if (column[0].total == 0)
    printf("no %s was answered\n", kind);
}

/* What surefootd kept, where the status has what its server counted since its start. */
static int
take_past(const char *path, const char *volume, const char *since, json_t *now, uint64_t *seconds) {
  json_t *past = NULL, *legs = json_object_get(now, "legs"), *leg, *old;
  size_t i, j;
  int status = ctl_ask(
      path, json_pack("{ss ss ss}", "command", "latency", "volume", volume, "since", since), &past);
  if (status != CTL_DONE)
    return status;
  *seconds = ctl_json_number(past, "seconds");
  json_object_set(now, "latency", json_object_get(past, "latency"));
  json_array_foreach(legs, i, leg) {
    json_object_set_new(leg, "latency", json_object());
    json_array_foreach(json_object_get(past, "legs"), j, old)
      if (strcmp(ctl_json_text(old, "name"), ctl_json_text(leg, "name")) == 0)
        json_object_set(leg, "latency", json_object_get(old, "latency"));
  }
  json_decref(past);
  return CTL_DONE;
}

struct wish {
  const char *volume, *kind, *since; /* since: NULL, or a time */
  uint64_t for_ns;                   /* 0: not */
};

static void
pause_for(uint64_t ns) {
  const struct timespec wait = {.tv_sec = (time_t) (ns / 1000000000),
                                .tv_nsec = (long) (ns % 1000000000)};
  nanosleep(&wait, NULL);
}

static void
print_head(const struct wish *wish, uint64_t seconds) {
  char age[CTL_TEXT_MAX];
  printf("%s: how long %s take, ", wish->volume,
         strcmp(wish->kind, "flush") == 0 ? "flushes"
         : wish->kind[0] == 'r'           ? "reads"
                                          : "writes");
  if (wish->since)
    printf("in the last %s\n",
           seconds < 100 ? ctl_time_us(seconds * 1000000, age) : ctl_time_left(seconds, age));
  else if (wish->for_ns)
    printf("in %s\n", ctl_time_us(wish->for_ns / 1000, age));
  else
    puts("since its server started");
}

static int
show(struct ctl_command_call *call, const struct wish *wish) {
  char path[SF_CONTROL_PATH_MAX];
  uint64_t seconds = 0;
  int status = ctl_find_socket(call, wish->volume, path);
  if (status != CTL_DONE)
    return status;
  if (wish->since && !ctl_is_daemon(path))
    return ctl_fail("%s: --since: only surefootd keeps the past, and it does not run this volume; "
                    "--for TIME looks on from now",
                    wish->volume);
  json_t *earlier = wish->for_ns ? ctl_ask_status(path, wish->volume) : NULL;
  if (wish->for_ns && earlier == NULL)
    return CTL_FAILED;
  if (wish->for_ns)
    pause_for(wish->for_ns);
  json_t *now = ctl_ask_status(path, wish->volume);
  status = now ? CTL_DONE : CTL_FAILED;
  if (now && wish->since)
    status = take_past(path, wish->volume, wish->since, now, &seconds);
  if (status == CTL_DONE) {
    print_head(wish, seconds);
    print_histograms(now, earlier, wish->kind);
  }
  json_decref(now);
  json_decref(earlier);
  return status;
}

int
ctl_latency(struct ctl_command_call *call) {
  static const struct option options[] = {{"kind", required_argument, NULL, 'k'},
                                          {"for", required_argument, NULL, 'f'},
                                          {"since", required_argument, NULL, 's'},
                                          {0}};
  struct wish wish = {.kind = "write"};
  int option;
  uint64_t since_ns;
  while ((option = ctl_next_option(call, options)) != -1) {
    if (option == '?')
      return CTL_USAGE;
    if (option == 'k')
      wish.kind = optarg;
    else if (option == 's')
      wish.since = optarg;
    else if (sf_parse_duration(optarg, &wish.for_ns) < 0 || wish.for_ns == 0)
      return ctl_wrong_usage(call->command, "latency: --for %s: not a time (for example 10s)",
                             optarg);
  }
  if (wish.since && (sf_parse_duration(wish.since, &since_ns) < 0 || since_ns == 0))
    return ctl_wrong_usage(call->command, "latency: --since %s: not a time (for example 10m)",
                           wish.since);
  if (wish.since && wish.for_ns)
    return ctl_wrong_usage(call->command, "latency: --since looks back and --for on: one of them");
  if (strcmp(wish.kind, "read") != 0 && strcmp(wish.kind, "write") != 0 &&
      strcmp(wish.kind, "flush") != 0)
    return ctl_wrong_usage(call->command, "latency: --kind %s: read, write or flush", wish.kind);
  if (call->argc - optind != 1)
    return ctl_wrong_usage(call->command, "latency: one VOLUME is needed");
  wish.volume = call->argv[optind];
  setlocale(LC_CTYPE, "");
  return show(call, &wish);
}

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
  CELL_MAX = 30
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
      snprintf(limit, sizeof limit, " late after %s",
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

int
ctl_latency(struct ctl_command_call *call) {
  static const struct option options[] = {
      {"kind", required_argument, NULL, 'k'}, {"for", required_argument, NULL, 'f'}, {0}};
  const char *kind = "write";
  uint64_t for_ns = 0;
  int option;
  while ((option = ctl_next_option(call, options)) != -1) {
    if (option == '?')
      return CTL_USAGE;
    if (option == 'k')
      kind = optarg;
    else if (sf_parse_duration(optarg, &for_ns) < 0 || for_ns == 0)
      return ctl_wrong_usage(call->command, "latency: --for %s: not a time (for example 10s)",
                             optarg);
  }
  if (strcmp(kind, "read") != 0 && strcmp(kind, "write") != 0 && strcmp(kind, "flush") != 0)
    return ctl_wrong_usage(call->command, "latency: --kind %s: read, write or flush", kind);
  if (call->argc - optind != 1)
    return ctl_wrong_usage(call->command, "latency: one VOLUME is needed");
  const char *volume = call->argv[optind];
  char path[SF_CONTROL_PATH_MAX];
  setlocale(LC_CTYPE, "");
  int status = ctl_find_socket(call, volume, path);
  if (status != CTL_DONE)
    return status;
  json_t *earlier = for_ns ? ctl_ask_status(path, volume) : NULL, *now;
  if (for_ns && !earlier)
    return CTL_FAILED;
  if (for_ns) {
    const struct timespec wait = {.tv_sec = (time_t) (for_ns / 1000000000),
                                  .tv_nsec = (long) (for_ns % 1000000000)};
    nanosleep(&wait, NULL);
  }
  now = ctl_ask_status(path, volume);
  if (now) {
    char age[CTL_TEXT_MAX];
    printf("%s: how long %s take, ", volume,
           strcmp(kind, "flush") == 0 ? "flushes"
           : kind[0] == 'r'           ? "reads"
                                      : "writes");
    if (for_ns)
      printf("in %s\n", ctl_time_us(for_ns / 1000, age));
    else
      puts("since its server started");
    print_histograms(now, earlier, kind);
  }
  json_decref(now);
  json_decref(earlier);
  return now ? CTL_DONE : CTL_FAILED;
}

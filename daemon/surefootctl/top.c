/* A live view: what each leg does now, and what it did in the last two minutes. */
#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl.h"
#include "pace.h"
#include "screen.h"

enum {
  EVERY_MS = 1000,
  HISTORY = 60,   /* columns of the sparkline */
  PER_COLUMN = 2, /* seconds in each */
  VOLUMES_MAX = CTL_SOCKETS_MAX,
  LINE_MAX_BYTES = 1024,
};

enum sort { SORT_PLACE, SORT_RATE, SORT_P99, SORT_WAITING, SORTS };

static const char *const sort_names[SORTS] = {"place", "MB/s", "p99", "in flight"};

struct history {
  char name[SF_VOLUME_NAME_MAX];
  unsigned looks, count;
  float rate[HISTORY]; /* bytes per second, the most of each column, the newest last */
};

struct top {
  struct ctl_sockets sockets;
  const char *volume; /* NULL: all */
  bool batch, paused;
  enum sort sort;
  json_t *now, *earlier; /* arrays of volumes */
  double seconds;        /* between them */
  struct timespec looked;
  struct history history[VOLUMES_MAX];
  unsigned histories;
};

/* ---- looking ---- */

/* Without a word where one does not answer: the screen is not for that. */
static json_t *
ask_all(const struct top *top) {
  json_t *volumes = json_array();
  for (unsigned i = 0; i < top->sockets.count; i++) {
    json_t *request = json_pack("{ss ss*}", "command", "status", "volume", top->volume),
           *reply = NULL;
    if (request &&
        sf_control_call(top->sockets.path[i], request, CTL_REPLY_TIMEOUT_MS, &reply) == 0)
      ctl_add_volumes(volumes, json_object_get(reply, "volumes"));
    json_decref(request);
    json_decref(reply);
  }
  return volumes;
}

static json_t *
find_named(const json_t *list, const char *name) {
  size_t i;
  json_t *entry;
  json_array_foreach(list, i, entry)
    if (strcmp(ctl_json_text(entry, "name"), name) == 0)
      return entry;
  return NULL;
}

static void
note_rate(struct top *top, const char *name, double rate) {
  struct history *history = NULL;
  for (unsigned i = 0; i < top->histories && history == NULL; i++)
    if (strcmp(top->history[i].name, name) == 0)
      history = &top->history[i];
  if (history == NULL) {
    if (top->histories == VOLUMES_MAX)
      return;
    history = &top->history[top->histories++];
    snprintf(history->name, sizeof history->name, "%s", name);
  }
  if (history->looks++ % PER_COLUMN != 0) {
    float *last = &history->rate[history->count - 1];
    *last = (float) rate > *last ? (float) rate : *last;
    return;
  }
  if (history->count == HISTORY)
    memmove(history->rate, history->rate + 1, (HISTORY - 1) * sizeof history->rate[0]);
  else
    history->count++;
  history->rate[history->count - 1] = (float) rate;
}

static void
look(struct top *top) {
  struct timespec now;
  size_t i;
  json_t *volume;
  json_decref(top->earlier);
  top->earlier = top->now;
  top->now = ask_all(top);
  clock_gettime(CLOCK_MONOTONIC, &now);
  top->seconds = (double) (now.tv_sec - top->looked.tv_sec) +
                 (double) (now.tv_nsec - top->looked.tv_nsec) / 1e9;
  top->looked = now;
  json_array_foreach(top->now, i, volume) {
    const char *name = ctl_json_text(volume, "name");
    struct pace pace;
    ctl_pace_make(&pace, volume, find_named(top->earlier, name), top->seconds);
    if (pace.known)
      note_rate(top, name, pace.bytes_per_s);
  }
}

/* ---- one leg ---- */

struct row {
  const json_t *leg;
  struct pace pace;
};

static const char *
rate_text(const struct pace *pace, char text[CTL_TEXT_MAX]) {
  if (!pace->known)
    return "-";
  snprintf(text, CTL_TEXT_MAX, "%.1f", pace->bytes_per_s / 1e6);
  return text;
}

static const char *
count_text(const struct pace *pace, char text[CTL_TEXT_MAX]) {
  if (!pace->known)
    return "-";
  snprintf(text, CTL_TEXT_MAX, "%.0f", pace->requests_per_s);
  return text;
}

/* "39% 12m": with seven columns there is room for it at the end of a line of eighty. */
static const char *
resync_text(const json_t *leg, char text[CTL_TEXT_MAX]) {
  const json_t *resync = json_object_get(leg, "resync");
  unsigned long long s = ctl_json_number(resync, "seconds_left");
  char left[CTL_TEXT_MAX] = "";
  uint64_t total = ctl_json_number(resync, "total_bytes");
  if (!json_is_object(resync))
    return "";
  if (!json_is_integer(json_object_get(resync, "seconds_left")))
    snprintf(left, sizeof left, "%s", ctl_json_number(resync, "stalled_ms") > 0 ? " stuck" : "");
  else if (s < 60)
    snprintf(left, sizeof left, " %llus", s);
  else if (s < 3600)
    snprintf(left, sizeof left, " %llum", s / 60);
  else
    snprintf(left, sizeof left, " %lluh%02llum", s / 3600, s / 60 % 60);
  double share =
      total ? (double) ctl_json_number(resync, "done_bytes") * 100 / (double) total : 100;
  snprintf(text, CTL_TEXT_MAX, "%.0f%%%.16s", share, left);
  return text;
}

static const char *
window_text(const json_t *leg, char text[CTL_TEXT_MAX]) {
  const json_t *window = json_object_get(leg, "window");
  if (!json_is_integer(window))
    return "-";
  snprintf(text, CTL_TEXT_MAX, "%" JSON_INTEGER_FORMAT, json_integer_value(window));
  return text;
}

static enum ctl_colour
oldest_colour(const json_t *leg, const struct pace *pace) {
  uint64_t deadline_us = ctl_json_number(json_object_get(leg, "deadline"), "write_us");
  return pace->oldest_ms * 1000 > deadline_us && pace->in_flight > 0 ? CTL_RED : CTL_PLAIN;
}

/* A line of cells, cut at the width of the screen; left: columns that are still free. */
struct line {
  unsigned left;
};

static void
put_cell(struct line *line, const char *text, int width, enum ctl_colour colour) {
  char cell[LINE_MAX_BYTES];
  int pad = width < 0 ? -width : width;
  snprintf(cell, sizeof cell, "%*.*s", width, pad, text);
  size_t len = strlen(cell);
  if (len > line->left)
    cell[line->left] = '\0';
  line->left -= (unsigned) strlen(cell);
  ctl_put_coloured(cell, colour);
  if (line->left > 0) {
    putchar(' ');
    line->left--;
  }
}

static void
put_headings(unsigned columns) {
  struct line line = {columns};
  static const struct {
    const char *text;
    int width;
  } cells[] = {{"LEG", -8}, {"STATE", -11}, {"MB/s", 6},   {"REQ/s", 6}, {"P50", 7},
               {"P99", 7},  {"FLIGHT", 6},  {"OLDEST", 7}, {"WIN", 4},   {"RESYNC", -12}};
  fputs("  ", stdout);
  line.left -= 2;
  for (unsigned i = 0; i < sizeof cells / sizeof cells[0]; i++)
    put_cell(&line, cells[i].text, cells[i].width, CTL_BOLD);
}

static void
put_row(const struct row *row, unsigned columns) {
  const struct pace *pace = &row->pace;
  const char *state = ctl_json_text(row->leg, "state");
  struct line line = {columns - 2};
  char text[CTL_TEXT_MAX];
  fputs("  ", stdout);
  put_cell(&line, ctl_json_text(row->leg, "name"), -8, CTL_PLAIN);
  put_cell(&line, state, -11, ctl_leg_colour(state));
  put_cell(&line, rate_text(pace, text), 6, CTL_PLAIN);
  put_cell(&line, count_text(pace, text), 6, CTL_PLAIN);
  put_cell(&line, pace->p50_us ? ctl_time_us(pace->p50_us, text) : "-", 7, CTL_PLAIN);
  put_cell(&line, pace->p99_us ? ctl_time_us(pace->p99_us, text) : "-", 7, CTL_PLAIN);
  put_cell(&line, ctl_count(pace->in_flight, text), 6, CTL_PLAIN);
  put_cell(&line, pace->oldest_ms ? ctl_time_us(pace->oldest_ms * 1000, text) : "-", 7,
           oldest_colour(row->leg, pace));
  put_cell(&line, window_text(row->leg, text), 4, CTL_PLAIN);
  put_cell(&line, resync_text(row->leg, text), -12, CTL_YELLOW);
}

/* ---- one volume ---- */

static enum sort sort_by;

static int
compare_rows(const void *one, const void *other) {
  const struct row *a = one, *b = other;
  double x = 0, y = 0;
  if (sort_by == SORT_RATE) {
    x = a->pace.bytes_per_s;
    y = b->pace.bytes_per_s;
  } else if (sort_by == SORT_P99) {
    x = (double) a->pace.p99_us;
    y = (double) b->pace.p99_us;
  } else if (sort_by == SORT_WAITING) {
    x = (double) a->pace.in_flight;
    y = (double) b->pace.in_flight;
  }
  if (x != y)
    return x < y ? 1 : -1;
  return a < b ? -1 : a > b;
}

static unsigned
make_rows(const struct top *top, const json_t *volume, struct row row[SF_LEGS_MAX]) {
  const json_t *before = find_named(top->earlier, ctl_json_text(volume, "name"));
  unsigned rows = 0;
  size_t i;
  json_t *leg;
  json_array_foreach(json_object_get(volume, "legs"), i, leg) {
    if (rows == SF_LEGS_MAX)
      break;
    row[rows].leg = leg;
    ctl_pace_make(&row[rows++].pace, leg,
                  find_named(json_object_get(before, "legs"), ctl_json_text(leg, "name")),
                  top->seconds);
  }
  sort_by = top->sort;
  if (sort_by != SORT_PLACE)
    qsort(row, rows, sizeof row[0], compare_rows);
  return rows;
}

/* Bytes read and written in the last two minutes, or as much of them as there is room for. */
static void
put_sparkline(const struct top *top, const char *name, unsigned columns) {
  static const char *const blocks[] = {"\u2581", "\u2582", "\u2583", "\u2584",
                                       "\u2585", "\u2586", "\u2587", "\u2588"};
  static const char *const ascii[] = {"_", ".", ":", "-", "=", "+", "*", "#"};
  bool utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
  const struct history *history = NULL;
  float most = 0;
  for (unsigned i = 0; i < top->histories; i++)
    if (strcmp(top->history[i].name, name) == 0)
      history = &top->history[i];
  if (history == NULL)
    return;
  for (unsigned i = 0; i < history->count; i++)
    most = history->rate[i] > most ? history->rate[i] : most;
  unsigned room = columns > 16 ? columns - 16 : 1;
  fputs("  ", stdout);
  for (unsigned i = history->count > room ? history->count - room : 0; i < history->count; i++) {
    unsigned level = most > 0 ? (unsigned) (history->rate[i] / most * 7.0f + 0.5f) : 0;
    fputs(utf8 ? blocks[level] : ascii[level], stdout);
  }
  printf(" %.1f MB/s", (double) most / 1e6);
}

static void
end_line(const struct top *top, unsigned *left) {
  fputs(top->batch ? "\n" : "\033[K\r\n", stdout);
  if (*left > 0)
    --*left;
}

static void
put_volume(const struct top *top, const json_t *volume, unsigned columns, unsigned *left) {
  const char *name = ctl_json_text(volume, "name"), *state = ctl_json_text(volume, "state");
  const char *reason = ctl_json_text(volume, "reason");
  struct row row[SF_LEGS_MAX];
  struct pace pace;
  struct line line = {columns};
  char text[CTL_TEXT_MAX], whole[LINE_MAX_BYTES], p99[CTL_TEXT_MAX];
  unsigned rows = make_rows(top, volume, row);
  ctl_pace_make(&pace, volume, find_named(top->earlier, name), top->seconds);
  put_cell(&line, name, -(int) strlen(name), CTL_BOLD);
  put_cell(&line, state, -(int) strlen(state), ctl_volume_colour(state));
  snprintf(whole, sizeof whole, "%s MB/s  ", rate_text(&pace, text));
  snprintf(whole + strlen(whole), sizeof whole - strlen(whole),
           "%s req/s  p99 %s  %" PRIu64 " waiting  ", count_text(&pace, text),
           pace.p99_us ? ctl_time_us(pace.p99_us, p99) : "-", pace.in_flight);
  snprintf(whole + strlen(whole), sizeof whole - strlen(whole), "%s", reason);
  put_cell(&line, whole, -(int) strlen(whole), *reason ? CTL_RED : CTL_PLAIN);
  end_line(top, left);
  if (*left > 0 && !top->batch) {
    put_sparkline(top, name, columns);
    end_line(top, left);
  }
  if (rows > 0 && *left > 0) {
    put_headings(columns);
    end_line(top, left);
  }
  for (unsigned i = 0; i<rows && * left> 0; i++) {
    put_row(&row[i], columns);
    end_line(top, left);
  }
}

/* ---- drawing ---- */

static void
draw(const struct top *top) {
  unsigned lines = 1u << 20, columns = 160;
  char when[CTL_TEXT_MAX];
  time_t now = time(NULL);
  struct tm local;
  size_t i;
  json_t *volume;
  strftime(when, sizeof when, "%H:%M:%S", localtime_r(&now, &local));
  if (!top->batch) {
    ctl_screen_size(&lines, &columns);
    fputs("\033[H", stdout);
    struct line line = {columns};
    char head[LINE_MAX_BYTES];
    snprintf(head, sizeof head, "surefootctl top  %s%s  by %s  (s: sort, p: pause, q: quit)", when,
             top->paused ? "  paused" : "", sort_names[top->sort]);
    put_cell(&line, head, -(int) strlen(head), CTL_PLAIN);
    lines--; /* the last one would scroll */
    end_line(top, &lines);
  } else {
    printf("%s\n", when);
  }
  json_array_foreach(top->now, i, volume)
    if (lines > 0)
      put_volume(top, volume, columns, &lines);
  if (json_array_size(top->now) == 0)
    fputs("no volume answers", stdout);
  if (!top->batch)
    fputs("\033[J", stdout);
  fflush(stdout);
}

/* False: it is over. */
static bool
take_key(struct top *top, int key) {
  switch (key) {
  case SCREEN_ENDED:
  case 'q':
    return false;
  case 's':
    top->sort = (top->sort + 1) % SORTS;
    break;
  case 'p':
  case ' ':
    top->paused = !top->paused;
    break;
  }
  draw(top);
  return true;
}

static int
left_ms(const struct top *top) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  int64_t gone =
      (now.tv_sec - top->looked.tv_sec) * 1000 + (now.tv_nsec - top->looked.tv_nsec) / 1000000;
  return gone < EVERY_MS ? (int) (EVERY_MS - gone) : 0;
}

static void
run_on_screen(struct top *top) {
  look(top);
  draw(top);
  for (;;) {
    int key = ctl_screen_wait(top->paused ? -1 : left_ms(top));
    if (key != SCREEN_NONE) {
      if (!take_key(top, key))
        return;
      continue;
    }
    look(top);
    draw(top);
  }
}

/* Rates are of two looks: the first line comes after the second. */
static void
run_in_batch(struct top *top, unsigned long count) {
  const struct timespec every = {.tv_sec = EVERY_MS / 1000};
  look(top);
  for (unsigned long i = 0; count == 0 || i < count; i++) {
    nanosleep(&every, NULL);
    look(top);
    draw(top);
    if (ferror(stdout))
      return;
  }
}

int
ctl_top(struct ctl_command_call *call) {
  static const struct option options[] = {
      {"batch", no_argument, NULL, 'b'}, {"count", required_argument, NULL, 'n'}, {0}};
  static struct top top;
  unsigned long count = 0;
  char *end;
  int option;
  while ((option = ctl_next_option(call, options)) != -1) {
    if (option == '?')
      return CTL_USAGE;
    top.batch = true; /* a number of times is for a file, not for a screen */
    if (option != 'n')
      continue;
    count = strtoul(optarg, &end, 10);
    if (*optarg < '1' || *optarg > '9' || *end)
      return ctl_wrong_usage(call->command, "top: --count %s: not a number", optarg);
  }
  if (call->argc - optind > 1)
    return ctl_wrong_usage(call->command, "top: one VOLUME at most");
  top.volume = call->argv[optind];
  setlocale(LC_CTYPE, "");
  int status = ctl_find_sockets(call, top.volume, &top.sockets);
  if (status != CTL_DONE)
    return status;
  if (top.batch) {
    run_in_batch(&top, count);
  } else {
    if (!ctl_screen_open())
      return ctl_fail("top: this is no terminal: use --batch");
    run_on_screen(&top);
    ctl_screen_close();
  }
  json_decref(top.now);
  json_decref(top.earlier);
  return CTL_DONE;
}

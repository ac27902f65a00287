/* surefootctl: what its commands share. */
#ifndef SUREFOOTCTL_H
#define SUREFOOTCTL_H

#include <getopt.h>
#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <surefoot/wire.h>

enum ctl_exit { CTL_DONE = 0, CTL_FAILED = 1, CTL_USAGE = 2 };

/* ---- the table of commands (main.c) ---- */

struct ctl_command_call;

struct ctl_command {
  const char *name;
  const char *arguments; /* for the usage line */
  const char *summary;
  int (*run)(struct ctl_command_call *call);
};

/* One call of a command: argv[0] is the command's name. */
struct ctl_command_call {
  const struct ctl_command *command;
  const char *control; /* --control, or NULL */
  int argc;
  char **argv;
};

int ctl_create(struct ctl_command_call *call);
int ctl_status(struct ctl_command_call *call);
int ctl_events(struct ctl_command_call *call);
int ctl_set(struct ctl_command_call *call);
int ctl_leg(struct ctl_command_call *call);
int ctl_grow(struct ctl_command_call *call);
int ctl_reload(struct ctl_command_call *call);
int ctl_scrub(struct ctl_command_call *call);
int ctl_drill(struct ctl_command_call *call);
int ctl_stop(struct ctl_command_call *call);
int ctl_udev(struct ctl_command_call *call);
int ctl_start(struct ctl_command_call *call);
int ctl_rename(struct ctl_command_call *call);
int ctl_restart(struct ctl_command_call *call);
int ctl_list(struct ctl_command_call *call);
int ctl_show(struct ctl_command_call *call);
int ctl_top(struct ctl_command_call *call);
int ctl_latency(struct ctl_command_call *call);
int ctl_why(struct ctl_command_call *call);
int ctl_scan(struct ctl_command_call *call);
int ctl_check(struct ctl_command_call *call);
int ctl_dump(struct ctl_command_call *call);

/* ---- options (options.c) ---- */

enum { CTL_OWN_OPTIONS = 3, CTL_OPTION_COLOUR = 256 };

/* Options of each command, and of the program before it: --control, --color, --help. */
extern const struct option ctl_own_options[CTL_OWN_OPTIONS];

/* CTL_USAGE, after a message with the nearest option, if any is near. */
int ctl_refuse_option(const struct ctl_command *command, const char *word,
                      const struct option *options);
int ctl_take_colours(const struct ctl_command *command, const char *when);

/* The next option of the call: its val, -1 at the end, or '?' after the usage was printed.
 * Knows --control and --help itself; options ends with a zero entry. */
int ctl_next_option(struct ctl_command_call *call, const struct option *options);

/* All options of a command that knows one, and that without an argument: is it given?  CTL_DONE, or
 * CTL_USAGE after the usage was printed. */
int ctl_take_flag(struct ctl_command_call *call, const char *name, bool *given);

/* ---- mistyped words (nearest.c) ---- */

/* Is name likely meant by word, and nearer than *steps, which becomes its distance? */
bool ctl_is_near(const char *word, const char *name, unsigned *steps);
/* The first option that is not spelt as it is; leading: up to the first word that is not an
 * option. */
const char *ctl_inexact_option(int argc, char *const *argv, const struct option *options,
                               bool leading);
const char *ctl_nearest_option(const char *word, const struct option *options); /* or NULL */

enum ctl_colour { CTL_PLAIN, CTL_GREEN, CTL_YELLOW, CTL_RED, CTL_BOLD };

/* ---- messages (say.c) ---- */

void ctl_print_usage(FILE *out, const struct ctl_command *command);
/* "surefootctl: ..." to stderr; returns CTL_FAILED. */
int ctl_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same with the command's usage; returns CTL_USAGE. */
int ctl_wrong_usage(const struct ctl_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- the socket (find.c, ask.c) ---- */

enum { CTL_SOCKETS_MAX = 64, CTL_REPLY_TIMEOUT_MS = 10000 };

struct ctl_sockets {
  unsigned count;
  char path[CTL_SOCKETS_MAX][SF_CONTROL_PATH_MAX];
};

/* --control, $SUREFOOT_CONTROL, the volume's own, surefootd's, or all there are, in that order.
 * CTL_DONE with at least one, else CTL_FAILED after a message. */
int ctl_find_sockets(const struct ctl_command_call *call, const char *volume,
                     struct ctl_sockets *sockets);
/* The same, and more than one is a failure that names them. */
int ctl_find_socket(const struct ctl_command_call *call, const char *volume,
                    char path[SF_CONTROL_PATH_MAX]);

/* surefootd's, if it listens there; prints nothing. */
bool ctl_daemon_is_there(const struct ctl_command_call *call, char path[SF_CONTROL_PATH_MAX]);
/* surefootd's. */
int ctl_find_daemon(const struct ctl_command_call *call, char path[SF_CONTROL_PATH_MAX]);

/* Takes the request over; NULL: it could not be made.  CTL_FAILED after a message when there is no
 * answer; what the answer says is the caller's. */
int ctl_call(const char *path, json_t *request, json_t **answer);
/* The same, and anything but "ok":true is CTL_FAILED after a message. */
int ctl_ask(const char *path, json_t *request, json_t **reply);
/* Does surefootd listen there, and not a volume? */
bool ctl_is_daemon(const char *path);
/* Prints what a failure of sf_control_call or sf_control_follow means to the operator. */
int ctl_fail_to_reach(const char *path, int error);
/* CTL_DONE if the reply says "ok":true. */
int ctl_check_reply(json_t *reply);

/* Every volume of these sockets, once, into volumes; *problems: the files that surefootd does not
 * use, NULL if it was not asked (collect.c). */
int ctl_collect_status(const struct ctl_sockets *sockets, const char *volume, json_t *volumes,
                       json_t **problems);

/* What a scrub has found, in a line, and the first ranges; nothing when there was none
 * (scrub.c). */
void ctl_print_scrub(const json_t *volume);

/* A volume's own socket and surefootd's may both tell of it: each volume once. */
void ctl_add_volumes(json_t *volumes, const json_t *more);
enum ctl_colour ctl_volume_colour(const char *state);
enum ctl_colour ctl_leg_colour(const char *state);

/* The leg's section in this file: its path, or NULL: it goes.  The old file is kept as FILE.old
 * (edit.c). */
int ctl_edit_leg(const char *file, const char *leg, const char *path);

/* The file that is meant: itself, or that of the volume of this name where there is no such
 * file. */
const char *ctl_conf_file(const char *name, char path[PATH_MAX]);

/* ---- requests that an event ends (wait.c) ---- */

enum { CTL_REASON_MAX = 1024 };

struct ctl_ending {
  const char *done, *failed; /* the names of the events */
  /* The server ended before it told; the next one serves, and this is the volume's status: was it
   * done?  NULL: that cannot be seen. */
  bool (*is_done)(const json_t *volume, const void *arg);
  const void *arg;
};

/* Takes the request over; reason: of the event that says that it is done; "": no event did. */
int ctl_ask_and_wait(const char *path, const char *volume, json_t *request,
                     const struct ctl_ending *ending, char reason[CTL_REASON_MAX]);
enum ctl_wait { CTL_WAIT, CTL_WAIT_DONE, CTL_WAIT_FAILED /* it was told why */ };
/* Looks at the volume's status now and at each of its events, until look says that it is over. */
int ctl_wait_until(const char *path, const char *volume,
                   enum ctl_wait (*look)(const json_t *volume, void *arg), void *arg);
/* Of a volume's status; NULL: it has no such leg (named.c). */
const json_t *ctl_find_leg(const json_t *volume, const char *name);
const json_t *ctl_find_named(const json_t *array, const char *name); /* or NULL */
/* A leg that is given by its path: its name, in name (named.c). */
int ctl_leg_by_path(const char *socket, const char *volume, const char **leg,
                    char name[SF_LEG_NAME_MAX]);
/* leg fail --force; yes: without a question (leg_force.c). */
int ctl_leg_fail_by_force(const char *path, const char *volume, const char *leg, bool yes);
/* leg discard --config: the leg becomes an empty member of a volume that does not run
 * (leg_offline.c). */
int ctl_discard_offline(const char *conf, const char *name);
/* A leg on a spare gets its own disk back; *given false: it is on none, and nothing was done
 * (spare.c). */
int ctl_give_back(const char *path, const char *volume, const char *leg, bool *given);
/* The volume's entry in the status, a new reference; NULL after a message. */
json_t *ctl_ask_status(const char *path, const char *volume);

/* ---- text for people (human.c) ---- */

enum { CTL_TEXT_MAX = 64 };

const char *ctl_size(uint64_t bytes, char text[CTL_TEXT_MAX]);  /* "1.5 GiB" */
const char *ctl_time_us(uint64_t us, char text[CTL_TEXT_MAX]);  /* "1.2 ms" */
const char *ctl_time_left(uint64_t s, char text[CTL_TEXT_MAX]); /* "2 h 10 min" */
/* How long ago "2026-01-31T12:00:00.123Z" was; false: it is no time. */
bool ctl_age_s(const char *utc, uint64_t *seconds);
/* Its seconds since 1970, and where its fraction begins. */
const char *ctl_parse_time(const char *utc, time_t *seconds);
const char *ctl_count(uint64_t count, char text[CTL_TEXT_MAX]);   /* "-" for none */
const char *ctl_json_text(const json_t *object, const char *key); /* "" if it is no text */
uint64_t ctl_json_number(const json_t *object, const char *key);  /* 0 if it is no number */
/* A JSON string of any bytes: those that are not UTF-8 become '?'. */
json_t *ctl_text_to_json(const char *text);
/* Prints; control characters, which a path may hold, as '?'. */
void ctl_put(const char *text);
/* The same, by words: on a terminal the lines after the first begin at indent; used: columns of the
 * first that are taken. */
void ctl_put_wrapped(const char *text, unsigned used, unsigned indent);
int ctl_print_json(const json_t *document);

/* ---- aligned columns (table.c) ---- */

enum { CTL_COLUMNS_MAX = 12, CTL_ROWS_MAX = SF_LEGS_MAX + 1 };

struct ctl_cell {
  char *text;
  enum ctl_colour colour;
};

struct ctl_table {
  unsigned columns, rows;
  bool right[CTL_COLUMNS_MAX]; /* numbers stand at the right */
  struct ctl_cell cell[CTL_ROWS_MAX][CTL_COLUMNS_MAX];
};

/* Headings, one per column; '>' at the beginning marks a column of numbers. */
void ctl_table_init(struct ctl_table *table, unsigned columns, const char *const *headings);
void ctl_table_row(struct ctl_table *table);
/* The last row's; NULL stands for "". */
void ctl_table_cell(struct ctl_table *table, unsigned column, const char *text,
                    enum ctl_colour colour);
/* Prints and frees. */
void ctl_table_print(struct ctl_table *table);

/* "always", "never" or "auto", the default; false: none of these. */
bool ctl_set_colours(const char *when);
bool ctl_colours(void);
void ctl_put_coloured(const char *text, enum ctl_colour colour);

/* ---- sets of extents (extents.c) ---- */

struct ctl_extents {
  uint64_t data_bytes, extent_bytes;
  uint8_t *bits; /* a piece of SF_MAP_BYTES for each page of the maps */
};

bool ctl_extents_init(struct ctl_extents *set, uint64_t data_bytes, uint64_t extent_bytes);
void ctl_extents_free(struct ctl_extents *set);
void ctl_extents_unite(struct ctl_extents *set, uint64_t page, const uint8_t bits[SF_MAP_BYTES]);
bool ctl_extents_has(const struct ctl_extents *set, uint64_t extent);
/* The first run of extents at or behind `from`. */
bool ctl_extents_range(const struct ctl_extents *set, uint64_t from, uint64_t *first,
                       uint64_t *last);
void ctl_extents_count(const struct ctl_extents *set, uint64_t *extents, uint64_t *bytes);
uint64_t ctl_extents_bytes(const struct ctl_extents *set);
void ctl_extents_print(const struct ctl_extents *set); /* "3 extents, 3 MiB: 0-1, 7" */
json_t *ctl_extents_to_json(const struct ctl_extents *set);

/* ---- legs that may hang (check.c) ---- */

/* Open legs for this process, which then ends though one of them hangs for good.  NULL: there can
 * be no such processes.  They are never stopped: they end with this process. */
struct sf_leg_openers *ctl_openers(void);

/* ---- progress on a terminal (progress.c) ---- */

/* "[####....]  50%  1 GiB of 2 GiB zeroed": draws when the percentage has changed, if stderr is a
 * terminal.  *shown begins with -1. */
void ctl_progress(int *shown, uint64_t done, uint64_t total, const char *verb);
void ctl_progress_end(const int *shown);

/* ---- superblocks (records.c) ---- */

json_t *ctl_uuid_to_json(const struct sf_uuid *uuid);
/* An array of the names of the legs in the set. */
json_t *ctl_legs_to_json(const struct sf_superblock *sb, uint16_t legs);
json_t *ctl_record_to_json(const struct sf_superblock *sb);
/* "a, b" or "none"; cut when too long. */
void ctl_legs_text(const struct sf_superblock *sb, uint16_t legs, char *text, size_t size);

#endif

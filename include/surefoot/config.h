/* One volume's configuration: an INI file, parameters that win over it, and settings changed live.
 * All three go through sf_config_set(), so that a key means one thing everywhere.
 *
 * [volume] name, min_legs, write_deadline, read_deadline, flush_deadline, fail_timeout,
 *           on_too_few, slow_leg, slow_factor, max_read_errors, control, wait_for_legs,
 *           resync_min_rate, resync_max_rate, intent_delay, hot_extents, and for surefootd only:
 *           socket, threads, device, device_door, device_timeout, device_dead_timeout, spare_after
 * [leg X] path, write_timeout, read_timeout, flush_timeout
 * [spare X] path, shared, instead_of: only surefootd uses them
 *
 * Durations: a number and ns, us, ms, s, m or h ("100ms"); a deadline or a leg's timeout may be
 * "auto".  Sizes and rates per second: a number and nothing, K, M, G or T (powers of 1024; small
 * letters too).  A size may be a fraction ("1.5G") of whole bytes.  Nothing is guessed: an unknown
 * section or key, a duplicate, a missing or impossible value is an error that names file, line and
 * key. */
#ifndef SUREFOOT_CONFIG_H
#define SUREFOOT_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <surefoot/ondisk.h>

enum {
  SF_CONFIG_KEYS = 28,             /* of both kinds of sections */
  SF_CONFIG_FILE_MAX = 128 * 1024, /* bytes: 16 legs with the longest paths fit */
};
/* Where a key was set: a line of the file, or one of these. */
#define SF_CONFIG_DEFAULT   UINT32_C(0)      /* nowhere */
#define SF_CONFIG_SET_LIVE  UINT32_MAX       /* by sf_config_set */
#define SF_CONFIG_PARAMETER (UINT32_MAX - 1) /* by the command that started it */

/* A deadline or a timeout that is not a number: the volume finds it from each leg's own
 * latencies. */
#define SF_CONFIG_AUTO (UINT64_MAX - 1) /* longer than any that can be set */

enum { SF_CONFIG_ERROR_MAX = 1024, SF_CONTROL_PATH_MAX = 108, SF_DEVICE_PATH_MAX = 32 };

enum sf_kind { SF_READ_KIND, SF_WRITE_KIND, SF_FLUSH_KIND, SF_KINDS };

enum sf_on_too_few { SF_TOO_FEW_ERROR, SF_TOO_FEW_SUSPEND };

enum sf_slow_leg { SF_SLOW_WAIT, SF_SLOW_LEAVE };

enum sf_device_door { SF_DEVICE_DOOR_FAST, SF_DEVICE_DOOR_NBDKIT };

struct sf_config_leg {
  char name[SF_LEG_NAME_MAX];
  char path[PATH_MAX];
  uint64_t timeout_ns[SF_KINDS]; /* its own deadline; 0: the volume's of that kind; or auto */
  uint32_t set_at[SF_CONFIG_KEYS];
};

enum { SF_SPARES_MAX = 4 };

/* A disk that may take the place of a leg.  It has taken one where a leg has its path. */
struct sf_config_spare {
  char name[SF_LEG_NAME_MAX];
  char path[PATH_MAX];
  bool shared; /* other volumes may name it too */
  bool shared_is_said;
  char instead_of[PATH_MAX]; /* while it is in use: the disk that the leg had; "": none */
};

struct sf_config {
  char file[PATH_MAX]; /* where it was read from, for messages; "" = none */
  char name[SF_VOLUME_NAME_MAX];
  unsigned min_legs;              /* 0 until completed: 1 for one or two legs, else a majority */
  uint64_t deadline_ns[SF_KINDS]; /* default auto */
  uint64_t fail_timeout_ns;       /* default 30 s */
  enum sf_on_too_few on_too_few;  /* default error */
  enum sf_slow_leg slow_leg;      /* default wait: that it holds clients back is only told */
  unsigned slow_factor;           /* default 4: so many times longer they wait for it alone */
  unsigned max_read_errors; /* default 20: more within an hour, and a leg is faulty; 0: never */
  char control[SF_CONTROL_PATH_MAX];     /* "" = no control socket */
  char fast_socket[SF_CONTROL_PATH_MAX]; /* "" = no fast door */
  uint64_t wait_for_legs_ns; /* default 30 s: how long a start waits for legs it needs */
  uint64_t resync_min_rate;  /* bytes per second; default 4M */
  uint64_t resync_max_rate;  /* bytes per second; 0 = no cap (default) */
  uint64_t intent_delay_ns;  /* default 5 s: not written so long, an extent may lose its intent */
  unsigned hot_extents; /* default 8192: more than so many with intent, and they lose it soon */
  /* surefootd's; nothing else looks at them, but at threads. */
  char socket[SF_CONTROL_PATH_MAX]; /* where NBD clients connect; "" = its default */
  unsigned threads; /* requests in flight per connection; default 64; sf_config_buffers() */
  char device[SF_DEVICE_PATH_MAX]; /* "/dev/nbd0"; "" = none */
  enum sf_device_door device_door; /* default fast: which socket it is attached by */
  uint64_t device_timeout_ns;      /* default 0: the kernel never gives up a server that lives */
  uint64_t device_dead_timeout_ns; /* default 60 s: how long requests wait for a new server */
  uint64_t spare_after_ns;         /* default 10 min: so long a leg is faulty or missing before */
  uint32_t set_at[SF_CONFIG_KEYS];
  unsigned spares;
  struct sf_config_spare spare[SF_SPARES_MAX];
  unsigned legs;
  struct sf_config_leg leg[SF_LEGS_MAX];
};

void sf_config_init(struct sf_config *config);

/* Reads and completes.  error receives one line without a newline,
 * "FILE:LINE: [section] key: what is wrong".  -EINVAL for contents, else the errno of the file. */
int sf_config_load(struct sf_config *config, const char *file, char error[SF_CONFIG_ERROR_MAX]);

/* One setting: key as in the file for [volume], "leg.NAME.KEY" for a leg that exists.  The value
 * "default", of a live key: as without a line in the file.  The config is untouched on failure.
 * error says "KEY: what is wrong". */
int sf_config_set(struct sf_config *config, const char *key, const char *value,
                  char error[SF_CONFIG_ERROR_MAX]);

/* Adds a leg, gives it another path, or (path "") removes it, as if the file said so.  A min_legs
 * that followed from the number of legs stays what it is.  Untouched on failure: -EINVAL when no
 * file can say it, -ENOSPC when there is no room for it. */
int sf_config_set_leg(struct sf_config *config, const char *name, const char *path);

/* The same of a spare. */
int sf_config_find_spare(const struct sf_config *config, const char *name);

/* Its index; -1: there is none of that name. */
int sf_config_find_leg(const struct sf_config *config, const char *name);

/* Fills defaults that depend on others and checks the whole: names, legs 1..16, min_legs 1..legs,
 * no two legs with one path, fail_timeout not below any deadline nor below the least that auto can
 * be, every deadline and timeout auto or at least 1 ms.  sf_config_load has done it; call it again
 * after sf_config_set. */
int sf_config_complete(struct sf_config *config, char error[SF_CONFIG_ERROR_MAX]);

/* Names each key with a value that differs, as sf_config_set takes it, with both values as text
 * ("": not set); false from the function ends it.  Legs are found by name, in any order; -ENOTUNIQ
 * in the end if one has legs that the other has not: no key of those is named. */
int sf_config_diff(const struct sf_config *from, const struct sf_config *to,
                   bool (*change)(void *ctx, const char *key, const char *from, const char *to),
                   void *ctx);

/* Every setting as it is in force: its key as sf_config_set takes it, its value as text (NULL:
 * none), and where it comes from: "default", "file", "parameter", "set", or "auto" if it follows
 * from others.  A leg's timeout that is not set has the value of the volume's deadline. */
typedef void sf_config_setting_fn(void *ctx, const char *key, const char *value,
                                  const char *source);
void sf_config_each(const struct sf_config *config, sf_config_setting_fn *setting, void *ctx);

/* Settings made till now by sf_config_set count as parameters. */
void sf_config_mark_parameters(struct sf_config *config);

/* The file that says this: each key that was set, from where, with paths that are absolute; no
 * defaults.  sf_config_load reads the same from it.  *text is the caller's to free.  -ENOMEM, or
 * -EINVAL with the reason in error: a value that no file can say. */
int sf_config_write(const struct sf_config *config, char **text, size_t *len,
                    char error[SF_CONFIG_ERROR_MAX]);

/* A line of a volume's file: in this section ("leg a") the key gets this value, or (NULL) goes; key
 * NULL: the whole section goes.  A key or section that is not there yet is put at the end of its
 * section, or of the file. */
struct sf_config_edit {
  const char *section, *key, *value;
};
/* Every other line stays.  A result that sf_config_load() would refuse is not put in its place.
 * The file as it was is kept as FILE.old.  0, or -errno with error: nothing is changed. */
int sf_config_edit(const char *file, const struct sf_config_edit *edit, unsigned edits,
                   char error[SF_CONFIG_ERROR_MAX]);

/* The buffers that a server has for requests, all its life: as many as `threads` ask for, and not
 * more than for 64. */
enum { SF_BUFFER_SMALL_BYTES = 16 * 1024, SF_BUFFER_LARGE_BYTES = 256 * 1024 };

struct sf_config_buffers {
  unsigned small, large;
  unsigned spare_small, spare_large; /* of these: the volume's own */
  uint64_t bytes;
};

struct sf_config_buffers sf_config_buffers(const struct sf_config *config);

/* Is it surefootd that this key speaks to? */
bool sf_config_is_of_daemon(const char *key);

/* May this key be changed while the volume runs?  Deadlines, timeouts, fail_timeout, on_too_few,
 * slow_leg, slow_factor, max_read_errors, the resync rates, intent_delay and hot_extents may. */
bool sf_config_is_live(const char *key);

/* Within what a deadline stays, and where it begins: three times the same unless it is auto.  It is
 * all that clients wait: the grace of R4 is in it. */
struct sf_timeout {
  uint64_t least_ns, first_ns, most_ns;
};

/* A leg's deadline in force for a kind: its own or the volume's, whichever is shorter,
 * since at the deadline the request stops waiting for every leg.  Where the volume's is auto, a
 * leg's own number counts alone, and auto never exceeds half of fail_timeout. */
struct sf_timeout sf_config_timeout_range(const struct sf_config *config, unsigned leg,
                                          enum sf_kind kind);
/* The longest that it can be. */
uint64_t sf_config_timeout(const struct sf_config *config, unsigned leg, enum sf_kind kind);
/* Where the key was set that says so (set_at). */
uint32_t sf_config_timeout_set_at(const struct sf_config *config, unsigned leg, enum sf_kind kind);
/* The same of the volume's deadline. */
struct sf_timeout sf_config_deadline(const struct sf_config *config, enum sf_kind kind);
/* The longest that any leg's can be. */
uint64_t sf_config_deadline_most(const struct sf_config *config, enum sf_kind kind);

int sf_parse_duration(const char *text, uint64_t *ns);
int sf_parse_size(const char *text, uint64_t *bytes);

#endif

/* What a history is made of, for the files that keep it. */
#ifndef SUREFOOTD_HISTORY_INSIDE_H
#define SUREFOOTD_HISTORY_INSIDE_H

#include <stdbool.h>

#include <surefoot/config.h>

#include "volumes/history.h"

#define MINUTE_US UINT64_C(60000000)

enum {
  KINDS = 3,
  COLUMNS_MAX = SF_LEGS_MAX + 1,
  OCTAVES = 32,
  FIRST_OCTAVE = 10 /* 1 us; the last is half an hour */
};

extern const char *const sfd_history_kinds[KINDS];

struct counts {
  uint64_t of[KINDS][OCTAVES];
};

struct sample {
  uint32_t p50_us, p99_us, max_us, deadline_us;
  bool known; /* there was a request, answered or not */
};

struct column {
  char name[SF_LEG_NAME_MAX]; /* "": the clients' */
  bool out;                   /* not in sync at one look at least */
  struct sample sample[KINDS];
  uint32_t count[KINDS][OCTAVES];
};

/* Its memory grows by a column at a time. */
struct history_minute {
  uint64_t number;
  unsigned columns;
  struct column column[];
};

/* The minute of this number in its place of the ring, where one of an hour ago goes; *NULL: no
 * memory. */
struct history_minute **sfd_history_take(struct history *history, uint64_t number);
/* Its column of this name, which may move *slot; NULL: there is no room. */
struct column *sfd_history_column(struct history_minute **slot, const char *name);

#endif

/* Legs as a case describes them. */
#ifndef TEST_ASSEMBLY_RIG_H
#define TEST_ASSEMBLY_RIG_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <surefoot/assembly.h>

#include "assembly/blank.h"

enum kind {
  GOOD,
  GONE,
  ERROR,
  OTHER_NAME,
  OTHER_UUID,
  SWAPPED,
  RENAMED,
  IMPOSTOR,
  RESIZED,
  GROWN,
  GROWN_SHORT,
  NOT_GROWN_SHORT,
  SHORT,
  DISCARDED
};

/* One leg as a case describes it.  GOOD with `in_sync` "ab": holds record term.change naming legs a
 * and b.  line: 'A', the first; 'B' and 'C' were forked off A at 2.3 by force; 'D' off B at 5.1. */
struct leg {
  enum kind kind;
  unsigned term, change;
  const char *in_sync;
  uint64_t claim; /* 0: as the term */
  const char *faulty;
  char line;         /* 0: 'A' */
  int error;         /* ERROR, GONE */
  unsigned min_legs; /* 0: the case's */
  bool clean;
  bool doubtful; /* a copy of its superblock cannot be read */
  bool marked;   /* ERROR, GONE: its mark is there */
};

struct one_case {
  const char *proves;
  unsigned legs, min_legs;
  unsigned config_min_legs; /* 0: as min_legs */
  struct leg leg[5];
  bool force;
  const char *verdicts; /* a letter a leg, see letter_of() */
  bool may_start, forced;
  unsigned next_term;    /* 0: not asked */
  const char *record;    /* of the reference; NULL: there is none */
  uint64_t bytes;        /* the size that it starts with; 0: not asked */
  const char *waits_for; /* NULL: not asked */
  const char *says[4];
};

enum { VERDICTS = SF_LEG_TOO_SMALL + 1 };

extern const char letters[VERDICTS]; /* of each verdict, as cases write it */

#define ON(t, c, set)                                                                              \
  { .term = (t), .change = (c), .in_sync = (set) }
#define LINE(name, t, c, set)                                                                      \
  { .line = (name), .term = (t), .change = (c), .in_sync = (set) }

uint16_t set_of(const char *names);
struct sf_uuid uuid(char what, unsigned number);
struct sf_superblock superblock_of(const struct one_case *c, unsigned index);
struct sf_leg_found found_of(const struct one_case *c, unsigned index);
void give_mark(const struct one_case *c, unsigned index, struct sf_leg_found *found);

/* In the order of `names` sections with superblocks of those places, '-' for an absent leg. */
struct listed {
  const char *names;  /* of the sections */
  const char *places; /* what each holds: the place's letter, in lower case of the older record */
  unsigned old_legs, legs;
  uint16_t removed, in_sync;
  const char *want;     /* the sections by place: '.' an empty place, a capital one not listed */
  const char *verdicts; /* by place; ' ' where it is empty */
  bool may_start;
  const char *says;
};

#define CLAIMED(t, c, set, claimed)                                                                \
  { .term = (t), .change = (c), .in_sync = (set), .claim = (claimed) }
#define DOUBTFUL(t, c, set)                                                                        \
  { .term = (t), .change = (c), .in_sync = (set), .doubtful = true }
#define ABSENT                                                                                     \
  { .kind = GONE, .error = -ENOENT }

/* All of them, in two files. */
struct cases {
  const struct one_case *one;
  size_t n;
};

extern const struct cases cases_of_legs, cases_of_lines;

#endif

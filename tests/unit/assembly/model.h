/* A model of legs and one volume process. */
#ifndef TEST_MODEL_H
#define TEST_MODEL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <surefoot/assembly.h>

enum { LEGS_MAX = 5, CHOICES_MAX = 8, STATES_MAX = 200000, REFUSALS_MAX = 1000 };

enum mutant { RIGHT, NO_CLAIM, NO_COPY, NO_DOUBT, NO_UNDO, NO_REFUSAL, SPARE_BY_BASE };

/* In what order the legs get the record of a promotion.  The volume writes it to the newcomer
 * first; the model does not rely on it, but where it says so. */
enum order { ANY_ORDER, NEWCOMER_FIRST };

/* What a start sees, and whether any state that looks so has a leg in its set that lacks something. */
struct refusals {
  unsigned n;
  struct refusal {
    uint8_t subset, unreadable, shown[LEGS_MAX][4];
    bool is_due;
  } at[REFUSALS_MAX];
};

struct model {
  unsigned legs, min_legs, terms_max, changes_max;
  enum mutant mutant;
  bool unreadable; /* any copy of a superblock may be unreadable at a start: two are remembered */
  enum order order;
  /* Sets.  Not 0: the volume runs from the beginning, `durable` is recorded, and the record of `want`
   * is on its way. */
  unsigned durable, want;
  unsigned first_changes_max; /* then: of the first term */
  struct refusals *refused;   /* unreadable: filled with the starts that are refused for a claim */
};

struct leg {
  uint8_t term, change, in_sync; /* the record it holds */
  uint8_t claim;
  uint8_t complete; /* it holds every acknowledged write */
  uint8_t old[4];   /* unreadable: term, change, in_sync and claim of the copy before */
};

struct state {
  struct leg leg[LEGS_MAX];
  uint8_t running;
  uint8_t term, change;
  uint8_t durable;  /* the set of the newest durable record of this process; 0: none yet */
  uint8_t want;     /* the set of the newest record submitted */
  uint8_t need;     /* an answer needs these: durable and all submitted since */
  uint8_t newcomer; /* in want by a promotion that is not durable yet */
  uint8_t unused[4];
};

struct chooser {
  bool random;
  uint64_t seed;
  unsigned used, digit[CHOICES_MAX], base[CHOICES_MAX];
};

extern struct sf_leg_found found[SF_LEGS_MAX];

void prepare(const struct model *m);
const char *check(const struct model *m, const struct state *s);
unsigned claim(const struct model *m, struct state *s, const struct sf_assembly *assembly,
               unsigned present, struct chooser *chooser);
bool step(const struct model *m, struct state *s, struct chooser *chooser);
void first_state(const struct model *m, struct state *s);
void print_state(const struct model *m, const struct state *s);

struct search {
  struct state *state;
  uint32_t *parent, *slot; /* slot: state index + 1 by hash, open addressing */
  uint32_t states, states_max, slots;
};

const char *explore(const struct model *m, uint32_t states_max, uint32_t *states);

#endif

/* The steps of an assembly, each a file:
 *
 *   identity.c  which volume's legs are they?      verdicts that need no other leg
 *   lineage.c   which line of history is newest?   SPLIT_BRAIN, or no line at all
 *   record.c    which record is in force?          doubts, counts
 *   reason.c    the sentence
 *
 * Legs are bits of a uint16_t throughout. */
#ifndef SF_ASSEMBLY_LOOK_H
#define SF_ASSEMBLY_LOOK_H

#include <surefoot/assembly.h>

#define SF_LEG_BIT(leg)     ((uint16_t) (1u << (leg)))
#define SF_LEG_IN(set, leg) (((set) >> (leg) &1) != 0)
#define SF_LEG_COUNT(set)   ((unsigned) __builtin_popcount(set))

enum sf_obstacle {
  SF_OBSTACLE_NONE,
  SF_OBSTACLE_NO_LEG,     /* no superblock of the volume at all */
  SF_OBSTACLE_TWO_LINES,  /* unrelated lineages */
  SF_OBSTACLE_TWO_ALIKE,  /* one number, two contents: cannot be, so nothing is trusted */
  SF_OBSTACLE_TOO_FEW,    /* R12's counts */
  SF_OBSTACLE_UNREADABLE, /* legs that do not show all of their superblocks could have gone on */
  SF_OBSTACLE_DOUBT,      /* more than one record may be the last, and not all legs are there */
  SF_OBSTACLE_ONLY_BLANK, /* superblocks, but of discarded legs */
  SF_OBSTACLE_NO_TERM,    /* none is left above those seen: no reader would take what we write */
};

struct sf_look {
  const struct sf_config *config;
  const struct sf_leg_found *found;
  unsigned legs;
  enum sf_verdict verdict[SF_LEGS_MAX];
  const char *detail[SF_LEGS_MAX]; /* FOREIGN, DAMAGED: the fault; NULL: nothing to add */
  uint16_t known;                  /* superblock valid, of this volume and in its place: believed */
  uint16_t fits;                   /* of known: the data fits on it, as the reference has it */
  uint16_t blank;                  /* of known: discarded, tells nothing */

  int newest_leg; /* a leg of the newest lineage; -1: none is */
  uint16_t line;  /* of known: in the newest lineage */
  uint16_t older; /* of known: left behind in an ancestor of it, not newer than the fork */
  uint16_t split; /* of known: went on in an ancestor of it */

  int reference;    /* a leg that carries the record in force; -1: none */
  int alike;        /* a leg with another record of the same number; -1: none */
  uint16_t present; /* of the reference's in-sync legs */
  uint16_t absent;  /* TOO_FEW, DOUBT, UNREADABLE: of all that must be there */
  uint16_t
      unsure; /* present, named in sync by the reference or one that doubts it, and may hold a newer record */
  uint16_t claimed; /* of unsure: may hide the claim of a start that went on from an older record */
  uint16_t recopy;  /* present, and copied whole all the same */
  uint16_t headless; /* of none of these: the leg by its mark.  Nothing follows from it but words */
  enum sf_obstacle obstacle;
};

/* identity.c */
void sf_look_identify(struct sf_look *look, const struct sf_uuid *volume);
bool sf_look_drop_impostors(struct sf_look *look);
uint64_t sf_look_next_term(const struct sf_look *look, const struct sf_uuid *volume);
bool sf_leg_is_named(const struct sf_config *config, const struct sf_leg_found *found);
bool sf_look_fits(const struct sf_leg_found *found, const struct sf_superblock *sb);

/* lineage.c: false when the lines are unrelated. */
bool sf_look_lineages(struct sf_look *look);
/* Is that this superblock's line of history, or an ancestor of it? */
bool sf_look_descends(const struct sf_superblock *sb, const struct sf_uuid *lineage);

/* record.c */
void sf_look_record(struct sf_look *look);
/* How many of the record's in-sync legs must be present; fewer than so many may be absent. */
unsigned sf_look_enough(const struct sf_record *record);

/* reason.c */
void sf_look_reason(const struct sf_look *look, struct sf_assembly *assembly);
void sf_look_reason_two_volumes(const struct sf_look *look, struct sf_assembly *assembly);

#endif

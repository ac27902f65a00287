/* R12: may this volume start from the legs that are present, and from which record?
 *
 * Pure: superblocks in, verdict out.  Used by the start itself, by `surefootctl check`, and by the
 * simulator.
 *
 * The rule.  Take the newest record of the newest lineage.  Start when at least min_legs of its
 * in-sync legs are present and fewer than min_legs of them are absent: then no newer record can
 * exist among the absent, and any two starts share a leg.
 * A record is doubted when one of the legs that it names is present, holds an older record and a
 * claim of a later term: it may never have become durable, and a later start may have gone on
 * without it.  Then every leg named by it or by the records of the legs that doubt it must be
 * present; of these records the newest wins that could start so and leaves fewer than min_legs out
 * of each other.  A leg with an unreadable copy of its superblock may hold a newer record than it
 * shows.  It counts as absent where absent legs could have gone on without the others; if they
 * could, but are just min_legs of them, they hold everything whatever stood there: the start takes
 * them alone, and the others are copied whole.  It may also hide the claim of a start that went on
 * without it from an older record: where enough legs are away for that, the start waits for them. */
#ifndef SUREFOOT_ASSEMBLY_H
#define SUREFOOT_ASSEMBLY_H

#include <surefoot/config.h>
#include <surefoot/ondisk.h>

enum sf_verdict {
  SF_LEG_ABSENT,      /* cannot be opened, or did not answer in time */
  SF_LEG_CURRENT,     /* in the in-sync set of the record the volume starts from */
  SF_LEG_BEHIND,      /* lacks writes: caught up after the start */
  SF_LEG_FAULTY,      /* taken out for errors or by the operator: waits for `leg return` */
  SF_LEG_UNFORMATTED, /* no superblock */
  SF_LEG_DAMAGED,     /* superblock unreadable or impossible */
  SF_LEG_TOO_NEW,     /* written by a newer version */
  SF_LEG_FOREIGN,     /* of another volume, or of another place in this one */
  SF_LEG_SPLIT_BRAIN, /* went on in another line of history: `leg discard` or nothing */
  SF_LEG_TOO_SMALL,   /* shorter than the volume's data */
};

struct sf_leg_found {
  bool present; /* opened and read */
  int error;    /* not present: why.  present: what sf_superblock_pick said, 0 = sb is valid */
  uint64_t bytes;
  struct sf_superblock sb;
  /* The other copy of the superblock cannot be read: it may have held a newer record. */
  bool doubtful;
  /* Its superblocks are lost, and this says whose leg it is.  For words only: what is lost may have said
   * anything, so the leg counts as if it had no mark. */
  bool marked;
  struct sf_mark mark;
};

struct sf_assembly {
  bool may_start;
  bool forced; /* the start begins a new lineage */
  enum sf_verdict verdict[SF_LEGS_MAX];
  unsigned legs;
  int reference;             /* a leg with `record` and the geometry in its superblock; -1: none */
  struct sf_superblock base; /* that superblock (identity, geometry, lineage, record) */
  uint64_t next_term;        /* above every claim and every record seen */
  uint16_t current;          /* legs to start with: CURRENT ones */
  uint16_t whole;     /* present, not current, and to be copied whole, whatever the maps say */
  uint16_t recopy;    /* of these: set aside for a copy of a superblock that cannot be read */
  uint16_t waits_for; /* not may_start: absent in-sync legs that would help */
  bool unreadable;    /* not may_start: for copies of superblocks that cannot be read */
  uint16_t headless;  /* none of these: the leg by its mark, whose superblocks are lost */
  /* One sentence for the operator: why it may not start and the way out, or how it starts. */
  char reason[1024];
};

/* force: `--force`.  Start from the newest record among the present even if R12 forbids it; takes
 * all of its present in-sync legs.  Still refused when no leg of it is present. */
void sf_assemble(const struct sf_config *config, const struct sf_leg_found found[SF_LEGS_MAX],
                 bool force, struct sf_assembly *assembly);

/* One page of the maps as a start takes it, from what the legs in `current` hold there: their pages
 * united, but for unwritten extents, which any of them tells that can be read (sf_map_page_choose).
 * bytes[leg] NULL: it could not be read.  A page that is damaged counts as all set; says
 * which legs' were.  united->intent: extents to be converged, none after a clean stop.
 * united->stale[i]: what a leg that is not current lacks. */
uint16_t sf_assembly_map_page(const struct sf_assembly *assembly, uint16_t current,
                              const uint8_t *const bytes[SF_LEGS_MAX], uint32_t index,
                              struct sf_map_page *united);

/* The same for legs as a file lists them: config and found come in its order and leave in the order
 * of the volume's places, as the superblock in force has them; an empty place has no name, a leg
 * that the file does not list has no path.  from[place]: the section that stands there now, or -1;
 * sections that stand nowhere are not the volume's.  min_legs is not left above the number of
 * legs. */
void sf_assemble_file(struct sf_config *config, struct sf_leg_found found[SF_LEGS_MAX], bool force,
                      int from[SF_LEGS_MAX], struct sf_assembly *assembly);

/* "its superblocks were overwritten; by its mark it is leg b of volume vol0"; "": it has no mark. */
enum { SF_MARK_TEXT_MAX = 256 };
const char *sf_mark_text(const struct sf_leg_found *found, char text[SF_MARK_TEXT_MAX]);

/* "current", "behind", ... */
const char *sf_verdict_name(enum sf_verdict verdict);

#endif

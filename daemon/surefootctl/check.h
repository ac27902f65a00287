/* What `surefootctl check` found, and the comparison of the legs' data (compare.c). */
#ifndef SF_CTL_CHECK_H
#define SF_CTL_CHECK_H

#include <surefoot/legfile.h>

#include "ctl.h"

struct checked {
  struct sf_config config;
  struct sf_leg_file file[SF_LEGS_MAX];
  struct sf_leg_found found[SF_LEGS_MAX];
  char leg_error[SF_LEGS_MAX][SF_CONFIG_ERROR_MAX];
  struct sf_assembly assembly;
  uint16_t current; /* legs that a start would take as complete, be it allowed or not */
  uint16_t in_use;  /* another process holds the lock */

  /* As a start would take them; none without a reference. */
  bool has_maps;
  struct ctl_extents converge;           /* to be made equal on the legs in sync */
  struct ctl_extents unwritten;          /* read as zeros, and made so before they are written */
  struct ctl_extents stale[SF_LEGS_MAX]; /* to be copied to a leg that is not */
  uint64_t intent_bytes[SF_LEGS_MAX];    /* that the leg's own pages speak of */
  uint64_t damaged_pages[SF_LEGS_MAX];   /* of those in sync */
};

/* A run of extents that differ in the same way. */
struct difference {
  uint64_t offset, length, first; /* first: the first byte that differs */
  uint16_t legs;                  /* legs that differ from most of the others */
  bool converged;                 /* a start will make them equal before they are read */
};

struct unreadable {
  uint64_t offset, length;
  unsigned leg;
  int error;
};

struct comparison {
  bool done;     /* something was compared */
  uint16_t legs; /* in sync and read */
  uint64_t bytes;
  struct difference *difference;
  size_t differences;
  struct unreadable *unreadable;
  size_t unreadables;
};

/* Reads all data of the legs in sync, and nothing is written.  CTL_FAILED after a message when it
 * could not be done; whether they are equal is another matter. */
int ctl_compare_legs(const struct checked *checked, struct comparison *comparison);
void ctl_compare_free(struct comparison *comparison);
bool ctl_compare_is_well(const struct comparison *comparison);
void ctl_compare_print(const struct checked *checked, const struct comparison *comparison);
json_t *ctl_compare_to_json(const struct checked *checked, const struct comparison *comparison);

/* ---- repair.c ---- */

struct repaired {
  bool done;
  uint64_t bytes[SF_LEGS_MAX];          /* written anew, of each leg */
  uint64_t unknown_bytes, failed_bytes; /* no copy is known to be right; could not be written */
};

/* CTL_DONE, or CTL_FAILED after a message: not on these legs. */
int ctl_repair_may(const struct checked *checked);
/* Writes anew the differences of the comparison. from: this leg is right where no copy is known to
 * be; -1: none is. */
int ctl_repair_legs(const struct checked *checked, const struct comparison *comparison, int from,
                    struct repaired *repaired);
bool ctl_repair_is_whole(const struct repaired *repaired);
void ctl_repair_print(const struct checked *checked, const struct repaired *repaired);
json_t *ctl_repair_to_json(const struct checked *checked, const struct repaired *repaired);

/* "a, b and c" */
void ctl_compare_names(const struct checked *checked, uint16_t legs, char *text, size_t size);

#endif

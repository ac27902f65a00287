/* The volumes to run: every volume's file, read and checked before anything is started or changed.
 * A file with a mistake concerns its own volume only. */
#ifndef SUREFOOTD_PLAN_H
#define SUREFOOTD_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include <surefoot/config.h>

enum { PLAN_VOLUMES_MAX = 256 };

struct plan_volume {
  struct sf_config config; /* socket, control and fast_socket are filled in */
};

struct plan {
  unsigned volumes;
  struct plan_volume
      *volume[PLAN_VOLUMES_MAX]; /* in the order of their files' names; NULL: taken */
  unsigned broken;
  char *broken_file[PLAN_VOLUMES_MAX]; /* no volume comes from these */
};

/* One line that says what is wrong; there may be several. */
typedef void plan_problem(void *ctx, const char *line);

/* Reads FOLDER's *.conf.  Each file that has a mistake, or cannot be read, is a problem and broken.
 * 0, or -EINVAL after a problem with the folder itself; *plan is empty then. */
int sfd_plan_load(const char *folder, const char *runtime, struct plan *plan, plan_problem *problem,
                  void *ctx);
void sfd_plan_clear(struct plan *plan);

/* Between two volumes: a name, leg, socket or device that both want is a problem, and the later one
 * is broken. */
void sfd_plan_check(struct plan *plan, plan_problem *problem, void *ctx);
/* Is it one of the broken files? */
bool sfd_plan_is_broken(const struct plan *plan, const char *file);
/* No volume comes from this file. */
void sfd_plan_break(struct plan *plan, const char *file);

struct plan_volume *sfd_plan_find(const struct plan *plan, const char *name);

/* ---- one volume ---- */

/* For free().  NULL: no memory. */
struct plan_volume *sfd_plan_volume_copy(const struct plan_volume *volume);

/* Where the leg is; "": there is no such leg. */
const char *sfd_plan_leg_path(const struct plan_volume *volume, const char *leg);

/* ---- from one plan to another ---- */

enum plan_change_kind {
  PLAN_ADD,     /* the volume is new */
  PLAN_REMOVE,  /* the volume's file is gone */
  PLAN_SET,     /* a setting that is changed while it runs */
  PLAN_RESTART, /* a setting that needs a restart of the volume */
  PLAN_KEEP,    /* what the volume did with a leg, and its file does not say */
};

struct plan_change {
  enum plan_change_kind kind;
  const char *volume;
  const char *key, *from, *to; /* of SET and RESTART */
};

/* Each change; the texts are valid during the call. */
void sfd_plan_diff(const struct plan *from, const struct plan *to,
                   void (*change)(void *ctx, const struct plan_change *change), void *ctx);

#endif

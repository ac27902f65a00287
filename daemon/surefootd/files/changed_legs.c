#include "files/changed_legs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void
clear(struct changed_leg *leg) {
  free(leg->in_file);
  free(leg->now);
}

static void
drop(struct changed_legs *kept, struct changed_leg *leg) {
  clear(leg);
  *leg = kept->leg[--kept->count];
}

void
sfd_changed_legs_clear(struct changed_legs *kept) {
  while (kept->count > 0)
    drop(kept, kept->leg);
}

static struct changed_leg *
find(struct changed_legs *kept, const char *name) {
  for (unsigned i = 0; i < kept->count; i++)
    if (strcmp(kept->leg[i].name, name) == 0)
      return &kept->leg[i];
  return NULL;
}

static int
set_path(char **field, const char *path) {
  char *copy = strdup(path);
  if (copy == NULL)
    return -ENOMEM;
  free(*field);
  *field = copy;
  return 0;
}

int
sfd_changed_legs_note(struct changed_legs *kept, struct plan_volume *plan, const char *name,
                      const char *path) {
  const char *before = sfd_plan_leg_path(plan, name);
  if (strcmp(before, path) == 0)
    return 0;
  struct changed_leg *leg = find(kept, name);
  bool is_new = leg == NULL;
  int r = 0;
  if (is_new) {
    if (kept->count == CHANGED_LEGS_MAX || strlen(name) >= SF_LEG_NAME_MAX)
      return -ENOSPC;
    leg = &kept->leg[kept->count++];
    *leg = (struct changed_leg){0};
    memcpy(leg->name, name, strlen(name) + 1);
    r = set_path(&leg->in_file, before);
  }
  char *now = r == 0 ? strdup(path) : NULL;
  if (r == 0 && now == NULL)
    r = -ENOMEM;
  if (r == 0)
    r = sf_config_set_leg(&plan->config, name, path);
  if (r < 0) {
    free(now);
    if (is_new)
      drop(kept, leg);
    return r;
  }
  free(leg->now);
  leg->now = now;
  if (strcmp(leg->in_file, leg->now) == 0)
    drop(kept, leg);
  return 0;
}

void
sfd_changed_legs_said(struct changed_legs *kept, const char *name) {
  struct changed_leg *leg = find(kept, name);
  if (leg)
    drop(kept, leg);
}

/* The file is no wiser than before. */
static bool
stands(const struct changed_leg *leg, const struct plan_volume *plan) {
  return strcmp(sfd_plan_leg_path(plan, leg->name), leg->in_file) == 0;
}

int
sfd_changed_legs_apply(const struct changed_legs *kept, struct plan_volume *plan,
                       void (*behind)(void *ctx, const struct changed_leg *leg), void *ctx) {
  bool applies[CHANGED_LEGS_MAX];
  int r = 0;
  for (unsigned i = 0; i < kept->count; i++) {
    const struct changed_leg *leg = &kept->leg[i];
    applies[i] = stands(leg, plan);
    if (applies[i] && behind)
      behind(ctx, leg);
  }
  for (unsigned i = 0; i < kept->count && r == 0; i++)
    if (applies[i])
      r = sf_config_set_leg(&plan->config, kept->leg[i].name, kept->leg[i].now);
  return r;
}

void
sfd_changed_legs_settle(struct changed_legs *kept, const struct plan_volume *plan) {
  for (unsigned i = kept->count; i-- > 0;)
    if (!stands(&kept->leg[i], plan))
      drop(kept, &kept->leg[i]);
}

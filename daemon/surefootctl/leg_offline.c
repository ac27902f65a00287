/* leg discard without a running volume. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <surefoot/legfile.h>

#include "base/units.h"
#include "ctl.h"

enum { OPEN_TIMEOUT_S = 10 };

struct offline {
  struct sf_config config;
  struct sf_leg_file file[SF_LEGS_MAX];
  struct sf_leg_found found[SF_LEGS_MAX];
  struct sf_assembly assembly, without; /* with the leg, and if it told nothing any more */
};

/* The legs are only looked at, and closed again: sf_leg_discard takes its own lock. */
static int
look(struct offline *offline) {
  struct sf_leg_file *file = offline->file;
  static char leg_error[SF_LEGS_MAX][SF_CONFIG_ERROR_MAX];
  char error[SF_CONFIG_ERROR_MAX] = "";
  int r = sf_leg_files_assemble(ctl_openers(), &offline->config, SF_LEG_READ_ONLY,
                                OPEN_TIMEOUT_S * SF_S, false, file, offline->found, leg_error,
                                &offline->assembly, error);
  if (r < 0)
    return ctl_fail("%s", *error ? error : strerror(-r));
  for (unsigned i = 0; i < offline->config.legs; i++)
    sf_leg_file_close(&file[i]);
  return CTL_DONE;
}

/* No absent leg would help: the start waits for a decision, as in a split brain. */
static bool
only_decision_is_missing(const struct sf_assembly *assembly) {
  return !assembly->may_start && assembly->waits_for == 0 && !assembly->unreadable;
}

static void
assemble_without(struct offline *offline, unsigned leg) {
  struct sf_leg_found *found = offline->found, discarded = found[leg];
  found[leg] = (struct sf_leg_found){.error = -ENOENT};
  sf_assemble(&offline->config, found, false, &offline->without);
  found[leg] = discarded;
}

/* What the volume is, as the other legs tell it.  Where they are of two lines of history any of
 * them will do: an empty leg says nothing of lines. */
static const struct sf_superblock *
find_reference(const struct offline *offline) {
  const struct sf_assembly *others = &offline->without;
  if (others->reference >= 0)
    return &others->base;
  for (unsigned i = 0; i < offline->config.legs; i++)
    if (others->verdict[i] == SF_LEG_SPLIT_BRAIN)
      return &offline->found[i].sb;
  return offline->assembly.reference >= 0 ? &offline->assembly.base : NULL;
}

/* R12: a leg that is out may be needed for a start all the same.  Where the volume waits, what the
 * legs that it waits for say may make it so. */
static bool
is_needed(const struct offline *offline, unsigned leg) {
  switch (offline->assembly.verdict[leg]) {
  case SF_LEG_CURRENT:
  case SF_LEG_BEHIND:
  case SF_LEG_FAULTY:
  case SF_LEG_SPLIT_BRAIN:
  case SF_LEG_TOO_SMALL:
    return !offline->without.may_start;
  default:
    return false; /* it tells nothing, and is refused for that */
  }
}

static int
fail_needed(const struct offline *offline, const char *name) {
  const char *volume = offline->config.name;
  if (offline->assembly.may_start)
    return ctl_fail("%s: leg %s is not discarded: the volume needs it once more, and could not "
                    "start without what it holds; start the volume, and once it serves "
                    "`surefootctl leg discard %s %s`",
                    volume, name, volume, name);
  return ctl_fail("%s: leg %s is not discarded: the volume does not start now, and may need what "
                  "the leg holds when it does: once it serves `surefootctl leg discard %s %s`; it "
                  "%s",
                  volume, name, volume, name, offline->assembly.reason);
}

int
ctl_discard_offline(const char *conf, const char *name) {
  static struct offline offline;
  const struct sf_assembly *assembly = &offline.assembly;
  char error[SF_CONFIG_ERROR_MAX] = "";
  char file[PATH_MAX];
  int r = sf_config_load(&offline.config, ctl_conf_file(conf, file), error);
  if (r < 0)
    return ctl_fail("%s", *error ? error : strerror(-r));
  if (sf_config_find_leg(&offline.config, name) < 0)
    return ctl_fail("%s: no leg '%s'", conf, name);
  int status = look(&offline);
  if (status != CTL_DONE)
    return status;
  int leg = sf_config_find_leg(&offline.config, name); /* its place in the volume */
  if (leg < 0)
    return ctl_fail("%s: the volume has no leg '%s': `surefootctl leg add`", offline.config.name,
                    name);
  assemble_without(&offline, (unsigned) leg);
  const struct sf_superblock *reference = find_reference(&offline);
  if (reference == NULL)
    return ctl_fail("%s: no leg tells what the volume is: %s", offline.config.name,
                    assembly->reason);
  if (!only_decision_is_missing(assembly) &&
      (assembly->verdict[leg] == SF_LEG_CURRENT || assembly->reference == leg))
    return ctl_fail(
        "%s: leg %s is in the in-sync set: discarding it would lose acknowledged writes",
        offline.config.name, name);
  if (!only_decision_is_missing(assembly) && is_needed(&offline, (unsigned) leg))
    return fail_needed(&offline, name);
  struct sf_leg_judged judged;
  sf_leg_judge(&offline.file[leg], &offline.found[leg], true, &judged);
  r = sf_leg_discard(offline.config.leg[leg].path, reference, (unsigned) leg, true, &judged, error);
  if (r < 0)
    return ctl_fail("%s", *error ? error : strerror(-r));
  printf("%s: leg %s is discarded: all of it will be copied\n", offline.config.name, name);
  return CTL_DONE;
}

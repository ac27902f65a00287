/* A volume's name stands in the superblocks of its legs, and a leg with another name is another
 * volume's.  So all of them get the new name, while no server has it.  A renaming that breaks off
 * is done again: legs that have the new name already are taken like the others. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "legs/internal.h"

struct renaming {
  const struct sf_config *config;
  const char *name;
  struct sf_leg_file file[SF_LEGS_MAX];
  struct sf_leg_found found[SF_LEGS_MAX];
  char leg_error[SF_LEGS_MAX][SF_CONFIG_ERROR_MAX];
};

static int
check_leg(const struct renaming *renaming, unsigned leg, char error[SF_CONFIG_ERROR_MAX]) {
  const struct sf_leg_found *found = &renaming->found[leg];
  const char *name = renaming->config->leg[leg].name;
  if (!found->present)
    return sf_leg_fail(error, found->error ? found->error : -ENOENT, "leg %s: %.800s", name,
                       renaming->leg_error[leg]);
  if (found->error != 0)
    return sf_leg_fail(error, found->error, "leg %s (%s): no valid superblock", name,
                       sf_leg_path(renaming->config->leg[leg].path));
  if (strcmp(found->sb.volume_name, renaming->config->name) != 0 &&
      strcmp(found->sb.volume_name, renaming->name) != 0)
    return sf_leg_fail(error, -EEXIST, "leg %s (%s): it belongs to volume %s", name,
                       sf_leg_path(renaming->config->leg[leg].path), found->sb.volume_name);
  if (!sf_uuid_equal(&found->sb.volume, &renaming->found[0].sb.volume))
    return sf_leg_fail(error, -EEXIST, "leg %s (%s): it belongs to another volume of this name",
                       name, sf_leg_path(renaming->config->leg[leg].path));
  return 0;
}

/* The newest says which legs are members, and how the volume was left. */
static int
check_whole(const struct renaming *renaming, char error[SF_CONFIG_ERROR_MAX]) {
  const struct sf_superblock *newest = &renaming->found[0].sb;
  unsigned listed = 0;
  for (unsigned i = 0; i < renaming->config->legs; i++) {
    int r = check_leg(renaming, i, error);
    if (r < 0)
      return r;
    if (sf_record_compare(&renaming->found[i].sb.record, &newest->record) > 0)
      newest = &renaming->found[i].sb;
  }
  for (unsigned i = 0; i < renaming->config->legs; i++)
    listed |= 1u << renaming->found[i].sb.leg_index;
  for (unsigned leg = 0; leg < newest->legs; leg++)
    if (!(newest->removed >> leg & 1) && !(listed >> leg & 1))
      return sf_leg_fail(error, -ENOENT,
                         "leg %s of the volume is not listed: without the new name it would be a "
                         "stranger's",
                         newest->leg_name[leg]);
  return newest->record.clean
             ? 0
             : sf_leg_fail(error, -EBUSY,
                           "the volume was not stopped cleanly: start it, and stop it first");
}

/* One copy after the other, so that one of them is good all the time. */
static int
rename_leg(struct renaming *renaming, unsigned leg, char error[SF_CONFIG_ERROR_MAX]) {
  struct sf_superblock *sb = &renaming->found[leg].sb;
  const struct sf_leg_file *file = &renaming->file[leg];
  int r = 0;
  memset(sb->volume_name, 0, sizeof sb->volume_name);
  memcpy(sb->volume_name, renaming->name, strlen(renaming->name) + 1);
  for (unsigned copy = 0; copy < SF_SUPERBLOCK_COPIES && r == 0; copy++) {
    sb->serial++;
    r = sf_leg_write_superblock(file, sb);
    if (r == 0 && fsync(file->fd) < 0)
      r = -errno;
  }
  if (r == 0) /* for words alone: a leg that does not take it has the new name all the same */
    (void) sf_leg_write_mark(file, sb);
  return r == 0 ? 0
                : sf_leg_fail(error, r, "leg %s (%s): %s", renaming->config->leg[leg].name,
                              sf_leg_path(renaming->config->leg[leg].path), strerrordesc_np(-r));
}

int
sf_legs_rename(struct sf_leg_openers *openers, const struct sf_config *config, const char *name,
               uint64_t timeout_ns, char error[SF_CONFIG_ERROR_MAX]) {
  struct renaming *renaming = calloc(1, sizeof *renaming);
  if (renaming == NULL)
    return sf_leg_fail(error, -ENOMEM, "out of memory");
  renaming->config = config;
  renaming->name = name;
  int r = sf_leg_files_open(openers, config, 0, timeout_ns, renaming->file, renaming->found,
                            renaming->leg_error, error);
  if (r == 0) {
    r = check_whole(renaming, error);
    for (unsigned i = 0; i < config->legs && r == 0; i++)
      r = rename_leg(renaming, i, error);
    for (unsigned i = 0; i < config->legs; i++)
      sf_leg_file_close(&renaming->file[i]);
  }
  free(renaming);
  return r;
}

/* From a configuration file to legs in their places, and the verdict on them. */
#include <stdio.h>
#include <string.h>

#include "legs/internal.h"

/* The section named like the leg in the superblock found at section i; -1: none, or it is not of
 * this volume. */
static int
own_section(const struct sf_config *config, const struct sf_leg_found *found, unsigned i) {
  const struct sf_superblock *sb = &found[i].sb;
  if (!found[i].present || found[i].error != 0 || strcmp(sb->volume_name, config->name) != 0)
    return -1;
  return sf_config_find_leg(config, sb->leg_name[sb->leg_index]);
}

#define SWAP(a, b)                                                                                 \
  do {                                                                                             \
    __typeof__(a) swapped = (a);                                                                   \
    (a) = (b);                                                                                     \
    (b) = swapped;                                                                                 \
  } while (0)

static void
swap(struct sf_config *config, struct sf_leg_file file[SF_LEGS_MAX],
     struct sf_leg_found found[SF_LEGS_MAX], char why[SF_LEGS_MAX][SF_CONFIG_ERROR_MAX], unsigned a,
     unsigned b) {
  char text[PATH_MAX];
  strcpy(text, config->leg[a].path);
  strcpy(config->leg[a].path, config->leg[b].path);
  strcpy(config->leg[b].path, text);
  SWAP(file[a], file[b]);
  SWAP(found[a], found[b]);
  memcpy(text, why[a], SF_CONFIG_ERROR_MAX);
  memcpy(why[a], why[b], SF_CONFIG_ERROR_MAX);
  memcpy(why[b], text, SF_CONFIG_ERROR_MAX);
}

/* Paths that were given to the wrong legs, as after disks changed their names: a leg is known by
 * its superblock, so each goes to its own section, and the disk that stood there takes the other
 * path.  A section that has its own leg already keeps it: of two disks that claim it, only the
 * operator knows.  Says which were moved. */
static uint16_t
sort_by_name(struct sf_config *config, struct sf_leg_file file[SF_LEGS_MAX],
             struct sf_leg_found found[SF_LEGS_MAX], char why[SF_LEGS_MAX][SF_CONFIG_ERROR_MAX]) {
  uint16_t moved = 0;
  for (unsigned i = 0; i < config->legs; i++)
    for (unsigned rounds = 0; rounds < config->legs; rounds++) {
      int own = own_section(config, found, i);
      if (own < 0 || own == (int) i || own_section(config, found, (unsigned) own) == own)
        break;
      swap(config, file, found, why, i, (unsigned) own);
      moved |= (uint16_t) (1u << i | 1u << own);
    }
  return moved;
}

/* config is in the order of the file still. */
static void
name_moved(const struct sf_config *config, const struct sf_leg_found *found, uint16_t moved,
           char text[SF_CONFIG_ERROR_MAX]) {
  size_t used = 0;
  text[0] = '\0';
  for (unsigned i = 0; i < config->legs && used < SF_CONFIG_ERROR_MAX; i++)
    if ((moved >> i & 1) && own_section(config, found, i) == (int) i)
      used += (size_t) snprintf(text + used, SF_CONFIG_ERROR_MAX - used, "%s%s is at %s",
                                used ? ", " : "; the file has other paths for the legs: ",
                                config->leg[i].name, sf_leg_path(config->leg[i].path));
}

int
sf_leg_files_assemble(struct sf_leg_openers *openers, struct sf_config *config, unsigned flags,
                      uint64_t timeout_ns, bool force, struct sf_leg_file file[SF_LEGS_MAX],
                      struct sf_leg_found found[SF_LEGS_MAX],
                      char leg_error[SF_LEGS_MAX][SF_CONFIG_ERROR_MAX],
                      struct sf_assembly *assembly, char error[SF_CONFIG_ERROR_MAX]) {
  char why[SF_LEGS_MAX][SF_CONFIG_ERROR_MAX];
  struct sf_leg_file opened[SF_LEGS_MAX];
  char moved[SF_CONFIG_ERROR_MAX];
  int from[SF_LEGS_MAX];
  int r = sf_leg_files_open(openers, config, flags, timeout_ns, opened, found, why, error);
  if (r < 0)
    return r;
  name_moved(config, found, sort_by_name(config, opened, found, why), moved);
  sf_assemble_file(config, found, force, from, assembly);
  size_t said = strlen(assembly->reason);
  snprintf(assembly->reason + said, sizeof assembly->reason - said, "%s", moved);
  for (unsigned place = 0; place < SF_LEGS_MAX; place++) {
    int at = from[place];
    file[place] = (struct sf_leg_file){.fd = -1};
    leg_error[place][0] = '\0';
    if (at < 0)
      continue;
    file[place] = opened[at];
    opened[at] = (struct sf_leg_file){.fd = -1};
    memcpy(leg_error[place], why[at], sizeof why[at]);
  }
  for (unsigned i = 0; i < SF_LEGS_MAX; i++)
    sf_leg_file_close(&opened[i]);
  return 0;
}

/* From a configuration file to legs in their places, and the verdict on them. */
#include <string.h>

#include "legs/internal.h"

int
sf_leg_files_assemble(struct sf_leg_openers *openers, struct sf_config *config, unsigned flags,
                      uint64_t timeout_ns, bool force, struct sf_leg_file file[SF_LEGS_MAX],
                      struct sf_leg_found found[SF_LEGS_MAX],
                      char leg_error[SF_LEGS_MAX][SF_CONFIG_ERROR_MAX],
                      struct sf_assembly *assembly, char error[SF_CONFIG_ERROR_MAX]) {
  char why[SF_LEGS_MAX][SF_CONFIG_ERROR_MAX];
  struct sf_leg_file opened[SF_LEGS_MAX];
  int from[SF_LEGS_MAX];
  int rc = sf_leg_files_open(openers, config, flags, timeout_ns, opened, found, why, error);
  if (rc < 0)
    return rc;
  sf_assemble_file(config, found, force, from, assembly);
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

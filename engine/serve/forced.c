/* A start by force with legs that the operator names.  A hung leg must not take part: looking at it
 * may hang too, and it may answer for this one moment.  A leg that is named must be there: its lock
 * may be a dead process's for a moment (R7), and what only that leg has would be lost. */
#include "serve/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static unsigned
count_words(const char *with) {
  unsigned words = 1;

  for (; *with != '\0'; with++)
    words += *with == ',';
  return words;
}

int
sf_serve_forced_choose(struct sf_config *config, const char *with,
                       char error[SF_CONFIG_ERROR_MAX]) {
  unsigned named = 0;

  for (unsigned i = 0; i < config->legs; i++)
    if (sf_text_lists(with, config->leg[i].name))
      named++;
    else
      config->leg[i].path[0] = '\0';
  if (named == count_words(with))
    return 0;
  snprintf(error, SF_CONFIG_ERROR_MAX,
           "force_with=%.200s: each must be a leg of the file, and be named once", with);
  return -EINVAL;
}

uint16_t
sf_serve_forced_lacks(const struct sf_config *config, const char *with,
                      const struct sf_assembly *assembly) {
  uint16_t lacks = 0;

  for (unsigned i = 0; i < config->legs; i++)
    if (sf_text_lists(with, config->leg[i].name) && !(assembly->current >> i & 1))
      lacks |= (uint16_t) (1u << i);
  return lacks;
}

void
sf_serve_forced_put_back(struct sf_config *config, const struct sf_config *as_listed) {
  for (unsigned i = 0; i < config->legs; i++) {
    int at = sf_config_find_leg(as_listed, config->leg[i].name);

    if (config->leg[i].path[0] == '\0' && config->leg[i].name[0] != '\0' && at >= 0)
      strcpy(config->leg[i].path, as_listed->leg[at].path);
  }
}

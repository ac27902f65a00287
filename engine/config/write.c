/* From a struct sf_config to the file that says the same. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <surefoot/config.h>

#include "config/keys.h"

static void
write_head(FILE *stream, const char *file) {
  if (!*file)
    return;
  fputs("# Made from ", stream);
  for (; *file; file++)
    fputc((unsigned char) *file < ' ' || *file == 0x7f ? '?' : *file, stream);
  fputc('\n', stream);
}

static int
write_section(FILE *stream, const struct sf_config *config, int leg,
              char error[SF_CONFIG_ERROR_MAX]) {
  char value[PATH_MAX];
  if (leg == SF_CONFIG_VOLUME)
    fputs("[volume]\n", stream);
  else
    fprintf(stream, "[leg %s]\n", config->leg[leg].name);
  for (unsigned i = 0; i < sf_config_keys(); i++) {
    const struct sf_config_key *key = sf_config_key_at(i);
    if (sf_config_key_is_of_leg(key) != (leg != SF_CONFIG_VOLUME))
      continue;
    uint32_t set_at = sf_config_key_set_at(config, leg, key);
    if (set_at == SF_CONFIG_DEFAULT)
      continue;
    sf_config_key_written(config, leg, key, value);
    if (!sf_config_value_fits_line(value)) {
      sf_config_error(error, "%s%s%s: no file can say \"%.200s\"",
                      leg == SF_CONFIG_VOLUME ? "" : config->leg[leg].name,
                      leg == SF_CONFIG_VOLUME ? "" : ".", sf_config_key_name(key), value);
      return -EINVAL;
    }
    fprintf(stream, "%s = %s", sf_config_key_name(key), value);
    if (set_at == SF_CONFIG_SET_LIVE || set_at == SF_CONFIG_PARAMETER)
      fputs(" ; not from the file\n", stream);
    else
      fprintf(stream, " ; line %u\n", (unsigned) set_at);
  }
  return 0;
}

int
sf_config_write(const struct sf_config *config, char **text, size_t *len,
                char error[SF_CONFIG_ERROR_MAX]) {
  char *bytes = NULL;
  FILE *stream = open_memstream(&bytes, len);
  int r = 0;
  if (stream) {
    write_head(stream, config->file);
    for (int leg = SF_CONFIG_VOLUME; leg < (int) config->legs && r == 0; leg++)
      r = write_section(stream, config, leg, error);
    if (r == 0)
      r = sf_config_spares_write(stream, config, error);
  }
  if (stream == NULL || ferror(stream) + fclose(stream) != 0) {
    sf_config_error(error, "out of memory");
    r = -ENOMEM;
  }
  if (r < 0) {
    free(bytes);
    return r;
  }
  *text = bytes;
  return 0;
}

/* Any bytes as a configuration.  Beyond not crashing: a refusal is one readable line, and a config
 * that was taken is complete, within its limits, and takes its own settings again. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <surefoot/config.h>

#include "config/keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
demand(bool condition) {
  if (!condition)
    abort();
}

static void
check_error(const char error[SF_CONFIG_ERROR_MAX]) {
  demand(memchr(error, '\0', SF_CONFIG_ERROR_MAX) != NULL);
  demand(*error != '\0');
  for (; *error; error++)
    demand((unsigned char) *error >= ' ' && *error != 0x7f);
}

static void
check_config(struct sf_config *config) {
  static struct sf_config again;
  char error[SF_CONFIG_ERROR_MAX];
  memcpy(&again, config, sizeof again);
  demand(sf_config_complete(&again, error) == 0);
  demand(memcmp(&again, config, sizeof again) == 0);
  demand(config->legs >= 1 && config->legs <= SF_LEGS_MAX);
  demand(config->min_legs >= 1 && config->min_legs <= config->legs);
  for (unsigned i = 0; i < config->legs; i++) {
    demand(*config->leg[i].path == '/');
    for (unsigned kind = 0; kind < SF_KINDS; kind++) {
      struct sf_timeout t = sf_config_timeout_range(config, i, kind);
      demand(t.least_ns >= 1000000 && t.least_ns <= t.first_ns && t.first_ns <= t.most_ns);
      demand(t.most_ns <= config->deadline_ns[kind] && t.most_ns <= config->fail_timeout_ns);
    }
  }
}

/* Its written form is read again, and says the same. */
static bool
differs(void *ctx, const char *key, const char *from, const char *to) {
  demand(false);
  return false;
}

static void
check_write(const struct sf_config *config) {
  static struct sf_config again;
  char error[SF_CONFIG_ERROR_MAX] = "", *text;
  size_t len;
  if (sf_config_write(config, &text, &len, error) < 0) {
    check_error(error); /* no line can hold the folder's name */
    return;
  }
  sf_config_init(&again);
  demand(sf_config_parse(&again, "again.conf", text, len, error) == 0);
  demand(sf_config_diff(config, &again, differs, NULL) == 0);
  free(text);
}

/* The input's first lines as a setting: KEY, then VALUE. */
static void
check_set(struct sf_config *config, const uint8_t *data, size_t size) {
  static struct sf_config before;
  char key[256] = "", value[256] = "", error[SF_CONFIG_ERROR_MAX] = "";
  const uint8_t *newline = memchr(data, '\n', size);
  size_t key_len = newline ? (size_t) (newline - data) : size;
  if (key_len >= sizeof key)
    return;
  memcpy(key, data, key_len);
  if (newline) {
    size_t value_len = size - key_len - 1;
    memcpy(value, newline + 1, value_len < sizeof value ? value_len : sizeof value - 1);
  }
  memcpy(&before, config, sizeof before);
  if (sf_config_set(config, key, value, error) == 0)
    return;
  check_error(error);
  demand(memcmp(&before, config, sizeof before) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct sf_config config;
  char error[SF_CONFIG_ERROR_MAX] = "";
  sf_config_init(&config);
  strcpy(config.file, "/etc/surefoot/vol0.conf");
  if (sf_config_parse(&config, "vol0.conf", (const char *) data, size, error) < 0)
    check_error(error);
  else {
    check_config(&config);
    check_write(&config);
  }

  sf_config_init(&config);
  config.legs = 1;
  strcpy(config.leg[0].name, "a");
  check_set(&config, data, size);
  return 0;
}

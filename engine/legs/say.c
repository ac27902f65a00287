#include <stdio.h>
#include <string.h>

#include "legs/internal.h"

int
sf_leg_fail(char error[SF_CONFIG_ERROR_MAX], int r, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(error, SF_CONFIG_ERROR_MAX, format, args);
  va_end(args);
  return r;
}

const char *
sf_leg_path(const char *path) {
  enum { CHARS_MAX = 160 };
  size_t len = strlen(path);
  return len > CHARS_MAX ? path + len - CHARS_MAX : path;
}

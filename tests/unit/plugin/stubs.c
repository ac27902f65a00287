#include "stubs.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

char stub_error[1024];

__attribute__((format(printf, 1, 2))) void
nbdkit_error(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(stub_error, sizeof stub_error, format, args);
  va_end(args);
}

int
nbdkit_parse_bool(const char *text) {
  if (strcmp(text, "true") == 0)
    return 1;
  if (strcmp(text, "false") == 0)
    return 0;
  nbdkit_error("could not decipher boolean (%s)", text);
  return -1;
}

char *
nbdkit_absolute_path(const char *path) {
  char *absolute;
  if (asprintf(&absolute, "%s%s", path[0] == '/' ? "" : "/working folder/", path) == -1)
    abort();
  return absolute;
}

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *
sf_text_after_name(unsigned left) {
  return left > 1 ? ", " : left == 1 ? " and " : "";
}

bool
sf_text_lists(const char *words, const char *word) {
  size_t len = strlen(word);

  for (const char *at = words; at != NULL; at = strchr(at, ',')) {
    at += *at == ',';
    if (strncmp(at, word, len) == 0 && (at[len] == ',' || at[len] == '\0'))
      return true;
  }
  return false;
}

void
sf_text_put(struct sf_text *text, const char *format, ...) {
  va_list args;
  size_t used;
  int len;

  va_start(args, format);
  len = vsnprintf(text->at, text->left, format, args);
  va_end(args);
  used = len < 0 ? 0 : (size_t) len;
  if (used >= text->left)
    used = text->left - 1;
  text->at += used;
  text->left -= used;
}

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>

const char *
sf_text_after_name(unsigned left) {
  return left > 1 ? ", " : left == 1 ? " and " : "";
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

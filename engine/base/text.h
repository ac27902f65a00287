/* A sentence that is put together in a buffer of the caller's, and cut where that ends. */
#ifndef SF_BASE_TEXT_H
#define SF_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct sf_text {
  char *at;    /* the end of what stands there already, a NUL */
  size_t left; /* with the NUL; at least 1 */
};

void sf_text_put(struct sf_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* What stands behind a name of a list, "a, b and c": left: so many names are still to come. */
const char *sf_text_after_name(unsigned left);

/* Is the word one of those between the commas of "a,b"? */
bool sf_text_lists(const char *words, const char *word);

#endif

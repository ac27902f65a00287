/* What must be true in a correct program.  Always compiled in: a mirror that goes on after its own
 * state is impossible writes wrong bytes.  Expected failures (I/O, input, memory) are handled. */
#ifndef SF_BASE_ASSERT_H
#define SF_BASE_ASSERT_H

#include <stdio.h>
#include <stdlib.h>

#define SF_ASSERT(condition)                                                                       \
  do {                                                                                             \
    if (__builtin_expect(!(condition), 0)) {                                                       \
      fprintf(stderr, "surefoot: %s:%d: must be true: %s\n", __FILE__, __LINE__, #condition);      \
      abort();                                                                                     \
    }                                                                                              \
  } while (0)

#endif

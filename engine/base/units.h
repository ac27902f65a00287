/* Units of time: all times are in nanoseconds. */
#ifndef SF_BASE_UNITS_H
#define SF_BASE_UNITS_H

#include <stdint.h>

#define SF_US UINT64_C(1000)
#define SF_MS UINT64_C(1000000)
#define SF_S  UINT64_C(1000000000)

#endif

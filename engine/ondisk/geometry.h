#ifndef SUREFOOT_ONDISK_GEOMETRY_H
#define SUREFOOT_ONDISK_GEOMETRY_H

#include <stdint.h>

/* No volume has more extents: the area of the maps is made for it. */
#define SF_EXTENTS_MAX (UINT64_C(1) << 21)

#endif

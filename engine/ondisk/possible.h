/* What no uuid and no name is: asked of every page that carries some. */
#ifndef SUREFOOT_ONDISK_POSSIBLE_H
#define SUREFOOT_ONDISK_POSSIBLE_H

#include <surefoot/ondisk.h>

bool sf_uuid_is_set(const struct sf_uuid *uuid); /* it is not nil */
/* The same names that a configuration may give.  size bytes, not surely terminated. */
bool sf_name_is_possible(const char *name, size_t size);

#endif

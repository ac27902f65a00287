/* The histories of all volumes in a file, so that the next surefootd shows the hour before it too. */
#ifndef SUREFOOTD_PAST_H
#define SUREFOOTD_PAST_H

#include <jansson.h>

#include "common/kept_file.h"
#include "volumes/volumes.h"

/* What the file has: an array of lines.  A damaged one ends it and is told, once, as the file is
 * begun anew; NULL: nothing. */
json_t *sfd_past_load(const char *path);
/* To the volumes that there are now, before any has noted a look. */
void sfd_past_take(const struct volumes *volumes, const json_t *lines);
/* It is to be noted when a volume was looked at. */
struct kept_file sfd_past_of(struct volumes *volumes, const char *path);

#endif

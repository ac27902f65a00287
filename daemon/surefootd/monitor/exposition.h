/* The status of all volumes as Prometheus reads it (text format 0.0.4). */
#ifndef SUREFOOTD_EXPOSITION_H
#define SUREFOOTD_EXPOSITION_H

#include <jansson.h>

/* volumes: the array of the status.  The text is the caller's to free; NULL: no memory. */
char *sfd_exposition_make(const json_t *volumes);

#endif

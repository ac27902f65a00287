/* The kept events in a file, so that the next surefootd has them too. */
#ifndef SUREFOOTD_EVENTS_STORE_H
#define SUREFOOTD_EVENTS_STORE_H

#include "common/kept_file.h"
#include "events/events.h"

/* What the file has, before anything has happened; they are not told again. */
void sfd_store_load(const char *path, struct events *events);
/* It is to be noted when something has happened. */
struct kept_file sfd_store_of(sd_event *event, const char *path, struct events *events);

#endif

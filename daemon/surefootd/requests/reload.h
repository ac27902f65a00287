/* From what runs to what the files say now.  All files are checked first; one with a mistake
 * changes nothing of its own volume, a mistake in the settings nothing at all.  Then settings that
 * a volume takes while it runs are set, new volumes are started, those without a file any more are
 * stopped, and settings that need a restart are named. */
#ifndef SUREFOOTD_RELOAD_H
#define SUREFOOTD_RELOAD_H

#include <stdbool.h>

struct daemon;
struct reply;

/* reply NULL: SIGHUP; the log says what changed. */
void sfd_reload_run(struct daemon *daemon, bool dry_run, struct reply *reply);

#endif

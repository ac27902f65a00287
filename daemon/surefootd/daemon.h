/* The life of the whole: check everything, start everything, stop everything. */
#ifndef SUREFOOTD_DAEMON_H
#define SUREFOOTD_DAEMON_H

#include "files/plan.h"
#include "state.h"

/* Reads the settings and every volume's file.  Mistakes are logged. -errno: without that nothing
 * can start; else daemon->problems has the files that are left out. */
int sfd_daemon_check(struct daemon *daemon, struct plan *plan);
/* Until it is told to stop.  Takes the plan's volumes over. */
int sfd_daemon_run(struct daemon *daemon, struct plan *plan);

#endif

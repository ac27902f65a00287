/* The command line of a volume's server.
 *
 * A server that starts again after a crash must not read a file in the middle of an edit, and must
 * keep the settings changed while it ran.  So it reads a file of its own,
 * RUNTIME/volumes/NAME.conf, which has the settings in force. */
#ifndef SUREFOOTD_COMMAND_H
#define SUREFOOTD_COMMAND_H

#include "files/plan.h"
#include "files/settings.h"

struct server_command {
  char file[PATH_MAX], threads[32], force[SF_LEGS_MAX * SF_LEG_NAME_MAX + 16];
  const char *argv[9]; /* ends with NULL; points into the settings, too */
};

/* Writes the file.  force: the start is; with: by force with these legs alone, NULL: no.  0, or -errno with one line in error. */
int sfd_command_make(const struct settings *settings, const struct plan_volume *plan, bool force,
                     const char *with, struct server_command *command,
                     char error[SF_CONFIG_ERROR_MAX]);

/* Removes the file. */
void sfd_command_forget(const struct settings *settings, const struct plan_volume *plan);

#endif

/* The command line of a volume's server.
 *
 * A server that starts again after a crash must not meet a file that somebody is just editing.  So it
 * reads a copy of the text that was checked, RUNTIME/volumes/NAME.conf, and what differs from that
 * text (settings changed while it ran, paths that were relative to the original) comes as
 * parameters, which win over the file. */
#ifndef SUREFOOTD_COMMAND_H
#define SUREFOOTD_COMMAND_H

#include "files/plan.h"
#include "files/settings.h"

enum { COMMAND_WORDS_MAX = 160 };

struct server_command {
  int words;
  char *argv[COMMAND_WORDS_MAX + 1]; /* ends with NULL */
};

int command_make(const struct settings *settings, const struct plan_volume *plan,
                 struct server_command *command, char error[SF_CONFIG_ERROR_MAX]);
void command_clear(struct server_command *command);

/* Removes the copy. */
void command_forget(const struct settings *settings, const struct plan_volume *plan);

#endif

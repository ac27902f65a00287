/* What the hold asks of systemd, through systemctl(1). */
#ifndef SUREFOOTD_SYSTEMD_H
#define SUREFOOTD_SYSTEMD_H

#include <stdbool.h>

/* surefootd.service is to stop, and not to start again after it. */
bool sfd_systemd_is_to_stop(void);
/* The machine goes down: nothing can be kept up. */
bool sfd_systemd_shuts_down(void);

/* Nothing that is to stop does something now but us: what has not stopped waits for us. */
bool sfd_systemd_waits_for_us(void);
/* Whatever it is to wait for. */
void sfd_systemd_stop_at_once(const char *unit, unsigned timeout_ms);

/* What requires surefoot.target, and is up. */
struct systemd_units {
  char names[8192];
  unsigned count;
  const char *name[64];
};

void sfd_systemd_find_dependents(struct systemd_units *units);
/* Stops surefoot.target, and so what requires it; 0 when that has ended, however it ended.
 * -ETIMEDOUT: it goes on. */
int sfd_systemd_stop_target(unsigned timeout_ms);
/* Calls the stop off, which fails for its caller, and starts these units again. */
void sfd_systemd_call_off(const struct systemd_units *units);

/* To the terminals of all users: systemctl shows them nothing of ours. */
void sfd_systemd_tell_terminals(const char *text);

#endif

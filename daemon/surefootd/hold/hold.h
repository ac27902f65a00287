/* surefootd --hold: may surefootd be stopped?
 *
 * A device in use loses unwritten data with its server, so a stop under one is refused, as md
 * refuses.  systemd cannot refuse a stop that has begun.  It can call one off that waits:
 * surefoot-hold.service is stopped whenever surefootd.service is, and before it, and its stop is
 * this.
 *
 *   nothing is held ──────────────────────────────────► surefootd stops
 *   what requires surefoot.target is stopped in order
 *     nothing is held any more ───────────────────────► surefootd stops
 *     something is still held ────────────────────────► the stop is called off, `systemctl stop` fails
 *   the machine goes down: there is only waiting, ────► surefootd stops
 *     until nothing is written any more, or for
 *     SHUTDOWN_MS
 *
 * A restart is let pass: requests to the devices wait.  So is the start after a crash, without any
 * look, as the kernel may be waiting for this very start to have memory again. */
#ifndef SUREFOOTD_HOLD_H
#define SUREFOOTD_HOLD_H

#include "files/settings.h"

void sfd_hold_run(const struct settings *settings);

#endif

/* Who may use a control socket: root, the user of this process, and the group surefoot. */
#ifndef SF_CONTROL_PEER_H
#define SF_CONTROL_PEER_H

#include <stdbool.h>
#include <sys/types.h>

/* The group's number, looked up once; (gid_t) -1: there is no such group. */
gid_t sf_peer_group(void);

/* By what the kernel says of the process that connected, when it connected. */
bool sf_peer_may_ask(int fd);

#endif

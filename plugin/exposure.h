/* Does a connection go over a network, for others to read and to change? */
#ifndef SF_PLUGIN_EXPOSURE_H
#define SF_PLUGIN_EXPOSURE_H

#include <stdbool.h>
#include <sys/socket.h>

enum { SF_EXPOSED_NAME_MAX = 64 };

/* True if the peer is another machine's: an IP address that is not loopback (127.0.0.0/8, ::1, and
 * the former written as IPv6).  name is then the address as text. */
bool sf_exposed(const struct sockaddr *peer, char name[SF_EXPOSED_NAME_MAX]);

#endif

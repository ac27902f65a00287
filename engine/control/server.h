/* What only tests need of the server. */
#ifndef SF_CONTROL_SERVER_H
#define SF_CONTROL_SERVER_H

#include <surefoot/control.h>

/* Before start: how long a client may be quiet. */
void sf_control_server_set_quiet_ms(struct sf_control_server *server, unsigned quiet_ms);

#endif

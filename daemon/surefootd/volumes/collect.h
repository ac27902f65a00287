/* The status of one volume or all, each asked at once and waited for briefly: a volume that does
 * not answer is described without its help. */
#ifndef SUREFOOTD_COLLECT_H
#define SUREFOOTD_COLLECT_H

#include <jansson.h>

struct volumes;

/* volume NULL: all.  done comes once, maybe from inside, with an array; NULL: no memory.  The array
 * is the callee's. */
void sfd_collect_status(const struct volumes *volumes, const char *volume,
                        void (*done)(void *ctx, json_t *volumes), void *ctx);

#endif

/* Memory that is present before it is used. */
#ifndef SF_BASE_TOUCH_H
#define SF_BASE_TOUCH_H

#include <stddef.h>

/* Makes all pages of a new private mapping present and writable now, so that serving never waits for
 * memory.  MAP_POPULATE does not do that in a process that locks its memory as it is touched
 * (sf_writer_lock()): the kernel takes it for no reason to touch it.  0 or -errno. */
int sf_touch(void *memory, size_t bytes);

#endif

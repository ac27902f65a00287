/* A disk, as the kernel knows it: it is asked, and not the disk. */
#ifndef SF_BASE_DISK_H
#define SF_BASE_DISK_H

#include <stdbool.h>
#include <sys/types.h>

/* Does sysfs know a disk of that number? */
bool sf_disk_has_name(dev_t number);

/* Has the open disk left the machine: it has no size any more, the name that it had, or the kernel calls it offline?
 * Its requests end with EIO or ENOSPC then, as if it were there. */
bool sf_disk_is_gone(int fd, dev_t number, bool named);

#endif

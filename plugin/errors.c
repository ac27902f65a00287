#include "errors.h"

#include <errno.h>
#include <stddef.h>

/* The one table.  An error that is not in it becomes EIO: the request was sound and was not
 * done. */
static const struct {
  int ours;
  int client;
} table[] = {
    {EPERM, EPERM},
    {EACCES, EPERM},
    {EROFS, EPERM},
    /* No room: a client such as QEMU stops its guest and tries again. */
    {ENOSPC, ENOSPC},
    {EDQUOT, ENOSPC},
    {EFBIG, ENOSPC},
    /* Our own memory: the buffer pool, the kernel. */
    {ENOMEM, ENOMEM},
    {ENOBUFS, ENOMEM},
    {EAGAIN, ENOMEM},
    /* The volume stops, or the client left while its request waited. */
    {ESHUTDOWN, ESHUTDOWN},
    {ECANCELED, ESHUTDOWN},
};

int
sf_nbd_errno(int error) {
  if (error == 0)
    return 0;
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
    if (table[i].ours == -error)
      return table[i].client;
  return EIO;
}

#include "base/writer.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int
sf_writer_begin(void) {
  return prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0 ? -errno : 0;
}

void
sf_writer_end(void) {
  prctl(PR_SET_IO_FLUSHER, 0, 0, 0, 0);
}

static bool
has_capability(unsigned capability) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

  if (syscall(SYS_capget, &header, data) < 0)
    return false;
  return data[CAP_TO_INDEX(capability)].effective & CAP_TO_MASK(capability);
}

static bool
may_lock_all(void) {
  struct rlimit limit;

  if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY)
    return true;
  return has_capability(CAP_IPC_LOCK);
}

/* Not before it is there: the stacks of many threads are large, and mostly never used. */
int
sf_writer_lock(void) {
  if (!may_lock_all())
    return -EPERM;
  return mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0 ? -errno : 0;
}

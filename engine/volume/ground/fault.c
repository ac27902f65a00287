/* What an error of a leg means. */
#include "volume/ground/fault.h"

/* What an error says of the leg.  What passes by itself is no reason to call a disk faulty: a path
 * that is down, a device that was taken away, a driver that gave up waiting, and our own want of
 * memory.  ESTALE is of the descriptor, a file on NFS whose server has changed: it is opened anew. */
enum fault
sf_fault_of(int error) {
  switch (-error) {
  case ENOMEM:
  case EAGAIN:
  case ENOBUFS:
  case EMFILE:
  case ENFILE:
  case EINTR:
    return FAULT_OURS;
  case ETIMEDOUT:
    return FAULT_TIME;
  case ENOLINK:
  case EHOSTUNREACH:
  case EHOSTDOWN:
  case ENETUNREACH:
  case ENETDOWN:
  case ENOTCONN:
  case ECONNABORTED:
  case ECONNRESET:
  case ECONNREFUSED:
  case ESHUTDOWN:
  case EPIPE:
    return FAULT_PATH;
  case ENODEV:
  case ENXIO:
  case ENOMEDIUM:
  case ESTALE:
    return FAULT_GONE;
  case ENOSPC:
  case EDQUOT:
    return FAULT_ROOM;
  default:
    return FAULT_MEDIUM;
  }
}

/* Want of room may pass too, but only if the operator makes room: a client is told. */
bool
sf_fault_passes(int error) {
  enum fault fault = sf_fault_of(error);

  return fault != FAULT_MEDIUM && fault != FAULT_ROOM;
}

enum sf_leg_state
sf_leg_state_for(int error) {
  switch (sf_fault_of(error)) {
  case FAULT_OURS:
  case FAULT_TIME:
  case FAULT_ROOM:
    return SF_STATE_LATE;
  case FAULT_PATH:
  case FAULT_GONE:
    return SF_STATE_MISSING;
  default:
    return SF_STATE_FAULTY;
  }
}

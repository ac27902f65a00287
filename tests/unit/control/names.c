/* The state names, so that these tests need no volume: weak, the volume's own win. */
#include <surefoot/volume.h>

__attribute__((weak)) const char *
sf_leg_state_name(enum sf_leg_state state) {
  static const char *const names[] = {
      [SF_STATE_IN_SYNC] = "in-sync", [SF_STATE_LATE] = "late",
      [SF_STATE_PROBING] = "probing", [SF_STATE_CATCHING_UP] = "catching-up",
      [SF_STATE_MISSING] = "missing", [SF_STATE_FAULTY] = "faulty",
  };
  return names[state];
}

__attribute__((weak)) const char *
sf_volume_state_name(enum sf_volume_state state) {
  static const char *const names[] = {
      [SF_VOLUME_STARTING] = "starting", [SF_VOLUME_HEALTHY] = "healthy",
      [SF_VOLUME_DEGRADED] = "degraded", [SF_VOLUME_SUSPENDED] = "suspended",
      [SF_VOLUME_FAILED] = "failed",
  };
  return names[state];
}

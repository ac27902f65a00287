/* The deadlines in force: how long a leg may take for a request of a kind before it is late in it. */
#include "volume/internal.h"

uint64_t
deadline_of(const struct sf_volume *v, unsigned leg, enum sf_kind kind) {
  return sf_config_timeout(&v->config, leg, kind);
}

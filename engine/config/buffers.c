/* How many buffers a server has.  They are in memory all the time, so on a machine with many
 * volumes they are what a volume costs. */
#include <surefoot/config.h>

enum {
  SPARE_SMALL = 80,
  SPARE_LARGE = 32,
  SMALL_MAX = 432, /* for clients, at THREADS_MAX */
  LARGE_MAX = 160,
  THREADS_MIN = 4,
  THREADS_MAX = 64,
};

struct sf_config_buffers
sf_config_buffers(const struct sf_config *config) {
  unsigned threads = config->threads < THREADS_MIN   ? THREADS_MIN
                     : config->threads > THREADS_MAX ? THREADS_MAX
                                                     : config->threads;
  struct sf_config_buffers buffers = {.spare_small = SPARE_SMALL, .spare_large = SPARE_LARGE};
  buffers.small = SPARE_SMALL + SMALL_MAX * threads / THREADS_MAX;
  buffers.large = SPARE_LARGE + LARGE_MAX * threads / THREADS_MAX;
  buffers.bytes = (uint64_t) buffers.small * SF_BUFFER_SMALL_BYTES +
                  (uint64_t) buffers.large * SF_BUFFER_LARGE_BYTES;
  return buffers;
}

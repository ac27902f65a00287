/* How fast copies go (R15). */
#include "volume/change/copy_rate.h"

#include "volume/ground/facts.h"

enum {
  ADAPT_MS = 100,
  FOREGROUND_MS = 200, /* a client was here so recently: keep to the rate */
};

bool
sf_copy_rate_counts(const struct sf_volume *v) {
  return clients_were_here(v, FOREGROUND_MS * SF_MS);
}

/* R15: while clients work, additive up and multiplicative down on their latency, between the
 * configured bounds; at full speed while they are quiet. */
void
sf_copy_rate_adapt(struct sf_volume *v) {
  struct copier *copier = &v->copier;
  uint64_t most = v->config.resync_max_rate, least = v->config.resync_min_rate;

  if (v->now_ns < copier->adapt_at_ns)
    return;
  copier->adapt_at_ns = v->now_ns + ADAPT_MS * SF_MS;
  if (!sf_copy_rate_counts(v)) {
    copier->rate = most;
    return;
  }
  if (copier->rate == 0)
    copier->rate = 16 * least;
  else if (copier->quiet_average_ns > 0 &&
           copier->busy_average_ns > copier->quiet_average_ns + copier->quiet_average_ns / 2)
    copier->rate -= copier->rate / 4;
  else
    copier->rate += copier->rate / 8 + least;
  if (most > 0 && copier->rate > most)
    copier->rate = most;
  if (copier->rate < least)
    copier->rate = least;
}

uint64_t
sf_copy_rate_now(struct sf_volume *v) {
  sf_copy_rate_adapt(v);
  return v->copier.rate;
}

/* The rate is there for the clients: a read that waits for an extent to be converged does not wait
 * for the rate as well, and the copies before it finish at full speed. */
bool
sf_copy_rate_keeps(const struct sf_volume *v) {
  return v->parked != NULL || v->now_ns >= v->copier.pace_ns;
}

void
sf_copy_rate_charge(struct sf_volume *v, uint64_t length) {
  struct copier *copier = &v->copier;

  if (copier->rate == 0)
    return;
  /* A copy out of turn does not delay the rest. */
  uint64_t from = copier->pace_ns > v->now_ns && v->parked == NULL ? copier->pace_ns : v->now_ns;

  copier->pace_ns = from + length * SF_S / copier->rate;
}

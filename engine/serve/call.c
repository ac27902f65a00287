/* What one client waits for: how long it has, how long it may, and whether it is still there. */
#include "base/units.h"
#include "serve/internal.h"

#include <time.h>

#include "base/assert.h"

void
sf_serve_cond_init(pthread_cond_t *cond) {
  pthread_condattr_t monotonic;

  SF_ASSERT(pthread_condattr_init(&monotonic) == 0);
  SF_ASSERT(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
  SF_ASSERT(pthread_cond_init(cond, &monotonic) == 0);
  pthread_condattr_destroy(&monotonic);
}

bool
sf_serve_call_is_gone(const struct sf_call *call) {
  const struct sf_serve_options *options = &call->client->serve->options;

  if (call->client->hangup != NULL)
    return call->client->hangup(call->client->ctx);
  return options->hangup != NULL && options->hangup(options->ctx);
}

bool
sf_serve_call_is_over(const struct sf_call *call) {
  struct sf_serve *serve = call->client->serve;

  return !atomic_load(&serve->suspends) && call->waited_ns >= atomic_load(&serve->fail_timeout_ns);
}

void
sf_serve_call_waited(struct sf_call *call, uint64_t began_ns, uint64_t most_ns) {
  uint64_t took = sf_tio_now() - began_ns;

  call->waited_ns += took < most_ns ? took : most_ns;
}

void
sf_serve_call_wait(struct sf_call *call, pthread_cond_t *changed, pthread_mutex_t *lock) {
  const uint64_t ask_ns = SERVE_ASK_MS * SF_MS, began = sf_tio_now(), until = began + ask_ns;
  const struct timespec at = {.tv_sec = (time_t) (until / SF_S), .tv_nsec = (long) (until % SF_S)};

  pthread_cond_timedwait(changed, lock, &at);
  sf_serve_call_waited(call, began, ask_ns);
}

void
sf_serve_take_settings(struct sf_serve *serve, const struct sf_config *config) {
  atomic_store(&serve->suspends, config->on_too_few == SF_TOO_FEW_SUSPEND);
  atomic_store(&serve->fail_timeout_ns, config->fail_timeout_ns);
  atomic_store(&serve->read_deadline_ns, sf_config_deadline(config, SF_READ_KIND).first_ns);
}

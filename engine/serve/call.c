/* What one client waits for: how long it has, how long it may, and whether it is still there. */
#include "serve/internal.h"

bool
call_is_gone(const struct sf_call *call) {
  const struct sf_serve_options *options = &call->client->serve->options;

  return options->hangup != NULL && options->hangup(options->ctx);
}

bool
call_is_over(const struct sf_call *call) {
  struct sf_serve *serve = call->client->serve;

  return !atomic_load(&serve->suspends) && call->waited_ns >= atomic_load(&serve->fail_timeout_ns);
}

void
call_waited(struct sf_call *call, uint64_t began_ns, uint64_t most_ns) {
  uint64_t took = sf_tio_now() - began_ns;

  call->waited_ns += took < most_ns ? took : most_ns;
}

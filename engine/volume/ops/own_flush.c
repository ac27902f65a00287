/* Flushes that the volume asks for by itself: like a client's, and the caller looks at its end in
 * the next turn. */
#include "volume/ops/own_flush.h"

#include "volume/ops/begin.h"

static void
flush_done(struct sf_request *request) {
  struct own_flush *flush = request->host;
  struct sf_volume *v = flush->volume;

  flush->running = false;
  flush->ended = true;
  if (flush->on_end != NULL)
    flush->on_end(v, request->error);
  v->dirty = true;
}

void
sf_own_flush_begin(struct sf_volume *v, struct own_flush *flush,
                   void (*on_end)(struct sf_volume *v, int error)) {
  SF_ASSERT(!flush->running);
  *flush = (struct own_flush){
      .request = {.kind = SF_REQ_FLUSH,
                  .done = flush_done,
                  .host = flush,
                  .internal = true,
                  .since_ns = v->now_ns},
      .volume = v,
      .on_end = on_end,
      .running = true,
  };
  sf_vol_begin(v, &flush->request);
}

bool
sf_own_flush_take(struct own_flush *flush) {
  bool ended = flush->ended;

  flush->ended = false;
  return ended;
}

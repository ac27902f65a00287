/* Intent before data (R8): an extent's bit is durable on every leg that an answer needs before the
 * first write into it is sent.  A set that is written again and again costs nothing after that. */
#include "volume/set/intent.h"

#include "volume/set/map_pages.h"

/* Whether these may be written now; if not, what they wait for is on its way. */
bool
sf_intent_ready(struct sf_volume *v, uint64_t offset, uint64_t length) {
  struct maps *maps = &v->maps;
  uint64_t last = extent_of(v, offset + length - 1);
  bool ready = true;

  maps->written_ns = v->now_ns;
  for (uint64_t e = extent_of(v, offset); e <= last; e++) {
    uint64_t page = map_page_of(e);

    sf_map_set(&maps->touched, e);
    if (sf_map_set(&maps->intent, e)) {
      sf_map_changed(v, page, true);
      maps->intent_version[e] = maps->page[page].version;
      ready = false;
    } else if (!sf_map_is_durable(v, page, maps->intent_version[e])) {
      sf_map_need(v, page, maps->intent_version[e]);
      ready = false;
    }
  }
  return ready;
}

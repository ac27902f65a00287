/* What others ask and say of a scrub. */
#include "volume/ground/scrub_state.h"

enum { AT_WORK_MS = 1000 };

bool
sf_scrub_is_under_way(const struct sf_volume *v) {
  return v->scrub.told.state == SF_SCRUB_RUNNING || v->scrub.told.state == SF_SCRUB_PAUSED;
}

bool
sf_scrub_holds_a_copy(const struct sf_volume *v) {
  for (unsigned i = 0; i < SF_SCRUB_SLOTS; i++)
    if (v->scrub.slot[i].copy.machine.state != COPY_IDLE)
      return true;
  return v->scrub.flush.running;
}

bool
sf_scrub_is_looking(const struct sf_volume *v) {
  return sf_scrub_is_under_way(v) && sf_scrub_holds_a_copy(v);
}

bool
sf_scrub_is_at_work(const struct sf_volume *v) {
  return v->scrub.told.state == SF_SCRUB_RUNNING &&
         v->now_ns < v->scrub.looked_ns + AT_WORK_MS * SF_MS;
}

/* The last word for the extent is gone: it is not known any more which copy is right.  Of several
 * legs' words it is not kept which one was lost. */
bool
sf_scrub_loses_word(struct sf_volume *v, uint64_t extent) {
  if (sf_map_clear(&v->scrub.voted, extent)) {
    sf_map_set(&v->scrub.guessed, extent);
    return false;
  }
  return sf_map_test(&v->scrub.guessed, extent);
}

void
sf_scrub_believe_words(struct sf_volume *v) {
  sf_map_zero(&v->scrub.guessed);
  sf_map_zero(&v->scrub.voted);
}

void
sf_scrub_flushed(struct sf_volume *v, uint64_t op_id) {
  if (op_id > v->scrub.word_id && v->scrub.guessed.set + v->scrub.voted.set > 0)
    sf_scrub_believe_words(v);
}

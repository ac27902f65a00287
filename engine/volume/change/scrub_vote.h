/* Of scrub_vote.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_SCRUB_VOTE_H
#define SF_VOLUME_SCRUB_VOTE_H

#include "volume/state.h"

struct scrub_verdict {
  legset good; /* they are right, or all that could be read are alike; 0: not known */
  legset bad;  /* they could be read, and have something else */
};
/* Of these legs' copies, from there on: the first blocks that have one verdict and are not alike;
 * length 0: there are none. */
struct scrub_verdict sf_scrub_vote(const struct sf_op *op, legset read, uint64_t *from,
                                   uint64_t *length);
void sf_scrub_note(struct sf_volume *v, const struct sf_scrub_range *range);

#endif

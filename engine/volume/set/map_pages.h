/* Of map_pages.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_MAP_PAGES_H
#define SF_VOLUME_MAP_PAGES_H

#include "volume/state.h"

/* Legs that are to have the pages, and of these the ones that lack so much of one. */
legset sf_map_targets(const struct sf_volume *v);
legset sf_map_lacking(const struct sf_volume *v, const struct map_page *page, uint64_t version);
void sf_map_encode(const struct sf_volume *v, uint64_t page, uint8_t bytes[SF_PAGE_BYTES]);
void sf_map_changed(struct sf_volume *v, uint64_t page, bool urgent);
void sf_map_need(struct sf_volume *v, uint64_t page, uint64_t version);
void sf_map_carry(struct sf_volume *v, unsigned leg); /* all pages as they are now, to a newcomer */
bool sf_map_is_carried(const struct sf_volume *v, unsigned leg);
/* So much of the page is on every leg that an answer needs. */
bool sf_map_is_durable(const struct sf_volume *v, uint64_t page, uint64_t version);
void sf_map_leg_left(struct sf_volume *v, unsigned leg); /* what it holds is not known any more */
/* The leg may have dropped any page: also one that ended well beside a flush that failed
 * unheard. */
void sf_map_write_again(struct sf_volume *v, unsigned leg);
void sf_map_leg_flushed(struct sf_volume *v, unsigned leg);
bool sf_map_is_quiet(const struct sf_volume *v);

#endif

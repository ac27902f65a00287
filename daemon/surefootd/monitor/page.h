/* The page for people: volumes, legs, their latency over the last hour, events.  One HTML document
 * with nothing from elsewhere; all text in it is from outside, and is escaped. */
#ifndef SUREFOOTD_PAGE_H
#define SUREFOOTD_PAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum { PAGE_NONCE_MAX = 33 };

struct page_facts {
  const json_t *volumes;  /* the array of the status, each with "history": as sfd_history_samples */
  const json_t *events;   /* the oldest first */
  const json_t *problems; /* an array of lines */
  const char *host;
  bool whole;     /* else what changes alone: title and main, for the page's own script */
  int64_t now_ns; /* CLOCK_REALTIME */
  char nonce[PAGE_NONCE_MAX]; /* of the policy that it is sent with */
};

/* The text is the caller's to free; NULL: no memory. */
char *sfd_page_make(const struct page_facts *facts);

/* The Content-Security-Policy that belongs to it. */
void sfd_page_policy(const struct page_facts *facts, char policy[512]);

#endif

/* What surefootd tells over HTTP: /metrics for Prometheus, / for people.  Only GET and HEAD; off
 * unless the settings give an address. */
#ifndef SUREFOOTD_HTTP_H
#define SUREFOOTD_HTTP_H

#include <jansson.h>
#include <stdbool.h>

struct volumes;
struct settings_place;
struct http;

struct http_serves {
  bool metrics;
  bool page;
  json_t *const *problems; /* the page's: an array of lines */
};

int sfd_http_create(const struct volumes *volumes, const struct settings_place *place,
                    const struct http_serves *serves, struct http **http);
/* NULL is accepted. */
void sfd_http_destroy(struct http *http);

/* Does this Host header name this machine itself?  A foreign name that DNS leads here does not.
 * NULL: none was sent. */
bool sfd_http_is_own_host(const char *host);

#endif

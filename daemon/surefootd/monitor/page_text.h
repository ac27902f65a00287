/* Text for the page: whatever is from outside goes through here. */
#ifndef SUREFOOTD_PAGE_TEXT_H
#define SUREFOOTD_PAGE_TEXT_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

enum { PAGE_TEXT_MAX = 48 };

/* Escaped, for an element's text and for an attribute in quotes. */
void sfd_page_put(FILE *out, const char *text);
uint64_t sfd_page_number(const json_t *object, const char *key); /* 0 if it is none */

/* Into text, which they return. */
const char *sfd_page_us(uint64_t us, char text[PAGE_TEXT_MAX]);       /* "1.2 ms" */
const char *sfd_page_bytes(uint64_t bytes, char text[PAGE_TEXT_MAX]); /* "1.5 GiB" */
const char *sfd_page_seconds(int64_t s, char text[PAGE_TEXT_MAX]);    /* "2 h 10 min" */
/* Local time of "2026-01-31T12:00:00.123Z", or that text itself. */
const char *sfd_page_time(const char *utc, char text[PAGE_TEXT_MAX]);
/* Seconds since 1970; -1: it is no time. */
int64_t sfd_page_seconds_of(const char *utc);

#endif

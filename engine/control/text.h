/* Text of unknown origin on its way into JSON or an error line: always valid UTF-8, one line. */
#ifndef SF_CONTROL_TEXT_H
#define SF_CONTROL_TEXT_H

#include <jansson.h>
#include <stddef.h>

/* A JSON string of text; bytes that are not UTF-8 become '?'.  NULL or "" becomes null. */
json_t *sf_text_to_json(const char *text);

/* As above, but "" stays "". */
json_t *sf_text_to_json_string(const char *text);

/* In place: what is not UTF-8 and every control character becomes '?'. */
void sf_text_clean(char *text);

/* The length of the UTF-8 sequence that begins here, 1..4; 0: not UTF-8. */
size_t sf_utf8_length(const unsigned char *text);

#endif

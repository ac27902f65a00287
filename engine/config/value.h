/* Durations, sizes and names as text.  A refusal is one line for the operator. */
#ifndef SUREFOOT_CONFIG_VALUE_H
#define SUREFOOT_CONFIG_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SF_WHY_MAX = 384, SF_VALUE_TEXT_MAX = 32 };

/* Why a value was refused: one line, without the key's name. */
struct sf_why {
  char text[SF_WHY_MAX];
};

/* Fills why (NULL: not wanted) and returns error, so that `return sf_why(...)` reads well. */
int sf_why(struct sf_why *why, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* -EINVAL, or -ERANGE when the number does not fit 64 bits.  Zero is taken: limits are the
 * key's. */
int sf_value_read_duration(const char *text, uint64_t *ns, struct sf_why *why);
int sf_value_read_size(const char *text, uint64_t *bytes, struct sf_why *why);
int sf_value_read_count(const char *text, uint64_t *count, struct sf_why *why);

/* In the largest unit that is exact: the text is read back as the same number. */
void sf_value_write_duration(uint64_t ns, char text[SF_VALUE_TEXT_MAX]);
void sf_value_write_size(uint64_t bytes, char text[SF_VALUE_TEXT_MAX]);
void sf_value_write_count(uint64_t count, char text[SF_VALUE_TEXT_MAX]);

/* 1 to max_chars of A-Z a-z 0-9 _ and -. */
bool sf_value_is_name(const char *text, size_t max_chars);

#endif

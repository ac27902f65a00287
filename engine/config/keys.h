/* The one table of keys: what the file, a parameter and a live change may set, how a value is read,
 * where it is kept and which values are possible. */
#ifndef SUREFOOT_CONFIG_KEYS_H
#define SUREFOOT_CONFIG_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <surefoot/config.h>

#include "config/value.h"

enum { SF_CONFIG_VOLUME = -1 /* where a leg's index could stand */ };

struct sf_config_key;

unsigned sf_config_keys(void);
const struct sf_config_key *sf_config_key_at(unsigned index);
unsigned sf_config_key_index(const struct sf_config_key *key);
const char *sf_config_key_name(const struct sf_config_key *key);
bool sf_config_key_is_live(const struct sf_config_key *key);
bool sf_config_key_is_of_leg(const struct sf_config_key *key);
bool sf_config_key_is_of_daemon(const struct sf_config_key *key);

/* NULL and a helpful why if there is no such key in [volume], or in [leg X]. */
const struct sf_config_key *sf_config_key_find(const char *name, bool of_leg, struct sf_why *why);

/* Reads value into config (leg: an index, or SF_CONFIG_VOLUME), and notes it as set.  Untouched on
 * failure. */
int sf_config_key_set(struct sf_config *config, int leg, const struct sf_config_key *key,
                      const char *value, struct sf_why *why);

/* As it is in `from`, which has no legs, and not noted as set.  Of numbers and words, which live keys
 * are. */
void sf_config_key_unset(struct sf_config *config, int leg, const struct sf_config_key *key,
                         const struct sf_config *from);

/* Is what config holds for this key possible?  For configs that were filled by other means. */
int sf_config_key_check(const struct sf_config *config, int leg, const struct sf_config_key *key,
                        struct sf_why *why);

/* The value as text that sf_config_key_set takes; "" if it is not set. */
void sf_config_key_text(const struct sf_config *config, int leg, const struct sf_config_key *key,
                        char text[PATH_MAX]);

/* The same for a file: a 0 that was set is a value too. */
void sf_config_key_written(const struct sf_config *config, int leg, const struct sf_config_key *key,
                           char text[PATH_MAX]);
/* Is there a line in a file that says this value? */
bool sf_config_value_fits_line(const char *value);

/* An absolute path of a value: relative to the file's folder. */
int sf_config_resolve_path(const struct sf_config *config, const char *value, char path[PATH_MAX],
                           struct sf_why *why);

/* ---- spares (spare.c) ---- */

/* One key of a section; untouched on failure. */
int sf_config_spare_set(struct sf_config *config, unsigned spare, const char *key,
                        const char *value, struct sf_why *why);
int sf_config_spares_check(const struct sf_config *config, struct sf_why *why);
int sf_config_spares_write(FILE *stream, const struct sf_config *config,
                           char error[SF_CONFIG_ERROR_MAX]);

/* Where it was set. */
uint32_t sf_config_key_set_at(const struct sf_config *config, int leg,
                              const struct sf_config_key *key);
void sf_config_key_note(struct sf_config *config, int leg, const struct sf_config_key *key,
                        uint32_t set_at);

/* What a refusal is about. */
struct sf_config_place {
  int leg;
  const struct sf_config_key *key; /* NULL: the whole */
};

/* sf_config_complete, for callers that word the place themselves. */
int sf_config_finish(struct sf_config *config, struct sf_config_place *place, struct sf_why *why);

/* sf_config_load, the text being in memory.  config is initialised, and config->file says what
 * relative paths are relative to; file is the name in messages. */
int sf_config_parse(struct sf_config *config, const char *file, const char *text, size_t len,
                    char error[SF_CONFIG_ERROR_MAX]);

/* One line, no control characters, cut at the end if need be. */
void sf_config_error(char error[SF_CONFIG_ERROR_MAX], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif

/* A configuration from a few lines of text. */
#ifndef TEST_CONFIG_RIG_H
#define TEST_CONFIG_RIG_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <surefoot/config.h>

#include "config/keys.h"
#include "config/value.h"

#define US  UINT64_C(1000)
#define MS  UINT64_C(1000000)
#define SEC (1000 * MS)
#define MIB (UINT64_C(1) << 20)
/* Pieces of files. */
#define VOLUME "[volume]\nname = v\n" /* lines 1 and 2 */
#define LEG_A  "[leg a]\npath = /a\n"
#define LEG_B  "[leg b]\npath = /b\n"
#define LEG_C  "[leg c]\npath = /c\n"
#define TEN    "xxxxxxxxxx"
#define NAME31 TEN TEN TEN "x"
#define NAME63 NAME31 NAME31 "x"
#define PATH95 "/" TEN TEN TEN TEN TEN TEN TEN TEN TEN "xxxx"

extern char folder[];
extern char real_folder[PATH_MAX];

int set_up(void **state);
int tear_down(void **state);
void write_file(const char *name, const char *text, size_t len);
int load(struct sf_config *config, const char *text, size_t len, char error[SF_CONFIG_ERROR_MAX]);
void load_good(struct sf_config *config, const char *text);

#define VOLUME_KEYS                                                                                \
  "unknown key; known are name min_legs read_deadline write_deadline flush_deadline fail_timeout " \
  "on_too_few slow_leg slow_factor max_read_errors control fast_socket wait_for_legs "             \
  "resync_min_rate resync_max_rate intent_delay hot_extents "                                      \
  "socket threads device device_door device_timeout device_dead_timeout spare_after"
#define LEG_KEYS "unknown key; known are path read_timeout write_timeout flush_timeout"

struct value {
  const char *text;
  int error;
  uint64_t number;
};

#endif

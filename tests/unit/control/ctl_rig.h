/* The built surefootctl against a made-up volume: what it prints, where, and how it exits. */
#ifndef TEST_CTL_RIG_H
#define TEST_CTL_RIG_H

#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <surefoot/legfile.h>

#include "fake_volume.h"

enum { ARGUMENTS_MAX = 12, OUTPUT_MAX = 64 * 1024 };

struct result {
  int status;
  char out[OUTPUT_MAX], err[OUTPUT_MAX];
};

extern struct result result;

void take(int fd, char text[OUTPUT_MAX]);
pid_t spawn(const char *const *argv, int out, int err);

extern bool as_nobody;

int run(const char *first, ...);
void expect(int status, const char *out, const char *err);
void expect_wrong_usage(const char *complaint);
int start(void **state);
int stop(void **state);

#define STATUS_VOL0                                                                                \
  "vol0: degraded, 10 GiB, 1 of 3 legs in sync (1 needed), record 7.12\n"                          \
  "  123456 reads, 7890 writes, 12 flushes; 31 answered without a late leg, 0 failed\n"            \
  "  LEG  PATH      STATE          STALE  LATE  TIMEOUTS  ERRORS  P99 WRITE  NOTE\n"               \
  "  a    /dev/sdb  in-sync            -     -         -       -     1.2 ms\n"                     \
  "  b    /dev/sdc  catching-up  1.2 GiB     -        31       -     812 us  resync 38.5%, 120 "   \
  "MiB/s, 10 s left\n"                                                                             \
  "  c    /dev/sdd  late          64 MiB     3         5       1          -  write at 4096 not "   \
  "answered in 100 ms\n"

struct legs {
  char directory[64];
  char conf[96];
  char leg[3][96];
};

#define WITH_VOLUME(test) cmocka_unit_test_setup_teardown(test, start, stop)

#endif

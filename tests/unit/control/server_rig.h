/* A control server, and a client of bytes. */
#ifndef TEST_SERVER_RIG_H
#define TEST_SERVER_RIG_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "broken_lines.h"
#include "fake_volume.h"

#define STATUS V1 "\"command\":\"status\"}"
#define FOLLOW V1 "\"command\":\"events\",\"follow\":true}"

enum { PATIENCE_MS = 20000 };

int try_connect(const char *path);
int connect_to(const struct fake_volume *fake);
void send_bytes(int fd, const char *bytes, size_t len);
void send_line(int fd, const char *line);
json_t *read_line(int fd);
void expect_ok(int fd);
void expect_error(int fd, const char *error);
void expect_closed(int fd);
void expect_event(int fd, const char *reason);
void expect_serving(const struct fake_volume *fake);
int start(void **state);
int stop(void **state);

struct teller {
  struct fake_volume *fake;
  unsigned from, count;
};

void *tell_events(void *arg);

struct follower {
  struct fake_volume *fake;
  unsigned count;
  int r;
};

void *follow(void *arg);

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, start, stop)

#endif

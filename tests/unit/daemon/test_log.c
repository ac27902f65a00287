#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/log.h"

enum { MANY = 5000 }; /* more than a pipe or a socket's queue holds */

/* Takes stderr away; the end to read from. */
static int
take_stderr(int *saved, int writer, int reader) {
  *saved = dup(STDERR_FILENO);
  assert_true(dup2(writer, STDERR_FILENO) >= 0);
  close(writer);
  assert_int_equal(fcntl(reader, F_SETFL, O_NONBLOCK), 0);
  return reader;
}

static void
give_stderr_back(int saved) {
  dup2(saved, STDERR_FILENO);
  close(saved);
}

/* All that can be read now. */
static char *
read_all(int fd) {
  size_t used = 0, size = 8 << 20;
  char *text = malloc(size);
  ssize_t got;
  while ((got = read(fd, text + used, size - used - 1)) > 0)
    used += (size_t) got;
  text[used] = '\0';
  return text;
}

/* A log that takes nothing holds nothing up: the alarm would end the test.  Lost lines are counted
 * in the first line that is taken again. */
static void
expect_no_wait(int reader, int saved) {
  char wanted[128];
  unsigned lines = 0;
  alarm(60);
  for (int i = 0; i < MANY; i++)
    log_info("vol0", "line %d of many, each of which has some length to fill what is behind it", i);
  alarm(0);
  char *text = read_all(reader);
  for (const char *c = text; (c = strchr(c, '\n')); c++)
    lines++;
  assert_true(lines > 0 && lines < MANY);
  assert_non_null(strstr(text, "surefootd: vol0: line 0 of many"));
  free(text);

  log_info("vol0", "again");
  text = read_all(reader);
  give_stderr_back(saved);
  snprintf(wanted, sizeof wanted,
           "surefootd: the log took no lines for a while: %u are lost here\n", MANY - lines);
  if (strncmp(text, wanted, strlen(wanted)) != 0)
    fail_msg("%s\ninstead of\n%s", text, wanted);
  assert_string_equal(text + strlen(wanted), "surefootd: vol0: again\n");
  free(text);
  close(reader);
}

/* Proves that a pipe that is full is not waited for. */
static void
full_pipe(void **state) {
  int ends[2], saved;
  assert_int_equal(pipe(ends), 0);
  int reader = take_stderr(&saved, ends[1], ends[0]);
  expect_no_wait(reader, saved);
}

/* Proves the same of a socket, which is what systemd gives. */
static void
full_socket(void **state) {
  int ends[2], saved;
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  int reader = take_stderr(&saved, ends[1], ends[0]);
  expect_no_wait(reader, saved);
}

/* Proves that a closed other end does not end this process. */
static void
closed_pipe(void **state) {
  int ends[2], saved;
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  int reader = take_stderr(&saved, ends[1], ends[0]);
  close(reader);
  log_info(NULL, "to a closed pipe");
  give_stderr_back(saved);
}

static int
listen_as_journal(char path[64]) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  char folder[] = "/tmp/test-log-XXXXXX";
  assert_non_null(mkdtemp(folder));
  snprintf(path, 64, "%s/journal", folder);
  strcpy(address.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof address), 0);
  return fd;
}

/* Proves that an entry has its fields, that none of them can make another, and that a journal that
 * takes nothing is not waited for. */
static void
journal(void **state) {
  char path[64], text[8192], longest[3000];
  int fd = listen_as_journal(path);
  assert_int_equal(sfd_log_open_journal(path), 0);
  log_info(NULL, "lost before");
  while (recv(fd, text, sizeof text, 0) > 0)
    ;
  const struct log_fields fields = {.volume = "vol0", .leg = "a", .reason = "one\nPRIORITY=0"};
  sfd_log_fields(LOG_ERR, &fields, "leg %s: %s", "a", "late\nSUREFOOT_LEG=b");
  ssize_t len = recv(fd, text, sizeof text - 1, 0);
  assert_true(len > 0);
  text[len] = '\0';
  assert_string_equal(text, "MESSAGE=vol0: leg a: late SUREFOOT_LEG=b\nPRIORITY=3\n"
                            "SYSLOG_IDENTIFIER=surefootd\nSUREFOOT_VOLUME=vol0\nSUREFOOT_LEG=a\n"
                            "SUREFOOT_REASON=one PRIORITY=0\n");
  memset(longest, 'x', sizeof longest - 1);
  longest[sizeof longest - 1] = '\0';
  const struct log_fields long_fields = {longest, longest, longest, longest};
  sfd_log_fields(LOG_ERR, &long_fields, "%s", longest);
  len = recv(fd, text, sizeof text - 1, 0);
  assert_true(len > 0 && text[len - 1] == '\n');

  alarm(60);
  for (int i = 0; i < MANY; i++)
    log_info("vol0", "line %d", i);
  alarm(0);
  unsigned taken = 0;
  while (recv(fd, text, sizeof text, 0) > 0)
    taken++;
  assert_true(taken > 0 && taken < MANY);
  log_info("vol0", "again");
  len = recv(fd, text, sizeof text - 1, 0);
  assert_true(len > 0);
  text[len] = '\0';
  snprintf(longest, sizeof longest, "MESSAGE=the log took no lines for a while: %u are lost here\n",
           MANY - taken);
  assert_int_equal(strncmp(text, longest, strlen(longest)), 0);
  assert_true(recv(fd, text, sizeof text, 0) > 0);
  close(fd);
  unlink(path);
  *strrchr(path, '/') = '\0';
  rmdir(path);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(full_pipe), cmocka_unit_test(full_socket), cmocka_unit_test(closed_pipe),
      cmocka_unit_test(journal), /* last: nothing goes to stderr after it */
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The HTTP end of surefootd, beside what the whole daemon is asked in the end-to-end tests. */
#include <arpa/inet.h>
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

#include "monitor/http.h"
#include "volumes/volume.h"

enum { SECOND_US = 1000000, TURNS = 400 };

static char folder[] = "/tmp/test-http-XXXXXX";

/* A volume that serves, as far as the daemon knows, and whose server takes a question and says nothing. */
static struct volume *
silent_volume(struct volumes *volumes, int *server) {
  struct plan_volume *plan = calloc(1, sizeof *plan);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  struct volume *volume;
  assert_non_null(plan);
  sf_list_init(&volumes->list);
  snprintf(plan->config.name, sizeof plan->config.name, "vol0");
  assert_int_equal(sfd_volume_create(volumes, plan, &volume), 0);
  snprintf(volume->control_path, sizeof volume->control_path, "%s/ctl", folder);
  volume->machine.state = VOLUME_SERVING;
  snprintf(address.sun_path, sizeof address.sun_path, "%s", volume->control_path);
  *server = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  assert_int_equal(bind(*server, (struct sockaddr *) &address, sizeof address), 0);
  assert_int_equal(listen(*server, 4), 0);
  return volume;
}

static struct http *
start(const struct volumes *volumes, struct settings_place *place) {
  static json_t *const no_problems = NULL;
  const struct http_serves serves = {.metrics = true, .page = true, .problems = &no_problems};
  struct http *http = NULL;
  snprintf(place->address, sizeof place->address, "127.0.0.1");
  for (place->port = 20000; place->port < 30000; place->port++)
    if (sfd_http_create(volumes, place, &serves, &http) == 0)
      return http;
  fail_msg("no port is free");
  return NULL;
}

static int
ask(const struct settings_place *place) {
  static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(place->port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  int client = socket(AF_INET, SOCK_STREAM, 0);
  assert_int_equal(connect(client, (struct sockaddr *) &address, sizeof address), 0);
  assert_int_equal(write(client, request, sizeof request - 1), sizeof request - 1);
  return client;
}

/* Proves that an end while somebody waits for the page is an end, not a crash, and that what is answered later is
 * let go. */
static void
end_while_asked(void **state) {
  struct settings settings = {.runtime = "/nowhere"};
  struct volumes volumes = {.settings = &settings};
  struct settings_place place = {0};
  int server, asked = -1;
  (void) state;
  assert_true(sd_event_new(&volumes.event) >= 0);
  struct volume *volume = silent_volume(&volumes, &server);
  struct http *http = start(&volumes, &place);
  int client = ask(&place);
  for (unsigned i = 0; i < TURNS && asked < 0; i++) {
    sd_event_run(volumes.event, SECOND_US / 20);
    asked = accept(server, NULL, NULL);
  }
  assert_true(asked >= 0);
  sfd_http_destroy(http);
  assert_int_equal(read(client, &(char){0}, 1), 0);
  close(asked); /* the question ends, and what asked it is gone */
  close(server);
  for (unsigned i = 0; i < 4; i++)
    sd_event_run(volumes.event, SECOND_US / 20);
  unlink(volume->control_path);
  volume->control_path[0] = '\0';
  sfd_volume_destroy(volume);
  sd_event_unref(volumes.event);
  close(client);
}

static int
set_up(void **state) {
  (void) state;
  return mkdtemp(folder) ? 0 : -1;
}

static int
tear_down(void **state) {
  (void) state;
  return rmdir(folder);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(end_while_asked),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* surefootctl as the operator runs it: what it says of volumes. */
#include "ctl_rig.h"

/* ---- a running volume ---- */

/* The picture that the operator sees, to the letter. */
static void
the_status(void **state) {
  (void) state;
  run("status", NULL);
  expect(0, STATUS_VOL0, "");
  run("status", "vol0", NULL);
  expect(0, STATUS_VOL0, "");
}

/* --json is the document of DESIGN section 7 and nothing else. */
static void
status_json(void **state) {
  struct fake_volume *fake = *state;
  assert_int_equal(run("status", "--json", NULL), 0);
  json_t *printed = json_loads(result.out, 0, NULL);
  json_t *document = sf_status_to_json(&fake->status, 1);
  assert_true(json_equal(printed, document));
  json_decref(printed);
  json_decref(document);
}

/* A reason is told to its end, where it says what to do, also behind a resync. */
static void
status_long_reason(void **state) {
  struct fake_volume *fake = *state;
  struct sf_leg_status *leg = &fake->status.leg[1];
  char expected[sizeof leg->reason + 64];
  pthread_mutex_lock(&fake->lock);
  memset(leg->reason, 'x', sizeof leg->reason - 1);
  memcpy(leg->reason + sizeof leg->reason - sizeof "do it", "do it", sizeof "do it");
  snprintf(expected, sizeof expected, "resync 38.5%%, 120 MiB/s, 10 s left; %s\n", leg->reason);
  pthread_mutex_unlock(&fake->lock);
  assert_int_equal(run("status", NULL), 0);
  assert_non_null(strstr(result.out, expected));
}

/* A volume in trouble: suspended, unconverged, no latency yet, and a path with a control character,
 * which must not reach the terminal. */
static void
status_in_trouble(void **state) {
  struct fake_volume *fake = *state;
  pthread_mutex_lock(&fake->lock);
  struct sf_volume_status *status = &fake->status;
  status->state = SF_VOLUME_SUSPENDED;
  status->legs = 2;
  status->legs_in_sync = 0;
  strcpy(status->reason, "waits for leg a (missing): 4 writes, the oldest 6.2 s; 1 leg needed");
  status->errors = 7;
  status->unconverged_bytes = 3 * 512 * 1024;
  status->leg[0].state = SF_STATE_MISSING;
  strcpy(status->leg[0].path, "/tmp/\033[31mred");
  strcpy(status->leg[0].reason, "cannot be opened");
  strcpy(status->leg[1].reason, "gone for a while");
  status->leg[1].resync_rate = 0;
  pthread_mutex_unlock(&fake->lock);
  run("status", NULL);
  expect(0,
         "vol0: suspended, 10 GiB, 0 of 2 legs in sync (1 needed), record 7.12\n"
         "  123456 reads, 7890 writes, 12 flushes; 31 answered without a late leg, 7 failed\n"
         "  waits for leg a (missing): 4 writes, the oldest 6.2 s; 1 leg needed\n"
         "  1.5 MiB being made equal on all legs (after a crash or grow)\n"
         "  LEG  PATH           STATE          STALE  LATE  TIMEOUTS  ERRORS  P99 WRITE  NOTE\n"
         "  a    /tmp/?[31mred  missing            -     -         -       -     1.2 ms  cannot be "
         "opened\n"
         "  b    /dev/sdc       catching-up  1.2 GiB     -        31       -     812 us  resync "
         "38.5%; gone for a while\n",
         "");
}

/* How long a state has lasted and how old the oldest unanswered request is stands with it; a leg in
 * sync that answers has nothing of this. */
static void
status_ages(void **state) {
  struct fake_volume *fake = *state;
  pthread_mutex_lock(&fake->lock);
  struct sf_volume_status *status = &fake->status;
  status->wall_ns = (int64_t) time(NULL) * 1000000000;
  status->state_age_ns = UINT64_C(3600000000000) * 3;
  status->leg[0].in_flight = 2;
  status->leg[0].oldest_ns = UINT64_C(999000000);
  status->leg[1].in_flight = 4;
  status->leg[1].oldest_ns = UINT64_C(6200000000);
  status->leg[2].state_age_ns = UINT64_C(1800000000000);
  pthread_mutex_unlock(&fake->lock);
  assert_int_equal(run("status", NULL), 0);
  assert_non_null(strstr(result.out, "record 7.12; for 3 h 00 min\n"));
  assert_non_null(strstr(result.out, "     1.2 ms\n"));
  assert_non_null(strstr(result.out, "10 s left; for 0 s; 4 unanswered, the oldest 6.2 s\n"));
  assert_non_null(strstr(result.out, "not answered in 100 ms; for 30 min\n"));
}

/* The deadlines in force and where they come from: of all legs together. */
static void
status_deadlines(void **state) {
  struct fake_volume *fake = *state;
  pthread_mutex_lock(&fake->lock);
  for (unsigned i = 0; i < 3; i++) {
    struct sf_leg_status *leg = &fake->status.leg[i];
    leg->deadline_ns[SF_READ_KIND] = 500000000;
    leg->deadline_ns[SF_WRITE_KIND] = 50000000 + i * 35000000;
    leg->deadline_ns[SF_FLUSH_KIND] = 1000000000;
    leg->deadline_source[SF_READ_KIND] = SF_DEADLINE_LEARNING;
    leg->deadline_source[SF_WRITE_KIND] = SF_DEADLINE_AUTO;
    leg->deadline_source[SF_FLUSH_KIND] = i == 0 ? SF_DEADLINE_FILE : SF_DEADLINE_SET;
  }
  pthread_mutex_unlock(&fake->lock);
  assert_int_equal(run("status", NULL), 0);
  assert_non_null(strstr(result.out,
                         "\n  deadlines: reads 500 ms (learning), writes 50 ms to 120 ms "
                         "(auto), flushes 1 s (mixed)\n"));
}

static void
set_state(struct fake_volume *fake, enum sf_volume_state state, const char *reason) {
  pthread_mutex_lock(&fake->lock);
  fake->status.state = state;
  strcpy(fake->status.reason, reason);
  pthread_mutex_unlock(&fake->lock);
}

/* What Nagios wants: one line and 0, 1, 2 or 3. */
static void
status_check(void **state) {
  struct fake_volume *fake = *state;
  run("status", "--check", NULL);
  expect(1,
         "vol0: degraded, 1 of 3 legs in sync; leg b catching-up; leg c late: write at 4096 not "
         "answered in 100 ms\n",
         "");
  set_state(fake, SF_VOLUME_HEALTHY, "");
  assert_int_equal(run("status", "--check", "vol0", NULL), 0);
  set_state(fake, SF_VOLUME_SUSPENDED, "waits for leg c");
  assert_int_equal(run("status", "--check", NULL), 2);
  assert_int_equal(
      strncmp(result.out, "vol0: suspended, 1 of 3 legs in sync; waits for leg c; leg b", 60), 0);
  set_state(fake, SF_VOLUME_FAILED, "");
  assert_int_equal(run("status", "--check", NULL), 2);
  set_state(fake, SF_VOLUME_STARTING, "");
  assert_int_equal(run("status", "--check", NULL), 3);
  assert_int_equal(run("status", "--check", "nosuch", NULL), 3);
  run("status", "--check", "--json", NULL);
  expect_wrong_usage("status: either --json or --check");
}

static void
list(void **state) {
  (void) state;
  run("list", NULL);
  expect(0,
         "VOLUME            STATE           SIZE   LEGS  DEVICE\n"
         "vol0              degraded      10 GiB    1/3  -\n",
         "");
  run("list", "vol0", NULL);
  expect_wrong_usage("list: no argument is needed");
}

/* Colours are asked for, or refused, whatever the output is. */
static void
colours(void **state) {
  (void) state;
  assert_int_equal(run("--color=always", "status", NULL), 0);
  assert_non_null(strstr(result.out, "\033[33mdegraded\033[0m"));
  assert_int_equal(run("status", "--color", "always", NULL), 0);
  assert_non_null(strstr(result.out, "\033[33mdegraded\033[0m"));
  assert_int_equal(run("status", "--color=never", NULL), 0);
  assert_null(strchr(result.out, '\033'));
  run("status", "--color=red", NULL);
  expect_wrong_usage("--color red: always, never or auto");
}

/* ---- which socket ---- */

/* Without a name status shows all volumes, in order; a socket without a server is reported on
 * stderr and makes the exit 1, and the others are shown all the same.  Other commands want a
 * name. */
static void
several_volumes(void **state) {
  struct fake_volume *fake = *state, second;
  char expected[2 * sizeof STATUS_VOL0 + 1], error[512];
  fake_volume_init_beside(&second, "vol1", fake);
  fake_volume_start(&second);
  run("status", NULL);
  snprintf(expected, sizeof expected, "%s\n%s", STATUS_VOL0, STATUS_VOL0);
  *strstr(expected + strlen(STATUS_VOL0), "vol0") = 'v';
  strstr(expected + strlen(STATUS_VOL0), "vol0")[3] = '1';
  expect(0, expected, "");
  assert_int_equal(run("status", "--json", NULL), 0);
  json_t *document = json_loads(result.out, 0, NULL);
  assert_int_equal(json_array_size(json_object_get(document, "volumes")), 2);
  json_decref(document);
  run("status", "vol0", NULL);
  expect(0, STATUS_VOL0, "");
  run("events", NULL);
  expect(1, "", "surefootctl: which volume?  vol0, vol1 are running\n");
  fake_volume_destroy(&second);

  char dead[SF_CONTROL_PATH_MAX + 16];
  snprintf(dead, sizeof dead, "%s/dead.ctl", fake->directory);
  close(open(dead, O_CREAT | O_WRONLY, 0600));
  snprintf(error, sizeof error, "surefootctl: %s: no process listens: the volume is not running\n",
           dead);
  run("status", NULL);
  expect(1, STATUS_VOL0, error);
  unlink(dead);
}

/* ---- events ---- */

/* A date stands before each line; what follows is compared. */
static void
expect_event_line(const char *line, const char *expected) {
  static const char form[] = "dddd-dd-dd dd:dd:dd.ddd  ";
  for (unsigned i = 0; form[i]; i++) {
    bool fits = form[i] == 'd' ? line[i] >= '0' && line[i] <= '9' : line[i] == form[i];
    if (!fits)
      fail_msg("no date: %s", line);
  }
  line += sizeof form - 1;
  assert_int_equal(strncmp(line, expected, strlen(expected)), 0);
}

static void
tell(struct fake_volume *fake, enum sf_volume_event_kind kind, const char *reason) {
  struct sf_volume_event event = {.kind = kind, .leg = -1, .reason = reason};
  sf_control_server_event(fake->server, &event);
}

static void
events(void **state) {
  struct fake_volume *fake = *state;
  run("events", NULL);
  expect(0, "", "");
  tell(fake, SF_EVENT_STARTED, "record 8.1");
  fake_volume_event(fake, "write at 4096 not answered in 100 ms");
  run("events", "vol0", NULL);
  assert_int_equal(result.status, 0);
  expect_event_line(result.out, "vol0  started: record 8.1\n");
  expect_event_line(strchr(result.out, '\n') + 1,
                    "vol0  leg b: in-sync -> late: write at 4096 not answered in 100 ms\n");

  assert_int_equal(run("events", "--json", NULL), 0);
  char *second = strchr(result.out, '\n');
  *second++ = '\0';
  json_t *event = json_loads(result.out, 0, NULL);
  assert_string_equal(json_string_value(json_object_get(event, "event")), "started");
  assert_string_equal(json_string_value(json_object_get(event, "volume")), "vol0");
  json_decref(event);
  event = json_loads(second, 0, NULL);
  assert_string_equal(json_string_value(json_object_get(event, "leg")), "b");
  json_decref(event);
}

/* ---- what it does, how long it takes, what went wrong ---- */

static void
set_buckets(struct fake_volume *fake) {
  pthread_mutex_lock(&fake->lock);
  for (unsigned i = 0; i < 2; i++) {
    struct sf_leg_status *leg = &fake->status.leg[i];
    memset(leg->latency[SF_WRITE_KIND].bucket, 0, sizeof leg->latency[SF_WRITE_KIND].bucket);
    leg->latency[SF_WRITE_KIND].bucket[65] = 90; /* below 786 us */
    leg->latency[SF_WRITE_KIND].bucket[89] = 10; /* below 51 ms */
    leg->deadline_ns[SF_WRITE_KIND] = 100000000;
  }
  fake->status.leg[2].in_flight = 3;
  fake->status.leg[2].oldest_ns = UINT64_C(6200000000);
  pthread_mutex_unlock(&fake->lock);
}

/* Plain lines where there is no screen; rates of nothing are 0, and an unanswered request is as
 * slow as it is old. */
static void
top(void **state) {
  struct fake_volume *fake = *state;
  set_buckets(fake);
  run("top", NULL);
  expect(1, "", "surefootctl: top: this is no terminal: use --batch\n");
  assert_int_equal(run("top", "--batch", "--count", "1", "vol0", NULL), 0);
  assert_non_null(strstr(result.out, "vol0 degraded 0.0 MB/s  0 req/s  p99 -  0 waiting"));
  assert_non_null(
      strstr(result.out,
             "  LEG      STATE         MB/s  REQ/s     P50     P99 FLIGHT  OLDEST  WIN RESYNC"));
  assert_non_null(
      strstr(result.out, "  a        in-sync        0.0      0       -       -      -"));
  assert_non_null(
      strstr(result.out,
             "  b        catching-up    0.0      0       -       -      -       -    0 39% 10s"));
  assert_non_null(
      strstr(result.out, "  c        late           0.0      0   6.2 s   6.2 s      3   6.2 s"));
  run("top", "--count", "x", NULL);
  expect_wrong_usage("top: --count x: not a number");
}

/* The histograms stand side by side, with the limit between the rows. */
static void
the_latency(void **state) {
  struct fake_volume *fake = *state;
  set_buckets(fake);
  setenv("LC_ALL", "C", 1);
  assert_int_equal(run("latency", "vol0", NULL), 0);
  assert_non_null(strstr(result.out, "vol0: how long writes take, since its server started\n"));
  assert_non_null(strstr(result.out, "clients (0)      a (100)          b (100)          c (0)"));
  const char *most = strstr(result.out, "    1 ms "), *some = strstr(result.out, " 67.1 ms ");
  const char *limit = strstr(result.out, "--- late: 100 ms");
  if (!most || !some || !limit || !(most < some && some < limit))
    fail_msg("%s", result.out);
  assert_non_null(strstr(most, " #########    90% #########    90% "));
  assert_non_null(strstr(some, "#            10% #            10% "));
  run("latency", "vol0", "--kind", "zero", NULL);
  expect_wrong_usage("latency: --kind zero: read, write or flush");
  run("latency", "vol0", "--since", "soon", NULL);
  expect_wrong_usage("latency: --since soon: not a time (for example 10m)");
  run("latency", "vol0", "--since", "10m", "--for", "1s", NULL);
  expect_wrong_usage("latency: --since looks back and --for on: one of them");
  run("latency", "vol0", "--since", "10m", NULL);
  expect(
      1, "",
      "surefootctl: vol0: --since: only surefootd keeps the past, and it does not run this volume; "
      "--for TIME looks on from now\n");
  run("latency", NULL);
  expect_wrong_usage("latency: one VOLUME is needed");
}

static void
tell_moves(struct fake_volume *fake, int leg, const char *const moves[][3], unsigned n) {
  for (unsigned i = 0; i < n; i++) {
    struct sf_volume_event event = {.kind = leg < 0 ? SF_EVENT_STATE : SF_EVENT_LEG_STATE,
                                    .leg = leg,
                                    .leg_name = leg < 0 ? NULL : "b",
                                    .from = moves[i][0],
                                    .to = moves[i][1],
                                    .reason = moves[i][2]};
    sf_control_server_event(fake->server, &event);
  }
}

/* The last incident, and no other: from what began it to what ended it, in sentences. */
static void
why(void **state) {
  struct fake_volume *fake = *state;
  static const char *const old[][3] = {{"in-sync", "faulty", "an older story"}};
  static const char *const before[][3] = {{"healthy", "degraded", ""}, {"degraded", "healthy", ""}};
  static const char *const leaves[][3] = {
      {"in-sync", "late", "write at 4096 not answered in 100 ms"}};
  static const char *const waits[][3] = {
      {"healthy", "suspended", "waits for leg b: 4 writes, the oldest 6.2 s; 2 legs needed"}};
  static const char *const back[][3] = {{"late", "probing", ""}, {"probing", "in-sync", ""}};
  static const char *const well[][3] = {{"suspended", "healthy", ""}};
  run("why", "vol0", NULL);
  expect(0, "vol0: nothing has gone wrong, as far back as the events go.\n", "");
  tell_moves(fake, 1, old, 1);
  tell_moves(fake, -1, before, 2);
  tell_moves(fake, 1, leaves, 1);
  tell_moves(fake, -1, waits, 1);
  assert_int_equal(run("why", "vol0", NULL), 0);
  assert_non_null(strstr(result.out, "vol0: this goes on.\n"));
  tell_moves(fake, 1, back, 2);
  tell_moves(fake, -1, well, 1);
  set_buckets(fake);
  assert_int_equal(run("why", "vol0", NULL), 0);
  assert_null(strstr(result.out, "older story"));
  static const char *const says[] = {
      "vol0: the last incident took ",
      "  Leg b did not answer in time and was left out: write at 4096 not answered in 100 ms.\n",
      "  Writes had to wait: it waits for leg b: 4 writes, the oldest 6.2 s; 2 legs needed.\n",
      "  Leg b answers again, and is tried (after ",
      "  Leg b is whole again (after ",
      "  All legs are in sync (after ",
      "no client has asked for anything; 0 requests failed.\n",
      "Leg b still lacks 1.2 GiB.\n"};
  const char *at = result.out;
  for (unsigned i = 0; i < sizeof says / sizeof says[0]; i++) {
    at = strstr(at, says[i]);
    if (!at)
      fail_msg("no \"%s\" in its place in\n%s", says[i], result.out);
  }
}

/* Earlier incidents have numbers, the list says which were there, and an event that ended one
 * begins no other. */
static void
why_list(void **state) {
  struct fake_volume *fake = *state;
  static const char *const late[][3] = {
      {"in-sync", "late", "slow"}, {"late", "probing", ""}, {"probing", "in-sync", ""}};
  static const char *const faulty[][3] = {{"in-sync", "faulty", "broken"}};
  static const char *const waits[][3] = {{"healthy", "degraded", ""},
                                         {"degraded", "suspended", ""}};
  static const char *const well[][3] = {{"suspended", "healthy", ""}};
  run("why", "vol0", "--list", NULL);
  expect(0, "vol0: nothing has gone wrong, as far back as the events go.\n", "");
  tell_moves(fake, 1, late, 3);
  tell_moves(fake, -1, waits, 2);
  tell_moves(fake, -1, well, 1);
  tell_moves(fake, 1, faulty, 1);
  assert_int_equal(run("why", "vol0", "--list", NULL), 0);
  const char *first = strstr(result.out, "  1  "), *second = strstr(result.out, "\n  2  ");
  if (!first || !second || !strstr(first, "  goes on     leg b faulty\n") ||
      !strstr(second, "  leg b late; suspended\n") || strstr(result.out, "\n  3  "))
    fail_msg("%s", result.out);
  assert_int_equal(run("why", "vol0", "2", NULL), 0);
  assert_non_null(strstr(result.out, "vol0: incident 2 before now took "));
  assert_non_null(strstr(result.out, "  Leg b did not answer in time and was left out: slow.\n"));
  assert_null(strstr(result.out, "broken"));
  assert_null(strstr(result.out, "Since its server started"));
  run("why", "vol0", "3", NULL);
  expect(1, "", "surefootctl: vol0: the events go back to 2 incidents: why vol0 --list\n");
  run("why", "vol0", "0", NULL);
  expect_wrong_usage("why: 0: which incident?  1 is the last");
  run("why", "vol0", "2", "--list", NULL);
  expect_wrong_usage("why: one VOLUME is needed, and with --list no more");
}

/* --follow writes the kept events and then each event as it comes; the volume's stop is its end. */
static void
follow(void **state) {
  struct fake_volume *fake = *state;
  tell(fake, SF_EVENT_STARTED, "before");
  const char *argv[] = {"surefootctl", "events", "--follow", NULL};
  int fds[2], err = memfd_create("err", MFD_CLOEXEC), status;
  assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
  pid_t pid = spawn(argv, fds[1], err);
  close(fds[1]);
  FILE *out = fdopen(fds[0], "r");
  char line[512];
  assert_non_null(fgets(line, sizeof line, out));
  expect_event_line(line, "vol0  started: before\n");
  fake_volume_event(fake, "slow");
  assert_non_null(fgets(line, sizeof line, out));
  expect_event_line(line, "vol0  leg b: in-sync -> late: slow\n");

  tell(fake, SF_EVENT_STOPPED, NULL);
  sf_control_server_destroy(fake->server);
  fake->server = NULL;
  assert_non_null(fgets(line, sizeof line, out));
  expect_event_line(line, "vol0  stopped\n");
  assert_null(fgets(line, sizeof line, out));
  fclose(out);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
  close(err);
}

/* A volume that goes away without saying that it stopped: exit 1. */
static void
follow_a_crash(void **state) {
  struct fake_volume *fake = *state;
  tell(fake, SF_EVENT_STARTED, "before");
  const char *argv[] = {"surefootctl", "events", "--follow", "--json", NULL};
  int fds[2], err = memfd_create("err", MFD_CLOEXEC), status;
  assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
  pid_t pid = spawn(argv, fds[1], err);
  close(fds[1]);
  FILE *out = fdopen(fds[0], "r");
  char line[512];
  assert_non_null(fgets(line, sizeof line, out));
  sf_control_server_destroy(fake->server);
  fake->server = NULL;
  assert_null(fgets(line, sizeof line, out));
  fclose(out);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 1);
  take(err, result.err);
  char expected[256];
  snprintf(expected, sizeof expected, "surefootctl: %s: the connection ended\n", fake->path);
  assert_string_equal(result.err, expected);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      WITH_VOLUME(the_status),
      WITH_VOLUME(status_json),
      WITH_VOLUME(status_long_reason),
      WITH_VOLUME(status_in_trouble),
      WITH_VOLUME(status_ages),
      WITH_VOLUME(status_deadlines),
      WITH_VOLUME(status_check),
      WITH_VOLUME(list),
      WITH_VOLUME(colours),
      WITH_VOLUME(top),
      WITH_VOLUME(the_latency),
      WITH_VOLUME(why),
      WITH_VOLUME(why_list),
      WITH_VOLUME(several_volumes),
      WITH_VOLUME(events),
      WITH_VOLUME(follow),
      WITH_VOLUME(follow_a_crash),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

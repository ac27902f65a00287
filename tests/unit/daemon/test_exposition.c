#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "monitor/exposition.h"

static const char status[] =
    "[{'name':'v0','state':'degraded','size_bytes':1024,'legs_in_sync':1,'min_legs':1,"
    "'requests':{'reads':1,'writes':2,'flushes':3,'late_acks':4,'errors':5},"
    "'scrub':{'state':'paused','total_bytes':1024,'done_bytes':512,'unwritten_bytes':256,'mismatch_"
    "bytes':96,"
    "'unreadable_bytes':0,'repaired_bytes':32,'end_time_s':null},"
    "'waits_for':['a'],'bytes_read':11,'bytes_written':12,'in_flight':13,'oldest_ms':6200,"
    "'service':{'state':'serving','restarts':7,'device':{'path':'/dev/nbd0','state':'attached'}},"
    "'legs':[{'name':'a','state':'in-sync','stale_bytes':0,'late_requests':0,'timeouts':8,"
    "'errors':9,'bytes_read':14,'bytes_written':15,'in_flight':16,'oldest_ms':17,"
    "'resync':null,'latency':{'read':{'count':5,'recent':0},'write':{'count':10,'recent':3,'p50_us'"
    ":1500,"
    "'p99_us':2500,'p999_us':3500,'max_us':4000000},'flush':{'count':0}}},"
    "{'name':'q\\\\\\\"x','state':'late','stale_bytes':4096,'late_requests':2,"
    "'resync':{'done_bytes':5,'total_bytes':6},'latency':{}}]},"
    "{'name':'down','state':'failed','service':{'state':'down','restarts':3,'device':null},"
    "'legs':[]},"
    "{'name':'up','state':'starting','service':{'state':'starting','restarts':0,'device':null},"
    "'legs':[]}]";

static json_t *
parse(void) {
  char text[sizeof status];
  memcpy(text, status, sizeof status);
  for (char *c = text; *c; c++)
    if (*c == '\'')
      *c = '"';
  json_t *volumes = json_loads(text, 0, NULL);
  assert_non_null(volumes);
  return volumes;
}

#define LATENCY(quantile, value)                                                                   \
  ("surefoot_leg_latency_seconds{volume=\"v0\",leg=\"a\",kind=\"write\",quantile=\"" quantile      \
   "\"} " value "\n")

/* Proves that each number is where a dashboard looks for it, once. */
static void
values(void **state) {
  static const char *const lines[] = {
      "surefoot_volume_state{volume=\"v0\",state=\"degraded\"} 1\n",
      "surefoot_volume_state{volume=\"v0\",state=\"healthy\"} 0\n",
      "surefoot_volume_state{volume=\"down\",state=\"failed\"} 1\n",
      "surefoot_volume_size_bytes{volume=\"v0\"} 1024\n",
      "surefoot_volume_reads_total{volume=\"v0\"} 1\n",
      "surefoot_volume_writes_total{volume=\"v0\"} 2\n",
      "surefoot_volume_late_acks_total{volume=\"v0\"} 4\n",
      "surefoot_volume_read_bytes_total{volume=\"v0\"} 11\n",
      "surefoot_volume_written_bytes_total{volume=\"v0\"} 12\n",
      "surefoot_volume_scrub_running{volume=\"v0\"} 1\n",
      "surefoot_volume_scrub_mismatch_bytes{volume=\"v0\"} 96\n",
      "surefoot_volume_scrub_unwritten_bytes{volume=\"v0\"} 256\n",
      "surefoot_volume_in_flight{volume=\"v0\"} 13\n",
      "surefoot_volume_oldest_seconds{volume=\"v0\"} 6.2000000000000002\n",
      "surefoot_volume_state{volume=\"up\",state=\"starting\"} 1\n",
      "surefoot_volume_state{volume=\"up\",state=\"failed\"} 0\n",
      "surefoot_leg_read_bytes_total{volume=\"v0\",leg=\"a\"} 14\n",
      "surefoot_leg_written_bytes_total{volume=\"v0\",leg=\"a\"} 15\n",
      "surefoot_leg_waited_for{volume=\"v0\",leg=\"a\"} 1\n",
      "surefoot_leg_waited_for{volume=\"v0\",leg=\"q\\\\\\\"x\"} 0\n",
      "surefoot_leg_in_flight{volume=\"v0\",leg=\"a\"} 16\n",
      "surefoot_leg_oldest_seconds{volume=\"v0\",leg=\"a\"} 0.017000000000000001\n",
      "surefoot_server_up{volume=\"v0\"} 1\n",
      "surefoot_server_up{volume=\"down\"} 0\n",
      "surefoot_server_restarts_total{volume=\"down\"} 3\n",
      "surefoot_device_attached{volume=\"v0\"} 1\n",
      "surefoot_leg_state{volume=\"v0\",leg=\"a\",state=\"in-sync\"} 1\n",
      "surefoot_leg_state{volume=\"v0\",leg=\"q\\\\\\\"x\",state=\"late\"} 1\n",
      "surefoot_leg_stale_bytes{volume=\"v0\",leg=\"q\\\\\\\"x\"} 4096\n",
      "surefoot_leg_timeouts_total{volume=\"v0\",leg=\"a\"} 8\n",
      "surefoot_leg_resync_done_bytes{volume=\"v0\",leg=\"q\\\\\\\"x\"} 5\n",
      LATENCY("0.5", "0.0015"),
      LATENCY("1", "4"),
      "surefoot_leg_requests_total{volume=\"v0\",leg=\"a\",kind=\"write\"} 10\n",
  };
  json_t *volumes = parse();
  char *text = sfd_exposition_make(volumes);
  assert_non_null(text);
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    const char *found = strstr(text, lines[i]);
    if (!found || strstr(found + 1, lines[i]))
      fail_msg("%s is %s in\n%s", lines[i], found ? "twice" : "not", text);
  }
  /* A value that is not measured is not told as 0. */
  assert_null(strstr(text, "kind=\"read\",quantile"));
  assert_null(strstr(text, "surefoot_volume_scrub_end_time_seconds{"));
  assert_null(strstr(text, "surefoot_volume_scrub_running{volume=\"down\"}"));
  assert_null(strstr(text, "surefoot_device_attached{volume=\"down\"}"));
  assert_null(strstr(text, "surefoot_leg_resync_done_bytes{volume=\"v0\",leg=\"a\"}"));
  free(text);
  json_decref(volumes);
}

/* Proves that the lines of a family stand together under their own type, as the format wants. */
static void
families(void **state) {
  json_t *volumes = parse();
  char *text = sfd_exposition_make(volumes), *rest = text, *line;
  char family[128] = "", seen[8192] = "";
  while ((line = strsep(&rest, "\n"))) {
    char name[128];
    if (sscanf(line, "# TYPE %127s", name) == 1) {
      char mark[130];
      snprintf(mark, sizeof mark, "%s;", name);
      assert_null(strstr(seen, mark));
      strcat(seen, mark);
      strcpy(family, name);
    } else if (line[0] && line[0] != '#') {
      snprintf(name, sizeof name, "%.*s", (int) strcspn(line, "{"), line);
      assert_string_equal(name, family);
    }
  }
  free(text);
  json_decref(volumes);
  volumes = json_array();
  text = sfd_exposition_make(volumes);
  assert_non_null(strstr(text, "# TYPE surefoot_volume_state gauge"));
  free(text);
  json_decref(volumes);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values),
      cmocka_unit_test(families),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

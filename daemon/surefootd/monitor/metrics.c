#include "monitor/metrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "common/log.h"
#include "monitor/exposition.h"
#include "volumes/collect.h"
#include "volumes/volumes.h"

enum { CONNECTIONS_MAX = 16, PER_ADDRESS_MAX = 8, CONNECTION_TIMEOUT_S = 10, MEMORY_BYTES = 16384 };

/* libmicrohttpd runs inside the event loop: its epoll descriptor and its timeout are sources. */
struct metrics {
  const struct volumes *volumes;
  struct MHD_Daemon *http;
  sd_event_source *io, *timer;
  unsigned open;  /* scrapes that wait for the volumes */
  bool destroyed; /* waits for them */
};

struct scrape {
  struct metrics *metrics;
  struct MHD_Connection *connection;
  char *text; /* NULL while the volumes are asked */
  bool suspended, answered, abandoned;
};

static void
run(struct metrics *metrics) {
  MHD_UNSIGNED_LONG_LONG timeout_ms;
  MHD_run(metrics->http);
  if (MHD_get_timeout(metrics->http, &timeout_ms) != MHD_YES) {
    sd_event_source_set_enabled(metrics->timer, SD_EVENT_OFF);
    return;
  }
  sd_event_source_set_time_relative(metrics->timer, timeout_ms * 1000);
  sd_event_source_set_enabled(metrics->timer, SD_EVENT_ONESHOT);
}

static int
on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
  run(userdata);
  return 0;
}

static int
on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
  run(userdata);
  return 0;
}

/* ---- a scrape ---- */

static void
free_if_over(struct metrics *metrics) {
  if (metrics->destroyed && metrics->open == 0)
    free(metrics);
}

static void
on_gathered(void *ctx, json_t *volumes) {
  struct scrape *scrape = ctx;
  struct metrics *metrics = scrape->metrics;
  scrape->text = volumes ? sfd_exposition_make(volumes) : NULL;
  json_decref(volumes);
  scrape->answered = true;
  metrics->open--;
  if (scrape->abandoned) {
    free(scrape->text);
    free(scrape);
    free_if_over(metrics);
    return;
  }
  if (scrape->suspended) {
    scrape->suspended = false;
    MHD_resume_connection(scrape->connection);
    sd_event_source_set_time_relative(metrics->timer, 0);
    sd_event_source_set_enabled(metrics->timer, SD_EVENT_ONESHOT);
  }
}

static enum MHD_Result
answer(struct MHD_Connection *connection, unsigned code, const char *type, char *text) {
  struct MHD_Response *response =
      MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_COPY);
  if (!response)
    return MHD_NO;
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
  enum MHD_Result r = MHD_queue_response(connection, code, response);
  MHD_destroy_response(response);
  return r;
}

static enum MHD_Result
on_request(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
           const char *version, const char *upload, size_t *upload_size, void **state) {
  static char no_page[] = "only GET /metrics\n", no_memory[] = "out of memory\n";
  struct metrics *metrics = cls;
  struct scrape *scrape = *state;
  bool asks = strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
  if (!asks || strcmp(url, "/metrics") != 0)
    return answer(connection, MHD_HTTP_NOT_FOUND, "text/plain", no_page);
  if (scrape && scrape->answered)
    return scrape->text
               ? answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4", scrape->text)
               : answer(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "text/plain", no_memory);
  if (scrape)
    return MHD_YES;
  scrape = calloc(1, sizeof *scrape);
  if (!scrape)
    return MHD_NO;
  scrape->metrics = metrics;
  scrape->connection = connection;
  *state = scrape;
  metrics->open++;
  sfd_collect_status(metrics->volumes, NULL, on_gathered, scrape);
  if (scrape->answered)
    return scrape->text ? answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4", scrape->text)
                        : MHD_NO;
  scrape->suspended = true;
  MHD_suspend_connection(connection);
  return MHD_YES;
}

static void
on_completed(void *cls, struct MHD_Connection *connection, void **state,
             enum MHD_RequestTerminationCode why) {
  struct scrape *scrape = *state;
  *state = NULL;
  if (!scrape)
    return;
  if (!scrape->answered) {
    scrape->abandoned = true;
    return;
  }
  free(scrape->text);
  free(scrape);
}

/* ---- life ---- */

static struct MHD_Daemon *
start_http(struct metrics *metrics, const struct settings *settings) {
  struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_port = htons(settings->metrics_port)};
  struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6, .sin6_port = htons(settings->metrics_port)};
  bool six = strchr(settings->metrics_address, ':') != NULL;
  unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | (six ? MHD_USE_IPv6 : 0);
  if (inet_pton(six ? AF_INET6 : AF_INET, settings->metrics_address,
                six ? (void *) &ipv6.sin6_addr : (void *) &ipv4.sin_addr) != 1)
    return NULL;
  return MHD_start_daemon(
      flags, settings->metrics_port, NULL, NULL, on_request, metrics, MHD_OPTION_SOCK_ADDR,
      six ? (struct sockaddr *) &ipv6 : (struct sockaddr *) &ipv4, MHD_OPTION_NOTIFY_COMPLETED,
      on_completed, metrics, MHD_OPTION_CONNECTION_LIMIT, (unsigned) CONNECTIONS_MAX,
      MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned) PER_ADDRESS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
      (unsigned) CONNECTION_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) MEMORY_BYTES,
      MHD_OPTION_END);
}

int
sfd_metrics_create(const struct volumes *volumes, struct metrics **result) {
  const struct settings *settings = volumes->settings;
  struct metrics *metrics = calloc(1, sizeof *metrics);
  if (!metrics)
    return -ENOMEM;
  metrics->volumes = volumes;
  errno = 0;
  metrics->http = start_http(metrics, settings);
  if (!metrics->http) {
    int r = errno ? -errno : -EIO;
    free(metrics);
    return r;
  }
  const union MHD_DaemonInfo *info = MHD_get_daemon_info(metrics->http, MHD_DAEMON_INFO_EPOLL_FD);
  int r =
      info ? sd_event_add_io(volumes->event, &metrics->io, info->epoll_fd, EPOLLIN, on_io, metrics)
           : -EIO;
  if (r >= 0)
    r = sd_event_add_time_relative(volumes->event, &metrics->timer, CLOCK_MONOTONIC, 0, 0, on_timer,
                                   metrics);
  if (r < 0) {
    sfd_metrics_destroy(metrics);
    return r;
  }
  log_info(NULL, "metrics at http://%s:%u/metrics", settings->metrics_address,
           settings->metrics_port);
  *result = metrics;
  return 0;
}

void
sfd_metrics_destroy(struct metrics *metrics) {
  if (!metrics)
    return;
  sd_event_source_disable_unref(metrics->io);
  sd_event_source_disable_unref(metrics->timer);
  metrics->io = metrics->timer = NULL;
  MHD_stop_daemon(metrics->http);
  metrics->destroyed = true;
  free_if_over(metrics);
}

#include "monitor/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/log.h"
#include "monitor/exposition.h"
#include "monitor/page.h"
#include "volumes/collect.h"
#include "volumes/volume.h"

enum { CONNECTIONS_MAX = 16, PER_ADDRESS_MAX = 8, CONNECTION_TIMEOUT_S = 10, MEMORY_BYTES = 16384 };

/* libmicrohttpd runs inside the event loop: its epoll descriptor and its timeout are sources. */
struct http {
  const struct volumes *volumes;
  struct http_serves serves;
  struct MHD_Daemon *daemon;
  sd_event_source *io, *timer;
  struct sf_list suspended; /* those of which the connection waits too */
  unsigned open;            /* requests that wait for the volumes */
  bool destroyed;           /* waits for them */
};

struct request {
  struct http *http;
  struct MHD_Connection *connection;
  bool metrics;         /* else the page */
  bool whole;           /* page */
  char *text;           /* NULL while the volumes are asked */
  char policy[512];     /* the page's */
  struct sf_list entry; /* of suspended */
  bool suspended, answered, abandoned;
};

static void
run(struct http *http) {
  MHD_UNSIGNED_LONG_LONG timeout_ms;
  MHD_run(http->daemon);
  if (MHD_get_timeout(http->daemon, &timeout_ms) != MHD_YES) {
    sd_event_source_set_enabled(http->timer, SD_EVENT_OFF);
    return;
  }
  sd_event_source_set_time_relative(http->timer, timeout_ms * 1000);
  sd_event_source_set_enabled(http->timer, SD_EVENT_ONESHOT);
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

/* ---- the page ---- */

static bool
make_nonce(char nonce[PAGE_NONCE_MAX]) {
  unsigned char bytes[(PAGE_NONCE_MAX - 1) / 2];
  if (getrandom(bytes, sizeof bytes, GRND_NONBLOCK) != sizeof bytes)
    return false;
  for (unsigned i = 0; i < sizeof bytes; i++)
    snprintf(nonce + (size_t) 2 * i, 3, "%02x", bytes[i]);
  return true;
}

static void
add_histories(const struct volumes *volumes, json_t *list) {
  size_t i;
  json_t *entry;
  json_array_foreach(list, i, entry) {
    const struct volume *volume = sfd_volumes_find(volumes, sfd_events_text(entry, "name"));
    if (volume)
      json_object_set_new(entry, "history", sfd_volume_samples(volume));
  }
}

static void
make_page(struct request *request, json_t *list) {
  const struct http *http = request->http;
  char host[256] = "";
  json_t *events = sfd_events_list(http->volumes->events, NULL);
  struct page_facts facts = {.volumes = list,
                             .events = events,
                             .problems = *http->serves.problems,
                             .host = host,
                             .whole = request->whole,
                             .now_ns = sfd_events_now_ns()};
  gethostname(host, sizeof host - 1);
  add_histories(http->volumes, list);
  if (make_nonce(facts.nonce)) {
    sfd_page_policy(&facts, request->policy);
    request->text = sfd_page_make(&facts);
  }
  json_decref(events);
}

/* ---- a request ---- */

static void
free_if_over(struct http *http) {
  if (http->destroyed && http->open == 0)
    free(http);
}

static void
resume(struct request *request) {
  request->suspended = false;
  sf_list_remove(&request->entry);
  MHD_resume_connection(request->connection);
}

static void
on_gathered(void *ctx, json_t *volumes) {
  struct request *request = ctx;
  struct http *http = request->http;
  if (volumes && !request->metrics && !request->abandoned)
    make_page(request, volumes);
  else if (volumes && request->metrics)
    request->text = sfd_exposition_make(volumes);
  json_decref(volumes);
  request->answered = true;
  http->open--;
  if (request->abandoned) {
    free(request->text);
    free(request);
    free_if_over(http);
    return;
  }
  if (request->suspended) {
    resume(request);
    sd_event_source_set_time_relative(http->timer, 0);
    sd_event_source_set_enabled(http->timer, SD_EVENT_ONESHOT);
  }
}

/* Nothing here is for another site's scripts, frames or caches. */
static void
add_headers(struct MHD_Response *response, const char *type, const char *policy) {
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
  MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
  if (policy == NULL)
    return;
  MHD_add_response_header(response, "Content-Security-Policy", policy);
  MHD_add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
  MHD_add_response_header(response, "Cross-Origin-Opener-Policy", "same-origin");
  MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
  MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
}

static enum MHD_Result
answer(struct MHD_Connection *connection, unsigned code, const char *type, const char *policy,
       char *text) {
  struct MHD_Response *response =
      MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_COPY);
  if (response == NULL)
    return MHD_NO;
  add_headers(response, type, policy);
  if (code == MHD_HTTP_METHOD_NOT_ALLOWED)
    MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
  enum MHD_Result r = MHD_queue_response(connection, code, response);
  MHD_destroy_response(response);
  return r;
}

static enum MHD_Result
answer_made(const struct request *request) {
  static char no_memory[] = "out of memory\n";
  if (request->text == NULL)
    return answer(request->connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "text/plain", NULL,
                  no_memory);
  return request->metrics ? answer(request->connection, MHD_HTTP_OK, "text/plain; version=0.0.4",
                                   NULL, request->text)
                          : answer(request->connection, MHD_HTTP_OK, "text/html; charset=utf-8",
                                   request->policy, request->text);
}

bool
sfd_http_is_own_host(const char *host) {
  char name[64];
  struct in_addr address;
  size_t len = host ? strcspn(host, *host == '[' ? "]" : ":") : 0;
  if (host == NULL || len + 1 >= sizeof name)
    return false;
  if (*host == '[') /* its port, if there is one, is whatever a tunnel has made of it */
    return strncmp(host, "[::1]", 5) == 0 && (host[5] == '\0' || host[5] == ':');
  memcpy(name, host, len);
  name[len] = '\0';
  return strcasecmp(name, "localhost") == 0 ||
         (inet_pton(AF_INET, name, &address) == 1 && ntohl(address.s_addr) >> 24 == 127);
}

/* The code of a refusal, with its text; 0: it is a request for a page of ours. */
static unsigned
refuse(const struct http *http, struct MHD_Connection *connection, const char *url,
       const char *method, char **text) {
  static char not_here[] = "there is nothing here\n", only_reads[] = "only GET and HEAD\n",
              not_ours[] = "only as localhost, 127.0.0.1 or [::1]\n";
  bool page = http->serves.page && (strcmp(url, "/") == 0 || strcmp(url, "/main") == 0);
  if (!page && !(http->serves.metrics && strcmp(url, "/metrics") == 0)) {
    *text = not_here;
    return MHD_HTTP_NOT_FOUND;
  }
  if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
    *text = only_reads;
    return MHD_HTTP_METHOD_NOT_ALLOWED;
  }
  *text = not_ours;
  return page && !sfd_http_is_own_host(
                     MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST))
             ? MHD_HTTP_FORBIDDEN
             : 0;
}

static enum MHD_Result
on_request(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
           const char *version, const char *upload, size_t *upload_size, void **state) {
  struct http *http = cls;
  struct request *request = *state;
  char *text;
  unsigned refused = refuse(http, connection, url, method, &text);
  if (refused)
    return answer(connection, refused, "text/plain", NULL, text);
  if (request)
    return request->answered ? answer_made(request) : MHD_YES;
  request = calloc(1, sizeof *request);
  if (request == NULL)
    return MHD_NO;
  request->http = http;
  request->connection = connection;
  request->metrics = strcmp(url, "/metrics") == 0;
  request->whole = strcmp(url, "/") == 0;
  *state = request;
  http->open++;
  sfd_collect_status(http->volumes, NULL, on_gathered, request);
  if (request->answered)
    return answer_made(request);
  request->suspended = true;
  sf_list_append(&http->suspended, &request->entry);
  MHD_suspend_connection(connection);
  return MHD_YES;
}

static void
on_completed(void *cls, struct MHD_Connection *connection, void **state,
             enum MHD_RequestTerminationCode why) {
  struct request *request = *state;
  *state = NULL;
  if (request == NULL)
    return;
  if (!request->answered) {
    request->abandoned = true;
    return;
  }
  free(request->text);
  free(request);
}

/* ---- life ---- */

static struct MHD_Daemon *
start_daemon(struct http *http, const struct settings_place *place) {
  struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_port = htons(place->port)};
  struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6, .sin6_port = htons(place->port)};
  bool six = strchr(place->address, ':') != NULL;
  unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | (six ? MHD_USE_IPv6 : 0);
  if (inet_pton(six ? AF_INET6 : AF_INET, place->address,
                six ? (void *) &ipv6.sin6_addr : (void *) &ipv4.sin_addr) != 1)
    return NULL;
  return MHD_start_daemon(
      flags, place->port, NULL, NULL, on_request, http, MHD_OPTION_SOCK_ADDR,
      six ? (struct sockaddr *) &ipv6 : (struct sockaddr *) &ipv4, MHD_OPTION_NOTIFY_COMPLETED,
      on_completed, http, MHD_OPTION_CONNECTION_LIMIT, (unsigned) CONNECTIONS_MAX,
      MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned) PER_ADDRESS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
      (unsigned) CONNECTION_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) MEMORY_BYTES,
      MHD_OPTION_END);
}

int
sfd_http_create(const struct volumes *volumes, const struct settings_place *place,
                const struct http_serves *serves, struct http **result) {
  struct http *http = calloc(1, sizeof *http);
  if (http == NULL)
    return -ENOMEM;
  http->volumes = volumes;
  http->serves = *serves;
  sf_list_init(&http->suspended);
  errno = 0;
  http->daemon = start_daemon(http, place);
  if (http->daemon == NULL) {
    int r = errno ? -errno : -EIO;
    free(http);
    return r;
  }
  const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
  int r = info ? sd_event_add_io(volumes->event, &http->io, info->epoll_fd, EPOLLIN, on_io, http)
               : -EIO;
  if (r >= 0)
    r = sd_event_add_time_relative(volumes->event, &http->timer, CLOCK_MONOTONIC, 0, 0, on_timer,
                                   http);
  if (r < 0) {
    sfd_http_destroy(http);
    return r;
  }
  bool six = strchr(place->address, ':') != NULL;
  log_info(NULL, "%s%s%s at http://%s%s%s:%u", serves->metrics ? "metrics (/metrics)" : "",
           serves->metrics && serves->page ? " and " : "", serves->page ? "page (/)" : "",
           six ? "[" : "", place->address, six ? "]" : "", place->port);
  *result = http;
  return 0;
}

void
sfd_http_destroy(struct http *http) {
  if (http == NULL)
    return;
  sd_event_source_disable_unref(http->io);
  sd_event_source_disable_unref(http->timer);
  http->io = http->timer = NULL;
  /* The library ends the process when one is left. */
  while (!sf_list_empty(&http->suspended))
    resume(SF_LIST_ENTRY(http->suspended.next, struct request, entry));
  MHD_stop_daemon(http->daemon);
  http->destroyed = true;
  free_if_over(http);
}

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "ctl.h"

bool
ctl_is_daemon(const char *path) {
  const char *slash = strrchr(path, '/');
  return strcmp(slash ? slash + 1 : path, "control") == 0;
}

static const char *
server_name(const char *path) {
  return ctl_is_daemon(path) ? "surefootd" : "the volume";
}

int
ctl_fail_to_reach(const char *path, int error) {
  SF_ASSERT(error < 0);
  switch (-error) {
  case ENOENT:
    return ctl_fail("%s: no such socket: %s is not running", path, server_name(path));
  case ECONNREFUSED:
    return ctl_fail("%s: no process listens: %s is not running", path, server_name(path));
  case ETIMEDOUT:
    return ctl_fail("%s: no answer in %d s", path, CTL_REPLY_TIMEOUT_MS / 1000);
  case ECONNRESET:
    return ctl_fail("%s: closed without an answer", path);
  case EPROTO:
    return ctl_fail("%s: the answer is not understood", path);
  case EACCES:
    return ctl_fail("%s: only root and the group surefoot may ask", path);
  default:
    return ctl_fail("%s: %s", path, strerror(-error));
  }
}

int
ctl_check_reply(json_t *reply) {
  if (json_is_true(json_object_get(reply, "ok")))
    return CTL_DONE;
  const char *error = ctl_json_text(reply, "error");
  return ctl_fail("%s", *error ? error : "refused without a reason");
}

int
ctl_call(const char *path, json_t *request, json_t **answer) {
  if (request == NULL)
    return ctl_fail("an argument is not valid UTF-8");
  int r = sf_control_call(path, request, CTL_REPLY_TIMEOUT_MS, answer);
  json_decref(request);
  return r < 0 ? ctl_fail_to_reach(path, r) : CTL_DONE;
}

int
ctl_ask(const char *path, json_t *request, json_t **reply) {
  json_t *answer = NULL;
  int status = ctl_call(path, request, &answer);
  if (status != CTL_DONE)
    return status;
  status = ctl_check_reply(answer);
  if (status == CTL_DONE && reply)
    *reply = answer;
  else
    json_decref(answer);
  return status;
}

/* Any bytes as a line of the control socket: the parser reads no byte beyond them, and what it
 * says of them is either a whole request or one line of valid UTF-8. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <surefoot/wire.h>

#include "base/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_request(const struct sf_control_request *request) {
  SF_ASSERT(json_is_object(request->document));
  SF_ASSERT(!request->follow || request->command == SF_COMMAND_EVENTS);
  if (request->command == SF_COMMAND_SET)
    SF_ASSERT(request->key && request->value);
  if (request->command == SF_COMMAND_LEG)
    SF_ASSERT(request->action && request->leg);
  if (request->command == SF_COMMAND_LATENCY)
    SF_ASSERT(request->since);
}

static void
check_refusal(const char *error) {
  SF_ASSERT(*error);
  json_t *reply = sf_control_error_reply(error);
  char *text = json_dumps(reply, JSON_COMPACT);
  SF_ASSERT(text);
  SF_ASSERT(!strchr(text, '\n'));
  /* The reply says what the parser said: nothing in it had to be cleaned again. */
  SF_ASSERT(strcmp(json_string_value(json_object_get(reply, "error")), error) == 0);
  free(text);
  json_decref(reply);
}

static void
parse(const uint8_t *data, size_t size, const char *volume_name) {
  struct sf_control_request request;
  char error[SF_CONFIG_ERROR_MAX] = "";
  if (sf_control_parse((const char *) data, size, volume_name, &request, error) < 0) {
    check_refusal(error);
    return;
  }
  check_request(&request);
  bool of_daemon = request.command == SF_COMMAND_START || request.command == SF_COMMAND_RELOAD ||
                   request.command == SF_COMMAND_RESTART || request.command == SF_COMMAND_LATENCY;
  bool of_all = request.command == SF_COMMAND_STATUS || request.command == SF_COMMAND_EVENTS ||
                request.command == SF_COMMAND_RELOAD;
  SF_ASSERT(!volume_name || !of_daemon);
  SF_ASSERT(volume_name || of_all || request.volume);
  sf_control_request_clear(&request);
}

/* As a volume's own socket takes it, and as surefootd's does. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size > SF_CONTROL_LINE_MAX)
    return 0;
  parse(data, size, "vol0");
  parse(data, size, NULL);
  return 0;
}

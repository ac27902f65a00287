#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctl.h"

static bool
has_grown(const json_t *volume, const void *arg) {
  const uint64_t *before = arg;
  return ctl_json_number(volume, "size_bytes") > *before;
}

/* 0: it does not say. */
static uint64_t
size_now(const char *path, const char *volume) {
  json_t *own = ctl_ask_status(path, volume);
  uint64_t bytes = ctl_json_number(own, "size_bytes");
  json_decref(own);
  return bytes;
}

int
ctl_grow(struct ctl_command_call *call) {
  static const struct option options[] = {{0}};
  uint64_t before;
  const struct ctl_ending ending = {"grown", "grow-failed", has_grown, &before};
  while (ctl_next_option(call, options) != -1)
    return CTL_USAGE;
  int argc = call->argc - optind;
  if (argc < 1 || argc > 2)
    return ctl_wrong_usage(call->command, "grow: VOLUME, and perhaps its new SIZE");

  const char *volume = call->argv[optind], *size = argc == 2 ? call->argv[optind + 1] : NULL;
  char path[SF_CONTROL_PATH_MAX], reason[CTL_REASON_MAX], text[CTL_TEXT_MAX];
  uint64_t bytes;
  bool more = size && *size == '+';
  if (size && (sf_parse_size(size + more, &bytes) < 0 || bytes == 0))
    return ctl_wrong_usage(call->command, "grow: %s: not a size (for example 10G)", size);
  int status = ctl_find_socket(call, volume, path);
  if (status == CTL_DONE && (before = size_now(path, volume)) == 0)
    return CTL_FAILED;
  if (more && status == CTL_DONE) {
    if (bytes > UINT64_MAX - before)
      return ctl_fail("%s: %s is too much", volume, size);
    snprintf(text, sizeof text, "%" PRIu64, before + bytes);
    size = text;
  }
  if (status == CTL_DONE)
    status = ctl_ask_and_wait(
        path, volume, json_pack("{ss ss ss*}", "command", "grow", "volume", volume, "size", size),
        &ending, reason);
  if (status != CTL_DONE)
    return status;
  bytes = *reason ? strtoull(reason, NULL, 10) : size_now(path, volume);
  printf("%s: has grown to %s (%" PRIu64 " bytes); clients see it when they connect anew\n", volume,
         ctl_size(bytes, text), bytes);
  return status;
}

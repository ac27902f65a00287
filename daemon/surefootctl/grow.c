#include <stdio.h>
#include <stdlib.h>

#include "ctl.h"

int
ctl_grow(struct ctl_command_call *call) {
  static const struct option options[] = {{0}};
  static const struct ctl_ending ending = {"grown", "grow-failed"};
  while (ctl_next_option(call, options) != -1)
    return CTL_USAGE;
  int argc = call->argc - optind;
  if (argc < 1 || argc > 2)
    return ctl_wrong_usage(call->command, "grow: VOLUME, and perhaps its new SIZE");

  const char *volume = call->argv[optind], *size = argc == 2 ? call->argv[optind + 1] : NULL;
  char path[SF_CONTROL_PATH_MAX], reason[CTL_REASON_MAX], text[CTL_TEXT_MAX];
  uint64_t bytes;
  if (size && (sf_parse_size(size, &bytes) < 0 || bytes == 0))
    return ctl_wrong_usage(call->command, "grow: %s: not a size (for example 10G)", size);
  int status = ctl_find_socket(call, volume, path);
  if (status == CTL_DONE)
    status = ctl_ask_and_wait(
        path, volume, json_pack("{ss ss ss*}", "command", "grow", "volume", volume, "size", size),
        &ending, reason);
  if (status == CTL_DONE)
    printf("%s: has grown to %s (%s bytes); clients see it when they connect anew\n", volume,
           ctl_size(strtoull(reason, NULL, 10), text), reason);
  return status;
}

/* What there is: one line for each volume. */
#include <inttypes.h>
#include <stdio.h>

#include "ctl.h"

enum { NAME_WIDTH = 16, STATE_WIDTH = 9, BYTES_WIDTH = 9 };

static void
print_line(const json_t *volume) {
  const json_t *legs = json_object_get(volume, "legs");
  const json_t *service = json_object_get(volume, "service");
  const char *device = ctl_json_text(json_object_get(service, "device"), "path");
  char size[CTL_TEXT_MAX], in_sync[CTL_TEXT_MAX] = "-";
  uint64_t bytes = ctl_json_number(volume, "size_bytes");
  if (json_array_size(legs) > 0)
    snprintf(in_sync, sizeof in_sync, "%" PRIu64 "/%zu", ctl_json_number(volume, "legs_in_sync"),
             json_array_size(legs));
  printf("%-*s  %-*s  %*s  %5s  ", NAME_WIDTH, ctl_json_text(volume, "name"), STATE_WIDTH,
         ctl_json_text(volume, "state"), BYTES_WIDTH, bytes ? ctl_size(bytes, size) : "-", in_sync);
  ctl_put(*device ? device : "-");
  putchar('\n');
}

int
ctl_list(struct ctl_command_call *call) {
  bool json;
  if (ctl_take_flag(call, "json", &json) != CTL_DONE)
    return CTL_USAGE;
  if (call->argc != optind)
    return ctl_wrong_usage(call->command, "list: no argument is needed");

  struct ctl_sockets sockets;
  int status = ctl_find_sockets(call, NULL, &sockets);
  if (status != CTL_DONE)
    return status;
  json_t *volumes = json_array(), *problems = NULL;
  status = ctl_collect_status(&sockets, NULL, volumes, &problems);
  if (json && ctl_print_json(volumes) != CTL_DONE)
    status = CTL_FAILED;
  if (!json)
    printf("%-*s  %-*s  %*s  %5s  %s\n", NAME_WIDTH, "VOLUME", STATE_WIDTH, "STATE", BYTES_WIDTH,
           "SIZE", "LEGS", "DEVICE");
  for (size_t i = 0; !json && i < json_array_size(volumes); i++)
    print_line(json_array_get(volumes, i));
  json_decref(volumes);
  json_decref(problems);
  return status;
}

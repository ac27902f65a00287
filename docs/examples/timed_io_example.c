/* Writes one block to several files and answers after 100 ms at the latest, however many of them
 * are late.
 *
 *      timed_io_example FILE... */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <surefoot/timed_io.h>

static void
late(const struct sf_tio_event *event) {
  printf("region %u ended after all: %s\n", event->region, strerror(-event->error));
}

int
main(int argc, char **argv) {
  struct sf_tio_client_params params = {.late = late};
  struct sf_tio_region regions[SF_TIO_REGIONS_MAX] = {0};
  struct sf_tio_result result = {0};
  struct sf_tio_control control = {
      .op = SF_TIO_WRITE,
      .flags = SF_TIO_SYNC | SF_TIO_FUA,
      .data = (char[4096]){"hello"},
      .timeout_ns = 100 * 1000 * 1000,
  };
  unsigned n = (unsigned) argc - 1;
  struct sf_tio_client *client;
  int error;

  if (argc < 2 || n > SF_TIO_REGIONS_MAX || sf_tio_client_create(&params, &client) < 0)
    return 2;
  for (unsigned i = 0; i < n; i++) {
    int fd = open(argv[i + 1], O_RDWR | O_CREAT | O_DIRECT, 0600);

    if (fd < 0 || sf_tio_device_add(client, fd, &regions[i].device) < 0)
      return 2;
    regions[i].length = 4096;
  }
  /* SYNC with a timeout and no notify: at the deadline what still runs is given up on. */
  error = sf_tio(client, &control, regions, n, NULL, &result);
  printf("%s\n", error ? strerror(-error) : "all have it");
  for (unsigned i = 0; i < n; i++)
    printf("%s: %s\n", argv[i + 1],
           result.ok & 1u << i      ? "written"
           : result.error & 1u << i ? "failed"
                                    : "late: it may or may not get there");
  /* Ends at once unless a file is stuck: then its memory is in quarantine, and that is -EBUSY. */
  for (unsigned i = 0; i < n; i++)
    if (sf_tio_device_remove(regions[i].device) < 0)
      printf("%s is still busy\n", argv[i + 1]);
  return sf_tio_client_destroy(client) < 0 || error ? 1 : 0;
}

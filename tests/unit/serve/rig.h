/* A server that has its buffers and settings, and nothing else. */
#ifndef SF_TEST_SERVE_RIG_H
#define SF_TEST_SERVE_RIG_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "serve/internal.h"

#define MS UINT64_C(1000000)

/* fail_timeout is 50 ms.  Ends the test as skipped where there is no io_uring. */
static struct sf_serve *
serve_with(const struct sf_tio_client_params *params) {
  const struct sf_config config = {.fail_timeout_ns = 50 * MS};
  struct sf_serve *serve = calloc(1, sizeof *serve);

  sf_serve_order_init(&serve->order);
  sf_serve_turn_init(&serve->turn);
  sf_serve_take_settings(serve, &config);
  if (sf_tio_client_create(params, &serve->client) == 0)
    return serve;
  fprintf(stderr, "no io_uring here\n");
  exit(77);
}

static void
serve_end(struct sf_serve *serve) {
  assert_int_equal(sf_tio_client_destroy(serve->client), 0);
  sf_serve_order_destroy(&serve->order);
  sf_serve_turn_destroy(&serve->turn);
  free(serve);
}

#endif

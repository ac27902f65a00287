#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "exposure.h"

static bool
exposed(int family, const char *text, char name[SF_EXPOSED_NAME_MAX]) {
  struct sockaddr_storage peer = {.ss_family = (sa_family_t) family};
  void *address = family == AF_INET ? (void *) &((struct sockaddr_in *) &peer)->sin_addr
                                    : (void *) &((struct sockaddr_in6 *) &peer)->sin6_addr;

  assert_int_equal(inet_pton(family, text, address), 1);
  return sf_exposed((struct sockaddr *) &peer, name);
}

/* Proves that what stays in this machine is not warned of. */
static void
this_machine(void **state) {
  struct sockaddr_un local = {.sun_family = AF_UNIX};
  char name[SF_EXPOSED_NAME_MAX];

  assert_false(sf_exposed((struct sockaddr *) &local, name));
  assert_false(exposed(AF_INET, "127.0.0.1", name));
  assert_false(exposed(AF_INET, "127.255.3.4", name));
  assert_false(exposed(AF_INET6, "::1", name));
  assert_false(exposed(AF_INET6, "::ffff:127.0.0.1", name));
}

/* Proves that every other address is told by its name. */
static void
other_machines(void **state) {
  char name[SF_EXPOSED_NAME_MAX];

  assert_true(exposed(AF_INET, "192.0.2.7", name));
  assert_string_equal(name, "192.0.2.7");
  assert_true(exposed(AF_INET, "128.0.0.1", name));
  assert_true(exposed(AF_INET6, "2001:db8::7", name));
  assert_string_equal(name, "2001:db8::7");
  assert_true(exposed(AF_INET6, "::ffff:192.0.2.7", name));
  assert_true(exposed(AF_INET6, "fe80::1", name));
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(this_machine),
      cmocka_unit_test(other_machines),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

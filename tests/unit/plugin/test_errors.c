/* Proves that every error of our own layers reaches a client as an error that nbdkit 1.32 lets
 * through. Asks the table about every errno there is, and about each row by name. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "errors.h"

static void
success_stays_success(void **state) {
  assert_int_equal(sf_nbd_errno(0), 0);
}

static void
nothing_else_gets_through(void **state) {
  for (int error = 1; error < 4096; error++) {
    int client = sf_nbd_errno(-error);
    assert_true(client == EPERM || client == EIO || client == ENOMEM || client == ENOSPC ||
                client == ESHUTDOWN);
  }
}

static void
each_has_its_meaning(void **state) {
  static const struct {
    int ours, client;
  } rows[] = {
      {-EPERM, EPERM},   {-EACCES, EPERM},        {-EROFS, EPERM},
      {-ENOSPC, ENOSPC}, {-EDQUOT, ENOSPC},       {-EFBIG, ENOSPC},
      {-ENOMEM, ENOMEM}, {-ENOBUFS, ENOMEM},      {-EAGAIN, ENOMEM},
      {-EIO, EIO},       {-ETIMEDOUT, EIO},       {-ENODEV, EIO},
      {-EINVAL, EIO},    {-EOPNOTSUPP, EIO},      {-ENOTCONN, EIO},
      {-EBUSY, EIO},     {-ESHUTDOWN, ESHUTDOWN}, {-ECANCELED, ESHUTDOWN},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    assert_int_equal(sf_nbd_errno(rows[i].ours), rows[i].client);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(success_stays_success),
      cmocka_unit_test(nothing_else_gets_through),
      cmocka_unit_test(each_has_its_meaning),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

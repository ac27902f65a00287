#include <string.h>

#include <surefoot/ondisk.h>

#include <uuid.h>

_Static_assert(sizeof(struct sf_uuid) == sizeof(uuid_t), "libuuid writes into it");

void
sf_uuid_generate(struct sf_uuid *uuid) {
  uuid_generate(uuid->bytes);
}

bool
sf_uuid_equal(const struct sf_uuid *a, const struct sf_uuid *b) {
  return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

void
sf_uuid_format(const struct sf_uuid *uuid, char text[37]) {
  uuid_unparse_lower(uuid->bytes, text);
}

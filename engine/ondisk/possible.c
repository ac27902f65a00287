#include "ondisk/possible.h"

#include <string.h>

bool
sf_uuid_is_set(const struct sf_uuid *uuid) {
  for (size_t i = 0; i < sizeof uuid->bytes; i++)
    if (uuid->bytes[i] != 0)
      return true;
  return false;
}

bool
sf_name_is_possible(const char *name, size_t size) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
  size_t len = strnlen(name, size);
  for (size_t i = 0; i < len; i++)
    if (strchr(letters, name[i]) == NULL)
      return false;
  return len > 0 && len < size;
}

#include <stdio.h>

#include "ctl.h"

json_t *
ctl_uuid_to_json(const struct sf_uuid *uuid) {
  char text[37];
  sf_uuid_format(uuid, text);
  return json_string(text);
}

json_t *
ctl_legs_to_json(const struct sf_superblock *sb, uint16_t legs) {
  json_t *names = json_array();
  for (unsigned i = 0; i < sb->legs && i < SF_LEGS_MAX; i++)
    if (legs >> i & 1)
      json_array_append_new(names, json_string(sb->leg_name[i]));
  return names;
}

json_t *
ctl_record_to_json(const struct sf_superblock *sb) {
  const struct sf_record *record = &sb->record;
  return json_pack("{sI sI so so si sb}", "term", (json_int_t) record->term, "change",
                   (json_int_t) record->change, "in_sync", ctl_legs_to_json(sb, record->in_sync),
                   "faulty", ctl_legs_to_json(sb, record->faulty), "min_legs",
                   (int) record->min_legs, "clean", (int) record->clean);
}

void
ctl_legs_text(const struct sf_superblock *sb, uint16_t legs, char *text, size_t size) {
  size_t used = 0;
  snprintf(text, size, "none");
  for (unsigned i = 0; i < sb->legs && i < SF_LEGS_MAX && used < size; i++)
    if (legs >> i & 1)
      used +=
          (size_t) snprintf(text + used, size - used, "%s%s", used ? ", " : "", sb->leg_name[i]);
}

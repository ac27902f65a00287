/* What is said of a leg whose superblocks are lost and whose mark is there. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <surefoot/assembly.h>

static const char *
what_is_lost(const struct sf_leg_found *found) {
  if (!found->present)
    return "its superblocks cannot be read";
  switch (found->error) {
  case -ENODATA:
    return "its superblocks were overwritten";
  case -EIO:
    return "one of its superblocks cannot be read, and the other was overwritten";
  default:
    return "its superblocks are damaged";
  }
}

const char *
sf_mark_text(const struct sf_leg_found *found, char text[SF_MARK_TEXT_MAX]) {
  text[0] = '\0';
  if (found->marked)
    snprintf(text, SF_MARK_TEXT_MAX, "%s; by its mark it is leg %s of volume %s",
             what_is_lost(found), found->mark.leg_name, found->mark.volume_name);
  return text;
}

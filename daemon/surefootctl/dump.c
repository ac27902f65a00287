/* One leg's metadata as it stands there: both copies, damaged ones too. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/process.h"
#include "ctl.h"

enum { HEX_BYTES = 64 };

struct leg_dump {
  const char *path;
  uint64_t bytes;
  uint8_t page[SF_SUPERBLOCK_COPIES][SF_PAGE_BYTES] __attribute__((aligned(SF_PAGE_BYTES)));
  int error[SF_SUPERBLOCK_COPIES];
  struct sf_superblock sb[SF_SUPERBLOCK_COPIES];
  int picked; /* 0 or -errno */
  bool marked;
  struct sf_mark mark;
  unsigned newest;
  /* Of the newest superblock's volume, as its pages say that can be read in one copy. */
  bool has_maps;
  uint64_t map_pages;
  struct ctl_extents intent, stale[SF_LEGS_MAX], unwritten;
  /* A bit per page.  Damaged: in every copy that counts. */
  struct ctl_extents damaged, damaged_first, damaged_second, second_differs;
};

static const struct sf_superblock *
newest_of(const struct leg_dump *dump) {
  return &dump->sb[dump->newest];
}

static bool
has_room(struct leg_dump *dump, const struct sf_superblock *sb) {
  bool room = ctl_extents_init(&dump->intent, sb->data_bytes, sb->extent_bytes) &&
              ctl_extents_init(&dump->unwritten, sb->data_bytes, sb->extent_bytes) &&
              ctl_extents_init(&dump->damaged, dump->map_pages, 1) &&
              ctl_extents_init(&dump->damaged_first, dump->map_pages, 1) &&
              ctl_extents_init(&dump->damaged_second, dump->map_pages, 1) &&
              ctl_extents_init(&dump->second_differs, dump->map_pages, 1);
  for (unsigned i = 0; i < sb->legs && room; i++)
    room = ctl_extents_init(&dump->stale[i], sb->data_bytes, sb->extent_bytes);
  return room;
}

static void
note_page(struct ctl_extents *pages, uint64_t index) {
  pages->bits[index / 8] |= (uint8_t) (1u << index % 8);
}

static bool
is_valid(const struct leg_dump *dump, uint64_t index, const uint8_t bytes[SF_PAGE_BYTES]) {
  struct sf_map_page page;
  return sf_map_page_decode(bytes, &newest_of(dump)->volume, (uint32_t) index, &page);
}

/* `second`: NULL where the superblock says that there is none. */
static void
take_page(struct leg_dump *dump, uint64_t index, const uint8_t *first, const uint8_t *second) {
  const struct sf_superblock *sb = newest_of(dump);
  const uint8_t *bytes = sf_map_page_choose(first, second, &sb->volume, (uint32_t) index);
  struct sf_map_page page;
  if (!is_valid(dump, index, first))
    note_page(&dump->damaged_first, index);
  if (second != NULL && !is_valid(dump, index, second))
    note_page(&dump->damaged_second, index);
  else if (second != NULL && memcmp(first, second, SF_PAGE_BYTES) != 0)
    note_page(&dump->second_differs, index);
  if (bytes == NULL) {
    note_page(&dump->damaged, index);
    return;
  }
  sf_map_page_decode(bytes, &sb->volume, (uint32_t) index, &page);
  ctl_extents_unite(&dump->intent, index, page.intent);
  ctl_extents_unite(&dump->unwritten, index, page.unwritten);
  for (unsigned i = 0; i < sb->legs; i++)
    ctl_extents_unite(&dump->stale[i], index, page.stale[i]);
}

/* ---- reading: in a process of its own, which may hang in a dead disk ---- */

/* The metadata area as far as it is needed, in memory that both processes share. */
struct reading {
  uint64_t bytes;
  int failed;   /* errno */
  bool strange; /* neither a file nor a device */
  int page_error[SF_SUPERBLOCK_COPIES];
  uint8_t area[SF_DATA_OFFSET] __attribute__((aligned(SF_PAGE_BYTES)));
};

/* Past the page cache where that is possible, as the volume itself does. */
static int
open_leg(const char *path) {
  enum { FLAGS = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY };
  int fd = open(path, FLAGS | O_DIRECT);
  return fd < 0 && errno == EINVAL ? open(path, FLAGS) : fd;
}

/* 0 or errno.  Zeros where it cannot be read, or is not there. */
static int
read_page(int fd, struct reading *reading, uint64_t offset) {
  uint8_t *page = reading->area + offset;
  if (pread(fd, page, SF_PAGE_BYTES, (off_t) offset) >= 0)
    return 0;
  memset(page, 0, SF_PAGE_BYTES);
  return errno;
}

/* A page that cannot be read counts as damaged, as it does at a start. */
static void
read_maps(int fd, struct reading *reading) {
  struct sf_superblock sb;
  if (sf_superblock_pick((const uint8_t(*)[SF_PAGE_BYTES]) reading->area, &sb, NULL) < 0)
    return;
  for (uint64_t p = 0; p < sf_map_pages(sb.data_bytes, sb.extent_bytes); p++) {
    read_page(fd, reading, SF_MAP_PAGE_OFFSET(p));
    if (sb.unwritten)
      read_page(fd, reading, SF_MAP_SECOND_OFFSET(p));
  }
}

static int
read_area(const char *path, struct reading *reading) {
  struct stat st;
  int fd = open_leg(path);
  if (fd < 0 || fstat(fd, &st) < 0)
    return errno;
  reading->strange = !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode);
  if (reading->strange)
    return 0;
  off_t end = lseek(fd, 0, SEEK_END);
  if (end < 0)
    return errno;
  reading->bytes = (uint64_t) end;
  for (unsigned i = 0; i < SF_SUPERBLOCK_COPIES; i++)
    reading->page_error[i] = read_page(fd, reading, SF_SUPERBLOCK_OFFSET(i));
  read_maps(fd, reading);
  read_page(fd, reading, SF_MARK_OFFSET);
  return 0;
}

/* No file stays open in a process that may hang: neither the output, nor the folder. */
static _Noreturn void
read_isolated(const char *path, struct reading *reading) {
  pid_t parent = getppid();
  sf_close_all_but(NULL, 0);
  sf_leave_the_others();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() == parent)
    reading->failed = read_area(path, reading);
  _exit(0);
}

static int
fail_unreadable(const char *path, const struct reading *reading) {
  const char *why = strerror(reading->page_error[0]);
  struct sf_mark mark;
  if (sf_mark_decode(reading->area + SF_MARK_OFFSET, &mark))
    return ctl_fail("%s: it is leg %s of volume %s by its mark, and neither copy of the superblock "
                    "can be read: %s",
                    path, mark.leg_name, mark.volume_name, why);
  return ctl_fail("%s: neither copy of the superblock can be read: %s", path, why);
}

/* CTL_DONE when it has been read and may be a leg. */
static int
read_leg(const char *path, struct reading *reading) {
  char absolute[PATH_MAX + PATH_MAX] = "";
  int status = 0;
  if (path[0] != '/' && getcwd(absolute, PATH_MAX))
    strcat(absolute, "/");
  if (strlen(path) >= PATH_MAX)
    return ctl_fail("%s: %s", path, strerror(ENAMETOOLONG));
  strcat(absolute, path);
  pid_t pid = fork();
  if (pid < 0)
    return ctl_fail("no process to read %s: %s", path, strerror(errno));
  if (pid == 0)
    read_isolated(absolute, reading);
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
    ;
  if (!WIFEXITED(status))
    return ctl_fail("%s: the process that read it was killed", path);
  if (reading->strange)
    return ctl_fail("%s: neither a file nor a block device", path);
  if (reading->failed)
    return ctl_fail("%s: %s", path, strerror(reading->failed));
  if (reading->page_error[0] && reading->page_error[1])
    return fail_unreadable(path, reading);
  if (reading->bytes < (uint64_t) SF_SUPERBLOCK_COPIES * SF_PAGE_BYTES)
    return ctl_fail("%s: too small for a leg: %" PRIu64 " bytes", path, reading->bytes);
  return CTL_DONE;
}

/* ---- what it says ---- */

static int
take_maps(struct leg_dump *dump, const struct reading *reading) {
  const struct sf_superblock *sb = newest_of(dump);
  dump->map_pages = sf_map_pages(sb->data_bytes, sb->extent_bytes);
  if (!has_room(dump, sb))
    return ctl_fail("%s: out of memory", dump->path);
  for (uint64_t p = 0; p < dump->map_pages; p++)
    take_page(dump, p, reading->area + SF_MAP_PAGE_OFFSET(p),
              sb->unwritten ? reading->area + SF_MAP_SECOND_OFFSET(p) : NULL);
  dump->has_maps = true;
  return CTL_DONE;
}

static int
take_leg(struct leg_dump *dump, const struct reading *reading) {
  struct sf_superblock newest;
  dump->bytes = reading->bytes;
  memcpy(dump->page, reading->area, sizeof dump->page);
  for (unsigned i = 0; i < SF_SUPERBLOCK_COPIES; i++)
    dump->error[i] = reading->page_error[i] ? -reading->page_error[i]
                                            : sf_superblock_decode(dump->page[i], &dump->sb[i]);
  dump->picked =
      sf_superblock_pick((const uint8_t(*)[SF_PAGE_BYTES]) dump->page, &newest, &dump->newest);
  dump->marked = sf_mark_decode(reading->area + SF_MARK_OFFSET, &dump->mark);
  return dump->picked == 0 ? take_maps(dump, reading) : CTL_DONE;
}

static const char *
error_text(const struct leg_dump *dump, unsigned copy) {
  switch (dump->error[copy]) {
  case -ENODATA:
  case -EBADMSG:
  case -EPROTONOSUPPORT:
  case -EUCLEAN:
    return sf_superblock_error(dump->error[copy]);
  default:
    return "it cannot be read";
  }
}

static void
hex_text(const uint8_t *bytes, size_t len, const char *between, char *text) {
  for (size_t i = 0; i < len; i++)
    text += sprintf(text, "%s%02x", i ? between : "", bytes[i]);
}

/* ---- for people ---- */

static void
field(const char *name) {
  printf("  %-10s ", name);
}

static void
print_ancestors(const struct sf_superblock *sb) {
  char uuid[37];
  for (unsigned i = 0; i < sb->ancestors && i < SF_ANCESTORS_MAX; i++) {
    sf_uuid_format(&sb->ancestor[i].lineage, uuid);
    field(i ? "" : "ancestors");
    printf("%s, left at record %" PRIu64 ".%" PRIu64 "\n", uuid, sb->ancestor[i].term,
           sb->ancestor[i].change);
  }
}

static void
print_record(const struct sf_superblock *sb) {
  char in_sync[SF_LEGS_MAX * SF_LEG_NAME_MAX * 2], faulty[sizeof in_sync];
  ctl_legs_text(sb, sb->record.in_sync, in_sync, sizeof in_sync);
  ctl_legs_text(sb, sb->record.faulty, faulty, sizeof faulty);
  field("record");
  printf("%" PRIu64 ".%" PRIu64 ", %s, min_legs %u\n", sb->record.term, sb->record.change,
         sb->record.clean ? "clean" : "in use", sb->record.min_legs);
  field("in sync");
  ctl_put(in_sync);
  putchar('\n');
  field("faulty");
  ctl_put(faulty);
  putchar('\n');
}

static const char *
since_text(const struct sf_holder *holder, char text[CTL_TEXT_MAX]) {
  time_t at = (time_t) holder->since_s;
  struct tm tm;
  if (localtime_r(&at, &tm) == NULL || strftime(text, CTL_TEXT_MAX, "%F %T", &tm) == 0)
    snprintf(text, CTL_TEXT_MAX, "%" PRIu64, holder->since_s);
  return text;
}

static json_t *
holder_to_json(const struct sf_holder *holder) {
  if (holder->since_s == 0)
    return json_null();
  return json_pack("{so so so sI si}", "host", ctl_text_to_json(holder->host), "machine",
                   ctl_uuid_to_json(&holder->machine), "boot", ctl_uuid_to_json(&holder->boot),
                   "since", (json_int_t) holder->since_s, "pid", (int) holder->pid);
}

static void
print_superblock(const struct sf_superblock *sb) {
  char uuid[37], size[CTL_TEXT_MAX], extent[CTL_TEXT_MAX];
  sf_uuid_format(&sb->volume, uuid);
  field("volume");
  ctl_put(sb->volume_name);
  printf(", %s\n", uuid);
  field("leg");
  ctl_put(sb->leg_name[sb->leg_index]);
  printf(", number %u of %u\n", sb->leg_index + 1, sb->legs);
  field("data");
  printf("%s (%" PRIu64 " bytes) from byte %" PRIu64 ", in extents of %s\n",
         ctl_size(sb->data_bytes, size), sb->data_bytes, sb->data_offset,
         ctl_size(sb->extent_bytes, extent));
  if (sb->block_bytes) {
    field("blocks");
    printf("%u bytes\n", sb->block_bytes);
  }
  print_record(sb);
  field("claim");
  printf("%" PRIu64 "\n", sb->claim);
  if (sb->holder.since_s != 0) {
    char since[CTL_TEXT_MAX];
    field("held by");
    ctl_put(sb->holder.host[0] ? sb->holder.host : "a host without a name");
    sf_uuid_format(&sb->holder.machine, uuid);
    printf(", machine %s, process %u, since %s\n", uuid, sb->holder.pid,
           since_text(&sb->holder, since));
  }
  for (unsigned i = 0; i < sb->bad.n; i++) {
    field(i ? "" : "bad");
    printf("%" PRIu64 "-%" PRIu64 ": no leg could read it, and it was not written since\n",
           sb->bad.range[i].begin, sb->bad.range[i].end - 1);
  }
  sf_uuid_format(&sb->lineage, uuid);
  field("lineage");
  printf("%s\n", uuid);
  print_ancestors(sb);
  for (unsigned i = 0; i < sb->legs && i < SF_LEGS_MAX; i++) {
    sf_uuid_format(&sb->leg_uuid[i], uuid);
    field(i ? "" : "legs");
    printf("%s  ", uuid);
    ctl_put(sb->leg_name[i]);
    puts(sb->removed >> i & 1 ? " (removed)" : "");
  }
}

static void
print_pages(const char *name, uint64_t first, uint64_t last) {
  field(name);
  printf("page%s %" PRIu64, last > first ? "s" : "", first);
  if (last > first)
    printf("-%" PRIu64, last);
}

static void
print_copies(const struct leg_dump *dump) {
  uint64_t damaged, bytes;
  ctl_extents_count(&dump->damaged_first, &damaged, &bytes);
  printf("maps at byte %" PRIu64 ": %" PRIu64 " page%s, %" PRIu64 " damaged\n", SF_MAPS_OFFSET,
         dump->map_pages, dump->map_pages == 1 ? "" : "s", damaged);
  if (!newest_of(dump)->unwritten)
    return;
  ctl_extents_count(&dump->damaged_second, &damaged, &bytes);
  printf("second copies at byte %" PRIu64 ": %" PRIu64 " page%s, %" PRIu64 " damaged\n",
         SF_MAP_SECOND_OFFSET(0), dump->map_pages, dump->map_pages == 1 ? "" : "s", damaged);
  for (uint64_t at = 0, first, last; ctl_extents_range(&dump->second_differs, at, &first, &last);
       at = last + 1) {
    print_pages(at ? "" : "differ", first, last);
    puts(": the first copy counts where it is valid");
  }
}

static void
print_maps(const struct leg_dump *dump) {
  const struct sf_superblock *sb = newest_of(dump);
  print_copies(dump);
  for (uint64_t at = 0, first, last; ctl_extents_range(&dump->damaged, at, &first, &last);
       at = last + 1) {
    print_pages(at ? "" : "damaged", first, last);
    printf(": every extent from %" PRIu64 " to %" PRIu64
           " counts as intended, and as stale on every leg\n",
           first * SF_MAP_EXTENTS, (last + 1) * SF_MAP_EXTENTS - 1);
  }
  if (sb->unwritten) {
    field("unwritten");
    ctl_extents_print(&dump->unwritten);
    putchar('\n');
  }
  field("intent");
  ctl_extents_print(&dump->intent);
  puts(sb->record.clean ? " (does not count: stopped cleanly)" : "");
  for (unsigned i = 0; i < sb->legs; i++) {
    char name[SF_LEG_NAME_MAX + 8];
    snprintf(name, sizeof name, "stale %s", sb->leg_name[i]);
    field(name);
    ctl_extents_print(&dump->stale[i]);
    puts(sb->record.in_sync >> i & 1 ? " (does not count: in sync)" : "");
  }
}

static void
print_human(const struct leg_dump *dump) {
  char size[CTL_TEXT_MAX], hex[HEX_BYTES * 3 + 1];
  ctl_put(dump->path);
  printf(": %s, ", ctl_size(dump->bytes, size));
  if (dump->picked == 0)
    printf("copy %u is the newest\n", dump->newest);
  else
    printf("no valid metadata: %s\n", sf_superblock_error(dump->picked));
  for (unsigned i = 0; i < SF_SUPERBLOCK_COPIES; i++) {
    printf("copy %u at byte %" PRIu64 ": ", i, SF_SUPERBLOCK_OFFSET(i));
    if (dump->error[i] == 0) {
      printf("valid, serial %" PRIu64 "\n", dump->sb[i].serial);
      print_superblock(&dump->sb[i]);
      continue;
    }
    printf("%s\n", error_text(dump, i));
    for (unsigned line = 0; line < HEX_BYTES; line += 16) {
      hex_text(dump->page[i] + line, 16, " ", hex);
      field(line ? "" : "bytes");
      printf("%s\n", hex);
    }
  }
  if (dump->has_maps)
    print_maps(dump);
  if (dump->marked)
    printf("mark at byte %" PRIu64 ": leg %s of volume %s\n", SF_MARK_OFFSET, dump->mark.leg_name,
           dump->mark.volume_name);
}

/* ---- as JSON ---- */

static json_t *
bad_to_json(const struct sf_bad *bad) {
  json_t *list = json_array();
  for (unsigned i = 0; i < bad->n; i++)
    json_array_append_new(list,
                          json_pack("{sI sI}", "offset", (json_int_t) bad->range[i].begin, "length",
                                    (json_int_t) (bad->range[i].end - bad->range[i].begin)));
  return list;
}

static json_t *
superblock_to_json(const struct sf_superblock *sb) {
  json_t *ancestors = json_array(), *legs = json_array();
  for (unsigned i = 0; i < sb->ancestors && i < SF_ANCESTORS_MAX; i++)
    json_array_append_new(ancestors, json_pack("{so sI sI}", "lineage",
                                               ctl_uuid_to_json(&sb->ancestor[i].lineage), "term",
                                               (json_int_t) sb->ancestor[i].term, "change",
                                               (json_int_t) sb->ancestor[i].change));
  for (unsigned i = 0; i < sb->legs && i < SF_LEGS_MAX; i++)
    json_array_append_new(legs, json_pack("{so so}", "name", ctl_text_to_json(sb->leg_name[i]),
                                          "uuid", ctl_uuid_to_json(&sb->leg_uuid[i])));
  return json_pack(
      "{sI so so si so sI sI sI si so so sI so so so}", "serial", (json_int_t) sb->serial,
      "volume_name", ctl_text_to_json(sb->volume_name), "volume", ctl_uuid_to_json(&sb->volume),
      "leg_index", (int) sb->leg_index, "legs", legs, "data_offset", (json_int_t) sb->data_offset,
      "data_bytes", (json_int_t) sb->data_bytes, "extent_bytes", (json_int_t) sb->extent_bytes,
      "block_bytes", (int) sb->block_bytes, "lineage", ctl_uuid_to_json(&sb->lineage), "ancestors",
      ancestors, "claim", (json_int_t) sb->claim, "holder", holder_to_json(&sb->holder), "bad",
      bad_to_json(&sb->bad), "record", ctl_record_to_json(sb));
}

static json_t *
copy_to_json(const struct leg_dump *dump, unsigned i) {
  char hex[HEX_BYTES * 2 + 1];
  hex_text(dump->page[i], HEX_BYTES, "", hex);
  bool valid = dump->error[i] == 0;
  return json_pack("{si sI sb so so ss}", "copy", (int) i, "offset",
                   (json_int_t) SF_SUPERBLOCK_OFFSET(i), "valid", (int) valid, "error",
                   valid ? json_null() : json_string(error_text(dump, i)), "superblock",
                   valid ? superblock_to_json(&dump->sb[i]) : json_null(), "first_bytes", hex);
}

static json_t *
pages_to_json(const struct leg_dump *dump, const struct ctl_extents *pages) {
  json_t *list = json_array();
  for (uint64_t p = 0; p < dump->map_pages; p++)
    if (ctl_extents_has(pages, p))
      json_array_append_new(list, json_integer((json_int_t) p));
  return list;
}

static json_t *
second_to_json(const struct leg_dump *dump) {
  if (!newest_of(dump)->unwritten)
    return json_null();
  return json_pack("{sI so so so}", "offset", (json_int_t) SF_MAP_SECOND_OFFSET(0), "damaged",
                   pages_to_json(dump, &dump->damaged_second), "first_damaged",
                   pages_to_json(dump, &dump->damaged_first), "differ",
                   pages_to_json(dump, &dump->second_differs));
}

static json_t *
maps_to_json(const struct leg_dump *dump) {
  if (!dump->has_maps)
    return json_null();
  const struct sf_superblock *sb = newest_of(dump);
  json_t *stale = json_object();
  for (unsigned i = 0; i < sb->legs; i++)
    json_object_set_new(stale, sb->leg_name[i], ctl_extents_to_json(&dump->stale[i]));
  return json_pack("{sI sI so so so so so}", "offset", (json_int_t) SF_MAPS_OFFSET, "pages",
                   (json_int_t) dump->map_pages, "damaged", pages_to_json(dump, &dump->damaged),
                   "second_copies", second_to_json(dump), "unwritten",
                   ctl_extents_to_json(&dump->unwritten), "intent",
                   ctl_extents_to_json(&dump->intent), "stale", stale);
}

static json_t *
mark_to_json(const struct leg_dump *dump) {
  if (!dump->marked)
    return json_null();
  return json_pack("{sI so so so so si}", "offset", (json_int_t) SF_MARK_OFFSET, "volume_name",
                   ctl_text_to_json(dump->mark.volume_name), "volume",
                   ctl_uuid_to_json(&dump->mark.volume), "leg_name",
                   ctl_text_to_json(dump->mark.leg_name), "leg", ctl_uuid_to_json(&dump->mark.leg),
                   "leg_index", (int) dump->mark.leg_index);
}

static int
print_json(const struct leg_dump *dump) {
  json_t *copies = json_array();
  for (unsigned i = 0; i < SF_SUPERBLOCK_COPIES; i++)
    json_array_append_new(copies, copy_to_json(dump, i));
  bool valid = dump->picked == 0;
  json_t *document =
      json_pack("{si so sI so so so so so}", "version", SF_CONTROL_VERSION, "path",
                ctl_text_to_json(dump->path), "bytes", (json_int_t) dump->bytes, "newest",
                valid ? json_integer(dump->newest) : json_null(), "error",
                valid ? json_null() : json_string(sf_superblock_error(dump->picked)), "copies",
                copies, "maps", maps_to_json(dump), "mark", mark_to_json(dump));
  int status = ctl_print_json(document);
  json_decref(document);
  return status;
}

int
ctl_dump(struct ctl_command_call *call) {
  bool json;
  if (ctl_take_flag(call, "json", &json) != CTL_DONE)
    return CTL_USAGE;
  if (call->argc - optind != 1)
    return ctl_wrong_usage(call->command, "dump: one PATH is needed");

  static struct leg_dump dump;
  dump.path = call->argv[optind];
  struct reading *reading =
      mmap(NULL, sizeof *reading, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (reading == MAP_FAILED)
    return ctl_fail("out of memory");
  int status = read_leg(dump.path, reading);
  if (status == CTL_DONE)
    status = take_leg(&dump, reading);
  if (status == CTL_DONE && json)
    status = print_json(&dump);
  else if (status == CTL_DONE)
    print_human(&dump);
  struct ctl_extents *sets[] = {&dump.intent,        &dump.unwritten,      &dump.damaged,
                                &dump.damaged_first, &dump.damaged_second, &dump.second_differs};
  for (unsigned i = 0; i < sizeof sets / sizeof sets[0]; i++)
    ctl_extents_free(sets[i]);
  for (unsigned i = 0; i < SF_LEGS_MAX; i++)
    ctl_extents_free(&dump.stale[i]);
  return status == CTL_DONE && dump.picked == 0 ? CTL_DONE : CTL_FAILED;
}

/* surefootctl as the operator runs it, without a server: it makes legs, and reads them. */
#include "ctl_rig.h"

/* ---- legs without a running volume ---- */

static int
make_legs(void **state) {
  struct legs *legs = calloc(1, sizeof *legs);
  strcpy(legs->directory, "/var/tmp/sf-ctl-XXXXXX");
  if (!mkdtemp(legs->directory))
    return -1;
  snprintf(legs->conf, sizeof legs->conf, "%s/vol0.conf", legs->directory);
  FILE *conf = fopen(legs->conf, "w");
  fprintf(conf, "[volume]\nname = vol0\n");
  for (unsigned i = 0; i < 3; i++) {
    snprintf(legs->leg[i], sizeof legs->leg[i], "%s/%c.img", legs->directory, 'a' + (int) i);
    fprintf(conf, "[leg %c]\npath = %s\n", 'a' + (int) i, legs->leg[i]);
  }
  fclose(conf);
  *state = legs;
  return 0;
}

static int
remove_legs(void **state) {
  struct legs *legs = *state;
  for (unsigned i = 0; i < 3; i++)
    unlink(legs->leg[i]);
  unlink(legs->conf);
  int r = rmdir(legs->directory);
  free(legs);
  return r;
}

/* A file system without O_DIRECT (an old tmpfs) cannot hold legs. */
static void
create_or_skip(struct legs *legs) {
  if (run("create", legs->conf, "--size", "2M", NULL) != 0 && strstr(result.err, "O_DIRECT"))
    skip();
  expect(0, result.out, "");
}

static void
damage(const char *path, off_t offset) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  assert_int_equal(pwrite(fd, "damage", 6, offset), 6);
  close(fd);
}

/* The text with the directory of the legs as DIR, and as many columns less. */
static const char *
without_directory(const struct legs *legs, char *text) {
  char *at;
  size_t len = strlen(legs->directory);
  while ((at = strstr(text, legs->directory))) {
    memcpy(at, "DIR", 3);
    memmove(at + 3, at + len, strlen(at + len) + 1);
  }
  return text;
}

/* create makes the legs and says what it made; a second time it refuses, until --overwrite; a
 * configuration that does not load is told with its file and line. */
static void
create(void **state) {
  struct legs *legs = *state;
  create_or_skip(legs);
  static const char said[] = "vol0: created, 2 MiB on 3 legs, min_legs 2, uuid ";
  assert_int_equal(strncmp(result.out, said, sizeof said - 1), 0);
  struct stat st;
  assert_int_equal(stat(legs->leg[2], &st), 0);
  assert_int_equal(st.st_size, SF_DATA_OFFSET + (2 << 20));

  assert_int_equal(run("create", legs->conf, NULL), 1);
  assert_string_equal(result.out, "");
  assert_non_null(strstr(result.err, "--overwrite"));
  assert_int_equal(run("create", "--overwrite", "--assume-clean", legs->conf, NULL), 0);

  FILE *conf = fopen(legs->conf, "a");
  fprintf(conf, "colour = blue\n");
  fclose(conf);
  char expected[128];
  snprintf(expected, sizeof expected, "surefootctl: %s:9: ", legs->conf);
  assert_int_equal(run("create", legs->conf, NULL), 1);
  assert_int_equal(strncmp(result.err, expected, strlen(expected)), 0);
  assert_int_equal(run("check", legs->conf, NULL), 1);
  assert_int_equal(strncmp(result.err, expected, strlen(expected)), 0);
  assert_int_equal(run("create", "/nowhere.conf", NULL), 1);
}

/* check tells of each leg and of the whole, exits 1 when the volume would not start, and changes
 * no byte and no time of any leg. */
static void
check(void **state) {
  struct legs *legs = *state;
  struct stat before, after;
  create_or_skip(legs);
  assert_int_equal(stat(legs->leg[0], &before), 0);
  run("check", legs->conf, NULL);
  assert_int_equal(result.status, 0);
  assert_string_equal(without_directory(legs, result.out),
                      "vol0: would start: starts from record 1.1 with a, b and c\n"
                      "stopped cleanly: nothing to converge\n"
                      "  LEG  PATH                          VERDICT  RECORDED AS  RECORD  CLEAN    "
                      "SIZE  STALE  NOTE\n"
                      "  a    DIR/a.img  current  in-sync         1.1  yes    10 MiB      -\n"
                      "  b    DIR/b.img  current  in-sync         1.1  yes    10 MiB      -\n"
                      "  c    DIR/c.img  current  in-sync         1.1  yes    10 MiB      -\n");
  assert_int_equal(stat(legs->leg[0], &after), 0);
  assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof before.st_mtim);
  assert_int_equal(before.st_blocks, after.st_blocks);

  assert_int_equal(unlink(legs->leg[1]), 0);
  damage(legs->leg[2], 100);
  damage(legs->leg[2], 4096 + 100);
  assert_int_equal(run("check", legs->conf, NULL), 1);
  assert_non_null(strstr(result.out, "vol0: would not start: "));
  assert_int_equal(run("check", "--json", legs->conf, NULL), 1);
  json_t *document = json_loads(result.out, 0, NULL);
  const char *verdict[3];
  int may_start;
  assert_int_equal(json_unpack(document, "{sbs[{ss}{ss}{ss}]}", "may_start", &may_start, "legs",
                               "verdict", &verdict[0], "verdict", &verdict[1], "verdict",
                               &verdict[2]),
                   0);
  assert_false(may_start);
  assert_string_equal(verdict[0], "current");
  assert_string_equal(verdict[1], "absent");
  assert_string_equal(verdict[2], "damaged");
  json_decref(document);
}

/* A leg of the volume that the file does not list is shown with that reason. */
static void
check_unlisted(void **state) {
  struct legs *legs = *state;
  create_or_skip(legs);
  FILE *conf = fopen(legs->conf, "w");
  fprintf(conf, "[volume]\nname = vol0\n[leg a]\npath = %s\n[leg b]\npath = %s\n", legs->leg[0],
          legs->leg[1]);
  fclose(conf);
  assert_int_equal(run("check", legs->conf, NULL), 0);
  assert_non_null(strstr(result.out, "  the configuration file does not list it\n"));
}

/* ---- maps ---- */

enum { DATA_MIB = 2 };

/* Reads the leg's superblock. */
static struct sf_superblock
read_superblock(const char *path) {
  uint8_t page[SF_PAGE_BYTES];
  struct sf_superblock sb;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  assert_int_equal(pread(fd, page, sizeof page, 0), sizeof page);
  close(fd);
  assert_int_equal(sf_superblock_decode(page, &sb), 0);
  return sb;
}

static void
put_page(const char *path, const uint8_t page[SF_PAGE_BYTES], uint64_t offset) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  assert_int_equal(pwrite(fd, page, SF_PAGE_BYTES, (off_t) offset), SF_PAGE_BYTES);
  close(fd);
}

static void
write_superblock(const char *path, const struct sf_superblock *sb) {
  uint8_t page[SF_PAGE_BYTES];
  sf_superblock_encode(sb, page);
  for (unsigned copy = 0; copy < SF_SUPERBLOCK_COPIES; copy++)
    put_page(path, page, SF_SUPERBLOCK_OFFSET(copy));
}

/* As a process leaves it that was killed while leg c was behind: intent in extent `intent`, c lacks
 * extent 0. */
static void
die_without_c(const struct legs *legs, unsigned leg, unsigned intent) {
  struct sf_superblock sb = read_superblock(legs->leg[leg]);
  struct sf_map_page map = {.volume = sb.volume};
  uint8_t page[SF_PAGE_BYTES];
  map.intent[0] = (uint8_t) (1u << intent);
  map.stale[2][0] = 1;
  sf_map_page_encode(&map, page);
  put_page(legs->leg[leg], page, SF_MAP_PAGE_OFFSET(0));
  sb.record.change = 2;
  sb.record.in_sync = 3;
  sb.record.clean = false;
  write_superblock(legs->leg[leg], &sb);
}

static void
change_data(const char *path, uint64_t offset) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  assert_int_equal(pwrite(fd, "changed", 7, (off_t) (SF_DATA_OFFSET + offset)), 7);
  close(fd);
}

/* dump shows the maps as they stand: intent, what each leg lacks, damaged pages. */
static void
dump_maps(void **state) {
  struct legs *legs = *state;
  create_or_skip(legs);
  run("dump", legs->leg[0], NULL);
  assert_non_null(strstr(result.out, "maps at byte 65536: 1 page, 0 damaged\n"
                                     "  intent     none (does not count: stopped cleanly)\n"
                                     "  stale a    none (does not count: in sync)\n"));
  die_without_c(legs, 0, 1);
  run("dump", legs->leg[0], NULL);
  assert_non_null(strstr(result.out, "maps at byte 65536: 1 page, 0 damaged\n"
                                     "  intent     1 extent, 1 MiB: 1\n"
                                     "  stale a    none (does not count: in sync)\n"
                                     "  stale b    none (does not count: in sync)\n"
                                     "  stale c    1 extent, 1 MiB: 0\n"));
  run("dump", "--json", legs->leg[0], NULL);
  json_t *document = json_loads(result.out, 0, NULL);
  json_int_t bytes, first, last, stale;
  assert_int_equal(json_unpack(document, "{s{s{sIs[[II]]}s{s{sI}}s[]}}", "maps", "intent", "bytes",
                               &bytes, "ranges", &first, &last, "stale", "c", "extents", &stale,
                               "damaged"),
                   0);
  assert_int_equal(bytes, 1 << 20);
  assert_int_equal(first, 1);
  assert_int_equal(last, 1);
  assert_int_equal(stale, 1);
  json_decref(document);

  damage(legs->leg[0], (off_t) SF_MAP_PAGE_OFFSET(0) + 70);
  assert_int_equal(run("dump", legs->leg[0], NULL), 0);
  assert_non_null(strstr(result.out, "maps at byte 65536: 1 page, 1 damaged\n  damaged    page 0"));
}

/* check counts as a start does: the maps of the legs in sync united, intent stale on the others, a
 * damaged page all set. */
static void
check_maps(void **state) {
  struct legs *legs = *state;
  create_or_skip(legs);
  die_without_c(legs, 0, 1);
  die_without_c(legs, 1, 1);
  assert_int_equal(run("check", legs->conf, NULL), 0);
  assert_non_null(strstr(result.out,
                         "\nnot stopped cleanly: 1 MiB of 2 MiB to be made equal on the "
                         "legs in sync, each before it is read\n"));
  run("check", "--json", legs->conf, NULL);
  json_t *document = json_loads(result.out, 0, NULL);
  json_int_t converge, stale[3], intent[3];
  static const char shape[] = "{sIs[{sIsI}{sIsI}{sIsI}]}";
  assert_int_equal(json_unpack(document, shape, "converge_bytes", &converge, "legs", "stale_bytes",
                               &stale[0], "intent_bytes", &intent[0], "stale_bytes", &stale[1],
                               "intent_bytes", &intent[1], "stale_bytes", &stale[2], "intent_bytes",
                               &intent[2]),
                   0);
  assert_int_equal(converge, 1 << 20);
  assert_int_equal(stale[0], 0);
  assert_int_equal(stale[1], 0);
  assert_int_equal(stale[2], DATA_MIB << 20); /* extent 0, and extent 1 for its intent */
  assert_int_equal(intent[0], 1 << 20);
  assert_int_equal(intent[2], 0);
  json_decref(document);

  die_without_c(legs, 1, 0);
  run("check", "--json", legs->conf, NULL);
  document = json_loads(result.out, 0, NULL);
  assert_int_equal(json_unpack(document, "{sI}", "converge_bytes", &converge), 0);
  assert_int_equal(converge, DATA_MIB << 20);
  json_decref(document);

  die_without_c(legs, 1, 1);
  damage(legs->leg[1], (off_t) SF_MAP_PAGE_OFFSET(0) + 70);
  run("check", legs->conf, NULL);
  assert_non_null(strstr(result.out, "\nnot stopped cleanly: 2 MiB of 2 MiB"));
  assert_non_null(strstr(result.out, "1 damaged page of the maps counts as all set"));
}

/* --compare finds what differs, says which leg, and knows what a start would make equal; it reads
 * legs in sync only, and nothing that runs. */
static void
check_compare(void **state) {
  struct legs *legs = *state;
  create_or_skip(legs);
  assert_int_equal(run("check", "--compare", legs->conf, NULL), 0);
  assert_non_null(strstr(result.out, "\ncompared 2 MiB of a, b and c: equal\n"));

  change_data(legs->leg[2], 4096);
  assert_int_equal(run("check", "--compare", legs->conf, NULL), 1);
  assert_non_null(strstr(result.out,
                         "\ncompared 2 MiB of a, b and c: NOT EQUAL\n"
                         "  DIFFERS            0-1048575 (1 MiB): c, first at byte 4096\n"));
  die_without_c(legs, 0, 1);
  die_without_c(legs, 1, 1);
  assert_int_equal(run("check", "--compare", legs->conf, NULL), 0);
  assert_non_null(strstr(result.out, "\ncompared 2 MiB of a and b: equal\n"));

  change_data(legs->leg[1], (1 << 20) + 512);
  assert_int_equal(run("check", "--compare", legs->conf, NULL), 0);
  assert_non_null(strstr(
      result.out, "\ncompared 2 MiB of a and b: equal once converged\n"
                  "  will be converged  1048576-2097151 (1 MiB): b, first at byte 1049088\n"));
  change_data(legs->leg[0], 7);
  assert_int_equal(run("check", "--compare", "--json", legs->conf, NULL), 1);
  json_t *document = json_loads(result.out, 0, NULL);
  int equal, converged[2];
  json_int_t offset[2], first[2];
  assert_int_equal(json_unpack(document, "{s{sbs[{sIsIsb}{sIsIsb}]}}", "compare", "equal", &equal,
                               "differences", "offset", &offset[0], "first", &first[0], "converged",
                               &converged[0], "offset", &offset[1], "first", &first[1], "converged",
                               &converged[1]),
                   0);
  assert_false(equal);
  assert_int_equal(offset[0], 0);
  assert_int_equal(first[0], 7);
  assert_false(converged[0]);
  assert_int_equal(offset[1], 1 << 20);
  assert_true(converged[1]);
  json_decref(document);

  struct sf_leg_file file;
  struct sf_leg_found found;
  char error[SF_CONFIG_ERROR_MAX];
  assert_int_equal(sf_leg_file_open(legs->leg[1], 0, &file, &found, error), 0);
  run("check", "--compare", legs->conf, NULL);
  expect(1, "",
         "surefootctl: vol0: b in use by a running volume: stop it before its legs are compared\n");
  assert_int_equal(run("check", legs->conf, NULL), 0);
  assert_non_null(strstr(result.out, "vol0: in use: "));
  sf_leg_file_close(&file);
}

/* dump shows both copies; a damaged copy with its fault and its first bytes, and the other still;
 * exit 1 only when neither is valid or there is nothing to read. */
static void
dump(void **state) {
  struct legs *legs = *state;
  create_or_skip(legs);
  assert_int_equal(run("dump", legs->leg[1], NULL), 0);
  assert_non_null(strstr(result.out, "\ncopy 0 at byte 0: valid, serial "));
  assert_non_null(strstr(result.out, "\ncopy 1 at byte 4096: valid, serial "));
  assert_non_null(strstr(result.out, "\n  leg        b, number 2 of 3\n"));
  assert_non_null(strstr(result.out, "\n  data       2 MiB (2097152 bytes) from byte 8388608, "));

  damage(legs->leg[1], 100);
  assert_int_equal(run("dump", legs->leg[1], NULL), 0);
  assert_non_null(strstr(result.out, ": 10 MiB, copy 1 is the newest\n"));
  assert_non_null(strstr(result.out, "\n  bytes      53 55 52 45 46 4f 4f 54 "));
  assert_int_equal(run("dump", "--json", legs->leg[1], NULL), 0);
  json_t *document = json_loads(result.out, 0, NULL);
  int newest, valid[2];
  assert_int_equal(json_unpack(document, "{sis[{sb}{sb}]}", "newest", &newest, "copies", "valid",
                               &valid[0], "valid", &valid[1]),
                   0);
  assert_int_equal(newest, 1);
  assert_false(valid[0]);
  assert_true(valid[1]);
  json_decref(document);

  damage(legs->leg[1], 4096 + 100);
  assert_int_equal(run("dump", legs->leg[1], NULL), 1);
  assert_non_null(strstr(result.out, ", no valid metadata: "));
  assert_int_equal(run("dump", "/nowhere", NULL), 1);
  assert_string_equal(result.err, "surefootctl: /nowhere: No such file or directory\n");
  assert_int_equal(run("dump", "/dev/null", NULL), 1);
  assert_string_equal(result.err, "surefootctl: /dev/null: neither a file nor a block device\n");
  assert_int_equal(run("dump", legs->conf, NULL), 1);
  assert_non_null(strstr(result.err, ": too small for a leg: "));
}

/* Any volume that goes on without it would do. */
static void
give_up_leg_b(const struct legs *legs) {
  uint8_t page[SF_SUPERBLOCK_COPIES][SF_PAGE_BYTES];
  char error[SF_CONFIG_ERROR_MAX];
  struct sf_superblock sb;
  int fd = open(legs->leg[0], O_RDONLY | O_CLOEXEC);

  assert_int_equal(pread(fd, page, sizeof page, 0), sizeof page);
  close(fd);
  assert_int_equal(sf_superblock_pick(page, &sb, NULL), 0);
  assert_int_equal(sf_leg_discard(legs->leg[1], &sb, 1, false, NULL, error), 0);
}

/* A leg that the volume would start from is not discarded, nor a disk that does not show that it is
 * the leg's own; a leg that the volume would go on without is, and is behind then. */
static void
discard_offline(void **state) {
  struct legs *legs = *state;
  create_or_skip(legs);
  run("leg", "discard", "--config", legs->conf, "a", NULL);
  expect(1, "",
         "surefootctl: vol0: leg a is in the in-sync set: discarding it would lose acknowledged "
         "writes\n");
  assert_int_equal(run("leg", "discard", "--config", legs->conf, "z", NULL), 1);
  damage(legs->leg[1], 100);
  damage(legs->leg[1], 4096 + 100);
  assert_int_equal(run("leg", "discard", "--config", legs->conf, "b", NULL), 1);
  assert_non_null(strstr(result.err, "leg replace"));
  give_up_leg_b(legs);
  run("leg", "discard", "--config", legs->conf, "b", NULL);
  expect(0, "vol0: leg b is discarded: all of it will be copied\n", "");
  assert_int_equal(run("check", "--json", legs->conf, NULL), 0);
  json_t *document = json_loads(result.out, 0, NULL);
  const char *verdict;
  assert_int_equal(json_unpack(document, "{s[{}{ss}]}", "legs", "verdict", &verdict), 0);
  assert_string_equal(verdict, "behind");
  json_decref(document);
}

static void
put_record(const struct legs *legs, unsigned leg, uint64_t change, uint16_t in_sync,
           uint16_t faulty, uint64_t claim) {
  struct sf_superblock sb = read_superblock(legs->leg[leg]);
  sb.record.term = 4;
  sb.record.change = change;
  sb.record.in_sync = in_sync;
  sb.record.faulty = faulty;
  sb.claim = claim;
  write_superblock(legs->leg[leg], &sb);
}

/* R12: leg b doubts the record that leaves leg c out, and only c can tell that no start went on from
 * the older one. */
static void
a_leg_that_a_start_needs_is_not_discarded(void **state) {
  struct legs *legs = *state;
  char away[128];
  create_or_skip(legs);
  put_record(legs, 0, 3, 3, 4, 4);
  put_record(legs, 1, 2, 7, 0, 5);
  put_record(legs, 2, 2, 7, 0, 4);
  assert_int_equal(run("check", legs->conf, NULL), 0);
  run("leg", "discard", "--config", legs->conf, "c", NULL);
  expect(1, "",
         "surefootctl: vol0: leg c is not discarded: the volume needs it once more, and could not "
         "start without what it holds; start the volume, and once it serves `surefootctl leg "
         "discard vol0 c`\n");
  assert_int_equal(run("check", legs->conf, NULL), 0);

  /* Nor where the leg that doubts is away: it comes back. */
  snprintf(away, sizeof away, "%s-away", legs->leg[1]);
  assert_int_equal(rename(legs->leg[1], away), 0);
  assert_int_equal(run("leg", "discard", "--config", legs->conf, "c", NULL), 1);
  assert_non_null(strstr(result.err, "leg c is not discarded: the volume does not start now, "));
  assert_non_null(strstr(result.err, "waits for leg b "));
  assert_int_equal(rename(away, legs->leg[1]), 0);
  assert_int_equal(run("check", legs->conf, NULL), 0);

  /* Nobody doubts it any more. */
  put_record(legs, 1, 3, 3, 4, 5);
  run("leg", "discard", "--config", legs->conf, "c", NULL);
  expect(0, "vol0: leg c is discarded: all of it will be copied\n", "");
  assert_int_equal(run("check", legs->conf, NULL), 0);
}

/* scan finds the legs among what it is given, says what their volume would do with them, and writes
 * the file of it, which starts the same volume; a leg that is not there is named. */
static void
scan(void **state) {
  struct legs *legs = *state;
  char file[PATH_MAX];
  create_or_skip(legs);
  snprintf(file, sizeof file, "%s/made.conf", legs->directory);
  assert_int_equal(run("scan", legs->leg[2], legs->leg[0], legs->conf, "--write", file, NULL), 0);
  without_directory(legs, result.out);
  assert_int_equal(strncmp(result.out, "vol0 (", 6), 0);
  assert_non_null(strstr(result.out, "): would start: "));
  static const char *const says[] = {
      "\n  a    DIR/a.img  current\n", "  not found\n  c    DIR/c.img  current\n",
      "DIR/made.conf is written; `surefootctl check DIR/made.conf` tells whether it would start\n"};
  for (unsigned i = 0; i < sizeof says / sizeof says[0]; i++)
    assert_non_null(strstr(result.out, says[i]));
  assert_int_equal(run("check", file, NULL), 0);
  assert_non_null(strstr(result.out, "vol0: would start"));
  assert_int_equal(run("scan", legs->leg[0], "--write", file, NULL), 1);
  assert_non_null(strstr(result.err, "made.conf: File exists"));
  assert_int_equal(unlink(file), 0);

  assert_int_equal(run("scan", legs->leg[1], NULL), 0);
  assert_non_null(strstr(result.out, "): would not start: "));
  assert_int_equal(run("scan", legs->leg[1], "--json", NULL), 0);
  json_t *list = json_loads(result.out, 0, NULL), *first = json_array_get(list, 0);
  assert_true(json_is_false(json_object_get(first, "would_start")));
  assert_int_equal(json_array_size(json_object_get(first, "legs")), 3);
  json_decref(list);
  run("scan", legs->conf, NULL);
  expect(1, "", "surefootctl: no leg of a volume on 1 device\n");
}

#define WITH_LEGS(test) cmocka_unit_test_setup_teardown(test, make_legs, remove_legs)

int
main(void) {
  const struct CMUnitTest tests[] = {
      WITH_LEGS(create),
      WITH_LEGS(check),
      WITH_LEGS(scan),
      WITH_LEGS(check_unlisted),
      WITH_LEGS(dump),
      WITH_LEGS(dump_maps),
      WITH_LEGS(check_maps),
      WITH_LEGS(check_compare),
      WITH_LEGS(discard_offline),
      WITH_LEGS(a_leg_that_a_start_needs_is_not_discarded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

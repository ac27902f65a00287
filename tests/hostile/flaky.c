/* An nbdkit plugin that is a disk with a volatile cache, and that misbehaves on command.
 *
 *   nbdkit flaky.so image=FILE control=SOCKET [seed=N]
 *
 * The image is the platters; an unflushed write is in memory alone, and goes down at any time or
 * never, sector by sector, as in a disk.  Every connection to the control socket carries one line
 * and is answered with one, "ok" or "error: ...", when the command is in force:
 *
 *   hang KIND          requests wait until healed, and are done then (KIND: read, write, flush, all)
 *   fail KIND          requests fail with EIO; a write that fails may be there in part
 *   slow KIND MS       requests take so much longer
 *   gone               everything fails at once, that which hangs as well
 *   fail-flush         the next flush fails; what it should have made stable never is, unless it is
 *                      written again, and still reads as written: until "drop"
 *   drop               writes that failed to become stable are gone, as lost from a disk's cache
 *   lose PERCENT       that much of the cache is lost; the rest goes down: a power cut of the disk
 *   bad OFFSET LENGTH  reads of these sectors fail until they are written over
 *   heal               ends all of the above
 *   status             "ok FLUSHES-FAILED REQUESTS-RUNNING DIRTY-SECTORS" */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

enum { SECTOR = 512, LINE_MAX_BYTES = 128 };
enum kind { READ, WRITE, FLUSH, KINDS };
enum sector_state {
  DIRTY = 1,  /* the cache has something newer than the platters */
  DOOMED = 2, /* a flush of it has failed: it will not go down */
  BAD = 4,    /* cannot be read */
};

static struct {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  char *image, *control;
  int fd, listener;
  uint64_t size, random;
  uint8_t *content; /* what reads see */
  uint8_t *state;   /* of each sector */
  bool hangs[KINDS], fails[KINDS], gone, fails_a_flush;
  unsigned slow_ms[KINDS], flushes_failed, running;
} disk = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .changed = PTHREAD_COND_INITIALIZER,
    .random = 1,
};

/* ---- the cache and the platters, under the lock ---- */

static bool
chance(unsigned percent) {
  disk.random ^= disk.random << 13;
  disk.random ^= disk.random >> 7;
  disk.random ^= disk.random << 17;
  return disk.random % 100 < percent;
}

static void
must(bool done, const char *what) {
  if (done)
    return;
  nbdkit_error("%s: %m", what);
  abort();
}

static void
write_down(uint64_t sector) {
  must(pwrite(disk.fd, disk.content + sector * SECTOR, SECTOR, (off_t) (sector * SECTOR)) == SECTOR,
       disk.image);
}

static void
revert(uint64_t sector) {
  must(pread(disk.fd, disk.content + sector * SECTOR, SECTOR, (off_t) (sector * SECTOR)) == SECTOR,
       disk.image);
}

/* Each sector with this state, the others untouched. */
static void
settle(enum sector_state which, unsigned percent_lost) {
  for (uint64_t sector = 0; sector < disk.size / SECTOR; sector++) {
    if (!(disk.state[sector] & which))
      continue;
    if ((disk.state[sector] & DOOMED) || chance(percent_lost))
      revert(sector);
    else
      write_down(sector);
    disk.state[sector] &= BAD;
  }
}

static void
flush_down(void) {
  for (uint64_t sector = 0; sector < disk.size / SECTOR; sector++)
    if ((disk.state[sector] & (DIRTY | DOOMED)) == DIRTY) {
      write_down(sector);
      disk.state[sector] &= BAD;
    }
}

static void
doom_what_is_dirty(void) {
  for (uint64_t sector = 0; sector < disk.size / SECTOR; sector++)
    if (disk.state[sector] & DIRTY)
      disk.state[sector] |= DOOMED;
}

static void
put(uint64_t sector, const uint8_t *data) {
  /* A cache that writes back has any of the older contents on the platters, not only the
   * flushed. */
  if ((disk.state[sector] & (DIRTY | DOOMED)) == DIRTY && chance(20))
    write_down(sector);
  memcpy(disk.content + sector * SECTOR, data, SECTOR);
  disk.state[sector] = DIRTY;
}

/* ---- control ---- */

/* The kinds that a word means: 0 if it means none. */
static unsigned
kinds_of(const char *word) {
  static const char *const name[KINDS] = {"read", "write", "flush"};

  if (strcmp(word, "all") == 0)
    return (1u << KINDS) - 1;
  for (unsigned kind = 0; kind < KINDS; kind++)
    if (strcmp(word, name[kind]) == 0)
      return 1u << kind;
  return 0;
}

static bool
set_for_kinds(const char *line) {
  char verb[LINE_MAX_BYTES] = "", word[LINE_MAX_BYTES] = "";
  unsigned ms = 0, kinds;
  int n = sscanf(line, "%100s %20s %u", verb, word, &ms);

  kinds = kinds_of(word);
  if (n < 2 || !kinds || (n == 3) != (strcmp(verb, "slow") == 0))
    return false;
  for (unsigned kind = 0; kind < KINDS; kind++) {
    if (!(kinds & 1u << kind))
      continue;
    if (strcmp(verb, "hang") == 0)
      disk.hangs[kind] = true;
    else if (strcmp(verb, "fail") == 0)
      disk.fails[kind] = true;
    else if (strcmp(verb, "slow") == 0)
      disk.slow_ms[kind] = ms;
    else
      return false;
  }
  return true;
}

static bool
spoil(uint64_t offset, uint64_t length) {
  if (length == 0 || offset > disk.size || length > disk.size - offset)
    return false;
  for (uint64_t sector = offset / SECTOR; sector < (offset + length + SECTOR - 1) / SECTOR;
       sector++)
    disk.state[sector] |= BAD;
  return true;
}

static void
heal(void) {
  memset(disk.hangs, 0, sizeof disk.hangs);
  memset(disk.fails, 0, sizeof disk.fails);
  memset(disk.slow_ms, 0, sizeof disk.slow_ms);
  disk.gone = disk.fails_a_flush = false;
  settle(DOOMED, 100);
  for (uint64_t sector = 0; sector < disk.size / SECTOR; sector++)
    disk.state[sector] &= (uint8_t) ~BAD;
}

static bool
obey(const char *line) {
  uint64_t offset, length;
  unsigned percent;

  if (strcmp(line, "gone") == 0)
    disk.gone = true;
  else if (strcmp(line, "fail-flush") == 0)
    disk.fails_a_flush = true;
  else if (strcmp(line, "drop") == 0)
    settle(DOOMED, 100);
  else if (strcmp(line, "heal") == 0)
    heal();
  else if (sscanf(line, "lose %u", &percent) == 1)
    settle(DIRTY, percent);
  else if (sscanf(line, "bad %" SCNu64 " %" SCNu64, &offset, &length) == 2)
    return spoil(offset, length);
  else
    return strcmp(line, "status") == 0 || set_for_kinds(line);
  return true;
}

static void
answer(int connection) {
  char line[LINE_MAX_BYTES] = "", reply[2 * LINE_MAX_BYTES];
  ssize_t n = recv(connection, line, sizeof line - 1, 0);
  uint64_t dirty = 0;
  int length;

  if (n <= 0)
    return;
  line[strcspn(line, "\n")] = '\0';
  pthread_mutex_lock(&disk.lock);
  bool done = obey(line);
  for (uint64_t sector = 0; sector < disk.size / SECTOR; sector++)
    dirty += disk.state[sector] & DIRTY;
  if (done)
    length = snprintf(reply, sizeof reply, "ok %u %u %" PRIu64 "\n", disk.flushes_failed,
                      disk.running, dirty);
  else
    length = snprintf(reply, sizeof reply, "error: %s\n", line);
  pthread_cond_broadcast(&disk.changed);
  pthread_mutex_unlock(&disk.lock);
  send(connection, reply, (size_t) length, MSG_NOSIGNAL);
}

static void *
serve_control(void *unused) {
  for (;;) {
    int connection = accept4(disk.listener, NULL, NULL, SOCK_CLOEXEC);

    if (connection < 0)
      continue;
    answer(connection);
    close(connection);
  }
  return NULL;
}

/* ---- requests ---- */

/* 0 with the lock held, as every other end: the disk does it; -1: it fails. */
static int
enter(enum kind kind) {
  pthread_mutex_lock(&disk.lock);
  disk.running++;
  if (disk.slow_ms[kind] && !disk.gone) {
    struct timespec pause = {disk.slow_ms[kind] / 1000, disk.slow_ms[kind] % 1000 * 1000000L};

    pthread_mutex_unlock(&disk.lock);
    nanosleep(&pause, NULL);
    pthread_mutex_lock(&disk.lock);
  }
  while (disk.hangs[kind] && !disk.gone)
    pthread_cond_wait(&disk.changed, &disk.lock);
  return disk.gone || disk.fails[kind] ? -1 : 0;
}

static int
leave(int result, enum kind kind) {
  static const char *const verb[KINDS] = {"read", "write", "flush"};

  disk.running--;
  pthread_mutex_unlock(&disk.lock);
  if (result < 0) {
    nbdkit_debug("%s fails", verb[kind]);
    nbdkit_set_error(EIO);
  }
  return result;
}

static int
flaky_pread(void *handle, void *data, uint32_t count, uint64_t offset, uint32_t flags) {
  int result = enter(READ);

  for (uint64_t at = offset; at < offset + count && result == 0; at += SECTOR)
    if (disk.state[at / SECTOR] & BAD)
      result = -1;
  if (result == 0)
    memcpy(data, disk.content + offset, count);
  return leave(result, READ);
}

static int
flaky_pwrite(void *handle, const void *data, uint32_t count, uint64_t offset, uint32_t flags) {
  const uint8_t *from = data;
  int result = enter(WRITE);

  for (uint32_t done = 0; done < count && !disk.gone; done += SECTOR)
    if (result == 0 || chance(50))
      put((offset + done) / SECTOR, from + done);
  return leave(result, WRITE);
}

static int
flaky_flush(void *handle, uint32_t flags) {
  int result = enter(FLUSH);

  if (result == 0 && disk.fails_a_flush) {
    disk.fails_a_flush = false;
    result = -1;
    doom_what_is_dirty();
  }
  if (result < 0)
    disk.flushes_failed++;
  else
    flush_down();
  return leave(result, FLUSH);
}

/* ---- life ---- */

static int
flaky_config(const char *key, const char *value) {
  if (strcmp(key, "seed") == 0)
    return nbdkit_parse_uint64_t(key, value, &disk.random);
  char **path = strcmp(key, "image") == 0     ? &disk.image
                : strcmp(key, "control") == 0 ? &disk.control
                                              : NULL;
  if (!path) {
    nbdkit_error("unknown parameter: %s", key);
    return -1;
  }
  *path = nbdkit_absolute_path(value);
  return *path ? 0 : -1;
}

static int
flaky_get_ready(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  struct stat found;

  if (!disk.image || !disk.control || strlen(disk.control) >= sizeof address.sun_path) {
    nbdkit_error("image=FILE and control=SOCKET are needed");
    return -1;
  }
  disk.random |= 1;
  disk.fd = open(disk.image, O_RDWR | O_CLOEXEC);
  if (disk.fd < 0 || fstat(disk.fd, &found) < 0) {
    nbdkit_error("%s: %m", disk.image);
    return -1;
  }
  disk.size = (uint64_t) found.st_size / SECTOR * SECTOR;
  disk.content = malloc(disk.size);
  disk.state = calloc(disk.size / SECTOR, 1);
  must(disk.content && disk.state, "memory");
  for (uint64_t sector = 0; sector < disk.size / SECTOR; sector++)
    revert(sector);
  strcpy(address.sun_path, disk.control);
  unlink(disk.control);
  disk.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  must(disk.listener >= 0 &&
           bind(disk.listener, (struct sockaddr *) &address, sizeof address) == 0 &&
           listen(disk.listener, 8) == 0,
       disk.control);
  return 0;
}

static int
flaky_after_fork(void) {
  pthread_t thread;

  errno = pthread_create(&thread, NULL, serve_control, NULL);
  must(errno == 0, "thread");
  return 0;
}

static void *
flaky_open(int readonly) {
  return NBDKIT_HANDLE_NOT_NEEDED;
}

static int64_t
flaky_get_size(void *handle) {
  return (int64_t) disk.size;
}

static int
flaky_block_size(void *handle, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum) {
  *minimum = SECTOR;
  *preferred = 4096;
  *maximum = 32 * 1024 * 1024;
  return 0;
}

static int
flaky_yes(void *handle) {
  return 1;
}

/* No write becomes stable by itself: a client that wants that flushes. */
static int
flaky_can_fua(void *handle) {
  return NBDKIT_FUA_NONE;
}

static struct nbdkit_plugin plugin = {
    .name = "flaky",
    .longname = "A disk with a volatile cache that misbehaves on command",
    .config = flaky_config,
    .get_ready = flaky_get_ready,
    .after_fork = flaky_after_fork,
    .open = flaky_open,
    .get_size = flaky_get_size,
    .block_size = flaky_block_size,
    .can_write = flaky_yes,
    .can_flush = flaky_yes,
    .can_multi_conn = flaky_yes,
    .can_fua = flaky_can_fua,
    .pread = flaky_pread,
    .pwrite = flaky_pwrite,
    .flush = flaky_flush,
};

/* nbdkit's header leaves the prototype out. */
NBDKIT_DLL_PUBLIC struct nbdkit_plugin *plugin_init(void);
NBDKIT_REGISTER_PLUGIN(plugin)

/* The control server and other files in the place of its socket; and clients of sockets without a
 * server. */
#include "server_rig.h"

/* ---- the socket file ---- */

static int
create_at(const char *path, struct sf_control_server **server) {
  static struct fake_volume unused;
  struct sf_control_handlers handlers = fake_volume_handlers(&unused);
  return sf_control_server_create(path, "vol0", &handlers, server);
}

static int
make_directory(void **state) {
  char *directory = strdup("/tmp/sf-control-XXXXXX");
  *state = directory;
  return mkdtemp(directory) ? 0 : -1;
}

static int
remove_directory(void **state) {
  int r = rmdir(*state);
  free(*state);
  return r;
}

/* A missing directory is made 0755, not its parents; the socket is 0660 whatever the umask. */
static void
modes(void **state) {
  const char *directory = *state;
  char below[96], path[128];
  struct stat st;
  struct sf_control_server *server = NULL;
  snprintf(below, sizeof below, "%s/run", directory);
  snprintf(path, sizeof path, "%s/vol0.ctl", below);
  static const mode_t masks[] = {022, 0, 0077};
  for (unsigned i = 0; i < 3; i++) {
    mode_t before = umask(masks[i]);
    assert_int_equal(create_at(path, &server), 0);
    umask(before);
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 0660);
    if (i == 0) {
      assert_int_equal(stat(below, &st), 0);
      assert_int_equal(st.st_mode & 07777, 0755);
    }
    sf_control_server_destroy(server);
    assert_int_equal(access(path, F_OK), -1);
  }
  assert_int_equal(rmdir(below), 0);
  snprintf(path, sizeof path, "%s/no/such/vol0.ctl", directory);
  assert_int_equal(create_at(path, &server), -ENOENT);
}

/* A live socket is refused, also a socket without a thread yet; the loser leaves it untouched. */
static void
live_socket(void **state) {
  char path[128];
  snprintf(path, sizeof path, "%s/vol0.ctl", (char *) *state);
  struct sf_control_server *first = NULL, *second = NULL;
  assert_int_equal(create_at(path, &first), 0);
  assert_int_equal(create_at(path, &second), -EADDRINUSE);
  assert_null(second);
  int fd = try_connect(path);
  assert_true(fd >= 0);
  close(fd);
  sf_control_server_destroy(first);
}

/* What a killed server left is replaced. */
static void
abandoned_socket(void **state) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s/vol0.ctl", (char *) *state);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof address), 0);
  close(fd);
  struct sf_control_server *server = NULL;
  assert_int_equal(create_at(address.sun_path, &server), 0);
  fd = try_connect(address.sun_path);
  assert_true(fd >= 0);
  close(fd);
  sf_control_server_destroy(server);
}

/* A file, a directory or a link in the way is refused and stays. */
static void
something_else_there(void **state) {
  const char *directory = *state;
  char path[128];
  struct sf_control_server *server = NULL;
  snprintf(path, sizeof path, "%s/vol0.ctl", directory);
  close(open(path, O_CREAT | O_WRONLY, 0600));
  assert_int_equal(create_at(path, &server), -EEXIST);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(mkdir(path, 0700), 0);
  assert_int_equal(create_at(path, &server), -EEXIST);
  assert_int_equal(rmdir(path), 0);
  assert_int_equal(symlink("/nowhere", path), 0);
  assert_int_equal(create_at(path, &server), -EEXIST);
  assert_int_equal(unlink(path), 0);
  assert_null(server);
}

/* The longest path that a Unix socket can have is taken, one more is refused by name. */
static void
long_path(void **state) {
  const char *directory = *state;
  char path[256];
  struct sf_control_server *server = NULL;
  memset(path, 'x', sizeof path);
  memcpy(path, directory, strlen(directory));
  path[strlen(directory)] = '/';
  path[108] = '\0';
  assert_int_equal(create_at(path, &server), -ENAMETOOLONG);
  path[107] = '\0';
  assert_int_equal(create_at(path, &server), 0);
  sf_control_server_destroy(server);
  assert_int_equal(create_at("", &server), -EINVAL);
  assert_int_equal(create_at("/tmp/", &server), -EINVAL);
}

/* A relative path is removed also after a chdir, which nbdkit does when it goes to the background;
 * a socket that another server has put in its place is left alone. */
static void
removal(void **state) {
  const char *directory = *state;
  char path[128], before[4096];
  struct sf_control_server *server = NULL, *other = NULL;
  snprintf(path, sizeof path, "%s/vol0.ctl", directory);
  assert_non_null(getcwd(before, sizeof before));
  assert_int_equal(chdir(directory), 0);
  assert_int_equal(create_at("vol0.ctl", &server), 0);
  assert_int_equal(chdir(before), 0);
  sf_control_server_destroy(server);
  assert_int_equal(access(path, F_OK), -1);

  assert_int_equal(create_at(path, &server), 0);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(create_at(path, &other), 0);
  sf_control_server_destroy(server);
  int fd = try_connect(path);
  assert_true(fd >= 0);
  close(fd);
  sf_control_server_destroy(other);
  sf_control_server_destroy(NULL);
}

struct binder {
  char path[128];
  atomic_uint *to_come; /* all begin when it is 0 */
  struct sf_control_server *server;
  int r;
};

static void *
bind_together(void *arg) {
  struct binder *binder = arg;
  /* Not a barrier: that wakes them one after the other, and the first is done too soon. */
  atomic_fetch_sub(binder->to_come, 1);
  while (atomic_load(binder->to_come) > 0)
    ;
  binder->r = create_at(binder->path, &binder->server);
  return NULL;
}

/* Of two that find one abandoned socket at the same time exactly one gets it. */
static void
race_for_abandoned_socket(void **state) {
  enum { RACERS = 2, RACES = 500 };
  for (unsigned race = 0; race < RACES; race++) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/vol0.ctl", (char *) *state);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof address), 0);
    close(fd);
    struct binder binder[RACERS];
    pthread_t thread[RACERS];
    atomic_uint to_come = RACERS;
    for (unsigned i = 0; i < RACERS; i++) {
      binder[i] = (struct binder){.to_come = &to_come};
      strcpy(binder[i].path, address.sun_path);
      pthread_create(&thread[i], NULL, bind_together, &binder[i]);
    }
    unsigned winners = 0;
    for (unsigned i = 0; i < RACERS; i++) {
      pthread_join(thread[i], NULL);
      assert_true(binder[i].r == 0 || binder[i].r == -EADDRINUSE);
      winners += binder[i].r == 0;
    }
    assert_int_equal(winners, 1);
    for (unsigned i = 0; i < RACERS; i++)
      sf_control_server_destroy(binder[i].server);
  }
}

/* The look at the socket file and its replacement are one step under the directory's lock: while
 * another process holds the lock, no server binds, and none waits for long. */
static void
directory_lock(void **state) {
  char path[128];
  struct sf_control_server *server = NULL;
  snprintf(path, sizeof path, "%s/vol0.ctl", (char *) *state);
  int directory_fd = open(*state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  assert_int_equal(flock(directory_fd, LOCK_EX), 0);
  assert_int_equal(create_at(path, &server), -EADDRINUSE);
  assert_int_equal(access(path, F_OK), -1);
  close(directory_fd);
  assert_int_equal(create_at(path, &server), 0);
  sf_control_server_destroy(server);
}

/* ---- the client ---- */

/* The client never waits longer than it was told, and says what happened: no server there, or no
 * answer (a server without its thread). */
static void
client_failures(void **state) {
  char path[128];
  snprintf(path, sizeof path, "%s/vol0.ctl", (char *) *state);
  json_t *request = json_pack("{ss}", "command", "status"), *reply = NULL;
  assert_int_equal(sf_control_call(path, request, 50, &reply), -ENOENT);
  struct sf_control_server *server = NULL;
  assert_int_equal(create_at(path, &server), 0);
  assert_int_equal(sf_control_call(path, request, 50, &reply), -ETIMEDOUT);
  sf_control_server_destroy(server);

  memset(path, 'x', sizeof path);
  path[sizeof path - 1] = '\0';
  assert_int_equal(sf_control_call(path, request, 50, &reply), -ENAMETOOLONG);
  assert_null(reply);
  json_decref(request);
}

struct strange_server {
  int listen_fd;
  const char *answer;
};

static void *
answer_strangely(void *arg) {
  struct strange_server *strange = arg;
  int fd = accept(strange->listen_fd, NULL, NULL);
  char request[4096];
  if (recv(fd, request, sizeof request, 0) > 0)
    send(fd, strange->answer, strlen(strange->answer), MSG_NOSIGNAL);
  close(fd);
  return NULL;
}

/* A server that answers nonsense, half a line or nothing is an error of its own each. */
static void
client_and_strange_servers(void **state) {
  static const struct {
    const char *answer;
    int r;
  } cases[] = {{"hello\n", -EPROTO},        {"[]\n", -EPROTO}, {"\n", -EPROTO},
               {"{\"ok\":tr", -ECONNRESET}, {"", -ECONNRESET}, {"{\"ok\":true}\nmore", 0}};
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s/vol0.ctl", (char *) *state);
  struct strange_server strange = {.listen_fd = socket(AF_UNIX, SOCK_STREAM, 0)};
  assert_int_equal(bind(strange.listen_fd, (struct sockaddr *) &address, sizeof address), 0);
  assert_int_equal(listen(strange.listen_fd, 5), 0);
  json_t *request = json_pack("{ss}", "command", "status");
  for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    strange.answer = cases[i].answer;
    pthread_t thread;
    pthread_create(&thread, NULL, answer_strangely, &strange);
    json_t *reply = NULL;
    assert_int_equal(sf_control_call(address.sun_path, request, PATIENCE_MS, &reply), cases[i].r);
    assert_int_equal(reply != NULL, cases[i].r == 0);
    json_decref(reply);
    pthread_join(thread, NULL);
  }
  json_decref(request);
  close(strange.listen_fd);
  unlink(address.sun_path);
}

#define WITH_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)

int
main(void) {
  const struct CMUnitTest tests[] = {
      WITH_DIRECTORY(modes),
      WITH_DIRECTORY(live_socket),
      WITH_DIRECTORY(abandoned_socket),
      WITH_DIRECTORY(something_else_there),
      WITH_DIRECTORY(long_path),
      WITH_DIRECTORY(removal),
      WITH_DIRECTORY(race_for_abandoned_socket),
      WITH_DIRECTORY(directory_lock),
      WITH_DIRECTORY(client_failures),
      WITH_DIRECTORY(client_and_strange_servers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

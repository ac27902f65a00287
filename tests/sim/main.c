/* sf-sim: runs seeds, one after the other, in a worker process, so that an assertion in the volume
 * is a failure like any other.  A failure is run again for its trace, and for the shortest prefix of
 * client requests that still fails. */
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim/main.h"
#include "sim/sim.h"

enum { TRACE_LINES = 60, RUN_SECONDS_MAX = 60 };

struct shared *shared;

struct arguments {
  uint64_t seed, runs, ops;
  unsigned minutes;
  bool trace, quiet, keep_going;
  const char *file;
};

static uint64_t
seconds(void) {
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t) now.tv_sec;
}

/* One run in a child; true: it failed. */
static bool
fails(uint64_t seed, uint64_t ops, const char *trace_file) {
  pid_t pid;
  int status;

  fflush(NULL);
  pid = fork();
  if (pid == 0) {
    FILE *trace = trace_file != NULL ? fopen(trace_file, "w") : NULL;

    if (trace == NULL && freopen("/dev/null", "w", stderr) == NULL)
      _exit(1);
    if (trace != NULL)
      setvbuf(trace, NULL, _IOLBF, 0);
    shared->message[0] = '\0';
    shared->seed = seed;
    alarm(RUN_SECONDS_MAX);
    sim_run(seed, ops, trace);
    _exit(0);
  }
  if (pid < 0 || waitpid(pid, &status, 0) != pid) {
    perror("sf-sim");
    exit(1);
  }
  if (WIFSIGNALED(status) && shared->message[0] == '\0')
    snprintf(shared->message, sizeof shared->message, "signal %d: %s", WTERMSIG(status),
             strsignal(WTERMSIG(status)));
  return status != 0;
}

/* Halves while it fails, then steps down a little. */
static uint64_t
shortest_prefix(uint64_t seed, uint64_t ops) {
  uint64_t good = 0, bad = ops;

  for (unsigned tries = 0; tries < 14 && bad - good > 1; tries++) {
    uint64_t middle = good + (bad - good) / 2;

    if (fails(seed, middle, NULL))
      bad = middle;
    else
      good = middle;
  }
  return bad;
}

static void
print_tail(const char *file) {
  char *line[TRACE_LINES] = {NULL}, *text = NULL;
  size_t size = 0;
  unsigned n = 0;
  FILE *f = fopen(file, "r");

  if (f == NULL)
    return;
  while (getline(&text, &size, f) >= 0) {
    free(line[n % TRACE_LINES]);
    line[n++ % TRACE_LINES] = text;
    text = NULL;
    size = 0;
  }
  free(text);
  for (unsigned i = n > TRACE_LINES ? n - TRACE_LINES : 0; i < n; i++)
    printf("%s", line[i % TRACE_LINES]);
  for (unsigned i = 0; i < TRACE_LINES; i++)
    free(line[i]);
  fclose(f);
}

static void
report(const struct arguments *args) {
  uint64_t seed = shared->seed, ops = shared->ops_in_run, shortest;
  char first[sizeof shared->message];
  char file[64];
  struct options options;

  snprintf(first, sizeof first, "%s", shared->message);
  snprintf(file, sizeof file, "/tmp/sf-sim-%lu.trace", (unsigned long) seed);
  sim.random = seed * UINT64_C(0xd1342543de82ef95) + 1;
  swarm_draw(&options);
  printf("seed %lu FAILED after %lu requests: %s\n", (unsigned long) seed, (unsigned long) ops,
         first);
  if (args->quiet)
    return;
  swarm_print(&options, stdout);
  shortest = shortest_prefix(seed, ops > 0 ? ops : 1);
  if (!fails(seed, shortest, args->file != NULL ? args->file : file))
    printf("run again, it does not fail: not deterministic\n");
  print_tail(args->file != NULL ? args->file : file);
  printf("seed %lu: sf-sim --seed %lu --ops %lu: %s\nfull trace: %s\n", (unsigned long) seed,
         (unsigned long) seed, (unsigned long) shortest, shared->message,
         args->file != NULL ? args->file : file);
}

static void
work(const struct arguments *args, uint64_t from, uint64_t until) {
  for (uint64_t seed = from; seed < args->seed + args->runs; seed++) {
    if (until != 0 && seconds() >= until)
      break;
    shared->seed = seed;
    shared->message[0] = '\0';
    alarm(RUN_SECONDS_MAX);
    sim_run(seed, args->ops, NULL);
    shared->runs++;
  }
}

static int
run_all(const struct arguments *args) {
  uint64_t until = args->minutes != 0 ? seconds() + 60 * (uint64_t) args->minutes : 0;
  uint64_t began = seconds(), from = args->seed;
  unsigned failures = 0;
  struct timespec t0, t1;
  double took;

  clock_gettime(CLOCK_MONOTONIC, &t0);
  while (from < args->seed + args->runs && (until == 0 || seconds() < until)) {
    pid_t pid;
    int status;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
      work(args, from, until);
      _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
      return 1;
    if (status == 0)
      break;
    if (WIFSIGNALED(status) && shared->message[0] == '\0')
      snprintf(shared->message, sizeof shared->message, "signal %d: %s", WTERMSIG(status),
               strsignal(WTERMSIG(status)));
    failures++;
    from = shared->seed + 1;
    report(args);
    if (!args->keep_going)
      break;
  }
  clock_gettime(CLOCK_MONOTONIC, &t1);
  took = (double) (t1.tv_sec - t0.tv_sec) + (double) (t1.tv_nsec - t0.tv_nsec) / 1e9;
  (void) began;
  printf("%lu runs, %lu requests, %.0f/s; starts %lu, kills %lu, power cuts %lu, demotions %lu; "
         "%u failed\n",
         (unsigned long) shared->runs, (unsigned long) shared->ops, (double) shared->ops / took,
         (unsigned long) shared->starts, (unsigned long) shared->kills,
         (unsigned long) shared->power_cuts, (unsigned long) shared->demotions, failures);
  return failures != 0;
}

/* One seed, with its trace on standard output or in a file. */
static int
run_traced(const struct arguments *args) {
  struct options options;
  const char *file = args->file != NULL ? args->file : "/dev/stdout";

  sim.random = args->seed * UINT64_C(0xd1342543de82ef95) + 1;
  swarm_draw(&options);
  printf("seed %lu\n", (unsigned long) args->seed);
  swarm_print(&options, stdout);
  if (!fails(args->seed, args->ops, file))
    return 0;
  printf("seed %lu FAILED: %s\n", (unsigned long) args->seed, shared->message);
  return 1;
}

static int
usage(void) {
  fprintf(stderr, "usage: sf-sim [--seed N] [--runs N] [--minutes N] [--ops N] [--trace]\n"
                  "              [--file TRACE] [--keep-going] [--quiet]\n");
  return 2;
}

int
main(int argc, char **argv) {
  static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                          {"runs", required_argument, NULL, 'r'},
                                          {"minutes", required_argument, NULL, 'm'},
                                          {"ops", required_argument, NULL, 'o'},
                                          {"trace", no_argument, NULL, 't'},
                                          {"file", required_argument, NULL, 'f'},
                                          {"keep-going", no_argument, NULL, 'k'},
                                          {"quiet", no_argument, NULL, 'q'},
                                          {NULL, 0, NULL, 0}};
  struct arguments args = {.seed = 1, .runs = 0, .ops = UINT64_MAX};
  int c;

  while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
    switch (c) {
    case 's':
      args.seed = strtoull(optarg, NULL, 0);
      break;
    case 'r':
      args.runs = strtoull(optarg, NULL, 0);
      break;
    case 'm':
      args.minutes = (unsigned) strtoul(optarg, NULL, 0);
      break;
    case 'o':
      args.ops = strtoull(optarg, NULL, 0);
      break;
    case 't':
      args.trace = true;
      break;
    case 'f':
      args.file = optarg;
      break;
    case 'k':
      args.keep_going = true;
      break;
    case 'q':
      args.quiet = true;
      break;
    default:
      return usage();
    }
  if (optind != argc)
    return usage();
  if (args.runs == 0)
    args.runs = args.minutes != 0 ? UINT64_MAX - args.seed : 1;
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED)
    return 1;
  return args.trace ? run_traced(&args) : run_all(&args);
}

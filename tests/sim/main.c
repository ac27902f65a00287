/* sf-sim: runs seeds in worker processes, so that an assertion in the volume is a failure like any
 * other.  A failure is run again for its trace, and for the shortest prefix of client requests that
 * still fails. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim/main.h"
#include "sim/sim.h"

enum { TRACE_LINES = 60 };

struct shared *shared;
struct worker *worker;
static uint64_t run_ms_most = 60000;

/* A run without end is a failure.  Of its own time: the machine may be busy with others. */
static void
limit_run(void) {
  const struct itimerval limit = {.it_value.tv_sec = (time_t) (run_ms_most / 1000),
                                  .it_value.tv_usec = (suseconds_t) (run_ms_most % 1000 * 1000)};

  setitimer(ITIMER_PROF, &limit, NULL);
}

struct arguments {
  uint64_t seed, runs, ops;
  unsigned minutes, jobs;
  bool trace, verbose, quiet, keep_going, coverage;
  const char *file;
  const uint64_t *list; /* seeds to run, or NULL: `seed` and those after it */
};

static double
seconds(void) {
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static void
name_signal(struct worker *w, int status) {
  if (WIFSIGNALED(status) && w->message[0] == '\0')
    snprintf(w->message, sizeof w->message, "signal %d: %s", WTERMSIG(status),
             strsignal(WTERMSIG(status)));
}

/* ---- one seed again ---- */

/* In a child; true: it failed. */
static bool
fails(uint64_t seed, uint64_t ops, const char *trace_file) {
  struct worker *again = &shared->worker[JOBS_MAX];
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
    worker = again;
    worker->message[0] = '\0';
    worker->seed = seed;
    limit_run();
    sim_run(seed, ops, trace);
    _exit(0);
  }
  if (pid < 0 || waitpid(pid, &status, 0) != pid) {
    perror("sf-sim");
    exit(1);
  }
  name_signal(again, status);
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
print_seed(uint64_t seed) {
  struct options options;

  swarm_draw(seed, &options);
  printf("seed %lu\n", (unsigned long) seed);
  swarm_print(&options, stdout);
}

static void
report(const struct arguments *args, const struct worker *failed) {
  const struct worker *again = &shared->worker[JOBS_MAX];
  uint64_t seed = failed->seed, ops = failed->ops_in_run, shortest;
  char file[64];

  snprintf(file, sizeof file, "/tmp/sf-sim-%lu.trace", (unsigned long) seed);
  printf("seed %lu FAILED after %lu requests: %s\n", (unsigned long) seed, (unsigned long) ops,
         failed->message);
  if (args->quiet)
    return;
  print_seed(seed);
  shortest = shortest_prefix(seed, ops > 0 ? ops : 1);
  if (!fails(seed, shortest, args->file != NULL ? args->file : file))
    printf("run again, it does not fail: not deterministic\n");
  print_tail(args->file != NULL ? args->file : file);
  printf("seed %lu: sf-sim%s --seed %lu --ops %lu: %s\nfull trace: %s\n", (unsigned long) seed,
         busy_is_on() ? " --busy" : "", (unsigned long) seed, (unsigned long) shortest,
         again->message, args->file != NULL ? args->file : file);
}

/* ---- many seeds ---- */

static bool
is_over(const struct arguments *args, double until) {
  return __atomic_load_n(&shared->stop, __ATOMIC_RELAXED) ||
         (args->minutes != 0 && seconds() >= until);
}

_Noreturn static void
work(const struct arguments *args, double until) {
  while (!is_over(args, until)) {
    uint64_t turn = __atomic_fetch_add(&shared->next_turn, 1, __ATOMIC_RELAXED), seed;

    if (turn >= args->runs)
      break;
    seed = args->list != NULL ? args->list[turn] : args->seed + turn;
    if (args->verbose) {
      print_seed(seed);
      fflush(stdout); /* a failure does not end this process in the usual way */
    }
    worker->seed = seed;
    worker->message[0] = '\0';
    limit_run();
    sim_run(seed, args->ops, NULL);
    shared_add(&shared->runs, 1);
  }
  exit(0);
}

static void
start_worker(const struct arguments *args, struct worker *slot, double until) {
  pid_t pid;

  fflush(NULL);
  slot->message[0] = '\0';
  pid = fork();
  if (pid == 0) {
    worker = slot;
    work(args, until);
  }
  if (pid < 0) {
    perror("sf-sim");
    exit(1);
  }
  slot->pid = pid;
}

static struct worker *
wait_for_one(const struct arguments *args, int *status) {
  for (;;) {
    pid_t pid = waitpid(-1, status, 0);

    if (pid < 0) {
      if (errno == EINTR)
        continue;
      return NULL;
    }
    for (unsigned i = 0; i < args->jobs; i++)
      if (shared->worker[i].pid == pid) {
        shared->worker[i].pid = 0;
        return &shared->worker[i];
      }
  }
}

static void
print_totals(double took, unsigned failures) {
  printf("%lu runs, %lu requests, %.0f/s;", (unsigned long) shared->runs,
         (unsigned long) shared->ops, (double) shared->ops / took);
  for (unsigned i = 0; i < SIM_COUNT_KINDS; i++)
    printf(" %s %lu,", sim_count_name[i], (unsigned long) shared->count[i]);
  printf(" %u failed\n", failures);
}

static int
run_all(const struct arguments *args) {
  double began = seconds(), until = began + 60.0 * args->minutes;
  unsigned failures = 0, missing = 0;
  struct worker *ended;
  int status;

  for (unsigned i = 0; i < args->jobs; i++)
    start_worker(args, &shared->worker[i], until);
  while ((ended = wait_for_one(args, &status)) != NULL) {
    if (status == 0)
      continue;
    name_signal(ended, status);
    failures++;
    if (!args->keep_going)
      __atomic_store_n(&shared->stop, true, __ATOMIC_RELAXED);
    report(args, ended);
    if (args->keep_going && !is_over(args, until))
      start_worker(args, ended, until);
  }
  print_totals(seconds() - began, failures);
  if (args->coverage)
    missing = coverage_print_missing();
  return failures != 0 || missing != 0;
}

/* One seed, with its trace on standard output or in a file. */
static int
run_traced(const struct arguments *args) {
  const char *file = args->file != NULL ? args->file : "/dev/stdout";

  print_seed(args->seed);
  if (!fails(args->seed, args->ops, file))
    return 0;
  printf("seed %lu FAILED: %s\n", (unsigned long) args->seed, shared->worker[JOBS_MAX].message);
  return 1;
}

/* False: it cannot be read. */
static bool
read_list(const char *name, struct arguments *args) {
  FILE *f = fopen(name, "r");
  uint64_t *list = NULL, seed;
  size_t n = 0;

  if (f == NULL)
    return false;
  while (fscanf(f, "%" SCNu64, &seed) == 1) {
    list = realloc(list, (n + 1) * sizeof *list);
    if (list == NULL)
      abort();
    list[n++] = seed;
  }
  fclose(f);
  args->list = list;
  args->runs = n;
  return n > 0;
}

static int
usage(void) {
  fprintf(stderr,
          "usage: sf-sim [OPTION...]\n"
          "  --seed N      the first seed (1)\n"
          "  --runs N      so many seeds (1, or no end with --minutes)\n"
          "  --minutes N   no new run after so many minutes\n"
          "  --ops N       at most so many requests in a run\n"
          "  --jobs N      so many processes; 0: one for each CPU (1)\n"
          "  --limit MS    a run that takes so long, of its own time, has failed (60000)\n"
          "  --list FILE   the seeds that stand there, in that order, and no others\n"
          "  --trace       one seed, with all that happens\n"
          "  --file FILE   where the trace of that seed, or of a failure, goes\n"
          "  --verbose     what each seed draws, before it runs\n"
          "  --keep-going  after a failure\n"
          "  --quiet       no second run of a failure\n"
          "  --draw NAME   switches a draw on (SIM_DRAWS of sim.h; all)\n"
          "  --no-draw NAME  off\n"
          "  --always NAME in every run, where a seed draws it as a whole (storms)\n"
          "  --busy        only busy runs: legs with a queue, and as much work as they can do\n"
          "  --coverage    fails if a move of a state machine, or a kind of event, never came\n");
  return 2;
}

int
main(int argc, char **argv) {
  static const struct option options[] = {
      {"seed", required_argument, NULL, 's'},    {"runs", required_argument, NULL, 'r'},
      {"minutes", required_argument, NULL, 'm'}, {"ops", required_argument, NULL, 'o'},
      {"jobs", required_argument, NULL, 'j'},    {"limit", required_argument, NULL, 'l'},
      {"list", required_argument, NULL, 'i'},    {"trace", no_argument, NULL, 't'},
      {"file", required_argument, NULL, 'f'},    {"verbose", no_argument, NULL, 'v'},
      {"keep-going", no_argument, NULL, 'k'},    {"quiet", no_argument, NULL, 'q'},
      {"coverage", no_argument, NULL, 'c'},      {"busy", no_argument, NULL, 'b'},
      {"draw", required_argument, NULL, 'd'},    {"no-draw", required_argument, NULL, 'n'},
      {"always", required_argument, NULL, 'a'},  {NULL, 0, NULL, 0}};
  struct arguments args = {.seed = 1, .ops = UINT64_MAX, .jobs = 1};
  int c;

  /* A start allocates megabytes: memory that stays costs less than pages that come and go. */
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
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
    case 'j':
      args.jobs = (unsigned) strtoul(optarg, NULL, 0);
      break;
    case 'l':
      run_ms_most = strtoull(optarg, NULL, 0);
      break;
    case 'i':
      if (!read_list(optarg, &args)) {
        perror(optarg);
        return 1;
      }
      break;
    case 't':
      args.trace = true;
      break;
    case 'f':
      args.file = optarg;
      break;
    case 'v':
      args.verbose = true;
      break;
    case 'k':
      args.keep_going = true;
      break;
    case 'q':
      args.quiet = true;
      break;
    case 'c':
      args.coverage = true;
      break;
    case 'b':
      busy_switch(true);
      break;
    case 'd':
    case 'n':
    case 'a':
      if (!swarm_switch(optarg, c == 'd' ? SWITCH_ON : c == 'n' ? SWITCH_OFF : SWITCH_ALWAYS)) {
        fprintf(stderr, "sf-sim: no draw is called %s\n", optarg);
        return 2;
      }
      break;
    default:
      return usage();
    }
  if (optind != argc || args.jobs > JOBS_MAX)
    return usage();
  if (args.jobs == 0)
    args.jobs = (unsigned) sysconf(_SC_NPROCESSORS_ONLN);
  if (args.runs == 0)
    args.runs = args.minutes != 0 ? UINT64_MAX - args.seed : 1;
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED)
    return 1;
  return args.trace ? run_traced(&args) : run_all(&args);
}

/* The window's law, without a volume: a function of the outstanding requests plays a leg. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "volume/ground/window.h"

#define US UINT64_C(1000)
#define MS (1000 * US)

enum { OUT_MOST = 512 };

static unsigned
class_sent(struct window *window, enum sf_tio_op op, bool fua, uint64_t offset, uint64_t length) {
  unsigned class = sf_window_class(window, op, fua, offset, length);

  sf_window_moves(window, op, offset, length);
  return class;
}

struct sent {
  uint64_t done_ns, sent_ns, cost_ns;
  unsigned class;
};

struct disk {
  struct window window;
  unsigned channels;
  uint64_t takes_ns;          /* one request of a channel */
  uint64_t free_ns[OUT_MOST]; /* of each channel */
  struct sent sent[OUT_MOST]; /* outstanding, in order of their ends */
  unsigned outstanding, most;
  uint64_t now_ns, longest_ns;
  uint64_t seek_ns, head; /* one that turns: so much more where it does not go on */
  enum window_use use;
};

static void
send_one(struct disk *disk, unsigned class, uint64_t cost_ns) {
  unsigned first = 0, at = disk->outstanding;
  struct sent sent = {.sent_ns = disk->now_ns, .cost_ns = cost_ns, .class = class};

  for (unsigned i = 1; i < disk->channels; i++)
    if (disk->free_ns[i] < disk->free_ns[first])
      first = i;
  if (disk->free_ns[first] < disk->now_ns)
    disk->free_ns[first] = disk->now_ns;
  disk->free_ns[first] += disk->takes_ns;
  sent.done_ns = disk->free_ns[first];
  for (; at > 0 && disk->sent[at - 1].done_ns > sent.done_ns; at--)
    disk->sent[at] = disk->sent[at - 1];
  disk->sent[at] = sent;
  if (++disk->outstanding > disk->most)
    disk->most = disk->outstanding;
  sf_window_sent(&disk->window, disk->use, class, cost_ns, disk->now_ns);
}

static void
end_one(struct disk *disk) {
  struct sent sent = disk->sent[0];

  assert_true(disk->outstanding-- > 0);
  for (unsigned i = 0; i < disk->outstanding; i++)
    disk->sent[i] = disk->sent[i + 1];
  disk->now_ns = sent.done_ns;
  if (sent.done_ns - sent.sent_ns > disk->longest_ns)
    disk->longest_ns = sent.done_ns - sent.sent_ns;
  sf_window_ended(&disk->window, disk->use, sent.class, sent.cost_ns, disk->now_ns, true);
}

/* There is always one more to send; until so many have been answered. */
static void
saturate(struct disk *disk, uint64_t bytes, unsigned answers, uint64_t target_ns) {
  uint64_t offset = 0;

  for (unsigned n = 0; n < answers; n++) {
    while (disk->outstanding < OUT_MOST) {
      unsigned class = sf_window_class(&disk->window, SF_TIO_WRITE, false, offset, bytes);
      uint64_t cost = sf_window_cost(&disk->window, class, target_ns);

      if (!sf_window_admits(&disk->window, disk->use, cost, target_ns, disk->use == WINDOW_CLIENTS))
        break;
      sf_window_moves(&disk->window, SF_TIO_WRITE, offset, bytes);
      send_one(disk, class, cost);
      offset += bytes;
    }
    end_one(disk);
  }
}

/* As saturate(); the requests are of so many runs, one of each in turn. */
static void
alternate(struct disk *disk, unsigned runs, unsigned answers, uint64_t target_ns) {
  uint64_t at[WINDOW_STREAMS], quick_ns = disk->takes_ns;

  for (unsigned i = 0; i < runs; i++)
    at[i] = (i + 1) * (UINT64_C(1) << 40);
  for (unsigned n = 0, run = 0; n < answers; n++) {
    while (disk->outstanding < OUT_MOST) {
      unsigned class = sf_window_class(&disk->window, SF_TIO_WRITE, false, at[run], 4096);
      uint64_t cost = sf_window_cost(&disk->window, class, target_ns);

      if (!sf_window_admits(&disk->window, disk->use, cost, target_ns, true))
        break;
      sf_window_moves(&disk->window, SF_TIO_WRITE, at[run], 4096);
      disk->takes_ns = quick_ns + (at[run] == disk->head ? 0 : disk->seek_ns);
      disk->head = at[run] += 4096;
      send_one(disk, class, cost);
      run = (run + 1) % runs;
    }
    end_one(disk);
  }
  disk->takes_ns = quick_ns;
}

static void
drain(struct disk *disk) {
  while (disk->outstanding > 0)
    end_one(disk);
}

static void
a_slow_disk_is_never_asked_for_more_than_its_target(void **state) {
  struct disk disk = {.channels = 1, .takes_ns = 6 * MS};

  saturate(&disk, 4096, 500, 50 * MS);
  assert_in_range(disk.most, 7, 10);
  assert_in_range(disk.longest_ns, 40 * MS, 60 * MS);
}

static void
the_first_large_request_is_alone(void **state) {
  struct disk disk = {.channels = 1, .takes_ns = 52 * MS};

  saturate(&disk, 256 * 1024, 1, 50 * MS);
  assert_int_equal(disk.most, 1);
  saturate(&disk, 256 * 1024, 100, 50 * MS);
  assert_in_range(disk.most, 1, 2); /* one over the target, now and then */
}

static void
a_fast_disk_is_at_its_limit_within_milliseconds(void **state) {
  struct disk disk = {.channels = 1, .takes_ns = 100 * US};

  saturate(&disk, 4096, 20, 50 * MS);
  assert_true(disk.now_ns < 5 * MS);
  assert_true(disk.most > 250);
}

/* 16 at a time, 30 ms each: what one after the other would say is one, at a target of 50 ms. */
static void
a_disk_that_works_on_many_at_once_is_found_out(void **state) {
  struct disk disk = {.channels = 16, .takes_ns = 30 * MS};
  uint64_t began;

  saturate(&disk, 4096, 500, 50 * MS);
  drain(&disk);
  began = disk.now_ns;
  saturate(&disk, 4096, 1000, 50 * MS);
  assert_true((disk.now_ns - began) / 1000 < 2 * 30 * MS / 16);
}

/* One takes almost all of what copies may take, and so do eight. */
static void
copies_find_out_that_a_disk_works_on_many(void **state) {
  struct disk disk = {.channels = 8, .takes_ns = 12 * MS, .use = WINDOW_COPIES};
  uint64_t began;

  saturate(&disk, 256 * 1024, 300, 25 * MS);
  began = disk.now_ns;
  saturate(&disk, 256 * 1024, 300, 25 * MS);
  assert_true((disk.now_ns - began) / 300 <= 12 * MS / 4);
}

static void
a_disk_that_becomes_slower_is_asked_for_less(void **state) {
  struct disk disk = {.channels = 1, .takes_ns = 1 * MS};

  saturate(&disk, 4096, 200, 50 * MS);
  assert_in_range(disk.most, 45, 52);
  disk.takes_ns = 6 * MS;
  saturate(&disk, 4096, 200, 50 * MS);
  disk.most = 0;
  disk.longest_ns = 0;
  saturate(&disk, 4096, 200, 50 * MS);
  assert_in_range(disk.most, 7, 10);
  assert_true(disk.longest_ns <= 60 * MS);
}

static void
a_pause_is_not_learned_as_its_pace(void **state) {
  struct disk disk = {.channels = 1, .takes_ns = 1 * MS};
  unsigned class;

  saturate(&disk, 4096, 200, 50 * MS);
  class = disk.sent[0].class;
  for (unsigned i = 0; i < disk.outstanding; i++)
    disk.sent[i].done_ns += 90 * MS;
  for (unsigned i = 0; i < disk.channels; i++)
    disk.free_ns[i] += 90 * MS;
  end_one(&disk);
  assert_true(sf_window_cost(&disk.window, class, 50 * MS) < 2 * MS); /* and not 6 */
}

/* Many small ones in a row, and then a large one before the next: the queue takes the average of
 * both, and a row of small ones says little. */
static void
gaps_of_all_lengths_are_one_pace(void **state) {
  struct disk disk = {.channels = 1, .takes_ns = 200 * US};
  uint64_t least = UINT64_MAX;
  unsigned class;

  saturate(&disk, 4096, 400, 50 * MS);
  class = disk.sent[0].class;
  for (unsigned n = 0; n < 2000; n++) {
    uint64_t cost = sf_window_cost(&disk.window, class, 50 * MS);

    if (cost < least)
      least = cost;
    disk.takes_ns = n % 50 == 49 ? 5 * MS : 100 * US;
    if (sf_window_admits(&disk.window, WINDOW_CLIENTS, cost, 50 * MS, true))
      send_one(&disk, class, cost);
    end_one(&disk);
  }
  assert_true(least > 120 * US); /* of 198 us */
}

/* One of ten is large, and these become 20 times slower while many small ones are outstanding.  Few
 * of them are outstanding, and so many answers say what they take: a second later nothing is late
 * by several timeouts. */
static void
a_rare_class_that_becomes_slower_is_noticed(void **state) {
  struct disk disk = {.channels = 1};
  uint64_t large_ns = 1 * MS, sequence = 0;

  for (unsigned part = 0; part < 3; part++) {
    uint64_t until_ns = disk.now_ns + (part == 0 ? 3000 : 1000) * MS;

    if (part == 1)
      large_ns = 20 * MS;
    disk.longest_ns = 0;
    while (disk.now_ns < until_ns) {
      while (disk.outstanding < 256) {
        bool large = sequence % 10 == 9;
        unsigned class = class_sent(&disk.window, SF_TIO_WRITE, false, (sequence + 1) * 10485760,
                                    large ? 262144 : 4096);
        uint64_t cost = sf_window_cost(&disk.window, class, 50 * MS);

        if (!sf_window_admits(&disk.window, WINDOW_CLIENTS, cost, 50 * MS, true))
          break;
        disk.takes_ns = large ? large_ns : 100 * US;
        send_one(&disk, class, cost);
        sequence++;
      }
      end_one(&disk);
    }
  }
  assert_true(disk.longest_ns <= 100 * MS);
}

/* A disk that turns goes on in one run at a hundred times the pace at which it goes to and fro between
 * two, and neither says anything of the other. */
static void
runs_that_alternate_are_not_one_run(void **state) {
  struct disk disk = {.channels = 1, .takes_ns = 100 * US, .seek_ns = 10 * MS};

  for (unsigned turn = 0; turn < 3; turn++) {
    disk.most = 0;
    alternate(&disk, 1, 600, 50 * MS);
    assert_true(disk.most > 250);
    drain(&disk);
    disk.most = 0;
    disk.longest_ns = 0;
    alternate(&disk, 2 + turn, 200, 50 * MS);
    assert_in_range(disk.most, 4, 6);
    assert_true(disk.longest_ns <= 65 * MS);
    drain(&disk);
  }
}

/* A leg that is far away, and does not care where a request is, shows that: what it is given of runs
 * that alternate is soon as much as of one. */
static void
runs_may_alternate_on_a_leg_that_does_not_seek(void **state) {
  struct disk disk = {.channels = 16, .takes_ns = 30 * MS};
  uint64_t began;

  alternate(&disk, 1, 1000, 50 * MS);
  alternate(&disk, 3, 500, 50 * MS);
  drain(&disk);
  began = disk.now_ns;
  alternate(&disk, 3, 1000, 50 * MS);
  assert_true((disk.now_ns - began) / 1000 < 2 * 30 * MS / 16);
}

/* Small ones were quick; 64 times as much may take 64 times as long, and is not sent 50 times at
 * once. */
static void
an_unknown_class_begins_with_one(void **state) {
  struct disk disk = {.channels = 1, .takes_ns = 1 * MS};
  unsigned class;

  saturate(&disk, 4096, 200, 50 * MS);
  drain(&disk);
  class = class_sent(&disk.window, SF_TIO_WRITE, false, UINT64_C(1) << 40, 256 * 1024);
  assert_true(sf_window_cost(&disk.window, class, 50 * MS) >= 50 * MS);
  class = class_sent(&disk.window, SF_TIO_READ, false, UINT64_C(1) << 41, 4096);
  assert_true(sf_window_cost(&disk.window, class, 50 * MS) >= 50 * MS);
}

static void
copies_take_a_part_and_metadata_goes(void **state) {
  struct window window = {0};
  unsigned class = class_sent(&window, SF_TIO_WRITE, false, 0, 4096);

  sf_window_sent(&window, WINDOW_COPIES, class, 10 * MS, 0);
  assert_false(sf_window_admits(&window, WINDOW_COPIES, 10 * MS, 50 * MS, true));
  assert_true(sf_window_admits(&window, WINDOW_COPIES, 10 * MS, 50 * MS, false));
  assert_true(sf_window_admits(&window, WINDOW_CLIENTS, 40 * MS, 50 * MS, true));
  sf_window_sent(&window, WINDOW_CLIENTS, class, 40 * MS, 0);
  assert_false(sf_window_admits(&window, WINDOW_CLIENTS, 10 * MS, 50 * MS, true));
  assert_true(sf_window_admits(&window, WINDOW_META, 10 * MS, 50 * MS, true));
  sf_window_sent(&window, WINDOW_META, class, 10 * MS, 0);
  assert_false(sf_window_admits(&window, WINDOW_META, 10 * MS, 50 * MS, true));
}

/* What waits for a flush is not slow, and a flush is no work of its own. */
static void
a_flush_says_nothing_of_the_pace(void **state) {
  struct disk disk = {.channels = 1, .takes_ns = 1 * MS};
  unsigned class;

  saturate(&disk, 4096, 100, 50 * MS);
  class = disk.sent[0].class;
  assert_int_equal(class_sent(&disk.window, SF_TIO_FLUSH, false, 0, 0), WINDOW_UNMEASURED);
  assert_int_equal(sf_window_cost(&disk.window, WINDOW_UNMEASURED, 50 * MS), 0);
  sf_window_sent(&disk.window, WINDOW_CLIENTS, WINDOW_UNMEASURED, 0, disk.now_ns);
  for (unsigned i = 0; i < disk.outstanding; i++)
    disk.sent[i].done_ns += 500 * MS;
  end_one(&disk);
  sf_window_ended(&disk.window, WINDOW_CLIENTS, WINDOW_UNMEASURED, 0, disk.now_ns, true);
  assert_in_range(sf_window_cost(&disk.window, class, 50 * MS), 1 * MS - US, 1 * MS + US);
}

static void
answer(struct window *window, unsigned class, uint64_t gap_ns, unsigned times) {
  for (unsigned i = 0; i < times; i++) {
    uint64_t now_ns = window->busy_ns;

    sf_window_sent(window, WINDOW_CLIENTS, class, 0, now_ns);
    sf_window_ended(window, WINDOW_CLIENTS, class, 0, now_ns + gap_ns, true);
  }
}

/* And has nothing to do then; the class of what it was asked. */
static unsigned
becomes_known(struct disk *disk) {
  unsigned class;

  saturate(disk, 4096, 200, 50 * MS);
  class = disk->sent[0].class;
  drain(disk);
  return class;
}

/* A few slower answers in a row are the flush's, and so are such rows, one after the other. */
static void
beside_a_flush_a_few_slower_answers_say_nothing(void **state) {
  struct disk disk = {.channels = 1, .takes_ns = 1 * MS};
  struct window *window = &disk.window;
  unsigned class;
  uint64_t cost;

  class = becomes_known(&disk);
  cost = sf_window_cost(window, class, 50 * MS);
  for (unsigned i = 0; i < 10; i++) {
    sf_window_sent(window, WINDOW_CLIENTS, WINDOW_UNMEASURED, 0, window->busy_ns);
    answer(window, class, 5 * MS, 4);
    assert_int_equal(sf_window_cost(window, class, 50 * MS), cost);
    if (i % 2 == 0)
      answer(window, class, cost, 1);
    sf_window_ended(window, WINDOW_CLIENTS, WINDOW_UNMEASURED, 0, window->busy_ns, true);
    if (i % 2 != 0)
      answer(window, class, cost, 1);
  }
  sf_window_sent(window, WINDOW_CLIENTS, WINDOW_UNMEASURED, 0, window->busy_ns);
  answer(window, class, 5 * MS, 5);
  assert_true(sf_window_cost(window, class, 50 * MS) > cost);
}

/* Each of these waits for a flush of its own. */
static void
lone_writes_beside_flushes_say_nothing(void **state) {
  struct disk disk = {.channels = 1, .takes_ns = 1 * MS};
  struct window *window = &disk.window;
  unsigned class;
  uint64_t cost;

  class = becomes_known(&disk);
  cost = sf_window_cost(window, class, 50 * MS);
  for (unsigned i = 0; i < 100; i++) {
    sf_window_sent(window, WINDOW_CLIENTS, WINDOW_UNMEASURED, 0, window->busy_ns);
    answer(window, class, 15 * MS, 1);
    sf_window_ended(window, WINDOW_CLIENTS, WINDOW_UNMEASURED, 0, window->busy_ns, true);
  }
  assert_int_equal(sf_window_cost(window, class, 50 * MS), cost);
}

/* What is not known yet is learned beside a flush, or it would stay one at a time while one runs. */
static void
a_class_becomes_known_beside_a_flush(void **state) {
  struct disk disk = {.channels = 1, .takes_ns = 1 * MS};

  sf_window_sent(&disk.window, WINDOW_CLIENTS, WINDOW_UNMEASURED, 0, 0);
  answer(&disk.window, 0, 1 * MS, 1);
  answer(&disk.window, 0, 3 * MS, 1);
  assert_in_range(sf_window_cost(&disk.window, 0, 0), 1 * MS + 1, 3 * MS - 1);
}

/* It becomes slower while it flushes, and is not asked for as much as before when that has ended. */
static void
a_leg_that_becomes_slower_beside_a_flush_is_asked_for_less(void **state) {
  struct disk disk = {.channels = 1, .takes_ns = 1 * MS};

  saturate(&disk, 4096, 200, 50 * MS);
  sf_window_sent(&disk.window, WINDOW_CLIENTS, WINDOW_UNMEASURED, 0, disk.now_ns);
  disk.takes_ns = 6 * MS;
  saturate(&disk, 4096, 200, 50 * MS);
  sf_window_ended(&disk.window, WINDOW_CLIENTS, WINDOW_UNMEASURED, 0, disk.now_ns, true);
  disk.most = 0;
  disk.longest_ns = 0;
  saturate(&disk, 4096, 200, 50 * MS);
  assert_in_range(disk.most, 7, 10);
  assert_true(disk.longest_ns <= 60 * MS);
}

/* A leg that is asked now and then is as fast as it answers, however long it is not asked. */
static void
an_idle_leg_is_not_a_slow_one(void **state) {
  struct disk disk = {.channels = 1, .takes_ns = 1 * MS, .now_ns = 5000 * MS};
  unsigned class = 0;

  for (unsigned n = 0; n < 40; n++) {
    class = class_sent(&disk.window, SF_TIO_WRITE, false, n * 8192, 4096);
    send_one(&disk, class, sf_window_cost(&disk.window, class, 250 * MS));
    end_one(&disk);
    disk.now_ns += 200 * MS;
  }
  assert_int_equal(sf_window_cost(&disk.window, class, 250 * MS), 1 * MS);
}

/* ---- the parts of the law ---- */

static void
each_size_kind_and_order_is_a_class(void **state) {
  static const uint64_t most[] = {4096, 16384, 65536, 262144, 1048576};
  struct window window = {0};
  unsigned first = class_sent(&window, SF_TIO_WRITE, false, 1 << 30, 512), sequential, kind;
  uint64_t at = 1;

  for (unsigned size = 0; size < 5; size++) {
    at += UINT64_C(1) << 32;
    assert_int_equal(class_sent(&window, SF_TIO_WRITE, false, at, most[size]), first + size);
    at += UINT64_C(1) << 32;
    assert_int_equal(class_sent(&window, SF_TIO_WRITE, false, at, most[size] + 1),
                     first + size + 1);
  }
  at += UINT64_C(1) << 40;
  assert_int_equal(class_sent(&window, SF_TIO_WRITE, false, at, 1 << 30), first + 5);
  sequential = class_sent(&window, SF_TIO_WRITE, false, at + (1 << 30), 512);
  assert_int_equal(sequential + 2 * WINDOW_SIZES, first);
  assert_int_equal(class_sent(&window, SF_TIO_WRITE, false, at + (1 << 30) + 512, 512), sequential);
  kind = WINDOW_ORDERS * WINDOW_SIZES;
  assert_int_equal(class_sent(&window, SF_TIO_READ, false, 5, 512), first - kind);
  assert_int_equal(class_sent(&window, SF_TIO_WRITE, true, 7, 512), first + kind);
  assert_int_equal(class_sent(&window, SF_TIO_ZERO, false, 9, 512), first + 2 * kind);
  assert_int_equal(class_sent(&window, SF_TIO_FLUSH, false, 0, 0), WINDOW_UNMEASURED);
  assert_int_equal(class_sent(&window, SF_TIO_ZERO, false, 9 + 512, 512),
                   sequential + 2 * kind); /* no flush moves the head */
}

/* As many streams side by side as are known, of which the last one goes on and the others are
 * resumed; that of which nothing came for longest is forgotten for one more. */
static void
some_streams_are_known(void **state) {
  struct window window = {0};
  unsigned random = class_sent(&window, SF_TIO_READ, false, 1 << 20, 512);

  for (unsigned i = 1; i < WINDOW_STREAMS; i++)
    assert_int_equal(class_sent(&window, SF_TIO_READ, false, (i + 1) << 20, 512), random);
  for (unsigned turn = 1; turn < 4; turn++)
    for (unsigned i = 0; i < WINDOW_STREAMS; i++)
      assert_int_equal(class_sent(&window, SF_TIO_READ, false, ((i + 1) << 20) + turn * 512, 512),
                       random - WINDOW_SIZES);
  class_sent(&window, SF_TIO_READ, false, 99 << 20, 512);
  assert_int_equal(class_sent(&window, SF_TIO_READ, false, (2 << 20) + 4 * 512, 512),
                   random - WINDOW_SIZES);
  assert_int_equal(class_sent(&window, SF_TIO_READ, false, (2 << 20) + 5 * 512, 512),
                   random - 2 * WINDOW_SIZES);
  assert_int_equal(class_sent(&window, SF_TIO_READ, false, (1 << 20) + 4 * 512, 512), random);
}

/* What has not answered costs what its nearest neighbours say: the next larger one's as it is, else
 * of a smaller one so many times more. */
static void
what_has_not_answered_costs_as_its_neighbours(void **state) {
  enum { OF_READS = 6 };
  struct window window = {0};

  assert_int_equal(sf_window_cost(&window, WINDOW_UNMEASURED, MS), 0);
  assert_int_equal(sf_window_cost(&window, OF_READS, 8 * MS), 8 * MS);
  window.cost_ns[OF_READS] = 1000;
  window.seen[OF_READS] = UINT8_MAX;
  assert_int_equal(sf_window_cost(&window, OF_READS, MS), 1000);
  for (unsigned size = 1; size < WINDOW_SIZES; size++)
    assert_int_equal(sf_window_cost(&window, OF_READS + size, 0), 1000 << 2 * size);
  assert_int_equal(sf_window_cost(&window, OF_READS + WINDOW_SIZES, 0), 0); /* another order */
  window.cost_ns[OF_READS + 4] = 9000;
  window.seen[OF_READS + 4] = 1;
  for (unsigned size = 1; size < 4; size++)
    assert_int_equal(sf_window_cost(&window, OF_READS + size, 0), 9000);
  assert_int_equal(sf_window_cost(&window, OF_READS + 4, 0), 9000);
  assert_int_equal(sf_window_cost(&window, OF_READS + 4, 40000), 20000); /* it is little known */
  assert_int_equal(sf_window_cost(&window, OF_READS + 5, 0), 9000 << 2);
}

static void
what_is_let_in(void **state) {
  struct window window = {0};

  assert_true(sf_window_is_empty(&window));
  assert_true(sf_window_admits(&window, WINDOW_COPIES, 9 * MS, 4 * MS, true)); /* one always */
  sf_window_sent(&window, WINDOW_CLIENTS, 0, 3 * MS, MS);
  assert_false(sf_window_is_empty(&window));
  assert_int_equal(sf_window_planned_ns(&window), 3 * MS);
  assert_true(sf_window_admits(&window, WINDOW_CLIENTS, 1 * MS, 4 * MS, true));
  assert_false(sf_window_admits(&window, WINDOW_CLIENTS, 1 * MS + 1, 4 * MS, true));
  assert_true(sf_window_admits(&window, WINDOW_CLIENTS, 0, 4 * MS, true));
  assert_true(sf_window_admits(&window, WINDOW_META, 9 * MS, 4 * MS, true)); /* one of these too */
  sf_window_sent(&window, WINDOW_META, 1, 1 * MS, MS);
  assert_false(sf_window_admits(&window, WINDOW_META, 1 * MS, 4 * MS, true));
  sf_window_ended(&window, WINDOW_META, 1, 1 * MS, 2 * MS, false);
  assert_int_equal(sf_window_planned_ns(&window), 3 * MS);

  /* the copies' share: a half of the target, or a quarter beside clients, and some in any case */
  assert_true(sf_window_admits(&window, WINDOW_COPIES, 2 * MS, 8 * MS, true));
  sf_window_sent(&window, WINDOW_COPIES, 2, 1 * MS, 2 * MS);
  assert_true(sf_window_admits(&window, WINDOW_COPIES, 1 * MS, 8 * MS, true));
  assert_false(sf_window_admits(&window, WINDOW_COPIES, 1 * MS + 1, 8 * MS, true));
  assert_true(sf_window_admits(&window, WINDOW_COPIES, 3 * MS, 8 * MS, false));
  sf_window_sent(&window, WINDOW_CLIENTS, WINDOW_UNMEASURED, 0, 3 * MS);
  sf_window_ended(&window, WINDOW_CLIENTS, 0, 3 * MS, 4 * MS, true);
  sf_window_ended(&window, WINDOW_COPIES, 2, 1 * MS, 5 * MS, true);
  assert_int_equal(sf_window_planned_ns(&window), 0);
  assert_false(sf_window_is_empty(&window)); /* a flush */
  sf_window_ended(&window, WINDOW_CLIENTS, WINDOW_UNMEASURED, 0, 6 * MS, true);
  assert_true(sf_window_is_empty(&window));
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_slow_disk_is_never_asked_for_more_than_its_target),
      cmocka_unit_test(the_first_large_request_is_alone),
      cmocka_unit_test(a_fast_disk_is_at_its_limit_within_milliseconds),
      cmocka_unit_test(a_disk_that_works_on_many_at_once_is_found_out),
      cmocka_unit_test(copies_find_out_that_a_disk_works_on_many),
      cmocka_unit_test(a_disk_that_becomes_slower_is_asked_for_less),
      cmocka_unit_test(a_pause_is_not_learned_as_its_pace),
      cmocka_unit_test(gaps_of_all_lengths_are_one_pace),
      cmocka_unit_test(a_rare_class_that_becomes_slower_is_noticed),
      cmocka_unit_test(runs_that_alternate_are_not_one_run),
      cmocka_unit_test(runs_may_alternate_on_a_leg_that_does_not_seek),
      cmocka_unit_test(an_unknown_class_begins_with_one),
      cmocka_unit_test(copies_take_a_part_and_metadata_goes),
      cmocka_unit_test(a_flush_says_nothing_of_the_pace),
      cmocka_unit_test(beside_a_flush_a_few_slower_answers_say_nothing),
      cmocka_unit_test(lone_writes_beside_flushes_say_nothing),
      cmocka_unit_test(a_class_becomes_known_beside_a_flush),
      cmocka_unit_test(a_leg_that_becomes_slower_beside_a_flush_is_asked_for_less),
      cmocka_unit_test(an_idle_leg_is_not_a_slow_one),
      cmocka_unit_test(each_size_kind_and_order_is_a_class),
      cmocka_unit_test(some_streams_are_known),
      cmocka_unit_test(what_has_not_answered_costs_as_its_neighbours),
      cmocka_unit_test(what_is_let_in),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
